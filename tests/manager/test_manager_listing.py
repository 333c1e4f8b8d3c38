"""Looking at the store again and again: what changed is seen, and nothing else is read."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from many_runs import write_run, write_store

from engine import record
from mopo_tui.manager import Run, RunState, Store, identity, index
from mopo_tui.manager.index import Listing
from mopo_tui.manager.run import read_run

HOUR = 3600.0


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs of which a file was looked at."""
    read: list[str] = []
    real = index._signature

    def counting(folder: Path, names: tuple[str, ...]) -> tuple[str, bool]:
        if folder.name not in read:
            read.append(folder.name)
        return real(folder, names)

    monkeypatch.setattr(index, "_signature", counting)
    return read


def settle(root: Path) -> None:
    """Runs of an hour ago."""
    past = time.time() - HOUR
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (past, past))


@pytest.fixture
def settled(store: Store, monkeypatch: pytest.MonkeyPatch) -> Listing:
    """A store of runs that rest, looked at until only what changed is read. No look compares all files by itself."""
    write_store(store.root, 30)
    settle(store.root)
    monkeypatch.setattr(index, "_WHOLE_LOOKS", 1 << 40)
    seen = Listing(store)
    for _ in range(3):
        seen.look()
    return seen


def run_of(seen: Listing, run_id: str) -> Run:
    return next(listed.run for listed in seen.look() if listed.run.id == run_id)


def test_nothing_is_read_where_nothing_changed(settled: Listing, store: Store, reads: list[str]) -> None:
    before = settled.look()
    assert [listed.run for listed in before] == store.runs()
    assert settled.look() is before
    assert reads == []
    assert not settled.stirred()


def test_a_run_that_comes_or_goes_is_seen(settled: Listing, store: Store, reads: list[str]) -> None:
    before = settled.look()
    folder = write_run(store.root, 100, "queued", 1)
    assert settled.stirred()
    assert [listed.run.id for listed in settled.look()] == [folder.name, *(listed.run.id for listed in before)]
    assert reads == [folder.name]
    shutil.rmtree(folder)
    assert settled.stirred()
    assert settled.look() == before


@pytest.mark.parametrize("name", [record.META, record.SUMMARY, record.RESULT, record.EXIT, record.PROCESS])
def test_a_file_that_is_replaced_is_seen(settled: Listing, store: Store, name: str, reads: list[str]) -> None:
    folder = store.root / settled.look()[-1].run.id
    change = {
        record.META: {"tags": ["x"]}, record.SUMMARY: {"return_last": 1.5}, record.RESULT: {"t": 1.0},
        record.EXIT: {"returncode": 5}, record.PROCESS: {"attempt": 9},
    }  # fmt: skip
    record.write_json(folder / name, {**(record.read_json(folder / name) or {}), **change[name]})
    assert run_of(settled, folder.name) == read_run(folder)
    assert set(reads) == {folder.name}


def test_a_run_that_waits_again_is_seen(settled: Listing, store: Store) -> None:
    run = next(listed.run for listed in settled.look() if listed.run.state is RunState.STOPPED)
    store.queue.put(run.id, 1)
    assert run_of(settled, run.id).state is RunState.QUEUED
    store.queue.take_out(run.id)
    assert run_of(settled, run.id).state is RunState.STOPPED


def test_a_process_that_is_gone_is_seen_without_a_file(settled: Listing, store: Store) -> None:
    folder = write_run(store.root, 100, "lost", 1)
    process = record.read_json(folder / record.PROCESS) or {}
    me = os.getpid()
    alive = {"pid": me, "start_time": identity.start_time(me), "boot_id": identity.boot_id(), "supervisor_pid": me}
    (folder / record.PROCESS).write_text(record.dumps({**process, **alive}))
    settle(store.root)
    for _ in range(3):
        assert run_of(settled, folder.name).state is RunState.RUNNING
    times = os.stat(folder / record.PROCESS), os.stat(folder)
    (folder / record.PROCESS).write_text(record.dumps({**process, **alive, "start_time": "1"}))
    for path, found in zip((folder / record.PROCESS, folder), times, strict=True):
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert run_of(settled, folder.name).state is RunState.LOST


def test_a_file_changed_in_place_is_seen_within_a_round_of_looks(
    settled: Listing, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = store.root / settled.look()[-1].run.id
    meta = folder / record.META
    meta.write_text('{"note": "first"}')
    settle(store.root)
    assert run_of(settled, folder.name).note == "first"
    for _ in range(2):
        settled.look()
    meta.write_text('{"note": "a longer one"}')  # no file came or went: the folder's time is as it was
    assert run_of(settled, folder.name).note == "first"
    monkeypatch.setattr(index, "_WHOLE_LOOKS", 4)
    for _ in range(4):
        settled.look()
    assert run_of(settled, folder.name).note == "a longer one"


def test_what_changed_just_now_is_read_again_until_it_has_settled(store: Store, reads: list[str]) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    seen = Listing(store)
    for _ in range(3):
        reads.clear()
        seen.look()
        assert reads == [folder.name]


def test_a_store_that_vanishes_is_empty_and_comes_back(settled: Listing, store: Store) -> None:
    before = settled.look()
    away = store.root.with_name("away")
    store.root.rename(away)
    assert settled.stirred()
    assert list(settled.look()) == []
    away.rename(store.root)
    assert settled.look() == before
