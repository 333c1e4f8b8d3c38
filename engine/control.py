"""Stopping and pausing a run: a signal or a request in the run folder is answered at the next safe point."""

from __future__ import annotations

import signal
import time
from types import FrameType

from engine.record import CONTROL, Recorder, read_json

POLL_SECONDS = 0.5
PAUSED_POLL_SECONDS = 0.1
PAUSE, PAUSED = "pause", "paused"  # below control/: the manager's request, and the answer while it is followed
STOP_AFTER = "stop-after"  # below control/: {"update": policy updates after which the run ends, as if stopped then}


class Stopped(Exception):
    """The run was asked to stop. `code` is the process's exit code: 130 after SIGINT, else 143."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Diverged(Exception):
    """Training gave NaN or infinite numbers, or left every range; the message says where."""


class CheckpointError(ValueError):
    """A run that cannot go on: its checkpoint is damaged, or belongs to other data; one clear line."""


class CompileError(RuntimeError):
    """A step of the training does not compile; the message is one clear line."""


class StopRequests:
    """Call it often: raises `Stopped` once SIGTERM, SIGINT or control/stop has come; while control/pause is there it does not
    return, and control/paused says so. The files are looked for twice a second.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._signal, self._looked = recorder, 0, 0.0
        self._pause, self._paused = (recorder.folder / CONTROL / name for name in (PAUSE, PAUSED))
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)

    def after(self, update: int) -> None:
        """Raise `Stopped` where the run was asked to end after so many policy updates; called when all of them is recorded."""
        asked = (read_json(self._recorder.folder / CONTROL / STOP_AFTER) or {}).get("update")
        if isinstance(asked, int) and update >= asked:
            raise Stopped(143, f"stopped after {update} policy updates, as asked")

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number

    def __call__(self) -> None:
        self._raise_if_signalled()
        now = time.monotonic()
        if now - self._looked >= POLL_SECONDS:
            self._looked = now
            self._raise_if_requested()
            if self._pause.exists():
                self._wait()

    def _raise_if_signalled(self) -> None:
        if self._signal:
            name = signal.Signals(self._signal).name
            raise Stopped(130 if self._signal == signal.SIGINT else 143, f"stopped by {name}")

    def _raise_if_requested(self) -> None:
        if self._recorder.stop_requested():
            raise Stopped(143, "stopped on request")

    def _wait(self) -> None:
        """Sleep until the request is gone; stopping works meanwhile, the heartbeat goes on, and the time does not count."""
        begun = time.monotonic()
        self._paused.touch()
        try:
            self._recorder.event("paused", "paused on request")
            while self._pause.exists():
                self._raise_if_signalled()
                self._raise_if_requested()
                time.sleep(PAUSED_POLL_SECONDS)
        finally:
            self._paused.unlink(missing_ok=True)
            self._recorder.paused += time.monotonic() - begun
        self._recorder.event("resumed", f"going on after {time.monotonic() - begun:.0f} s")
