"""Runs that were removed: folders below .trash in their store, until it is emptied."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from engine import record
from mopo_tui.manager import locks
from mopo_tui.manager.run import Run, read_run
from mopo_tui.manager.state import SUPERVISOR_LOCK, RunState
from mopo_tui.manager.store import RunNotFound, Store, StoreError

FOLDER = ".trash"


def trash_of(store: Store) -> Store:
    """The store's trash, as a store of its own; it need not exist."""
    return Store(store.root / FOLDER)


def check_removable(store: Store, run: Run) -> None:
    """
    Raises:
        StoreError: the run is at work, ships with the store, lies elsewhere, or its folder is none of a run.
    """
    if not store.owns(run):
        raise StoreError(f"{run.folder} does not lie in the store {store.root}: remove it by hand")
    if run.state in (RunState.RUNNING, RunState.PAUSED):
        raise StoreError(f"{run.id} is {run.state.value}: `mopo stop {run.id[-4:]}` first")
    if run.problem and not any((run.folder / name).exists() for name in (record.RUN, record.CONFIG, record.CONSOLE)):
        raise StoreError(f"{run.id}: {run.problem}; only runs are removed")


def remove(store: Store, run: Run) -> Path:
    """Move the run to the trash, out of the queue first if it waits; returns where it lies now.

    Raises:
        StoreError: as `check_removable`, one of that id lies there already, or the folder cannot be moved.
    """
    check_removable(store, run)
    target = store.root / FOLDER / run.folder.name
    if os.path.lexists(target):
        raise StoreError(f"{run.id}: the trash has a run of that id already; `mopo rm --empty-trash` empties it")
    try:
        target.parent.mkdir(exist_ok=True)
        if run.state is RunState.QUEUED:
            store.queue.take_out(run.id)
        (run.folder / record.CONTROL).mkdir(exist_ok=True)
        # No supervisor begins while its lock is held here; one that began since the look above holds it.
        with locks.locked(run.folder / SUPERVISOR_LOCK, 0.0):
            check_removable(store, read_run(run.folder))
            os.rename(run.folder, target)
    except locks.Busy:
        raise StoreError(f"{run.id} is being started: `mopo stop {run.id[-4:]}` first") from None
    except OSError as error:
        raise StoreError(f"{run.folder}: cannot be moved to the trash: {error.strerror}") from None
    return target


def find(store: Store, reference: str) -> Run:
    """The run in the trash that `reference` means, as `Store.find` takes it.

    Raises:
        RunNotFound: none, or several.
    """
    try:
        return trash_of(store).find(reference)
    except RunNotFound as error:
        raise RunNotFound(str(error).replace("`mopo ls` lists them", "`mopo restore` lists what is there")) from None


def restore(store: Store, run: Run) -> Run:
    """Move a run out of the trash, to where it was.

    Raises:
        StoreError: a run of that id is there, or the folder cannot be moved.
    """
    target = store.root / run.folder.name
    if os.path.lexists(target):
        raise StoreError(f"{target} exists already")
    try:
        os.rename(run.folder, target)
    except OSError as error:
        raise StoreError(f"{run.folder}: cannot be moved back: {error.strerror}") from None
    return read_run(target)


def empty(store: Store) -> None:
    """Delete everything in the trash, for good.

    Raises:
        StoreError: something cannot be deleted.
    """
    folder = store.root / FOLDER
    try:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    except OSError as error:
        raise StoreError(f"{error.filename}: cannot be deleted: {error.strerror}") from None
