"""`mopo` as a person calls it: a real process, in a pipe or in a terminal, that sees only the test's own places."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from for_all import _draws, no_width  # noqa: F401  fixtures of several folders

from engine.config import resolve
from mopo_tui.manager import Run, Store


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MOPO_")}
    for name in ("COLUMNS", "NO_COLOR"):
        clean.pop(name, None)
    places = {
        "HOME": "home",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "MOPO_RUNS": "runs",
        "MOPO_DATA": "data",
    }
    return {**clean, "TERM": "xterm-256color", **{name: str(tmp_path / place) for name, place in places.items()}}


@pytest.fixture
def mopo(tmp_path: Path, environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mopo_tui.cli", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, cwd=tmp_path, env=environment | more, timeout=180
        )

    return call


@dataclass(frozen=True)
class Screen:
    """What a command left on a terminal. `text` is without colours, `raw` as it was sent."""

    returncode: int
    raw: str

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.raw).replace("\r", "")


@pytest.fixture
def terminal(tmp_path: Path, environment: dict[str, str]) -> Callable[..., Screen]:
    def call(*arguments: str, columns: int = 80, keys: str = "", **more: str) -> Screen:
        """Run `mopo` on a terminal of its own, `columns` wide, with `keys` typed into it."""
        main, secondary = pty.openpty()
        fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "mopo_tui.cli", *arguments],
            stdin=secondary,
            stdout=secondary,
            stderr=secondary,
            cwd=tmp_path,
            env=environment | more,
            start_new_session=True,
        )
        os.close(secondary)
        os.write(main, keys.encode())
        sent = b""
        while True:
            try:
                part = os.read(main, 65_536)
            except OSError:  # the last one that held the terminal has gone
                break
            if not part:
                break
            sent += part
        os.close(main)
        return Screen(process.wait(timeout=60), sent.decode("utf-8", "replace"))

    return call


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


@pytest.fixture
def make_run(store: Store) -> Callable[..., Run]:
    def make(name: str | None = None, **values: Any) -> Run:
        return store.create(resolve([("test", {"preset": "smoke", "compute.threads": 1, **values})]).config, name=name)

    return make
