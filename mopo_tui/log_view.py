"""A run's console.log, read as it grows, off the UI thread."""

from __future__ import annotations

from pathlib import Path

from engine import record
from mopo_tui.manager.state import clean

MOST_LINES = 10_000
MOST_BYTES = 4_000_000  # read at the first look; what stands before it is not shown
_WIDEST = 4000  # characters of a line that are kept


class LogTail:
    """The last lines of one console.log; each look reads only what is new.

    Args:
        most_bytes: how much of a long log is read at the first look.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path = folder / record.CONSOLE
        self._most_bytes = most_bytes
        self._inode = -1
        self._offset = 0
        self._torn = b""
        self.lines: list[str] = []

    def look(self) -> bool:
        """Read what is new; True where there is anything, or where the file is another one now.

        Raises:
            OSError: it cannot be read; a missing one is empty.
        """
        try:
            with open(self._path, "rb") as file:
                size = file.seek(0, 2)
                inode = self._path.stat().st_ino
                begins_inside = False
                again = inode != self._inode or size < self._offset
                if again:
                    self._inode, self._offset = inode, max(0, size - self._most_bytes)
                    begins_inside = self._offset > 0
                    self._torn, self.lines = b"", []
                if size == self._offset:
                    return again
                file.seek(self._offset)
                new = file.read(size - self._offset)
        except FileNotFoundError:
            gone = bool(self.lines)
            self._inode, self._offset, self._torn, self.lines = -1, 0, b"", []
            return gone
        self._offset += len(new)
        *whole, self._torn = (self._torn + new).split(b"\n")
        whole = whole[1:] if begins_inside else whole  # the end of a line whose beginning is not shown
        # A progress bar redraws its line after a carriage return: only what was last on the screen counts.
        last = (line.decode("utf-8", "replace").rstrip("\r").rsplit("\r", 1)[-1] for line in whole)
        self.lines = [*self.lines, *(clean(line.replace("\t", "    "))[:_WIDEST] for line in last)][-MOST_LINES:]
        return True
