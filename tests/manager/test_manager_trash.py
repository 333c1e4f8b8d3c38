"""The trash: what goes there, what may not, and the way back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import record
from mopo_tui.manager import Run, RunNotFound, RunState, Store, StoreError, trash
from mopo_tui.manager.locks import locked
from mopo_tui.manager.state import SUPERVISOR_LOCK


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but locks, by path."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_run_goes_and_comes_back_as_it_was(make_run: Callable[..., Run], store: Store) -> None:
    run, other = make_run("one"), make_run("two")
    before = contents(run.folder)
    trash.remove(store, run)
    assert [r.id for r in store.runs()] == [other.id]
    with pytest.raises(RunNotFound):
        store.find("one")
    there = trash.find(store, "one")
    assert there.id == run.id
    assert trash.restore(store, there) == run
    assert contents(run.folder) == before
    assert trash.trash_of(store).runs() == []


def test_a_run_at_work_stays(supervised: Callable[..., Run], state_within: Callable[..., Run], store: Store) -> None:
    run = supervised("time.sleep(600)")
    state_within(run, RunState.RUNNING)
    with pytest.raises(StoreError, match=f"is running: `mopo stop {run.id[-4:]}` first"):
        trash.remove(store, store.run(run.id))
    with pytest.raises(StoreError, match=r"is running|is being started"):
        trash.remove(store, run)  # as it was seen before it began
    assert store.run(run.id).state is RunState.RUNNING


def test_a_run_that_a_supervisor_has_just_taken_stays(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run()
    with locked(run.folder / SUPERVISOR_LOCK, 1.0), pytest.raises(StoreError, match="is being started"):
        trash.remove(store, run)
    assert run.folder.is_dir()


def test_a_waiting_run_leaves_the_queue(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run()
    store.queue.put(run.id, 1)
    trash.remove(store, run)
    assert store.queue.waiting() == []
    assert trash.restore(store, trash.find(store, run.id)).state is RunState.QUEUED


def test_what_is_no_run_or_lies_elsewhere_is_not_removed(make_run: Callable[..., Run], store: Store) -> None:
    (store.root / "photos").mkdir()
    (store.root / "photos" / "a.png").touch()
    with pytest.raises(StoreError, match="only runs are removed"):
        trash.remove(store, store.run("photos"))
    shipped = make_run()
    (store.root / "reference").mkdir()
    shutil.move(shipped.folder, store.root / "reference" / shipped.id)
    with pytest.raises(StoreError, match="by hand"):
        trash.remove(store, store.run(shipped.id))
    elsewhere = Store.open(store.root.parent / "elsewhere")
    with pytest.raises(StoreError, match="by hand"):
        trash.remove(elsewhere, make_run())
    assert (store.root / "photos" / "a.png").exists()
    assert not (store.root / trash.FOLDER).exists()


def test_a_torn_run_is_removed(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run()
    (run.folder / record.RUN).write_text("{")
    trash.remove(store, store.run(run.id))
    assert store.runs() == []


def test_nothing_is_overwritten_on_either_way(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run("kept")
    shutil.copytree(run.folder, store.root / trash.FOLDER / run.id)
    with pytest.raises(StoreError, match="--empty-trash"):
        trash.remove(store, run)
    with pytest.raises(StoreError, match="exists already"):
        trash.restore(store, trash.find(store, run.id))


def test_the_trash_is_emptied_whatever_lies_there(make_run: Callable[..., Run], store: Store) -> None:
    kept, gone = make_run(), make_run()
    trash.remove(store, gone)
    folder = store.root / trash.FOLDER
    (folder / "link").symlink_to(kept.folder)
    (folder / "note.txt").write_text("x")
    assert record.bytes_of(folder) > 100
    trash.empty(store)
    assert os.listdir(folder) == []
    assert store.runs() == [kept]
    trash.empty(Store(store.root.parent / "nowhere"))


def test_a_reference_never_leaves_the_trash(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run()
    for reference in (f"../{run.id}", "..", run.id):
        with pytest.raises(RunNotFound, match=r"`mopo restore` lists what is there"):
            trash.find(store, reference)
