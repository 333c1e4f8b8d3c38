"""The derived index: it never shows anything that the folders do not say, and may be lost, torn or forged at any time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from many_runs import write_run, write_store

from engine import record
from mopo_tui.manager import Run, RunState, Store, index
from mopo_tui.manager.index import INDEX, VALUES, Values, listing
from mopo_tui.manager.run import read_run


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were just written count as settled, so that a test need not wait."""
    monkeypatch.setattr(index, "SETTLED_SECONDS", -1.0)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs whose folders were read."""
    read: list[str] = []

    def counting(folder: Path) -> Run:
        read.append(folder.name)
        return read_run(folder)

    monkeypatch.setattr(index, "read_run", counting)
    return read


@pytest.mark.usefixtures("settled")
def test_the_index_says_what_the_folders_say(store: Store, reads: list[str]) -> None:
    write_store(store.root, 40)
    first = listing(store)
    assert len(reads) == 40
    assert [listed.run for listed in first] == store.runs()
    assert len({listed.setting for listed in first}) == 8
    reads.clear()
    assert listing(store) == first
    over = {RunState.FINISHED, RunState.FAILED, RunState.STOPPED}
    assert set(reads) == {listed.run.id for listed in first if listed.run.state not in over}
    assert {listed.run.state for listed in first} == over | {RunState.QUEUED, RunState.LOST}


@pytest.mark.usefixtures("settled")
def test_nought_and_nothing_stay_apart(store: Store) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    summary = record.read_json(folder / record.SUMMARY) or {}
    record.write_json(folder / record.SUMMARY, {**summary, "score_last": 0.0, "return_last": 0.0, "return_best": None})
    for _ in range(2):
        run = listing(store)[0].run
        assert (run.score_last, run.return_last, run.return_best, run.returncode) == (0.0, 0.0, None, 0)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("name", [record.RUN, record.META, record.SUMMARY, record.RESULT, record.EXIT, record.PROCESS])
def test_every_small_file_that_changes_is_seen(store: Store, name: str) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    listing(store)
    values = record.read_json(folder / name) or {}
    if name == record.RESULT:  # of an attempt before this one: the run is no longer finished by it
        record.write_json(folder / name, {**values, "t": 1.0})
    elif name == record.EXIT:
        record.write_json(folder / name, {**values, "returncode": 5})
    else:
        change = {record.RUN: {"seed": 7}, record.META: {"tags": ["x"]}, record.PROCESS: {"attempt": 9}}
        record.write_json(folder / name, {**values, **change.get(name, {"return_last": 1.5})})
    assert listing(store)[0].run == read_run(folder)


@pytest.mark.usefixtures("settled")
def test_a_stopped_run_that_waits_again_is_queued(store: Store) -> None:
    folder = write_run(store.root, 11, "stopped", 1)
    assert [listing(store)[0].run.state for _ in range(2)] == [RunState.STOPPED] * 2
    store.queue.put(folder.name, 1)
    assert listing(store)[0].run.state is RunState.QUEUED
    store.queue.take_out(folder.name)
    assert listing(store)[0].run.state is RunState.STOPPED


@pytest.mark.usefixtures("settled")
def test_another_configuration_is_another_setting(store: Store) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    before = listing(store)[0].setting
    path = folder / record.CONFIG
    path.write_text(path.read_text().replace("length = 5", "length = 1"))
    after = listing(store)[0].setting
    assert after
    assert after != before


def test_a_file_of_this_moment_is_not_trusted_to_stay(store: Store, reads: list[str]) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    listing(store)
    listing(store)
    assert reads == [folder.name] * 2
    past = time.time() - 60
    for path in folder.iterdir():
        os.utime(path, (past, past))
    for _ in range(3):
        listing(store)
    assert reads == [folder.name] * 3


def test_a_clock_set_back_only_costs_time(store: Store, reads: list[str]) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    for path in folder.iterdir():
        os.utime(path, (time.time() + 86_400,) * 2)
    assert [listing(store)[0].run.state for _ in range(2)] == [RunState.FINISHED] * 2
    assert len(reads) == 2


def _forged(**run: Any) -> Callable[[dict[str, Any]], object]:
    def forge(whole: dict[str, Any]) -> object:
        for entry in whole["runs"].values():
            entry["run"].update(run)
        return whole

    return forge


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize(
    "forge",
    [
        _forged(name="\x1b[2Jgone"),
        _forged(seed="7"),
        _forged(eta_s=float("inf")),
        _forged(state="running"),
        _forged(state=["finished"]),
        _forged(tags=["a", "\x07"]),
        _forged(summary=[]),
        _forged(folder="/etc"),
        lambda whole: {**whole, "runs": []},
        lambda whole: {**whole, "runs": dict.fromkeys(whole["runs"], 5)},
        lambda whole: {**whole, "version": "0"},
        lambda whole: [whole],
    ],
)
def test_an_index_that_somebody_forged_is_made_again(store: Store, forge: Callable[[Any], object]) -> None:
    write_run(store.root, 0, "finished", 1)
    first = listing(store)
    whole = (store.root / INDEX).read_text()
    (store.root / INDEX).write_text(json.dumps(forge(json.loads(whole))))
    assert listing(store) == first
    assert (store.root / INDEX).read_text() == whole


@pytest.mark.usefixtures("settled")
def test_a_torn_or_deleted_index_is_made_again(store: Store) -> None:
    write_store(store.root, 5)
    first = listing(store)
    path = store.root / INDEX
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"\xff\xfe", None):
        path.unlink() if content is None else path.write_bytes(content)
        assert listing(store) == first
        assert path.read_bytes() == whole


@pytest.mark.usefixtures("settled")
def test_an_index_of_another_version_of_the_program_is_made_again(
    store: Store, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(store.root, 0, "finished", 1)
    listing(store)
    monkeypatch.setattr(index, "_version", lambda: "newer")
    for _ in range(2):
        listing(store)
    assert len(reads) == 2
    assert set(index._READERS) == {
        name for name in index._READERS if (Path(index.__file__).parents[2] / name).is_file()
    }


@pytest.mark.usefixtures("settled")
def test_runs_that_went_leave_the_index(store: Store) -> None:
    folders = write_store(store.root, 5)
    listing(store)
    shutil.rmtree(folders[0])
    assert len(listing(store)) == 4
    assert folders[0].name not in (store.root / INDEX).read_text()


@pytest.mark.usefixtures("settled")
def test_a_store_that_cannot_be_written_is_listed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    write_store(store.root, 5)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(record, "write_atomically", refuse)
    assert len(listing(store)) == 5
    values = Values(store)
    assert values.last(store.runs()[3])["policy/q"]
    values.save()
    assert not (store.root / INDEX).exists()
    assert not (store.root / VALUES).exists()


def test_writers_at_once_leave_a_whole_index(store: Store) -> None:
    write_store(store.root, 30)
    code = """
