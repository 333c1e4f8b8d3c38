"""The panel of what happens now: lines of text, repainted only where they change."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from mopo_tui.manager import Run
from mopo_tui.widgets.glyphs import Look, look_of
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.panels.now import Line, now
from mopo_tui.widgets.seeds import Group


class NowPanel(Widget, can_focus=True):
    """Stages, alerts and the end of the log of one group; `show` gives it news."""

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._group: Group | None = None
        self._log: Sequence[str] = ()
        self._log_of: Run | None = None
        self._lines: list[Line] = []
        self._look: Look | None = None

    def show(self, group: Group, log: Sequence[str], log_of: Run | None, title: str) -> None:
        """Show a group, and the last lines of the log of one of its runs."""
        self._group, self._log, self._log_of = group, log, log_of
        if self.border_title != title:
            self.border_title = title
        self._update()

    def on_resize(self) -> None:
        self._update()

    def _update(self) -> None:
        before, self._lines = self._lines, self._made()
        rows = max(len(before), len(self._lines))
        pairs = zip(_filled(before, rows), _filled(self._lines, rows), strict=True)
        changed = [Region(0, y, self.size.width, 1) for y, (old, new) in enumerate(pairs) if old != new]
        if changed:
            self.refresh(*changed)

    def _made(self) -> list[Line]:
        """The lines; where they cannot be made, the reason in their place: the app goes on."""
        size = self.size
        if self._group is None or not size.area:
            return []
        try:
            return now(self._group, self._log, self._log_of, size.height, size.width)
        except Exception as error:  # whatever a run recorded, one panel is all that it may cost
            return [((f"cannot be shown: {type(error).__name__}: {error}", "muted", False),)]

    def render_line(self, y: int) -> Strip:
        """One line."""
        width, base = self.size.width, self.rich_style
        if y >= len(self._lines):
            return Strip.blank(width, base)
        if self._look is None:
            self._look = look_of(os.environ, colours=not self.app.no_color)
        dark = self.app.current_theme.dark
        segments = [
            Segment(self._look.text(text), base + Style(color=colour(ink, dark), bold=bold or None))
            for text, ink, bold in self._lines[y]
        ]
        return Strip(segments).adjust_cell_length(width, base)


def _filled(lines: Sequence[Line], rows: int) -> list[Line]:
    return [*lines, *[()] * (rows - len(lines))]
