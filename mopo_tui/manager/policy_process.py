"""A run's policy at work: the process of `engine.use` that evaluates, films or draws it, and how it is asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mopo_tui.manager.state import clean

FAILED = 1  # exit code where it ended without an answer
END_SECONDS = 0.8  # from SIGTERM to SIGKILL
LOG_LINES = 15
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class EngineRefused(Exception):
    """What the engine refuses, or its end without an answer: one clear line, an exit code, and what it said on stderr."""

    def __init__(self, code: int, message: str, said: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.code, self.said = code, said


class PolicyProcess:
    """`engine.use` at work on a run folder; it begins at once, and `end` ends it.

    It leads a process group of its own, so that Ctrl-C reaches this process alone, which then ends it.

    Args:
        command: evaluate, film or frames, as `engine.use` knows them.
        which: the policy, "final" or "best".
        seed: of the initial states.
        asks: it is asked line by line, and what it says on stderr is kept for the end, since the screen is drawn on.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, command: str, folder: Path, which: str, seed: int, *more: str, asks: bool = False) -> None:
        self._said = tempfile.TemporaryFile() if asks else None  # noqa: SIM115  closed by `end`
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "engine.use",
                command,
                str(folder),
                "--which",
                which,
                "--seed",
                str(seed),
                *more,
            ],
            stdin=subprocess.PIPE if asks else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it at once, from whatever thread; who waits for an answer is refused."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def end(self) -> None:
        """Let it end, or end it, and close what led to it."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(END_SECONDS)
        for pipe in (self._process.stdin, self._process.stdout, self._said):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def fileno(self) -> int:
        """What to wait on for an answer."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def ask(self, line: str) -> None:
        """Ask it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # what it said before it ended is the next answer
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Its next object.

        Raises:
            EngineRefused: it refuses, or ended without one.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._ended()
        values: dict[str, Any] = json.loads(line)
        if "error" in values:
            raise EngineRefused(int(values["code"]), clean(str(values["error"])))
        return values

    def data(self, count: int) -> bytes:
        """The bytes that follow an object.

        Raises:
            EngineRefused: it ended before the last one.
        """
        assert self._process.stdout is not None
        found = self._process.stdout.read(count)
        if len(found) < count:
            raise self._ended()
        return found

    def _ended(self) -> EngineRefused:
        code = self._process.wait()
        said: list[str] = []
        if self._said is not None:
            self._said.seek(0)
            said = [clean(line) for line in self._said.read().decode(errors="replace").splitlines()[-LOG_LINES:]]
        return EngineRefused(FAILED, f"the engine ended without a result (exit code {code})", said)
