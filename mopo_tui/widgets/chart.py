"""The chart widget: draws a plot, and repaints only the rows that changed."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from mopo_tui.widgets.drawing import Ink, draw
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.plot import Plot

Row = list[tuple[str, Ink]]


class Chart(Widget, can_focus=True):
    """Shows one plot; `show` gives it another."""

    def __init__(self, plot: Plot | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._plot = plot or Plot()
        self._rows: list[Row] = []
        self._drawn_for: tuple[int, int] = (0, 0)

    @property
    def plot(self) -> Plot:
        """What is shown."""
        return self._plot

    def show(self, plot: Plot, title: str = "", subtitle: str = "") -> None:
        """Show `plot` under a title and over a subtitle (Textual markup)."""
        if title != self.border_title:
            self.border_title = title
        if subtitle != self.border_subtitle:
            self.border_subtitle = subtitle
        self._plot = plot
        size = self.size
        if not size.area or self._drawn_for != (size.height, size.width):
            self.refresh()
            return
        before, self._rows = self._rows, self._draw(size.height, size.width)
        changed = [i for i, row in enumerate(self._rows) if row != before[i]]
        if changed:
            self.refresh(*(Region(0, i, size.width, 1) for i in changed))

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
