"""The list of runs: two lines each, drawn by row, repainted only where something changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mopo_tui.actions import bindings
from mopo_tui.manager import Run
from mopo_tui.widgets.palette import STATES, colour
from mopo_tui.widgets.words import bar, cut, default_named, score_text, short_id, title_of

LINES = 2


class RunList(ScrollView, can_focus=True):
    """Runs with a cursor and marks. The cursor stays on its run when others come or go."""

    BINDINGS = bindings("list")
    COMPONENT_CLASSES: ClassVar[set[str]] = {"run-list--cursor", "run-list--chosen"}

    class Chosen(Message):
        """The cursor is on another run, or on none."""

        def __init__(self, run_id: str | None) -> None:
            super().__init__()
            self.run_id = run_id

    class Opened(Message):
        """Enter on a run."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._runs: tuple[Run, ...] = ()
        self._cursor = 0
        self._marked: tuple[str, ...] = ()

    @property
    def chosen(self) -> Run | None:
        """The run under the cursor."""
        return self._runs[self._cursor] if self._runs else None

    def show(self, runs: Sequence[Run], marked: Sequence[str]) -> None:
        """Show these runs and marks."""
        before, chosen = self._runs, self.chosen
        marks_before, self._marked = set(self._marked), tuple(marked)
        self._runs = tuple(runs)
        self.virtual_size = Size(self.scrollable_content_region.width, len(runs) * LINES)
        places = {run.id: i for i, run in enumerate(self._runs)}
        if chosen is not None and chosen.id in places:
            self._cursor = places[chosen.id]
        else:
            self._cursor = min(self._cursor, max(len(runs) - 1, 0))
        remarked = marks_before ^ set(marked)
        if len(before) != len(self._runs):
            self.refresh()
        else:
            for i, run in enumerate(self._runs):
                if run != before[i] or run.id in remarked:
                    self._repaint(i)
        now = self.chosen
        if (now.id if now else None) != (chosen.id if chosen else None):
            self.refresh()
            self._tell()

    def choose(self, run_id: str) -> None:
        """Put the cursor on that run."""
        for i, run in enumerate(self._runs):
            if run.id == run_id:
                self._go(i)

    def _tell(self) -> None:
        self.post_message(self.Chosen(self.chosen.id if self.chosen else None))

    def _repaint(self, index: int) -> None:
        top = index * LINES - self.scroll_offset.y
        self.refresh(Region(0, top, self.size.width, LINES))

    def _go(self, index: int) -> None:
        index = min(max(index, 0), len(self._runs) - 1)
        if index < 0 or index == self._cursor:
            return
        self._repaint(self._cursor)
        self._cursor = index
        self._repaint(index)
        self.scroll_to_region(Region(0, index * LINES, 1, LINES), animate=False, force=True)
        self._tell()

    def action_move(self, step: int) -> None:
        self._go(self._cursor + step)

    def action_page(self, direction: int) -> None:
        self._go(self._cursor + direction * max(self.size.height // LINES - 1, 1))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self._runs) - 1)

    def action_open(self) -> None:
        if self._runs:
            self.post_message(self.Opened())

    def on_click(self, event: events.Click) -> None:
        self._go((event.y + self.scroll_offset.y) // LINES)

    def on_resize(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._runs) * LINES)

    def on_focus(self) -> None:
        self._repaint(self._cursor)

    def on_blur(self) -> None:
        self._repaint(self._cursor)

    def render_line(self, y: int) -> Strip:
        """One row of the visible part."""
        width = self.scrollable_content_region.width
        index, line = divmod(y + self.scroll_offset.y, LINES)
        base = self.rich_style
        if index >= len(self._runs):
            return Strip.blank(width, base)
        run, here = self._runs[index], index == self._cursor
        parts = self._title(run, width - 2) if line == 0 else self._detail(run, width - 2)
        dark = self.app.current_theme.dark
        if here:
            base += self.get_component_rich_style("run-list--cursor" if self.has_focus else "run-list--chosen")
        edge = Style(color=colour("sky" if self.has_focus else "faint", dark))
        segments = [Segment("▌" if here else " ", base + edge)]
        for text, name, bold in parts:
            segments.append(Segment(text, base + Style(color=colour(name, dark), bold=bold or None)))
        return Strip(segments).adjust_cell_length(width, base)

    def _title(self, run: Run, width: int) -> list[tuple[str, str, bool]]:
        glyph, ink = STATES[run.state.value]
        mark = "◆" if run.id in self._marked else " "
        room = max(width - 4, 4)
        name = cut(title_of(run) if default_named(run) else run.name, room)
        more = "" if default_named(run) else cut(title_of(run), max(room - len(name) - 2, 0))
        return [
            (mark, "orange", True),
            (f"{glyph} ", ink, True),
            (name, "text", True),
            (f"  {more}" if len(more) > 6 else "", "muted", False),
        ]

    def _detail(self, run: Run, width: int) -> list[tuple[str, str, bool]]:
        if run.problem:
            return [("   ", "text", False), (cut(run.problem, width - 4), "vermillion", False)]
        ink = STATES[run.state.value][1]
        state = run.stage if run.state.value == "running" and run.stage else run.state.value
        word, _, value = score_text(run).rpartition(" ")
        left = f"   {short_id(run.id):<4} "
        done = open_part = percent = ""
        # A finished run needs no bar, and one that waits has none yet.
        if run.state.value not in ("finished", "queued"):
            percent = f" {run.progress * 100:.0f} %"
            length = min(width - len(left) - 11 - 6 - 14, 30)
            done, open_part = bar(run.progress, length) if length >= 4 else ("", "")
        used = len(left) + 11 + len(done) + len(open_part) + len(percent)
        score = f"{word} {value}" if value else ""
        return [
            (left, "muted", False),
            (f"{state:<11}", ink, False),
            (done, ink, False),
            (open_part, "faint", False),
            (percent, "muted", False),
            (" " * max(width - 1 - used - len(score), 1 if score else 0), "text", False),
            (f"{word} " if word else "", "faint", False),
            (value, "text", True),
        ]
