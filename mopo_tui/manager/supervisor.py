"""The small parent of one engine process: starts it, waits, and writes down how it ended (standard library only).

It stands on its own feet: whoever launched it may end, be killed, or lose the terminal. It is run as
`python -P -m mopo_tui.manager.supervisor [--queued] <run folder>`; what it starts is always the engine on that folder. It holds the
run's place in the queue while the run goes on, and at its end starts the runs whose turn has come.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from engine import record
from mopo_tui.manager import locks, on_finish
from mopo_tui.manager.jobs import Job
from mopo_tui.manager.launcher import THIS_HOST, Launcher
from mopo_tui.manager.queue import Queue
from mopo_tui.manager.state import NOW_REQUEST, PAUSED_MARK, SUPERVISOR_LOCK, judge

LOCK_SECONDS = 1.0
LOOK_SECONDS = 30.0  # between looks at the queue while a run goes on: another supervisor may have been killed
GPU_SECONDS = 5.0  # between looks at the GPUs while a run waits for one
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_GO = b"g"
_ENDING = (signal.SIGTERM, signal.SIGINT)


def engine_command(folder: Path) -> list[str]:
    """`-P` keeps the working directory off the module path: a folder called `engine` there is never imported in its place."""
    return [sys.executable, "-P", "-m", "engine", str(folder)]


def take_over(
    folder: Path, command: Sequence[str] | None = None, *, queued: bool = False, launcher: Launcher = THIS_HOST
) -> int:
    """Take the run and supervise it from a child that no terminal and no launcher holds; the caller's process ends with 0.

    Args:
        folder: absolute path of the run folder.
        command: what to start in the engine's place. Only from Python, never from anything a folder says.
        queued: begin only if it is the run's turn in the queue, and end silently if it is not.

    Returns 1 at once where another supervisor has the run; 0 where it does and `queued` is set.
    """
    (folder / record.CONTROL).mkdir(exist_ok=True)
    try:
        lock = locks.hold(folder / SUPERVISOR_LOCK, LOCK_SECONDS)  # the last attempt's may still be on its way out
    except locks.Busy:
        if queued:
            return 0
        print("another supervisor has this run", flush=True)
        return 1
    except locks.Unsupported:
        lock = -1  # the launcher has looked at the state
    if os.fork():
        os._exit(0)  # the child holds the lock on
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    queue = Queue(folder.parent, launcher)
    note = on_finish.read(folder)
    on_finish.adopt(note)
    claim = _claimed(queue, folder.name, queued)
    if claim is None and queued:
        return 0
    try:
        code = supervise(folder, command, queue, claim)
    except OSError as error:  # a full disk: nothing was let go, and another time it may be possible
        print(f"the run could not be started: {error.strerror}: {error.filename}", flush=True)
        if claim is not None:
            queue.give_back(claim)
            queue.fail_for_good(folder.name, error)
        return 1
    if claim is not None:
        queue.release(claim)
    if lock >= 0:
        os.close(lock)  # what follows may take long, and the run may go on meanwhile
    with contextlib.suppress(OSError):
        queue.advance()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # there is no engine any more to pass them on to
    on_finish.forget(folder)
    on_finish.run(note, folder, judge(folder).state.value)
    return code


def _claimed(queue: Queue, run_id: str, queued: bool) -> Job | None:
    """The run's claim on its slots. A run that takes a GPU waits here for one; every other one comes again when there is room."""
    while True:
        try:
            hurried = (queue.root / run_id / NOW_REQUEST).exists()
            claim = queue.claim(run_id, anyway=hurried or not queued)
        except OSError as error:
            print(f"the queue cannot be used: {error.strerror or error}", flush=True)
            return None
        if claim is not None or not queued:
            return claim
        if not any(job.on_gpu for job in queue.waiting() if job.run_id == run_id):
            return None
        time.sleep(GPU_SECONDS)


def supervise(
    folder: Path, command: Sequence[str] | None = None, queue: Queue | None = None, claim: Job | None = None
) -> int:
    """Run one attempt of the run in `folder`; returns the engine's exit code, or 128 + the signal that ended it.

    Args:
        folder: absolute path of the run folder.
        command: what to start in the engine's place. Only from Python, never from anything a folder says.
        queue: looked at now and then while the run goes on.
        claim: the run's place in it.

    Raises:
        OSError: nothing was started, since the attempt could not be recorded.
    """
    engine = _Engine()
    signal.signal(signal.SIGTERM, engine.pass_on)
    signal.signal(signal.SIGINT, engine.pass_on)

    before = record.read_json(folder / record.PROCESS) or {}
    attempt = int(before.get("attempt") or 0) + 1
    threads = _threads(folder)
    started = time.time()
    for void in (PAUSED_MARK, NOW_REQUEST):
        (folder / void).unlink(missing_ok=True)
    earlier = record.read_json(folder / record.RESULT)
    events = folder / record.EVENTS
    engine.prepare(command or engine_command(folder), folder, _environment(threads, claim))
    me, child = THIS_HOST.me(), THIS_HOST.process(engine.pid)
    process = {
        "attempt": attempt,
        "pid": engine.pid,
        "pgid": engine.pid,
        "start_time": child["start_time"] or "ended at once",
        "boot_id": me["boot_id"],
        "host": me["host"],
        "supervisor_pid": me["pid"],
        "supervisor_start_time": me["start_time"],
        "started": started,
        "threads": threads,
        # What of an earlier attempt is there already; clocks may be set back.
        "earlier_result": None if earlier is None else earlier.get("t"),
        "events_from": events.stat().st_size if events.exists() else 0,
    }
    try:
        if claim is not None and queue is not None and not queue.holds(claim):
            raise OSError(0, "another supervisor took the run", str(folder))
        # The order matters to a reader: while process.json names an attempt whose exit.json is missing, that pid decides. And the
        # engine begins only once it is recorded: if this process is killed now, nothing runs that nobody knows of.
        record.write_json(folder / record.PROCESS, process)
    except OSError:
        engine.dismiss()
        raise
    error = engine.let_go()
    with contextlib.suppress(OSError):
        record.append_row(
            folder / record.ATTEMPTS, {"attempt": attempt, "event": "start", "t": started, "pid": engine.pid}
        )
    returncode = engine.wait(lambda: _look(queue))
    number = -returncode if returncode < 0 else None
    ended: dict[str, Any] = {
        "attempt": attempt,
        "returncode": 128 + number if number is not None else returncode,
        "signal": number,
        "t": time.time(),
    }
    if error:
        ended["error"] = error
        print(error, flush=True)
    with contextlib.suppress(OSError):  # a full disk must not keep the last word from being tried
        record.append_row(folder / record.ATTEMPTS, {**ended, "event": "end"})
    try:
        record.write_json(folder / record.EXIT, ended)
    except OSError as problem:
        print(f"{record.EXIT} cannot be written: {problem.strerror}", flush=True)
    return int(ended["returncode"])


