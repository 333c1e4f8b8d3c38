"""A run's state, told from its folder alone."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager.launcher import lives

HEARTBEAT_MAX_AGE = 90.0  # seconds after which a run on another host counts as gone
# Below control/: requests of the manager, the engine's answer to one, the lock of a run's supervisor, and the mark of a run that
# waits in the queue: {"after": the attempt that was its last one then}. The next attempt makes it void.
STOP_REQUEST, PAUSE_REQUEST, PAUSED_MARK = "control/stop", "control/pause", "control/paused"
STOP_AFTER_REQUEST = "control/stop-after"  # {"update": policy updates after which the run's first attempt ends}
NOW_REQUEST = "control/now"  # to a supervisor that waits for a GPU: begin whether or not there is room
QUEUED_MARK, SUPERVISOR_LOCK = "control/queued", "control/supervisor.lock"
_TAIL_BYTES = 8192


class RunState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    LOST = "lost"
    UNREADABLE = "unreadable"

    @property
    def over(self) -> bool:
        """True where nothing more will come without another attempt."""
        return self not in (RunState.QUEUED, RunState.RUNNING, RunState.PAUSED)


@dataclass(frozen=True)
class Verdict:
    """A state, why (one line; empty where the state says it all), and the engine's exit code where it has one."""

    state: RunState
    reason: str = ""
    returncode: int | None = None


def judge(folder: Path) -> Verdict:
    """The state of the run in `folder`, whose run.json is readable."""
    process = record.read_json(folder / record.PROCESS)
    if process is None:
        if (folder / record.PROCESS).exists():
            return Verdict(RunState.UNREADABLE, f"{record.PROCESS} is no JSON object")
        if record.read_json(folder / record.RESULT) is not None:
            return Verdict(RunState.FINISHED)
        if not (folder / QUEUED_MARK).exists():
            kind, message = _last_words(folder, {})
            if kind == "failed":
                return Verdict(RunState.FAILED, message)
            if (folder / STOP_REQUEST).exists():
                return Verdict(RunState.STOPPED, "taken out of the queue before it began")
            # Made and never put into the queue: whoever made it was killed, or has yet to launch it.
            return Verdict(RunState.QUEUED, "".join(log_tail(folder, 1)) or "never launched: mopo resume starts it")
        # What its log says already is why it has not begun: its supervisor came, and could not start it.
        return Verdict(RunState.QUEUED, "".join(log_tail(folder, 1)))
    verdict = _of_attempt(folder, process)
    if verdict.state.over and _waits(folder, process):
        return Verdict(RunState.QUEUED)
    return verdict


def _of_attempt(folder: Path, process: Mapping[str, Any]) -> Verdict:
    """The state of the attempt that process.json names."""
    verdict = _recorded(folder, process)
    if verdict is None:
        if alive(folder, process):
            paused = (folder / PAUSED_MARK).exists()
            return Verdict(RunState.PAUSED if paused else RunState.RUNNING)
        # It may have ended between the two looks: what it left decides.
        verdict = _recorded(folder, process)
    if verdict is not None:
        return verdict
    # Its supervisor was gone before it; how it ended may stand in its own last event.
    kind, message = _last_words(folder, process)
    if kind == "stopped":
        return Verdict(RunState.STOPPED)
    if kind == "failed":
        return Verdict(RunState.FAILED, message)
    return Verdict(RunState.LOST, _with_log(folder, "its process is gone without a result"))


def left_by(folder: Path) -> int:
    """The number of the run's last attempt; 0 before the first."""
    return _integer((record.read_json(folder / record.PROCESS) or {}).get("attempt")) or 0


def unbegun(folder: Path) -> bool:
    """Whether a run that was queued has not begun since: no engine was let go."""
    process = record.read_json(folder / record.PROCESS)
    attempt = _integer((process or {}).get("attempt")) or 0
    after = _integer((record.read_json(folder / QUEUED_MARK) or {}).get("after")) or 0
    if process is None or attempt <= after:
        return True
    # process.json is written just before the engine is let go, and the row of its start right after. A supervisor that was killed
    # between the two may have left an engine that goes on, or that has finished by now.
    rows, _ = record.read_rows(folder / record.ATTEMPTS)
    started = any(row.get("attempt") == attempt and row.get("event") == "start" for row in rows)
    return not started and not alive(folder, process) and _recorded(folder, process) is None


