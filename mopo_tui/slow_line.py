"""Over a slow line the app paints less often: while what it wrote is still on its way, changes gather, and the next picture shows
them all. So keys are answered by the newest state, not by a film of all states before it.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
from codecs import getincrementaldecoder
from collections.abc import Callable
from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

from textual import constants
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.drivers.linux_driver import LinuxDriver
from textual.screen import Screen

if TYPE_CHECKING:
    from rich.console import RenderableType

_IDLE_SECONDS = 0.1  # between looks at whether the app ends
MOST_WAITING = 2048  # characters that may be on their way when the next picture is made


class Line:
    """The terminal's file: tells how much of what was queued for it is still to be written, and when nothing is any more.

    `drained` is called in the thread that writes.
    """

    def __init__(self, file: IO[str], drained: Callable[[], None]) -> None:
        self._file = file
        self._drained = drained
        self._lock = threading.Lock()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        return self._waiting

    def queued(self, count: int) -> None:
        """So many characters will be written."""
        with self._lock:
            self._waiting += count

    def write(self, text: str) -> int:
        """Write and wait until the line has taken it."""
        count = self._file.write(text)
        self._file.flush()
        with self._lock:
            self._waiting -= len(text)
            over = self._waiting <= 0
        if over:
            self._drained()
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class PacedDriver(LinuxDriver):
    """Holds the app's pictures back while the line is busy."""

    def __init__(self, app: App[Any], **options: Any) -> None:
        super().__init__(app, **options)
        assert self._file is not None
        self._line = Line(self._file, self._drained)
        self._file = self._line  # type: ignore[assignment]
        self._held: ExitStack | None = None
        self._events = asyncio.get_running_loop()

    def run_input_thread(self) -> None:
        """Read keys. As Textual does it, but a lone Esc is looked for when its time is over, not at the next tenth of a second."""
        parser, decode = XTermParser(self._debug), getincrementaldecoder("utf-8")("replace").decode
        wait = _IDLE_SECONDS
        while not self.exit_event.is_set():
            ready = select.select([self.fileno], [], [], wait)[0]
            if ready:
                data = decode(os.read(self.fileno, 4096))
                if not data:  # the terminal is gone
                    self.exit_event.wait(_IDLE_SECONDS)
                for message in parser.feed(data) if data else ():
                    self.process_message(message)
            for message in parser.tick():
                self.process_message(message)
            wait = constants.ESCAPE_DELAY + 0.001 if ready else _IDLE_SECONDS

    def write(self, data: str) -> None:
        self._line.queued(len(data))
        super().write(data)
        if self._held is None and self._line.waiting > MOST_WAITING:
            self._held = ExitStack()
            self._held.enter_context(self._app.batch_update())

    def _drained(self) -> None:
        if self._held is not None and not self._events.is_closed():
            self._events.call_soon_threadsafe(self._go_on)

    def _go_on(self) -> None:
        if self._held is not None and self._line.waiting <= 0:
            held, self._held = self._held, None
            held.close()
            if isinstance(self._app, PacedApp):
                self._app.catch_up()


class PacedApp(App[None]):
    """An app that paints no faster than its terminal takes it."""

    def __init__(self) -> None:
        super().__init__(driver_class=PacedDriver)
        self._unseen = False

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        # Textual makes a picture after a new layout even where none is wanted now, and counts it as seen.
        self._unseen |= renderable is not None and self._batch_count > 0
        super()._display(screen, renderable)

    def catch_up(self) -> None:
        """Paint what has changed since the last picture."""
        if self._unseen:
            self._unseen = False
            self.screen.refresh()
        else:
            self.screen.check_idle()
