"""How much a test does: enough to find a fault soon in `make test`, as much as is promised in `make test-long`."""

from __future__ import annotations

import os


def amount(usual: int, long: int) -> int:
    return long if os.environ.get("LONG_TESTS") else usual
