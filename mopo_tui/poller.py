"""The one reader: a thread that looks into the store and posts what changed. Widgets never open a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textual.app import App
from textual.message import Message

from mopo_tui.log_view import LogTail
from mopo_tui.machine import Load, Machine
from mopo_tui.manager import Run, Store
from mopo_tui.manager.filters import FilterError, ordered, select
from mopo_tui.manager.index import Listed, Values, listing
from mopo_tui.manager.queue import Job
from mopo_tui.manager.rows import Row, differences, rows_of
from mopo_tui.run_view import Readers, RunView

LIST_SECONDS = 1.0
WATCHED_SECONDS = 0.5
ADVANCE_SECONDS = 3.0
MACHINE_SECONDS = 2.0


@dataclass(frozen=True)
class Arrangement:
    """Which runs are listed and in which order.

    Attributes:
        filter: as `manager.filters` reads it; empty for all runs.
        sort: a field, a configuration key or a metric; empty for the newest first.
    """

    filter: str = ""
    sort: str = ""
    reverse: bool = False


@dataclass(frozen=True)
class Overview:
    """The store at one moment, as it is listed.

    Attributes:
        runs: all runs, newest first.
        rows: seeds of one setting in one row, those that the filter leaves.
        told: by the id of a row's newest run, the values that tell it from rows of the same name.
    """

    runs: tuple[Run, ...] = ()
    rows: tuple[Row, ...] = ()
    told: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    arrangement: Arrangement = Arrangement()


class RunsChanged(Message):
    """The list of runs differs from the one posted before, or is arranged in another way."""

    def __init__(self, overview: Overview) -> None:
        super().__init__()
        self.overview = overview


@dataclass(frozen=True)
class QueueView:
    """The queue at one moment: claimed jobs, waiting ones in their order, and slots of this host."""

    at_work: tuple[Job, ...]
    waiting: tuple[Job, ...]
    used: int
    slots: int


class QueueChanged(Message):
    """The watched queue is another one now."""

    def __init__(self, view: QueueView) -> None:
        super().__init__()
        self.view = view


class LogChanged(Message):
    """The watched log has new lines. `lines` is never changed afterwards."""

    def __init__(self, run_id: str, lines: Sequence[str]) -> None:
        super().__init__()
        self.run_id, self.lines = run_id, lines


class MachineChanged(Message):
    """The host is more or less busy than it was."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self.load = load


class ArrangeFailed(Message):
    """A filter or an order that means nothing; the list stays as it was."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


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
        self.machine = Machine()
        self._machine_due = 0.0
        self._lock = threading.Lock()
        self._watched: tuple[str, ...] = ()
        self._fresh: set[str] = set()
        self._queue_wanted = False
        self._queue: QueueView | None = None
        self._log_wanted: Run | None = None
        self._log: tuple[str, LogTail] | None = None
        self._look_now = False
        self._due = 0.0
        self._advance_due = 0.0
        self._overview: Overview | None = None
        self._arrangement = Arrangement()
        self._wanted: Arrangement | None = None
        self._values: Values | None = None  # for filters and orders, once there are any
        self._wake = threading.Event()
        self._ended = threading.Event()

    def start(self) -> None:
        """Begin reading."""
        self.machine.begin()
        self._machine_due = time.monotonic() + WATCHED_SECONDS
        threading.Thread(target=self._loop, name="poller", daemon=True).start()

    def end(self) -> None:
        """Stop reading; posts nothing more."""
        self.machine.end()
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

    def watch_queue(self, wanted: bool) -> None:
        """Read the queue from now on, or no longer."""
        self._queue_wanted = wanted
        self._wake.set()

    def watch_log(self, run: Run | None) -> None:
        """Read this run's log from now on, or none; posted at once, and whenever it grows."""
        with self._lock:
            self._log_wanted = run
        self._wake.set()

    def arrange(self, arrangement: Arrangement) -> None:
        """List the runs in that way from now on; answered by `RunsChanged`, or by `ArrangeFailed` where it means nothing."""
        with self._lock:
            self._wanted = arrangement
        self.look()

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
        if time.monotonic() >= self._machine_due:
            self._machine_due = time.monotonic() + MACHINE_SECONDS
            self._post(MachineChanged(self.machine.look()))
        if time.monotonic() >= self._advance_due or self._look_now:
            self._store.advance()  # whatever waits and has room now begins, while the app is open
            self._advance_due = time.monotonic() + ADVANCE_SECONDS
        if time.monotonic() >= self._due or self._look_now:
            self._look_now = False
            self._list()
            self._due = time.monotonic() + LIST_SECONDS
        runs = self._overview.runs if self._overview is not None else ()
        self._read_watched(readers, {run.id: run.folder for run in runs})

        self._read_log()
        self._read_queue()

    def _read_queue(self) -> None:
        if not self._queue_wanted:
            self._queue = None
            return
        queue = self._store.queue
        view = QueueView(tuple(queue.claimed()), tuple(queue.waiting()), queue.used(), queue.slots())
        if view != self._queue:
            self._queue = view
            self._post(QueueChanged(view))

    def _read_log(self) -> None:
        with self._lock:
            wanted = self._log_wanted
        if wanted is None:
            self._log = None
            return
        first = self._log is None or self._log[0] != wanted.id
        if self._log is None or first:
            self._log = (wanted.id, LogTail(wanted.folder))
        tail = self._log[1]
        if tail.look() or first:
            self._post(LogChanged(wanted.id, tail.lines))

    def _list(self) -> None:
        listed = listing(self._store)
        with self._lock:
            wanted, self._wanted = self._wanted, None
        overview = None
        if wanted is not None:
            try:
                overview = self._arranged(listed, wanted)
            except FilterError as error:
                self._post(ArrangeFailed(str(error)))
            else:
                self._arrangement = wanted
        if overview is None:
            overview = self._arranged(listed, self._arrangement)
        if overview != self._overview:
            self._overview = overview
            self._post(RunsChanged(overview))
        if wanted is not None and self._values is not None:
            self._values.save()

    def _arranged(self, listed: Sequence[Listed], how: Arrangement) -> Overview:
        """
        Raises:
            FilterError: the filter or the order means nothing.
        """
        values = self._values = self._values or Values(self._store)
        chosen = select(how.filter, listed, values) if how.filter else listed
        rows = rows_of(chosen, listed, opened=False)
        if how.sort:
            rows = ordered(rows, how.sort, listed, values, reverse=how.reverse)
        runs = tuple(each.run for each in listed)
        return Overview(runs, tuple(rows), differences(rows, values), how)

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
