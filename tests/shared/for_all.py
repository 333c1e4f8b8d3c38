"""What tests of several folders begin with; a conftest that imports a name has it."""

from __future__ import annotations

import signal

import pytest

# A shell without job control lets what it starts in the background ignore Ctrl-C, and so would all that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of tests side by side are told a width of terminal, which would count for more than that of the test's own."""
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def _draws() -> None:
    """Skips what needs pictures where none can be drawn."""
    from engine.use import Refused, opengl

    try:
        opengl()
    except Refused as refused:
        pytest.skip(str(refused))
