"""Following a run from its launch to its end: progress on stderr, results on stdout."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from engine import record
from mopo_tui.cli import errors, output
from mopo_tui.manager.run import number_of, read_run
from mopo_tui.manager.state import RunState, clean, log_tail

if TYPE_CHECKING:
    from mopo_tui.manager import Run, Store

POLL_SECONDS = 0.25
PLAIN_SECONDS = 10.0
QUEUE_SECONDS = 2.0
LOG_LINES = 15
_TOLD = ("waiting", "dataset", "elites", "evaluation", "alert", "stopped")


class View(Protocol):
    """How progress is shown."""

    def show(self, run: Run) -> None: ...
    def say(self, line: str) -> None: ...
    def end(self) -> None: ...


def follow(store: Store, run: Run, *, as_json: bool = False, events_from: int = 0, bell: bool = False) -> int:
    """Show the run's progress until it ends, then its result; returns the exit code of the command.

    The first Ctrl-C (or SIGTERM) asks the run to stop and waits for it, the second aborts it. One that waits leaves the queue.

    Args:
        events_from: byte of events.jsonl from which on its events are of this attempt.
        bell: ring at the end.
    """
    narrate = output.narrate if as_json else print
    narrate(str(run.folder))
    sys.stdout.flush()
    interrupts = _Interrupts(store, [run])
    queue = _QueueTurner(store)
    view: View = LiveView() if sys.stderr.isatty() else PlainView()
    offset = events_from
    try:
        while True:
            now = read_run(run.folder)
            rows, offset = record.read_rows(run.folder / record.EVENTS, offset)
            for row in rows:
                if row.get("kind") in _TOLD:
                    view.say(clean(str(row.get("message", ""))))
            if now.state.over:
                view.show(now)
                break
            if now.state is RunState.QUEUED:
                queue.turn()
            else:
                view.show(now)
            interrupts.act(view.say)
            time.sleep(POLL_SECONDS)
    finally:
        view.end()
        interrupts.restore()
    if as_json:
        _report_failure(now)
        output.document(
            {
                "id": now.id,
                "folder": str(now.folder),
                "state": now.state.value,
                "reason": now.reason,
                "result": now.result,
            }
        )
    else:
        from mopo_tui.cli.result import print_result

        if now.state is RunState.FINISHED:
            print_result(now)
        else:
            _report_failure(now)
        print(str(now.folder))
    if bell:
        ring(f"{now.name}: {now.state.value}")
    return exit_code(now, interrupts.first)


def follow_all(store: Store, runs: Sequence[Run], *, as_json: bool = False, bell: bool = False) -> int:
    """One line for each change of a run's state until all have ended, then a line for each run on stdout.

    Returns 0 where all finished; 130 or 143 after an interrupt, which stops all of them; else 1.
    """
    interrupts = _Interrupts(store, runs)
    try:
        now = wait_for_all(store, runs, lambda: interrupts.act(output.narrate))
    finally:
        interrupts.restore()
    if as_json:
        output.document([run.to_json() for run in now])
    else:
        for run in now:
            print(f"{run.id}  {run.state.value}{_final(run)}")
    finished = sum(run.state is RunState.FINISHED for run in now)
    if bell:
        ring(f"{finished} of {len(now)} runs finished")
    if finished == len(now):
        return errors.OK
    if interrupts.first is not None:
        return errors.TERMINATED if interrupts.first == signal.SIGTERM else errors.INTERRUPTED
    return errors.FAILED


def wait_for_all(
    store: Store, runs: Sequence[Run], between: Callable[[], None] = lambda: None, until: float = math.inf
) -> list[Run]:
    """Tell each change of a run's state in one line, until all have ended or `until` (of the monotonic clock) has come."""
    told: dict[str, RunState] = {run.id: RunState.QUEUED for run in runs}
    now, queue = list(runs), _QueueTurner(store)
    while True:
        # One that has ended stays as it was: a person may already have started it again.
        now = [run if told[run.id].over else read_run(run.folder) for run in now]
        for run in now:
            if told[run.id] is not run.state:
                told[run.id] = run.state
                reason = run.problem or run.reason
                what = run.state.value + (f": {reason}" if run.state.over and reason else "") + _final(run)
                output.narrate(f"{time.strftime('%H:%M:%S')} {run.id} {run.name} {what}")
        if all(run.state.over for run in now) or time.monotonic() >= until:
            return now
        between()
        if any(run.state is RunState.QUEUED for run in now):
            queue.turn()
        time.sleep(POLL_SECONDS)


def _final(run: Run) -> str:
    """The score that a finished run ended with."""
    final = (run.result or {}).get("final")
    value = number_of(final, "return") if isinstance(final, dict) else None
    return "" if value is None else f"  return {output.number(value)}"


def ring(message: str) -> None:
    """The terminal's bell, and the notice that some terminals show (OSC 9)."""
    if sys.stderr.isatty():
        print(f"\a\x1b]9;{clean(message)}\x07", end="", file=sys.stderr, flush=True)


