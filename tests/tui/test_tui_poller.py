"""The poller on many runs at once: the seeds of a row are read in turns, each byte once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from realistic import START, fixed_clock, make_run
from screen_text import SteadyMachine
from textual.app import App
from textual.message import Message

from engine import record
from mopo_tui import poller as poller_module
from mopo_tui import run_view
from mopo_tui.log_view import LogTail
from mopo_tui.manager import Run, Store
from mopo_tui.manager.series import RunReader
from mopo_tui.poller import LogChanged, Poller, RunsChanged, ViewChanged

SEEDS = 12


class Posted:
    """Stands where the app would, and keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def post_message(self, message: Message) -> bool:
        self.messages.append(message)
        return True

    def of(self, kind: type[Message]) -> list[Any]:
        return [message for message in list(self.messages) if isinstance(message, kind)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    root = tmp_path / "runs"
    root.mkdir()
    for seed in range(SEEDS):
        make_run(
            root, f"20260921-1415{seed:02}-ant-angle-mopo-s{seed}-a{seed:03}", seed=seed, until=0.1, ending="killed"
        )
    return Store.open(root)


@pytest.fixture
def posted() -> Posted:
    return Posted()


@pytest.fixture
def poller(store: Store, posted: Posted) -> Iterator[Poller]:
    own = Poller(cast(App[None], posted), store)
    own.machine = SteadyMachine()
    own.start()
    yield own
    own.end()


def wait(true: Callable[[], bool], seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def ids_of(views: list[ViewChanged]) -> set[str]:
    return {message.view.run_id for message in views}


def test_many_watched_runs_are_opened_once_and_go_on(
    store: Store, poller: Poller, posted: Posted, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    class Counted(RunReader):
        def __init__(self, folder: Path) -> None:
            opened.append(folder)
            super().__init__(folder)

    monkeypatch.setattr(run_view, "RunReader", Counted)
    ids = [run.id for run in store.runs()]
    poller.watch(ids)
    wait(lambda: ids_of(posted.of(ViewChanged)) == set(ids))
    posted.messages.clear()
    record.append_row(store.runs()[0].folder / record.METRICS, {"step": 10**6, "update": 10**6, "m": {"policy/q": 1.0}})
    wait(lambda: bool(posted.of(ViewChanged)))
    assert ids_of(posted.of(ViewChanged)) == {store.runs()[0].id}
    assert len(opened) == SEEDS


def test_slow_reading_gives_way_to_the_list(
    store: Store, poller: Poller, posted: Posted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller_module, "AT_ONCE_SECONDS", 0.0)
    monkeypatch.setattr(poller_module, "LIST_SECONDS", 0.0)
    slow = run_view.read_view

    def slowly(run_id: str, reader: RunReader) -> run_view.RunView:
        time.sleep(0.1)
        return slow(run_id, reader)

    monkeypatch.setattr(run_view, "read_view", slowly)
    wait(lambda: bool(posted.of(RunsChanged)))
    posted.messages.clear()
    poller.watch([run.id for run in store.runs()])
    with fixed_clock():
        make_run(store.root, "20260921-150000-ant-angle-mopo-s90-zzzz", seed=90, created=START + 99, until=0.1)
    wait(lambda: len(ids_of(posted.of(ViewChanged))) == SEEDS)
    kinds = [type(message) for message in posted.messages]
    assert kinds.index(RunsChanged) < max(i for i, kind in enumerate(kinds) if kind is ViewChanged) - 1


def test_a_brief_log_is_its_end_in_whole_lines(store: Store, poller: Poller, posted: Posted) -> None:
    run: Run = store.runs()[0]
    lines = [f"line {i} " + "x" * 40 for i in range(1000)]
    (run.folder / record.CONSOLE).write_text("\n".join(lines) + "\n")
    poller.watch_log(run, brief=True)
    wait(lambda: bool(posted.of(LogChanged)))
    brief = list(posted.of(LogChanged)[-1].lines)
    assert 50 < len(brief) < 1000
    assert brief == lines[-len(brief) :]
    poller.watch_log(run)
    wait(lambda: len(posted.of(LogChanged)[-1].lines) == 1000)


def test_a_short_log_is_whole_however_little_is_read(tmp_path: Path) -> None:
    (tmp_path / record.CONSOLE).write_text("one\ntwo\n")
    tail = LogTail(tmp_path, most_bytes=8)
    assert tail.look()
    assert tail.lines == ["one", "two"]
