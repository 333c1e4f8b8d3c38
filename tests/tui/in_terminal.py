"""The real `mopo-tui` in a pseudo-terminal: started, typed into, resized, and seen as a person sees it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START = (sys.executable, "-c", "from mopo_tui.cli import open_app; open_app()")
_TICK = 0.05
# An escape sequence, one that is not whole yet, or a stretch of text. What sets colours and modes draws nothing.
_PARTS = re.compile(
    r"\x1b\[(?P<numbers>[?<>=]*[\d;:$]*)(?P<final>[A-Za-z@`~])"
    r"|\x1b[\]P][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|(?P<torn>\x1b(?:\[[?<>=]*[\d;:$]*|[\]P][^\x07\x1b]*\x1b?)?$)"
    r"|\x1b[()][0-9A-B]|\x1b."
    r"|(?P<text>[^\x1b\r\n]+)|(?P<control>[\r\n])",
    re.DOTALL,
)


class Screen:
    """What a terminal shows of what it got: cursor moves, erasing and text are all that Textual writes."""

    def __init__(self, columns: int, rows: int) -> None:
        self.resize(columns, rows)
        self._pending = ""

    def resize(self, columns: int, rows: int) -> None:
        """A terminal of another size, empty."""
        self.columns, self.rows = columns, rows
        self._cells = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0

    def feed(self, data: str) -> None:
        """Take what the program wrote."""
        data, self._pending = self._pending + data, ""
        for part in _PARTS.finditer(data):
            if part["torn"]:
                self._pending = part["torn"]
            elif part["text"]:
                self._write(part["text"])
            elif part["control"]:
                self._row += part["control"] == "\n"
                self._column = 0 if part["control"] == "\r" else self._column
            elif part["final"]:
                self._move(part["numbers"], part["final"])

    def _write(self, text: str) -> None:
        for character in text:
            if character >= " ":
                if self._row < self.rows and self._column < self.columns:
                    self._cells[self._row][self._column] = character
                self._column += 1

    def _move(self, parameters: str, final: str) -> None:
        numbers = [int(n) for n in re.findall(r"\d+", parameters)]
        if final == "H":
            self._row, self._column = (numbers[0] - 1, numbers[1] - 1) if len(numbers) == 2 else (0, 0)
        elif final == "C":
            self._column += numbers[0] if numbers else 1
        elif final == "J" and numbers == [2]:
            self._cells = [[" "] * self.columns for _ in range(self.rows)]

    @property
    def lines(self) -> list[str]:
        return ["".join(cells).rstrip() for cells in self._cells]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class AppTerminal:
    """`mopo-tui` on one store in a terminal of its own; `with` ends it, however the block ends.

    Attributes:
        written: all that the terminal got so far.
    """

    def __init__(
        self,
        runs: Path,
        columns: int = 120,
        rows: int = 40,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = START,
    ) -> None:
        self.screen = Screen(columns, rows)
        self.written = bytearray()
        self._shown = 0  # bytes of it that are on the screen
        self._master, slave = pty.openpty()
        self._size(columns, rows)
        locale = ("LC_ALL", "LC_CTYPE", "LANG")
        variables = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", *locale)}
        variables |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
        variables |= {"MOPO_RUNS": str(runs), **(environment or {})}
        self.begun = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, *arguments], stdin=slave, stdout=slave, stderr=slave, env=variables, start_new_session=True
        )
        os.close(slave)

    def __enter__(self) -> AppTerminal:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def _size(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size; the program gets SIGWINCH."""
        self.read(0)
        self.screen.resize(columns, rows)
        self._size(columns, rows)
        os.kill(self.process.pid, signal.SIGWINCH)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def read(self, seconds: float, most: int = 1 << 16) -> bool:
        """Take what the program writes, at most one read of at most `most` bytes; False where nothing came, or it has ended."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, most)
        except OSError:  # Linux says EIO once the program has closed its end
            return False
        self.written += data
        if data and data[-1] < 0x80:  # no character is torn
            self.screen.feed(self.written[self._shown :].decode("utf-8", "replace"))
            self._shown = len(self.written)
        return bool(data)

    @property
    def got(self) -> int:
        """Bytes that the terminal got so far."""
        return len(self.written)

    def until(self, true: Callable[[Screen], bool], seconds: float = 20.0) -> float:
        """Read until the screen is so; the seconds that it took.

        Raises:
            AssertionError: it never was.
        """
        begun = time.perf_counter()
        while not true(self.screen):
            spent = time.perf_counter() - begun
            if spent > seconds:
                raise AssertionError(f"not so after {seconds} s; the screen:\n{self.screen.text}")
            if not self.read(_TICK) and self.process.poll() is not None and not self.read(0):
                assert true(self.screen), f"it ended with {self.process.returncode}; the screen:\n{self.screen.text}"
        return time.perf_counter() - begun

    def quiet(self, seconds: float = 0.3, most: float = 20.0) -> None:
        """Read until nothing was written for that long."""
        end = time.perf_counter() + most
        while self.read(seconds) and time.perf_counter() < end:
            pass

    def read_for(self, seconds: float) -> None:
        """Read for that long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.read(left)

    def ended(self, seconds: float = 10.0) -> int:
        """Wait until it has ended, reading; its exit code."""
        end = time.perf_counter() + seconds
        while self.process.poll() is None and time.perf_counter() < end:
            self.read(_TICK)
        assert self.process.poll() is not None, f"it has not ended:\n{self.screen.text}"
        return self.process.returncode

    def processor(self) -> float:
        """Seconds of processor time of the program so far, user and system, all its threads."""
        return time.clock_gettime(
            ~self.process.pid << 3 | 2
        )  # CPUCLOCK_SCHED of that process, as clock_getcpuclockid(3) makes it

    def memory(self) -> int:
        """Resident bytes now."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS"))
