"""The crosshair: what all series say at an x, and where that stands in the plot."""

from __future__ import annotations

import numpy as np

from mopo_tui.widgets.drawing.frame import Frame, put_glyph
from mopo_tui.widgets.drawing.grid import Ink
from mopo_tui.widgets.plot import Plot
from mopo_tui.widgets.scale import number, tick_labels
from mopo_tui.widgets.thinning import at

Reading = tuple[str, str, str]  # ink, label, value


def reading(plot: Plot, x: float) -> list[Reading]:
    """What all series say at an x: its own value first (in the ink "text"), then each line's nearest one, those
    behind last."""
    found: list[Reading] = [("text", plot.x_title or "x", label_of(x, plot.x_unit))]
    found += [
        (line.ink, line.label, label_of(point[1], plot.y_unit))
        for line in sorted(plot.lines, key=lambda line: line.behind)
        if not line.raw and (point := at(line.x, line.y, x)) is not None
    ]
    for band in plot.bands:
        low, high = at(band.x, band.low, x), at(band.x, band.high, x)
        if low is not None and high is not None:
            value = f"{label_of(low[1], plot.y_unit)} – {label_of(high[1], plot.y_unit)}"
            found.append((band.ink, band.label, value))
    for histogram in plot.histograms:
        place = int(np.searchsorted(histogram.edges, x, "right")) - 1
        if 0 <= place < len(histogram.heights):
            found.append((histogram.ink, histogram.label, label_of(float(histogram.heights[place]), plot.y_unit)))
    return found


def label_of(value: float, unit: str) -> str:
    """A value as a person reads it on an axis of that unit."""
    if unit == "s":
        return tick_labels([round(value)], 1.0, unit)[0]
    if abs(value) >= 1000 and value == round(value):
        return f"{value:,.0f}".replace(",", " ").replace("-", "−")
    return number(value) + unit


def draw_crosshair(frame: Frame, whole: Plot, cursor: float) -> None:
    """A line at `cursor`, a mark on each series, and beside them the values where there is room."""
    column, grid = frame.column_of(cursor), frame.grid
    if column is None:
        return
    free = {ord(" "), ord(grid.look.text("┈"))}  # neither a line nor a label
    for row in range(frame.top, frame.top + frame.rows):
        if int(grid.codes[row, column]) in free:
            grid.put(row, column, "│", Ink("muted"))
    for line in whole.lines:
        point = at(line.x, line.y, cursor)
        if point is not None and frame.column_of(point[0]) == column:
            put_glyph(frame, point[0], point[1], "●", line.ink)
    values = reading(whole, cursor)
    labels, numbers = max(len(r[1]) for r in values), max(len(r[2]) for r in values)
    size = (len(values), labels + numbers + 4)
    place = _free_corner(frame, size, column)
    if place is None:
        return
    top, left = place
    for i, (ink, label, value) in enumerate(values):
        grid.put(top + i, left, " " * size[1], Ink())
        grid.put(top + i, left + 1, label, Ink(ink))
        grid.put(top + i, left + size[1] - 1 - len(value), value, Ink("text", bold=True))
    grid.told = True


def _free_corner(frame: Frame, size: tuple[int, int], column: int) -> tuple[int, int] | None:
    """Row and column of a corner beside the crosshair in which a box hides least; None where it would take too much of the plot."""
    high, wide = size
    if 2 * high > frame.rows or 3 * wide > frame.columns:
        return None
    corners = []
    for top in (0, frame.rows - high):
        for left in (column + 2 - frame.left, column - 1 - wide - frame.left):
            if left >= 0 and left + wide <= frame.columns:
                hidden = int((frame.level[top : top + high, left : left + wide] > 0).sum())
                corners.append((hidden, frame.top + top, frame.left + left))
    return min(corners)[1:] if corners else None
