"""Lines of a log: wrapped or not, followed as they come, searched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mopo_tui.actions import bindings
from mopo_tui.widgets.palette import colour

_STAGE = re.compile(r"\[\w+\] ")  # with which what the engine says begins


def wrapped(line: str, width: int) -> Iterator[tuple[int, int]]:
    """Begin and end of the parts of a line that stand below each other: broken at blanks, and within a word that is too long."""
    at = 0
    while len(line) - at > width:
        blank = line.rfind(" ", at + width // 2, at + width + 1)
        end = at + width if blank < 0 else blank
        yield at, end
        at = end if blank < 0 else blank + 1
    yield at, len(line)


class LogText(ScrollView, can_focus=True):
    """Draws only the lines in sight. Following, it stays at the end until somebody scrolls away from it."""

    BINDINGS = bindings("log_text")

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: Sequence[str] = ()
        self._rows: list[
            tuple[int, int, int]
        ] = []  # line, its first character and the end, for every row on the screen
        self._pattern: re.Pattern[str] | None = None
        self._matches: list[int] = []  # lines
        self._match = -1  # of them
        self.wrap = True
        self._follow = True

    class FollowChanged(Message):
        """It follows now, or does no longer."""

    @property
    def follow(self) -> bool:
        """Whether it stays at the end as lines come."""
        return self._follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        if follow != self._follow:
            self._follow = follow
            self.post_message(self.FollowChanged())

    @property
    def found(self) -> tuple[int, int]:
        """Which match is in sight, from 1, and how many lines match."""
        return self._match + 1, len(self._matches)

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines."""
        at = self._matches[self._match] if 0 <= self._match < len(self._matches) else -1
        self._lines = lines
        self._find()
        self._match = self._matches.index(at) if at in self._matches else -1
        self._lay_out()

    def search(self, pattern: str) -> None:
        """Mark what fits the regular expression and go to the last line that does; an empty one ends the search.

        A pattern without capitals fits both cases.

        Raises:
            re.error: it is none.
        """
        flags = re.IGNORECASE if pattern == pattern.lower() else re.RegexFlag(0)
        self._pattern = re.compile(pattern, flags) if pattern else None
        self._find()
        self._match = len(self._matches)
        self.step(-1)
        self.refresh()

    def step(self, direction: int) -> None:
        """Go to the next matching line, or the one before; after the last one comes the first."""
        if self._matches:
            self.follow = False
            self._match = (self._match + direction) % len(self._matches)
            row = next(i for i, (line, _, _) in enumerate(self._rows) if line == self._matches[self._match])
            self.scroll_to(y=max(row - self.size.height // 2, 0), animate=False, force=True)
            self.refresh()
        else:
            self._match = -1

    def toggle_wrap(self) -> None:
        """Wrap long lines, or let them go on beyond the edge."""
        self.wrap = not self.wrap
        self._lay_out()

    def toggle_follow(self) -> None:
        """Stay at the end, or where one is."""
        self.follow = not self.follow
        self._lay_out()

    def _find(self) -> None:
        fits = self._pattern
        self._matches = [i for i, line in enumerate(self._lines) if fits is not None and fits.search(line)]

    def _lay_out(self) -> None:
        width = max(self.scrollable_content_region.width, 8)
        if self.wrap:
            self._rows = [(i, *part) for i, line in enumerate(self._lines) for part in wrapped(line, width)]
            widest = width
        else:
            self._rows = [(i, 0, len(line)) for i, line in enumerate(self._lines)]
            widest = max((len(line) for line in self._lines), default=0)
        self.virtual_size = Size(max(widest, 1), len(self._rows))
        if self.follow:
            self.scroll_to(y=max(len(self._rows) - self.size.height, 0), animate=False, force=True)
        self.refresh()

    def on_resize(self) -> None:
        self._lay_out()

    def action_scroll(self, rows: int) -> None:
        self._to(round(self.scroll_offset.y) + rows)

    def action_page(self, direction: int) -> None:
        self._to(round(self.scroll_offset.y) + direction * max(self.size.height - 1, 1))

    def action_first(self) -> None:
        self._to(0)

    def action_last(self) -> None:
        self.follow = True
        self._lay_out()

    def action_sideways(self, columns: int) -> None:
        self.scroll_to(x=max(self.scroll_offset.x + columns, 0), animate=False, force=True)

    def _to(self, row: int) -> None:
        end = max(len(self._rows) - self.size.height, 0)
        self.follow = row >= end
        self.scroll_to(y=min(max(row, 0), end), animate=False, force=True)

    def on_mouse_scroll_up(self) -> None:
        self.follow = False

    def render_line(self, y: int) -> Strip:
        """One row of the visible part."""
        width = self.scrollable_content_region.width
        row = y + self.scroll_offset.y
        base = self.rich_style
        if row >= len(self._rows):
            return Strip.blank(width, base)
        index, at, until = self._rows[row]
        line = self._lines[index]
        begin = at if self.wrap else self.scroll_offset.x
        end = until if self.wrap else begin + width
        dark = self.app.current_theme.dark
        here = 0 <= self._match < len(self._matches) and self._matches[self._match] == index
        found = base + Style(color=colour("orange", dark), bold=True, underline=here)
        segments, done = [], begin
        for match in self._pattern.finditer(line) if self._pattern is not None else ():
            first, last = max(match.start(), done), min(match.end(), end)
            if first < last:
                segments += [Segment(line[done:first], base), Segment(line[first:last], found)]
                done = last
        segments.append(Segment(line[done:end], base))
        stage = _STAGE.match(line)
        if stage and not begin and len(segments) == 1:  # nothing found before or in it
            muted = base + Style(color=colour("muted", dark))
            segments = [Segment(line[: stage.end()], muted), Segment(line[stage.end() : end], base)]
        return Strip(segments).adjust_cell_length(width, base)
