"""How a grid is divided between the plot, its axes and its labels; the axes, the legend and the labels themselves."""

from __future__ import annotations

import numpy as np

from mopo_tui.widgets.drawing.content import has_halves
from mopo_tui.widgets.drawing.frame import Frame
from mopo_tui.widgets.drawing.grid import Grid, Ink
from mopo_tui.widgets.palette import HEAT_STEPS
from mopo_tui.widgets.plot import Line, Plot, Reference
from mopo_tui.widgets.scale import Scale

NARROW = 48  # columns below which labels take their short form
TWO_AXES = 64  # columns from which a second axis stands at the right


def framed(grid: Grid, plot: Plot) -> Frame:
    """Divide the grid between the plot, its axes and its labels, and draw the axes."""
    rows, columns = grid.rows, grid.columns
    tall = rows >= 9
    legend = 1 if (plot.legend or plot.y_title) and rows >= 5 else 0
    area_rows = rows - legend - (2 if tall else 1)
    y = plot.y_scale(max(area_rows // 2, 2))
    ticks = y.ticks(max(min((area_rows + 1) // 2, 12), 2))
    left = max((len(label) for _, label in ticks), default=1) + 1
    right = _right_ticks(plot, y, len(ticks)) if columns >= TWO_AXES and tall else []
    beside = max((len(label) for _, label in right), default=-1) + 1
    area_columns = max(columns - left - beside - _gutter(plot, columns), 4)
    x = plot.x_scale(max(min(area_columns // 8, 12), 4))
    frame = Frame(grid, plot, x, y, legend, left, area_rows, area_columns, left + area_columns + beside + 1)
    grid.area, grid.x, grid.y = (legend, left, area_rows, area_columns), x, y
    _y_axis(frame, ticks, right)
    _x_axis(frame, tall)
    return frame


def _text_of(reference: Reference, columns: int) -> str:
    return reference.short if reference.short and columns < NARROW else reference.label


def _gutter(plot: Plot, columns: int) -> int:
    """Columns right of the plot for labels; 0 without any."""
    ends = [line.end_label for line in plot.lines if line.end_label]
    longest = max([len(_text_of(r, columns)) for r in plot.references] + [0])
    if ends:
        # Ends often share a row, and are then written side by side: three of seven members where it is narrow.
        longest = max(
            longest, *(len(e) for e in ends), min(sum(len(e) + 1 for e in ends), 6 if columns < 56 else 14) - 1
        )
    return min(longest + 1, columns // 3) if longest else 0


def _right_ticks(plot: Plot, y: Scale, most: int) -> list[tuple[float, str]]:
    """Values on the left axis where the second one has its ticks, with their labels there."""
    right = plot.right
    if right is None or right.factor <= 0 or y.log:
        return []
    other = Scale(right.factor * y.low + right.offset, right.factor * y.high + right.offset)
    return [((value - right.offset) / right.factor, label) for value, label in other.ticks(most)]


def write_legend(frame: Frame) -> None:
    if not frame.top:
        return
    column, plot, grid = frame.left + 1, frame.plot, frame.grid
    title = grid.look.text(plot.y_title)
    if plot.right is not None and plot.right.title and frame.labels > frame.left + frame.columns + 1:
        title = f"{title} · right: {plot.right.title}".removeprefix(" · ")
    for glyph, ink, text in plot.legend:
        if column + len(text) + 2 > grid.columns:
            break
        if ink.startswith("heat") and not has_halves(grid.look):
            glyph, ink = (
                grid.look.ramp[round(int(ink.split()[1]) / (HEAT_STEPS - 1) * (len(grid.look.ramp) - 1))],
                "muted",
            )
        grid.put(0, column, glyph, Ink(ink, bold=True))
        grid.put(0, column + 2, text, Ink("muted"))
        column += len(text) + 4 if text else len(glyph)
    if title and column + len(title) <= grid.columns:
        grid.put(0, grid.columns - len(title), title, Ink("faint"))


def _y_axis(frame: Frame, ticks: list[tuple[float, str]], right: list[tuple[float, str]]) -> None:
    edge, other = frame.left - 1, frame.left + frame.columns
    for row in range(frame.top, frame.top + frame.rows):
        frame.grid.put(row, edge, "│", Ink("faint"))
        if right:
            frame.grid.put(row, other, "│", Ink("faint"))
    taken: set[int] = set()
    for value, label in ticks:
        place = frame.row_of(value)
        if place is None or place in taken:
            continue
        taken.add(place)
        frame.grid.put(place, edge, "┤", Ink("faint"))
        frame.grid.put(place, edge - len(label), label, Ink("muted"))
    for value, label in right:
        place = frame.row_of(value)
        if place is not None:
            frame.grid.put(place, other, f"├{label}", Ink("faint"))


def _x_axis(frame: Frame, tall: bool) -> None:
    bottom = frame.top + frame.rows
    ticks = frame.x.ticks(max(min(frame.columns // 9, 13), 2))
    labels = bottom + 1 if tall else bottom
    if tall:
        frame.grid.put(bottom, frame.left - 1, "└" + "─" * frame.columns, Ink("faint"))
    places: list[tuple[int, str]] = []
    for value, label in ticks:
        at_column = frame.left + round(float(frame.x.fraction(np.array([value]))[0]) * (frame.columns - 1))
        if tall:
            frame.grid.put(bottom, at_column, "┬", Ink("faint"))
        places.append((max(at_column - len(label) // 2, 0), label))
    # The last tick carries the unit, in the room right of the plot where there is some.
    first, label = places.pop()
    end = max(min(first, frame.grid.columns - len(label) - len(frame.plot.x_title) - 1), 0)
    frame.grid.put(labels, end, label, Ink("muted"))
    frame.grid.put(labels, end + len(label) + 1, frame.plot.x_title, Ink("faint"))
    free_from = 0
    for first, label in places:
        if first >= free_from and first + len(label) < end:
            frame.grid.put(labels, first, label, Ink("muted"))
            free_from = first + len(label) + 1


def name_verticals(frame: Frame) -> None:
    """At the top of each, right or left of it."""
    for vertical in frame.plot.verticals:
        column = frame.column_of(vertical.value)
        if column is None or not vertical.label:
            continue
        label, room = vertical.label, frame.left + frame.columns - column - 2
        place = column + 2 if len(label) <= room else column - 1 - len(label)
        if place > frame.left:
            frame.grid.put(frame.top, place, label, Ink(vertical.ink))


def write_labels(frame: Frame) -> None:
    """Ends of lines and names of reference lines right of the plot; a name whose row is taken moves down."""
    left, columns = frame.labels, frame.grid.columns
    room = columns - left
    if room <= 0:
        return
    ends: dict[int, list[Line]] = {}
    for line in frame.plot.lines:
        finite = line.y[np.isfinite(frame.y.fraction(line.y))]
        place = frame.row_of(float(finite[-1])) if line.end_label and finite.size else None
        if place is not None:
            ends.setdefault(place, []).append(line)
    taken: set[int] = set()
    for row, lines in ends.items():
        column = left
        # Lines drawn last lie on top and matter most: their labels come first.
        for line in reversed(lines):
            if column + len(line.end_label) <= columns:
                frame.grid.put(row, column, line.end_label, Ink(line.ink, line.bold))
                column += len(line.end_label) + 1
        taken.add(row)
    names = sorted((r for r in frame.plot.references if frame.row_of(r.value) is not None), key=lambda r: -r.value)
    wanted = [place for r in names if (place := frame.row_of(r.value)) is not None]
    for reference, row in zip(names, _spread(wanted, range(frame.top, frame.top + frame.rows), taken), strict=False):
        if frame.rows < 8 and abs(row - (frame.row_of(reference.value) or 0)) > 1:
            continue  # in a low chart a name that far from its line says nothing
        text = _text_of(reference, columns)
        if len(text) > room and reference.short:
            text = reference.short
        frame.grid.put(row, left, text[:room], Ink(reference.ink))


def _spread(wanted: list[int], rows: range, taken: set[int]) -> list[int]:
    """A free row for each wanted one (rising), in the same order, near it; fewer where there are not enough rows."""
    free = [r for r in rows if r not in taken]
    wanted = wanted[: len(free)]
    chosen: list[int] = []
    place = 0
    for i, row in enumerate(wanted):
        left_over = len(wanted) - i - 1
        # The first free row at or below the wanted one, but leave a row for each name that is still to come.
        while place < len(free) - 1 - left_over and free[place] < row:
            place += 1
        chosen.append(free[place])
        place += 1
    return chosen
