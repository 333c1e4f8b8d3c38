"""The chart widget: draws a plot, and repaints only the rows that changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.markup import escape
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from mopo_tui.widgets.drawing import Ink, draw
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.plot import Plot
from mopo_tui.widgets.words import cut, fitting

Row = list[tuple[str, Ink]]


class Chart(Widget, can_focus=True):
    """Shows one plot; `show` gives it another."""

    def __init__(self, id: str | None = None, classes: str | None = None, focusable: bool = True) -> None:
        self._border_row: int | None = None  # set while a title changes, for `refresh`
        super().__init__(id=id, classes=classes)
        self._border = ("", "")
        self.can_focus = focusable
        self._plot = Plot()
        self._title = ""
        self._numbers: tuple[str, ...] = ()
        self._rows: list[Row] = []
        self._drawn_for: tuple[int, int] = (0, 0)

    @property
    def plot(self) -> Plot:
        """What is shown."""
        return self._plot

    def show(self, plot: Plot, title: str = "", numbers: Sequence[str] = ()) -> None:
        """Show `plot` under a title and over its most important numbers, as many as fit, the first ones first."""
        self._title, self._numbers, self._plot = title, tuple(numbers), plot
        self._write_border()
        size = self.size
        if not size.area or self._drawn_for != (size.height, size.width):
            self.refresh()
            return
        before, self._rows = self._rows, self._draw(size.height, size.width)
        changed = [i for i, row in enumerate(self._rows) if row != before[i]]
        if changed:
            self.refresh(*(Region(0, i, size.width, 1) for i in changed))

    def _write_border(self) -> None:
        room = max(self.outer_size.width - 6, 0)
        border = cut(self._title, room), fitting(self._numbers, room)
        for i, row in ((0, -1), (1, self.size.height)):
            if border[i] != self._border[i]:
                self._border_row = row
                if i == 0:
                    self.border_title = escape(border[0])
                else:
                    self.border_subtitle = escape(border[1])
                self._border_row = None
        self._border = border

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Repaint; where only a title changed, its row alone (Textual would repaint the whole widget)."""
        if self._border_row is not None and not regions:
            regions = (Region(-1, self._border_row, self.outer_size.width, 1),)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def on_resize(self) -> None:
        self._write_border()

    def _draw(self, height: int, width: int) -> list[Row]:
        grid = draw(self._plot, height, width)
        self._drawn_for = (height, width)
        return [grid.runs(i) for i in range(height)]

    def render_line(self, y: int) -> Strip:
        """One row of the content area."""
        size = self.size
        if self._drawn_for != (size.height, size.width):
            self._rows = self._draw(size.height, size.width)
        base = self.rich_style
        if y >= len(self._rows):
            return Strip.blank(size.width, base)
        dark = self.app.current_theme.dark
        styles = {ink: base + Style(color=colour(ink.name, dark), bold=ink.bold or None) for _, ink in self._rows[y]}
        return Strip([Segment(text, styles[ink]) for text, ink in self._rows[y]], size.width)
