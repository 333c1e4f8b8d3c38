"""What holds for all tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of tests side by side are told a width of terminal, which would count for more than that of the test's own."""
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
