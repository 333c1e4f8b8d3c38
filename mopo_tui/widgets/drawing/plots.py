"""A whole plot drawn; or words where there is nothing to draw."""

from __future__ import annotations

from mopo_tui.widgets.drawing.axes import framed, name_verticals, write_labels, write_legend
from mopo_tui.widgets.drawing.content import (
    draw_bands,
    draw_heat,
    draw_histograms,
    draw_line,
    draw_marks,
    draw_references,
    draw_verticals,
    level_of,
)
from mopo_tui.widgets.drawing.crosshair import draw_crosshair
from mopo_tui.widgets.drawing.grid import Grid, Ink
from mopo_tui.widgets.glyphs import FINEST, Look
from mopo_tui.widgets.plot import Plot
from mopo_tui.widgets.thinning import Curves


def draw(
    plot: Plot,
    rows: int,
    columns: int,
    look: Look = FINEST,
    curves: Curves | None = None,
    cursor: float | None = None,
) -> Grid:
    """Draw a plot on that many cells; an empty one says why it is empty.

    Args:
        curves: what is kept of the lines between two drawings of one chart.
        cursor: the x of the crosshair.
    """
    grid = Grid(rows, columns, look)
    if rows < 1 or columns < 1:
        return grid
    if plot.is_empty or rows < 3 or columns < 12:
        _say(grid, plot.empty if plot.is_empty else "too small")
        return grid
    if plot.words:
        _words(grid, plot)
        return grid
    whole, plot = plot, (curves or Curves()).thinned(plot, columns * look.wide)
    frame = framed(grid, plot)
    write_legend(frame)
    draw_heat(frame)
    draw_references(frame)
    draw_verticals(frame)
    draw_histograms(frame)
    draw_bands(frame)
    for line in sorted(plot.lines, key=level_of):
        draw_line(frame, line)
    draw_marks(frame)
    name_verticals(frame)
    write_labels(frame)
    if cursor is not None:
        draw_crosshair(frame, whole, cursor)
    return grid


def _say(grid: Grid, text: str) -> None:
    words, lines = text.split(), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > grid.columns - 2:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    top = max((grid.rows - len(lines)) // 2, 0)
    for i, line in enumerate(lines):
        grid.put(top + i, max((grid.columns - len(line)) // 2, 0), line, Ink("muted"))


def _words(grid: Grid, plot: Plot) -> None:
    """What and text in two columns, a long text on as many lines as it needs."""
    width = max(len(what) for what, _ in plot.words)
    room = max(grid.columns - width - 4, 8)
    row = 1 if grid.rows > 2 * len(plot.words) else 0
    for what, text in plot.words:
        grid.put(row, 1, what, Ink("muted"))
        line = ""
        for word in text.split():
            if line and len(line) + 1 + len(word) > room:
                grid.put(row, width + 3, line, Ink("text"))
                row, line = row + 1, ""
            line = f"{line} {word}".strip()
        grid.put(row, width + 3, line, Ink("text"))
        row += 1
