"""Stopping a run: a signal or a request in the run folder becomes one exception at the next safe point."""

from __future__ import annotations

import signal
import time
from types import FrameType

from engine.record import Recorder

POLL_SECONDS = 0.5


class Stopped(Exception):
    """The run was asked to stop. `code` is the process's exit code: 130 after SIGINT, else 143."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Diverged(Exception):
    """Training gave NaN or infinite numbers, or left every range; the message says where."""


class CheckpointError(ValueError):
    """A run that cannot go on: its checkpoint is damaged, or belongs to other data; one clear line."""


class StopRequests:
    """Call it often: raises `Stopped` once SIGTERM, SIGINT or control/stop has come; the file is looked for twice a second."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._signal, self._looked = recorder, 0, 0.0
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self._signal = number

    def __call__(self) -> None:
        if self._signal:
            name = signal.Signals(self._signal).name
            raise Stopped(130 if self._signal == signal.SIGINT else 143, f"stopped by {name}")
        now = time.monotonic()
        if now - self._looked >= POLL_SECONDS:
            self._looked = now
            if self._recorder.stop_requested():
                raise Stopped(143, "stopped on request")
