"""Who a process is: its pid alone lies after reuse, its pid with its start time and the machine's boot id does not.

Standard library only; the supervisor and the reader of states share it.
"""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

_PROC = Path("/proc")


def host() -> str:
    """This machine's name as it stands in process.json."""
    return os.uname().nodename


def cores() -> int:
    """The processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


@functools.cache
def boot_id() -> str:
    """What changes at each boot; empty where the system does not tell."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _asked("sysctl", "-n", "kern.boottime")


def start_time(pid: int) -> str | None:
    """When the process started, as the system counts it; None where it is gone or only waits to be reaped."""
    if pid <= 0:
        return None
    if not (_PROC / "self/stat").exists():  # no /proc: BSD and macOS
        text = _asked("ps", "-o", "stat=,lstart=", "-p", str(pid))
        status, _, started = text.partition(" ")
        return started.strip() if started and not status.startswith("Z") else None
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command's name (field 2) may hold blanks and brackets: the fields after it begin behind the last bracket.
    fields = text[text.rfind(")") + 2 :].split()
    return None if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def same_process(pid: int, started: str, boot: str) -> bool:
    """True where that very process lives on this machine now."""
    return boot == boot_id() and start_time(pid) == started


def _asked(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=2, check=False).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return ""