def _environment(threads: int, claim: Job | None) -> dict[str, str]:
    """The engine's environment."""
    environment = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, str(threads))}
    # libgomp's threads otherwise spin so long that two runs on the same cores starve each other.
    environment["GOMP_SPINCOUNT"] = "2000"
    environment["PYTHONUNBUFFERED"] = "1"
    if claim is not None and claim.claimant is not None and claim.claimant["gpu"] and claim.device == "cuda":
        environment["CUDA_VISIBLE_DEVICES"] = claim.claimant["gpu"]
    return environment


def _look(queue: Queue | None) -> None:
    """Start what waits although there is room: the supervisor that should have started it may have been killed."""
    if queue is not None:
        with contextlib.suppress(OSError):
            queue.advance()


class _Engine:
    """The engine's process, at the head of its own session and group."""

    def __init__(self) -> None:
        self.pid = 0
        self._program = ""
        self._go, self._failure = -1, -1
        self._asked: int | None = None

    def prepare(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        """Fork the process that will be the engine. It waits for `let_go`, and ends if this process ends before.

        Raises:
            OSError: console.log cannot be opened, or there is no room for a process.
        """
        self._program = command[0]
        console = os.open(folder / record.CONSOLE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        wait, self._go = os.pipe()
        self._failure, failure = os.pipe()  # closes by itself when the program is in place
        # Before the child is there: none of its end may be missed.
        self._woken, waker = os.pipe()
        for end in (self._woken, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Nor may a signal to the child be answered by this process's handlers, which it has until it sets its own.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        pid = os.fork()
        if pid == 0:
            os.close(self._go)
            _become(command, folder, environment, console, wait, failure)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for end in (console, wait, failure):
            os.close(end)
        self.pid = pid

    def let_go(self) -> str:
        """Let the engine begin; one line on what is wrong where it could not, empty otherwise."""
        with contextlib.suppress(BrokenPipeError):  # it was killed; `wait` says by what
            os.write(self._go, _GO)
        os.close(self._go)
        number = os.read(self._failure, 16)
        os.close(self._failure)
        if self._asked is not None:  # asked to end while starting
            self._signal_group(self._asked)
        return f"the engine could not be started: {os.strerror(int(number))}: {self._program}" if number else ""

    def dismiss(self) -> None:
        """End the process that was prepared; it has done nothing yet."""
        os.close(self._go)
        os.close(self._failure)
        os.waitpid(self.pid, 0)

    def pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._asked = number
        if self.pid:
            self._signal_group(number)

    def _signal_group(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def wait(self, now_and_then: Callable[[], None]) -> int:
        """The return code as subprocess has it, −N after signal N; what the engine left running in its group is ended first."""
        while not self._ended():
            if select.select([self._woken], [], [], LOOK_SECONDS)[0]:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
            else:
                now_and_then()
        if hasattr(os, "waitid"):
            # Not reaped yet, its pid cannot have gone to another process when its group is signalled.
            self._signal_group(signal.SIGKILL)
        pid, self.pid = self.pid, 0  # once reaped, it may be another process's
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def _ended(self) -> bool:
        """Whether the engine has ended; it is not reaped yet."""
        if hasattr(os, "waitid"):
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
        return THIS_HOST.process(self.pid)["start_time"] is None


def _become(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], console: int, wait: int, failure: int
) -> None:
    """In the forked child: wait to be let go, and become the program. Never returns."""
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        if os.read(wait, 1) == _GO:
            os.chdir(folder)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(console, 1)
            os.dup2(console, 2)
            os.execvpe(command[0], list(command), dict(environment))
    except OSError as error:
        os.write(failure, str(error.errno or 1).encode())
    finally:
        os._exit(127)


def _threads(folder: Path) -> int:
    """`compute.threads` of config.toml; 1 where it says none."""
    try:
        with open(folder / record.CONFIG, "rb") as f:
            threads = tomllib.load(f).get("compute", {}).get("threads", 1)
    except (OSError, ValueError):
        return 1
    return threads if isinstance(threads, int) and threads > 0 else 1


def main() -> int:
    arguments = sys.argv[1:]
    queued = arguments[:1] == ["--queued"]
    if len(arguments) != 1 + queued or not (Path(arguments[-1]) / record.RUN).is_file():
        print("usage: python -P -m mopo_tui.manager.supervisor [--queued] <run folder>", file=sys.stderr)
        return 2
    return take_over(Path(arguments[-1]).absolute(), queued=queued)


if __name__ == "__main__":
    sys.exit(main())