class _QueueTurner:
    """Keeps the queue going while a person waits: the supervisor that should have may have been killed."""

    def __init__(self, store: Store) -> None:
        self._store, self._due = store, 0.0

    def turn(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + QUEUE_SECONDS
            self._store.advance()


def exit_code(run: Run, interrupted_by: int | None = None) -> int:
    """0 finished; what the engine said of its failure; 130 or 143 for a run that was stopped."""
    if run.state is RunState.FINISHED:
        return errors.OK
    if interrupted_by is not None:
        return errors.TERMINATED if interrupted_by == signal.SIGTERM else errors.INTERRUPTED
    if run.state is RunState.STOPPED:
        return errors.INTERRUPTED if run.returncode == errors.INTERRUPTED else errors.TERMINATED
    return run.returncode if run.returncode in (errors.USAGE, errors.UNAVAILABLE) else errors.FAILED


def _report_failure(run: Run) -> None:
    """Why a run did not finish, with the last lines of its log where these say more."""
    if run.state is RunState.FINISHED:
        return
    output.narrate(f"{run.id} {run.state.value}" + (f": {run.reason}" if run.reason else ""))
    if run.state not in (RunState.FAILED, RunState.LOST):
        return
    lines = log_tail(run.folder, LOG_LINES)
    said = lines[-1].partition("] ")[2] if lines else ""  # the engine's last event: [stage] message
    if said and run.reason.endswith(said):
        lines.pop()
        if not any(line.startswith("Traceback") for line in lines):
            return  # the engine said what is wrong, and its log has no more than that
    if lines:
        output.narrate(f"last lines of {run.folder / record.CONSOLE}:")
    for line in lines:
        output.narrate(f"  {line}")


class _Interrupts:
    """Ctrl-C and SIGTERM while runs are followed."""

    def __init__(self, store: Store, runs: Sequence[Run]) -> None:
        self._store, self._runs = store, runs
        self._count, self._handled = 0, 0
        self.first: int | None = None
        self._old = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._count += 1
        if self.first is None:
            self.first = number

    def restore(self) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    def act(self, say: Callable[[str], None]) -> None:
        """Do what was asked since the last time."""
        if not self._count:
            return
        runs = [run for run in map(read_run, (run.folder for run in self._runs)) if not run.state.over]
        for run in runs:
            # Asked again each time: a request that came before the engine was up may have been taken for an old one.
            self._store.stop(run)
        what = "the run" if len(self._runs) == 1 else f"{len(runs)} runs"
        if self._handled == 0:
            say(f"stopping {what} and waiting for {'it' if len(self._runs) == 1 else 'them'}; Ctrl-C again aborts")
            self._handled = 1
        if self._count > 1 and self._handled == 1:
            self._handled = 2
            say(f"aborting {what}")
            for run in runs:
                self._store.abort(run)


class PlainView:
    """Timestamped lines: at each change of stage, at each event, and every ten seconds."""

    def __init__(self) -> None:
        self._stage = ""
        self._told = time.monotonic()

    def show(self, run: Run) -> None:
        changed = run.stage != self._stage
        if run.stage and (changed or time.monotonic() - self._told >= PLAIN_SECONDS):
            self._stage = run.stage
            percent, detail, speed, eta = _progress_parts(run)
            if changed and not stage_progress(run):
                detail = speed = ""  # those of the stage before, until this one has its own
            self.say(" ".join(part for part in (run.stage, percent, detail, speed, eta) if part))

    def say(self, line: str) -> None:
        self._told = time.monotonic()
        output.narrate(f"{time.strftime('%H:%M:%S')} {line}")

    def end(self) -> None:
        pass


class LiveView:
    """A bar per stage, redrawn in place; events scroll above."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = output.console(sys.stderr)
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=self._console,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._stages: dict[str, Any] = {}
        self._current = ""
        self._progress.start()

    def show(self, run: Run) -> None:
        if not run.stage or run.stage == "start":
            return
        if run.stage not in self._stages:
            if self._current:
                done = self._stages[self._current]
                self._progress.update(done, completed=100.0, detail="")
                self._progress.stop_task(done)
            self._stages[run.stage] = self._progress.add_task(run.stage, total=100.0, detail="")
            self._current = run.stage
        fraction = 1.0 if run.state is RunState.FINISHED else stage_progress(run)
        detail = "" if run.state.over else "  ".join(part for part in _progress_parts(run)[1:] if part)
        self._progress.update(self._stages[run.stage], completed=100.0 * fraction, detail=detail)

    def say(self, line: str) -> None:
        self._console.print(line, soft_wrap=True)

    def end(self) -> None:
        self._progress.stop()


def stage_progress(run: Run) -> float:
    """How far the current stage is, 0 to 1."""
    try:
        return min(1.0, max(0.0, float(run.summary.get("stage_progress", 0.0))))
    except (TypeError, ValueError):
        return 0.0


def _progress_parts(run: Run) -> tuple[str, str, str, str]:
    """Percent of the stage, detail, speed, ETA; empty where unknown."""
    from mopo_tui.manager.run import text_of

    speed = number_of(run.summary, "speed")
    return (
        f"{100 * stage_progress(run):.0f}%",
        text_of(run.summary, "detail"),
        "" if speed is None else f"{speed:,.0f} {text_of(run.summary, 'speed_unit')}".rstrip(),
        "" if run.eta_s is None else f"ETA {output.duration(run.eta_s)}",
    )
