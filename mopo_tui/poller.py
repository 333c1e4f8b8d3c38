"""The one reader: a thread that looks into the store and posts what changed. Widgets never open a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textual.app import App
from textual.message import Message

from mopo_tui.log_view import MOST_BYTES, LogTail
from mopo_tui.machine import Load, Machine
from mopo_tui.manager import Run, Store
from mopo_tui.manager.filters import FilterError, ordered, select
from mopo_tui.manager.index import Listed, Listing, Values
from mopo_tui.manager.jobs import Job
from mopo_tui.manager.rows import Row, differences, rows_of
from mopo_tui.run_view import Readers, RunView

LIST_SECONDS = 1.0
ARRANGE_SECONDS = (
    5.0  # between two looks at what a filter or an order asks of runs that their folders' small files do not tell
)
WATCHED_SECONDS = 0.5
AT_ONCE_SECONDS = 0.25  # of reading watched runs, after which the list and other wishes have their turn
BRIEF_LOG_BYTES = 8_000
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
    """Reads the list of runs about once a second, earlier where a run came or went, and the watched runs' rows twice a second, in a
    thread of its own.

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
        self._turn = 0  # which of the watched runs is read next
        self._log_wanted: tuple[Run, int] | None = None  # with the bytes of it that matter
        self._log: tuple[tuple[str, int], LogTail] | None = None
        self._look_now = False
        self._due = 0.0
        self._advance_due = 0.0
        self._listing: Listing | None = None
        self._listed: Sequence[Listed] | None = None
        self._arrange_due = 0.0
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
            if wanted == self._watched:
                return
            self._fresh |= set(wanted) - set(self._watched)
            self._watched, self._turn = wanted, 0
        self._wake.set()

    def look(self) -> None:
        """Read the list of runs now, after something was started or stopped."""
        self._look_now = True
        self._wake.set()

    def watch_queue(self, wanted: bool) -> None:
        """Read the queue from now on, or no longer."""
        self._queue_wanted = wanted
        self._wake.set()

    def watch_log(self, run: Run | None, brief: bool = False) -> None:
        """Read this run's log from now on, or none; posted at once, and whenever it grows.

        Args:
            brief: its last lines are enough.
        """
        wanted = None if run is None else (run, BRIEF_LOG_BYTES if brief else MOST_BYTES)
        with self._lock:
            known, self._log_wanted = self._log_wanted, wanted
        if (wanted and (wanted[0].id, wanted[1])) != (known and (known[0].id, known[1])):
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
        if time.monotonic() >= self._due or self._look_now or (self._listing is not None and self._listing.stirred()):
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
        run, most_bytes = wanted
        first = self._log is None or self._log[0] != (run.id, most_bytes)
        if self._log is None or first:
            self._log = ((run.id, most_bytes), LogTail(run.folder, most_bytes))
        tail = self._log[1]
        if tail.look() or first:
            self._post(LogChanged(run.id, tail.lines))

    def _list(self) -> None:
        self._listing = self._listing or Listing(self._store)
        listed = self._listing.look()
        with self._lock:
            wanted, self._wanted = self._wanted, None
        # Metrics and ages are told by no folder's small files.
        due = bool(self._arrangement.filter or self._arrangement.sort) and time.monotonic() >= self._arrange_due
        if listed is self._listed and wanted is None and not due:
            return
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
        self._listed, self._arrange_due = listed, time.monotonic() + ARRANGE_SECONDS
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

    def _read_watched(self, readers: Readers, folders: Mapping[str, Path]) -> None:
        """What is new of the watched runs, in turns: where that takes long, as at the first look at large ones, the others are read
        at the next look, which comes at once."""
        with self._lock:
            watched, turn, self._turn = self._watched, self._turn, 0
        readers.hold(len(watched))
        begun = time.monotonic()
        for done, run_id in enumerate((*watched[turn:], *watched[:turn])):
            if done and time.monotonic() - begun > AT_ONCE_SECONDS:
                with self._lock:
                    if self._watched == watched:
                        self._turn = (turn + done) % len(watched)
                self._wake.set()
                return
            if run_id not in folders:
                continue
            view = readers.refresh(run_id, folders[run_id])
            with self._lock:
                fresh = run_id in self._fresh
                self._fresh.discard(run_id)
            if view is None and fresh:
                view = readers.again(run_id)
            if view is not None:
                self._post(ViewChanged(view))

    def _post(self, message: Message) -> None:
        if not self._ended.is_set():
            self._app.post_message(message)
