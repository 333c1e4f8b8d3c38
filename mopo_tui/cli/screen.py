"""Moving pictures in a terminal: two pixels a character, the upper half block in the colours of both."""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mopo_tui.widgets.half_blocks import fine, greys, paired, rgb

if TYPE_CHECKING:
    from mopo_tui.cli.use import Engine

LEAST = (20, 6)  # columns and lines
END_OF_EPISODE_SECONDS = 0.7  # what an episode ended with stays that long
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"
_SHADES = " ░▒▓█"


def show(engine: Engine, title: str) -> None:
    """Draw what `engine` (frames) answers, at the speed it tells, until q, Ctrl-C, SIGTERM or its end."""
    from rich.cells import set_cell_size

    from mopo_tui.manager.state import clean

    about = engine.answer()
    title = f"{title} · {clean(str(about['environment']['id']))}"
    limit = f"/{about['limit']}" if about["limit"] else ""
    picture = HalfBlocks(colours())
    with Screen() as screen:
        due, drawn = time.monotonic(), (0, 0)
        columns, lines = screen.size()
        engine.ask(f"{columns} {2 * (lines - 1)}")
        while not screen.left([engine]):
            now = engine.answer()
            if not now:
                return
            pixels = np.frombuffer(engine.data(now["width"] * now["height"] * 3), dtype=np.uint8)
            pixels = pixels.reshape(now["height"], now["width"], 3)
            columns, lines = screen.size()
            engine.ask(f"{columns} {2 * (lines - 1)}")  # drawn there while this one is drawn here
            if pixels.shape[:2] != (2 * (lines - 1), columns):
                continue  # of the size that the terminal had
            if drawn != (columns, lines):
                screen.write("\x1b[0m\x1b[2J")
                picture.forget()
                drawn = (columns, lines)
            value = float(now["return"])
            status = f"episode {now['episode']} · step {now['step']}{limit} · return {value:.1f} · q quits"
            line = set_cell_size(f" {status} · {title}", columns)
            screen.write(f"{picture.draw(pixels)}\x1b[0m\x1b[{lines};1H{line}")
            due = max(due + 1 / about["rate"], time.monotonic())
            due += END_OF_EPISODE_SECONDS if now["over"] else 0.0
            if screen.left([], due):
                return


def colours() -> int:
    """How many the terminal shows: 2²⁴, 256, or none where NO_COLOR is set."""
    if os.environ.get("NO_COLOR"):
        return 0
    return 1 << 24 if os.environ.get("COLORTERM") in ("truecolor", "24bit") else 256


