"""The one reader: a thread that looks into the store and posts what changed. Widgets never open a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from pathlib import Path

from textual.app import App
from textual.message import Message

from mopo_tui.manager import Run, Store
from mopo_tui.run_view import Readers, RunView

LIST_SECONDS = 1.0
WATCHED_SECONDS = 0.5
ADVANCE_SECONDS = 3.0


class RunsChanged(Message):
    """The list of runs differs from the one posted before."""

    def __init__(self, runs: tuple[Run, ...]) -> None:
        super().__init__()
        self.runs = runs


class ViewChanged(Message):
    """A watched run has new rows."""

    def __init__(self, view: RunView) -> None:
        super().__init__()
        self.view = view


class ReadFailed(Message):
    """The store could not be read; the poller goes on trying. Posted once for each new reason."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class Poller:
    """Reads the list of runs about once a second, and the watched runs' rows twice a second, in a thread of its own.

    Polling with stat and read, not inotify: that stays silent on network file systems.
    """

    def __init__(self, app: App[None], store: Store) -> None:
        self._app = app
        self._store = store
        self._lock = threading.Lock()
        self._watched: tuple[str, ...] = ()
        self._fresh: set[str] = set()
        self._look_now = False
        self._due = 0.0
        self._advance_due = 0.0
        self._runs: tuple[Run, ...] | None = None
        self._wake = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin reading."""
        threading.Thread(target=self._loop, name="poller", daemon=True).start()

    def end(self) -> None:
        """Stop reading; posts nothing more."""
        self._ended.set()
        self._wake.set()

    def watch(self, run_ids: Iterable[str]) -> None:
        """Read these runs' rows from now on, and no others; each is posted at once."""
        wanted = tuple(run_ids)
        with self._lock:
            self._fresh |= set(wanted) - set(self._watched)
            self._watched = wanted
        self._wake.set()

    def look(self) -> None:
        """Read the list of runs now, after something was started or stopped."""
        self._look_now = True
        self._wake.set()

    def _loop(self) -> None:
        readers = Readers()
        failed = ""
        while not self._ended.is_set():
            self._wake.clear()
            try:
                self._look(readers)
                failed = ""
            except (
                Exception
            ) as error:  # a thread that dies would leave a screen that looks alive and never changes again
                reason = f"{type(error).__name__}: {error}"
                if reason != failed:
                    failed = reason
                    self._post(ReadFailed(reason))
            self._wake.wait(WATCHED_SECONDS)

    def _look(self, readers: Readers) -> None:
        if time.monotonic() >= self._advance_due or self._look_now:
            self._store.advance()  # whatever waits and has room now begins, while the app is open
            self._advance_due = time.monotonic() + ADVANCE_SECONDS
        if time.monotonic() >= self._due or self._look_now:
            self._look_now = False
            runs = tuple(self._store.runs())
            if runs != self._runs:
                self._runs = runs
                self._post(RunsChanged(runs))
            self._due = time.monotonic() + LIST_SECONDS
        self._read_watched(readers, {run.id: run.folder for run in self._runs or ()})

    def _read_watched(self, readers: Readers, folders: dict[str, Path]) -> None:
        with self._lock:
            watched, fresh, self._fresh = self._watched, self._fresh, set()
        for run_id in watched:
            if run_id not in folders:
                continue
            view = readers.refresh(run_id, folders[run_id])
            if view is None and run_id in fresh:
                view = readers.again(run_id)
            if view is not None:
                self._post(ViewChanged(view))

    def _post(self, message: Message) -> None:
        if not self._ended.is_set():
            self._app.post_message(message)
