"""A policy played in a thread: asks the engine's process for one moment after the other, at a pace that a line to a terminal bears
(no Textual)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine import record
from mopo_tui.manager.policy_process import EngineRefused, PolicyProcess
from mopo_tui.widgets.half_blocks import Pixels

# Pictures a second at most, and bytes a second to the terminal: where pictures are large, there are fewer of them, and the robot
# goes further from one to the next. Measured through a pseudo-terminal with true colour, HalfCheetah: a whole picture of 80 × 22
# cells is about 14 KB, the next one, of which only what changed is written, 2.3 KB; at 200 × 50, with the charts, 4.9 KB.
PICTURES_PER_SECOND = 12.0
BYTES_PER_SECOND = 60_000.0
NUMBERS_PER_SECOND = 4.0  # without pictures
END_OF_EPISODE_SECONDS = 0.7  # what an episode ended with stays that long
SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, eq=False)
class Opened:
    """What is played: an environment, and why it cannot be drawn, where it cannot."""

    which: str
    environment: str
    limit: int | None
    undrawn: str


@dataclass(frozen=True, eq=False)
class Frame:
    """A moment of an episode.

    Attributes:
        pixels: (height, width, 3); None where it was not drawn.
        height: of the robot, in metres; None where the environment has none.
        velocity: forwards, in metres a second; None at the start, and where the environment does not tell it.
    """

    pixels: Pixels | None
    episode: int
    step: int
    total: float
    over: bool
    height: float | None
    velocity: float | None


@dataclass(frozen=True)
class Refused:
    """Why nothing is played any more: one clear line."""

    which: str
    reason: str


News = Opened | Frame | Refused


class Player:
    """Plays the policy of one run until `end`. What it is asked for counts from the next moment on.

    Args:
        which: "final" or "best"; empty: the final one where there is one, else the best.
        tell: called from the thread of `run` with what is new; returns how many bytes showing it wrote.
    """

    def __init__(self, folder: Path, tell: Callable[[News], int], which: str = "", seed: int = 0) -> None:
        self._folder, self._tell, self._seed = folder, tell, seed
        self._which = which
        self._speed = SPEEDS.index(1.0)
        self._paused = False
        self._size = (0, 0)
        self._episode: int | None = None  # to begin anew
        self._process: PolicyProcess | None = None
        self._ended = False
        self._again = False  # with another policy, or after it was refused
        self._wake = threading.Event()

    # --- what a person asks for -------------------------------------------------------------------

    @property
    def speed(self) -> float:
        """How many times its own speed the robot has."""
        return SPEEDS[self._speed]

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def pid(self) -> int | None:
        """Of the engine's process; None while there is none."""
        return None if self._process is None else self._process.pid

    def faster(self, steps: int) -> None:
        """The next speed, or the one before."""
        self._speed = min(max(self._speed + steps, 0), len(SPEEDS) - 1)
        self._wake.set()

    def pause(self) -> None:
        """Stand still, or go on."""
        self._paused = not self._paused
        self._wake.set()

    def draw(self, size: tuple[int, int]) -> None:
        """Pictures of that many pixels from now on, columns and rows; of none, numbers alone."""
        if size != self._size:
            self._size = size
            self._wake.set()

    def begin(self, episode: int) -> None:
        """Play that episode, from its start."""
        self._episode = episode
        self._wake.set()

    def play(self, which: str) -> None:
        """Play another policy, or the same one again after it was refused."""
        self._which, self._again = which, True
        self._kill()

    def end(self) -> None:
        """End at once, and the engine's process with it."""
        self._ended = True
        self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
        self._wake.set()

    def _over(self) -> bool:
        """Whether this process has nothing more to do."""
        return self._ended or self._again

    # --- the thread -------------------------------------------------------------------------------

    def run(self) -> None:
        """Play until `end`."""
        while not self._ended:
            self._again, self._episode = False, None
            which = self._which or self._there()
            try:
                self._process = PolicyProcess("frames", self._folder, which, self._seed, "--undrawn", asks=True)
                if self._over():  # asked for while it began
                    continue
                self._play(self._process, which)
            except (EngineRefused, OSError, ValueError) as refused:
                if not self._over():
                    self._tell(Refused(which, str(refused)))
            finally:
                if self._process is not None:
                    self._process.kill()
                    self._process.end()
                    self._process = None
            while not self._over():
                self._wait(None)

    def _there(self) -> str:
        final, best = (self._folder / record.CHECKPOINTS / f"{name}.safetensors" for name in ("final", "best"))
        return "best" if best.exists() and not final.exists() else "final"

    def _play(self, process: PolicyProcess, which: str) -> None:
        about = process.answer()
        self._tell(Opened(which, str(about["environment"]["id"]), about["limit"], str(about["undrawn"])))
        step_seconds, drawable = float(about["step_seconds"]), not about["undrawn"]
        due, written, took = time.monotonic(), 0, 0.0
        shown: tuple[int, int] | None = None  # the size of the last picture
        while not self._over():
            size, episode = self._size if drawable else (0, 0), self._episode
            if self._paused and episode is None and size == shown:
                self._wait(None)
                due = time.monotonic()
                continue
            least = max(
                1 / (PICTURES_PER_SECOND if all(size) else NUMBERS_PER_SECOND), written / BYTES_PER_SECOND, took
            )
            steps = max(1, round(least * self.speed / step_seconds))
            if self._paused and episode is None:
                steps = 0  # the same moment in another size
            asked = time.monotonic()
            process.ask(" ".join(map(str, [*size, steps, *([] if episode is None else [episode])])))
            if episode is not None and self._episode == episode:
                self._episode = None
            answer = process.answer()
            if not answer:
                return
            frame, shown = _frame(process, answer), size
            took = time.monotonic() - asked
            if self._over():
                return
            written = self._tell(frame)
            due = max(due + steps * step_seconds / self.speed, time.monotonic())
            due += END_OF_EPISODE_SECONDS if frame.over else 0.0
            self._wait(due)

    def _wait(self, due: float | None) -> None:
        """Until then, or until something is asked for."""
        left = None if due is None else due - time.monotonic()
        if left is None or left > 0:
            self._wake.wait(left)
        self._wake.clear()


def _frame(process: PolicyProcess, answer: dict[str, Any]) -> Frame:
    width, height = int(answer["width"]), int(answer["height"])
    pixels = None
    if width and height:
        pixels = np.frombuffer(process.data(width * height * 3), dtype=np.uint8).reshape(height, width, 3)
    up, along = answer["body_height"], answer["velocity"]
    return Frame(
        pixels,
        int(answer["episode"]),
        int(answer["step"]),
        record.number(answer["return"]) or 0.0,
        bool(answer["over"]),
        None if up is None else record.number(up),
        None if along is None else record.number(along),
    )