def _waits(folder: Path, process: Mapping[str, Any]) -> bool:
    """Whether a run that has ended is in the queue for another attempt."""
    mark = record.read_json(folder / QUEUED_MARK)
    return mark is not None and mark.get("after") == process.get("attempt")


def alive(folder: Path, process: Mapping[str, Any]) -> bool:
    """True while the engine of `process` lives, or its supervisor, which is then about to write how it ended."""
    engine = lives(process)
    if engine is None:
        return heartbeat_age(folder) < HEARTBEAT_MAX_AGE
    return engine or bool(lives(supervisor_of(process)))


def supervisor_of(process: Mapping[str, Any]) -> dict[str, Any]:
    """The supervisor that process.json names, as a launcher takes it."""
    pid, started = process.get("supervisor_pid"), process.get("supervisor_start_time")
    return {**process, "pid": pid, "start_time": started}


def heartbeat_age(folder: Path) -> float:
    """Seconds since the engine last touched its heartbeat (or, before its first, since it was started); infinite without either."""
    for name in (record.HEARTBEAT, record.PROCESS):
        try:
            return time.time() - (folder / name).stat().st_mtime
        except OSError:
            continue
    return float("inf")


def _recorded(folder: Path, process: Mapping[str, Any]) -> Verdict | None:
    """The verdict of result.json and exit.json where they belong to this attempt."""
    ended = record.read_json(folder / record.EXIT)
    if ended is not None and ended.get("attempt") != process.get("attempt"):
        ended = None
    code = _integer(ended.get("returncode")) if ended is not None else None
    result = record.read_json(folder / record.RESULT)
    if result is not None and _is_of_attempt(result, process):
        return Verdict(RunState.FINISHED, returncode=code)
    if ended is None:
        return None
    number = _integer(ended.get("signal"))
    if number in (signal.SIGTERM, signal.SIGINT) or (number is None and code in (143, 130)):
        return Verdict(RunState.STOPPED, returncode=code)
    if number is not None:
        return Verdict(RunState.FAILED, f"killed by {_signal_name(number)}", code)
    if error := ended.get("error"):
        return Verdict(RunState.FAILED, clean(str(error)), code)
    what = "ended without a result" if code == 0 else f"exit code {code}"
    _, message = _last_words(folder, process)
    return Verdict(RunState.FAILED, f"{what}: {message}" if message else _with_log(folder, what), code)


def _is_of_attempt(result: Mapping[str, Any], process: Mapping[str, Any]) -> bool:
    """Whether result.json is of this attempt. What stood there before it tells; a process.json of an earlier version has only the
    clock, which may have been set back meanwhile."""
    if "earlier_result" in process:
        return bool(result.get("t") != process["earlier_result"])
    return _seconds(result.get("t")) >= _seconds(process.get("started"))


def _last_words(folder: Path, process: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and message of this attempt's last "failed" or "stopped" event; two empty texts where it has none."""
    begin = _integer(process.get("events_from"))
    started = _seconds(process.get("started")) if begin is None else 0.0
    for row in reversed(record.read_rows(folder / record.EVENTS, begin or 0)[0]):
        if _seconds(row.get("t")) < started:
            break
        if (kind := row.get("kind")) in ("failed", "stopped"):
            return str(kind), clean(str(row.get("message", "")))
    return "", ""


def _with_log(folder: Path, what: str) -> str:
    """`what`, followed by the log's last line."""
    lines = log_tail(folder, 1)
    return f"{what}: {lines[0]}" if lines else what


def log_tail(folder: Path, count: int) -> list[str]:
    """The last `count` lines of console.log that say something, without control characters."""
    try:
        with open(folder / record.CONSOLE, "rb") as f:
            size = f.seek(0, 2)
            f.seek(max(0, size - _TAIL_BYTES))
            text = f.read().decode("utf-8", "replace")
    except OSError:
        return []
    # A progress bar redraws its line after a carriage return: only what was last on the screen counts.
    lines = [clean(line.rstrip("\r").rsplit("\r", 1)[-1]) for line in text.split("\n")]
    return [line for line in lines if line.strip()][-count:]


def clean(text: str) -> str:
    """`text` with every control character as a blank: what comes from a run folder must not steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text).rstrip()


def _signal_name(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} (signal {number})"
    except ValueError:
        return f"signal {number}"


def _integer(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