import sys
from pathlib import Path
from mopo_tui.manager import Store, index
index.SETTLED_SECONDS = -1.0
store = Store(Path(sys.argv[1]))
for _ in range(20):
    (store.root / index.INDEX).unlink(missing_ok=True)
    assert len(index.listing(store)) == 30
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(store.root)]) for _ in range(3)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert len(json.loads((store.root / INDEX).read_text())["runs"]) == 30
    assert [path for path in store.root.iterdir() if path.name.endswith(".tmp")] == []


# --- settings and last values -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("settled")
def test_last_values_go_on_where_they_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(store.root, 0, "finished", 3)
    run = read_run(folder)
    values = Values(store)
    assert values.last(run)["policy/q"] == pytest.approx(
        record.read_rows(folder / record.METRICS)[0][-1]["m"]["policy/q"]
    )
    values.save()
    offsets: list[int] = []
    original = record.read_rows

    def reading(path: Path, offset: int = 0) -> tuple[list[dict[str, Any]], int]:
        offsets.append(offset)
        return original(path, offset)

    monkeypatch.setattr(record, "read_rows", reading)
    size = (folder / record.METRICS).stat().st_size
    assert Values(store).last(run)["policy/q"] == values.last(run)["policy/q"]
    assert offsets == []
    record.append_row(folder / record.METRICS, {"step": 5000, "m": {"policy/q": 2.5, "eval/return": "NaN"}})
    with open(folder / record.METRICS, "a") as f:
        f.write('{"step": 6000, "m": {"policy/q": 9')  # torn: not yet
    last = Values(store).last(run)
    assert (last["policy/q"], last["eval/return"]) == (2.5, None)
    assert last["rollout/reward"] is not None
    assert offsets == [size]


@pytest.mark.usefixtures("settled")
def test_a_file_of_metrics_that_was_replaced_is_read_from_its_start(store: Store) -> None:
    folder = write_run(store.root, 0, "finished", 30)
    values = Values(store)
    values.last(read_run(folder))
    values.save()
    (folder / record.METRICS).unlink()
    record.append_row(folder / record.METRICS, {"step": 1, "m": {"policy/q": 1.0}})
    assert Values(store).last(read_run(folder)) == {"policy/q": 1.0}


@pytest.mark.usefixtures("settled")
def test_settings_are_kept_until_the_configuration_changes(store: Store) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    run = read_run(folder)
    for _ in range(2):
        values = Values(store)
        assert values.settings(run)["rollout.length"] == 5
        values.save()
    record.write_json(folder / record.EXTENSION, {"epochs": 777, "after": 1.0})
    assert Values(store).settings(run)["policy.epochs"] == 777