class HalfBlocks:
    """Pictures as text: of each, what differs from the one before."""

    def __init__(self, colours: int) -> None:
        self._colours = colours
        self._before: NDArray[np.int64] | None = None

    def forget(self) -> None:
        """The next picture is drawn whole."""
        self._before = None

    def draw(self, pixels: NDArray[np.uint8]) -> str:
        """(2·lines, columns, 3) -> what to write; from the terminal's upper left corner."""
        codes = self._codes(pixels)
        cells = paired(codes)
        if self._before is None or self._before.shape != cells.shape:
            changed = np.ones_like(cells, dtype=bool)
        else:
            changed = cells != self._before
        self._before = cells
        return "".join(
            self._line(int(y), int(columns[0]), cells[y, columns[0] : columns[-1] + 1])
            for y in np.flatnonzero(changed.any(axis=1))
            if len(columns := np.flatnonzero(changed[y]))
        )

    def _codes(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """(lines, columns): a number for each pixel's colour."""
        if not self._colours:
            return greys(pixels, len(_SHADES))
        return _palette()[fine(pixels)] if self._colours == 256 else fine(pixels)

    def _line(self, y: int, x: int, cells: NDArray[np.int64]) -> str:
        """Stretches of equal cells, from column x on."""
        starts = np.flatnonzero(np.diff(cells, prepend=-1))
        lengths = np.diff(starts, append=len(cells))
        parts = [f"\x1b[{y + 1};{x + 1}H"]
        above = below = -1  # the terminal's colours are not known yet
        for cell, length in zip(cells[starts].tolist(), lengths.tolist(), strict=True):
            upper, lower = cell >> 16, cell & 0xFFFF
            if not self._colours:
                parts.append(_SHADES[(upper + lower + 1) // 2] * length)
                continue
            if upper == lower:  # a blank needs one colour
                parts.append(("" if lower == below else _sgr(48, lower, self._colours)) + " " * length)
                below = lower
                continue
            if upper != above:
                parts.append(_sgr(38, upper, self._colours))
            if lower != below:
                parts.append(_sgr(48, lower, self._colours))
            parts.append("▀" * length)
            above, below = upper, lower
        return "".join(parts)


@functools.cache
def _sgr(ground: int, code: int, colours: int) -> str:
    """What sets the colour of the foreground (38) or background (48)."""
    if colours == 256:
        return f"\x1b[{ground};5;{code}m"
    red, green, blue = rgb(code)
    return f"\x1b[{ground};2;{red};{green};{blue}m"


@functools.cache
def _palette() -> NDArray[np.int64]:
    """(32768,): for 5 bits a channel the nearest of xterm's 6 × 6 × 6 cube and its 24 greys."""
    channel = np.arange(32) * 255 / 31
    levels = np.array([0, 95, 135, 175, 215, 255])
    near = np.abs(channel[:, None] - levels).argmin(axis=1)
    red, green, blue = np.meshgrid(near, near, near, indexing="ij")
    wanted = np.stack(np.meshgrid(channel, channel, channel, indexing="ij"), axis=-1)
    off_cube = ((wanted - levels[np.stack([red, green, blue], axis=-1)]) ** 2).sum(axis=-1)
    grey = np.clip(np.round((wanted.mean(axis=-1) - 8) / 10), 0, 23).astype(np.int64)
    off_grey = ((wanted - (8 + 10 * grey)[..., None]) ** 2).sum(axis=-1)
    chosen: NDArray[np.int64] = np.where(off_cube <= off_grey, 16 + 36 * red + 6 * green + blue, 232 + grey)
    return chosen.reshape(-1)


class Screen:
    """The terminal's other screen, without cursor and echo; as it was before at the end of the `with` block, however that comes."""

    def __enter__(self) -> Screen:
        self._keys = sys.stdin.fileno() if sys.stdin.isatty() else None
        self._mode: list[Any] | None = None
        self._signals = {n: signal.signal(n, _leave) for n in (signal.SIGTERM, signal.SIGHUP)}
        # A shell in the foreground could not be used on this screen.
        self._signals[signal.SIGTSTP] = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
        if self._keys is not None:
            self._mode = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self.write(_ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.write(_LEAVE)
        finally:
            if self._keys is not None and self._mode is not None:
                termios.tcsetattr(self._keys, termios.TCSAFLUSH, self._mode)
            for number, handler in self._signals.items():
                signal.signal(number, handler)

    def size(self) -> tuple[int, int]:
        """Columns and lines, now."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return max(columns, LEAST[0]), max(lines, LEAST[1])

    def write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    def left(self, until: Sequence[Engine], due: float | None = None) -> bool:
        """Wait until one of `until` has something to say, or the time is `due`; True at once where a key says to leave."""
        while True:
            watched = [*until, *(() if self._keys is None else (self._keys,))]
            wait = None if due is None else max(0.0, due - time.monotonic())
            ready = select.select(watched, [], [], wait)[0]
            if self._keys in ready and self._keys is not None:
                pressed = os.read(self._keys, 64)
                if not pressed or pressed in (b"q", b"Q", b"\x1b"):
                    return True
            if any(each in ready for each in until) or (due is not None and time.monotonic() >= due):
                return False


def _leave(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
