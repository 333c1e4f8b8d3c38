"""A store in a temporary folder, and real supervisors whose child is a small program of ours instead of the engine."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from child_programs import PREAMBLE, TAKE_OVER, spawn
from for_all import no_width  # noqa: F401  fixtures of several folders

from engine import record
from engine.config import resolve
from mopo_tui.manager import Run, RunState, Store


@pytest.fixture(autouse=True)
def _private_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the person's own configuration, data or runs."""
    for name in [name for name in os.environ if name.startswith("MOPO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


@pytest.fixture
def make_run(store: Store) -> Callable[..., Run]:
    def make(name: str | None = None, **values: Any) -> Run:
        config = resolve([("test", {"preset": "smoke", "compute.threads": 1, **values})]).config
        return store.create(config, name=name)

    return make


@pytest.fixture
def supervised(make_run: Callable[..., Run]) -> Iterator[Callable[..., Run]]:
    """Starts a run whose child executes `code` (`folder` is its run folder); ends whatever is left of it after the test."""
    started: list[Run] = []

    def start(code: str, run: Run | None = None) -> Run:
        run = run or make_run()
        child = [sys.executable, "-P", "-c", PREAMBLE + textwrap.dedent(code), str(run.folder)]
        spawn([sys.executable, "-P", "-c", TAKE_OVER, str(run.folder), *child], run)
        started.append(run)
        return run

    yield start
    for run in started:
        process = record.read_json(run.folder / record.PROCESS) or {}
        if (run.folder / record.EXIT).exists():
            continue
        for pid in (process.get("supervisor_pid"), process.get("pid")):
            if isinstance(pid, int):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue


@pytest.fixture
def state_within(store: Store) -> Callable[..., Run]:
    def wait(run: Run, *states: RunState, seconds: float = 3.0) -> Run:
        """The run once it is in one of `states`; fails if that takes longer than the product promises."""
        end = time.monotonic() + seconds
        while True:
            now = store.run(run.id)
            if now.state in states:
                return now
            if time.monotonic() > end:
                log = (run.folder / record.CONSOLE).read_text()
                pytest.fail(f"{now.state.value} ({now.reason}) after {seconds} s, not {states}; log: {log}")
            time.sleep(0.02)

    return wait
