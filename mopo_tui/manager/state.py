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
from mopo_tui.manager import identity

HEARTBEAT_MAX_AGE = 90.0  # seconds after which a run on another host counts as gone
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
        finished = record.read_json(folder / record.RESULT) is not None
        return Verdict(RunState.FINISHED if finished else RunState.QUEUED)
    verdict = _recorded(folder, process)
    if verdict is None:
        if alive(folder, process):
            paused = (folder / record.CONTROL / "paused").exists()
            return Verdict(RunState.PAUSED if paused else RunState.RUNNING)
        # It may have ended between the two looks: what it left decides.
        verdict = _recorded(folder, process)
    if verdict is not None:
        return verdict
    return Verdict(RunState.LOST, _with_last_words(folder, process, "its process is gone without a result"))


def alive(folder: Path, process: Mapping[str, Any]) -> bool:
    """True while the engine of `process` lives, or its supervisor, which is then about to write how it ended."""
    if process.get("host") != identity.host():
        return heartbeat_age(folder) < HEARTBEAT_MAX_AGE
    boot = str(process.get("boot_id"))
    pairs = (("pid", "start_time"), ("supervisor_pid", "supervisor_start_time"))
    return any(
        isinstance(process.get(pid), int) and identity.same_process(process[pid], str(process.get(started)), boot)
        for pid, started in pairs
    )


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
    if result is not None and _seconds(result.get("t")) >= _seconds(process.get("started")):
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
    return Verdict(RunState.FAILED, _with_last_words(folder, process, what), code)


def _with_last_words(folder: Path, process: Mapping[str, Any], what: str) -> str:
    """`what`, followed by the message of this attempt's last "failed" or "stopped" event, or else the log's last line."""
    started = _seconds(process.get("started"))
    for row in reversed(record.read_rows(folder / record.EVENTS)[0]):
        if _seconds(row.get("t")) < started:
            break
        if row.get("kind") in ("failed", "stopped"):
            return f"{what}: {clean(str(row.get('message', '')))}"
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
    except (TypeError, ValueError):
        return 0.0
