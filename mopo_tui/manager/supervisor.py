"""The small parent of one engine process: starts it, waits, and writes down how it ended (standard library only).

It stands on its own feet: whoever launched it may end, be killed, or lose the terminal. It is run as
`python -P -m mopo_tui.manager.supervisor <run folder>`; what it starts is always the engine on that folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from engine import record
from mopo_tui.manager import identity

LOCK_SECONDS = 1.0
_LOCK = "supervisor.lock"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def engine_command(folder: Path) -> list[str]:
    """`-P` keeps the working directory off the module path: a folder called `engine` there is never imported in its place."""
    return [sys.executable, "-P", "-m", "engine", str(folder)]


def take_over(folder: Path, command: Sequence[str] | None = None) -> int:
    """Claim the run and supervise it from a child that no terminal and no launcher holds; the caller's process ends with 0.

    Returns 1 at once where another supervisor has the run.
    """
    lock = _lock(folder)
    if lock is None:
        print("another supervisor has this run", flush=True)
        return 1
    if os.fork():
        os._exit(0)  # the child holds the lock on
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return supervise(folder, command)


def supervise(folder: Path, command: Sequence[str] | None = None) -> int:
    """Run one attempt of the run in `folder`; returns the engine's exit code, or 128 + the signal that ended it.

    Args:
        folder: absolute path of the run folder.
        command: what to start in the engine's place. Only from Python, never from anything a folder says.
    """
    engine = _Engine()
    signal.signal(signal.SIGTERM, engine.pass_on)
    signal.signal(signal.SIGINT, engine.pass_on)

    before = record.read_json(folder / record.PROCESS) or {}
    attempt = int(before.get("attempt") or 0) + 1
    threads = _threads(folder)
    started = time.time()
    error = ""
    try:
        engine.start(command or engine_command(folder), folder, threads)
    except OSError as problem:
        error = f"the engine could not be started: {problem.strerror}: {problem.filename}"
        print(error, flush=True)
    pid = engine.pid or os.getpid()
    process = {
        "attempt": attempt,
        "pid": pid,
        "pgid": pid,
        "start_time": identity.start_time(pid),
        "boot_id": identity.boot_id(),
        "host": identity.host(),
        "supervisor_pid": os.getpid(),
        "supervisor_start_time": identity.start_time(os.getpid()),
        "started": started,
        "threads": threads,
    }
    # The order matters to a reader: while process.json names an attempt whose exit.json is missing, that pid decides.
    if engine.pid and process["start_time"] is None:
        process["start_time"] = "ended at once"
    record.write_json(folder / record.PROCESS, process)
    record.append_row(folder / record.ATTEMPTS, {"attempt": attempt, "event": "start", "t": started, "pid": pid})
    returncode = engine.wait() if engine.pid else 127
    number = -returncode if returncode < 0 else None
    ended: dict[str, Any] = {
        "attempt": attempt,
        "returncode": 128 + number if number is not None else returncode,
        "signal": number,
        "t": time.time(),
    }
    if error:
        ended["error"] = error
    with contextlib.suppress(OSError):  # a full disk must not keep the last word from being tried
        record.append_row(folder / record.ATTEMPTS, {**ended, "event": "end"})
    record.write_json(folder / record.EXIT, ended)
    return int(ended["returncode"])


class _Engine:
    """The engine's process, at the head of its own session and group."""

    def __init__(self) -> None:
        self.pid = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._asked: int | None = None

    def start(self, command: Sequence[str], folder: Path, threads: int) -> None:
        environment = dict(os.environ)
        environment.update(dict.fromkeys(_THREAD_VARIABLES, str(threads)))
        # libgomp's threads otherwise spin so long that two runs on the same cores starve each other.
        environment["GOMP_SPINCOUNT"] = "2000"
        environment["PYTHONUNBUFFERED"] = "1"
        with open(folder / record.CONSOLE, "ab") as console:
            self._process = subprocess.Popen(
                list(command),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self.pid = self._process.pid
        if self._asked is not None:  # asked to end while starting
            self._signal_group(self._asked)

    def pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._asked = number
        if self.pid:
            self._signal_group(number)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def wait(self) -> int:
        """The return code as subprocess has it; what the engine left running in its group is ended first."""
        assert self._process is not None
        if hasattr(os, "waitid"):
            # Not reaped yet, its pid cannot have gone to another process when its group is signalled.
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._signal_group(signal.SIGKILL)
        pid, self.pid = self.pid, 0
        code = self._process.wait()
        self.pid = pid
        return code


def _lock(folder: Path) -> int | None:
    """The descriptor that holds the run for this supervisor until it ends in any way; None where another one has it."""
    (folder / record.CONTROL).mkdir(exist_ok=True)
    descriptor = os.open(folder / record.CONTROL / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                return None
            time.sleep(0.05)  # the last attempt's supervisor may still be on its way out
        except OSError:
            return descriptor  # a file system without locks: the launcher has looked at the state


def _threads(folder: Path) -> int:
    """`compute.threads` of config.toml; 1 where it says none."""
    try:
        with open(folder / record.CONFIG, "rb") as f:
            threads = tomllib.load(f).get("compute", {}).get("threads", 1)
    except (OSError, ValueError):
        return 1
    return threads if isinstance(threads, int) and threads > 0 else 1


def main() -> int:
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / record.RUN).is_file():
        print("usage: python -P -m mopo_tui.manager.supervisor <run folder>", file=sys.stderr)
        return 2
    return take_over(Path(sys.argv[1]).absolute())


if __name__ == "__main__":
    sys.exit(main())
