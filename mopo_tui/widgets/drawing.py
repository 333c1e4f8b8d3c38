"""A plot as a grid of characters and inks (no Textual).

12 ┤            legend        reference labels and
 8 ┤┈┈┈┈┈⠤⠒⠉┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈ ends of lines stand
 4 ┤  ⡠⠔⠁                      right of the plot
   └────────┬───────┬───────
   0       20k     40k  updates

What lies on top takes its whole cell, since a cell has one colour: areas, then lines behind, then lines, then bold ones, marks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mopo_tui.widgets import braille
from mopo_tui.widgets.glyphs import FINEST, Look
from mopo_tui.widgets.palette import HEAT_STEPS
from mopo_tui.widgets.plot import Heat, Line, Plot, Reference
from mopo_tui.widgets.scale import Floats, Scale, number, tick_labels
from mopo_tui.widgets.thinning import Curves, at

NARROW = 48  # columns below which labels take their short form
TWO_AXES = 64  # columns from which a second axis stands at the right
_AREA, _BEHIND, _LINE, _BOLD = 1, 2, 3, 4  # what covers what


@dataclass(frozen=True)
class Ink:
    """How a character is drawn: a colour's name of the palette, weight, and the colour's name behind it ("" is the chart's own)."""

    name: str = "text"
    bold: bool = False
    back: str = ""


# Every ink that was ever used, so that a number means the same ink in all grids; some dozens.
_INKS: list[Ink] = [Ink()]
_NUMBERS: dict[Ink, int] = {Ink(): 0}


def _number_of(ink: Ink) -> int:
    if ink not in _NUMBERS:
        _NUMBERS[ink] = len(_INKS)
        _INKS.append(ink)
    return _NUMBERS[ink]


class Grid:
    """Characters with an ink each, shape (rows, columns).

    Attributes:
        codes: the characters' Unicode numbers.
        inks: numbers of inks, the same in all grids.
        area: (top, left, rows, columns) of the plot inside its axes; None where nothing is drawn.
        x, y: its axes.
        told: True where the values at the crosshair stand in the plot.
    """

    def __init__(self, rows: int, columns: int, look: Look = FINEST) -> None:
        self.rows, self.columns, self.look = rows, columns, look
        self.codes: npt.NDArray[np.uint32] = np.full((rows, columns), ord(" "), dtype=np.uint32)
        self.inks: npt.NDArray[np.int64] = np.zeros((rows, columns), dtype=np.int64)
        self.area: tuple[int, int, int, int] | None = None
        self.x, self.y = Scale(0, 1), Scale(0, 1)
        self.told = False

    def put(self, row: int, column: int, text: str, ink: Ink) -> None:
        """Write a text; what falls outside is cut off."""
        if not 0 <= row < self.rows:
            return
        text = self.look.text(text)
        first = max(column, 0)
        text = text[first - column : max(self.columns - column, 0)]
        if text:
            self.codes[row, first : first + len(text)] = [ord(c) for c in text]
            self.inks[row, first : first + len(text)] = _number_of(ink)

    def runs(self, row: int) -> list[tuple[str, Ink]]:
        """A row as stretches of one ink."""
        inks = self.inks[row]
        starts = np.flatnonzero(np.r_[True, inks[1:] != inks[:-1]])
        text = self.codes[row].tobytes().decode("utf-32")
        ends = [*starts[1:], self.columns]
        return [(text[a:b], _INKS[inks[a]]) for a, b in zip(starts, ends, strict=True)]

    def lines(self) -> list[str]:
        """The characters alone, as lines."""
        return [row.tobytes().decode("utf-32") for row in self.codes]

    def changed(self, before: Grid) -> list[tuple[int, int, int]]:
        """(row, first column, end column) of what differs from a grid of the same size."""
        differs = (self.codes != before.codes) | (self.inks != before.inks)
        return [
            (int(row), int(columns[0]), int(columns[-1]) + 1)
            for row in np.flatnonzero(differs.any(axis=1))
            if (columns := np.flatnonzero(differs[row])).size
        ]


@dataclass
class _Frame:
    """Where the plot's area lies in the grid, its axes, and what covers each cell of the area."""

    grid: Grid
    plot: Plot
    x: Scale
    y: Scale
    top: int
    left: int
    rows: int
    columns: int
    labels: int  # first column right of the plot and of its second axis

    def __post_init__(self) -> None:
        self.level = np.zeros((self.rows, self.columns), dtype=np.int64)
        self.dots = np.zeros((self.rows, self.columns), dtype=np.int64)
        self.backs: npt.NDArray[np.int64] | None = None  # steps of the heat map
        look = self.grid.look
        self.table = np.array([ord(c) for c in look.table], dtype=np.uint32)

    def row_of(self, value: float) -> int | None:
        fraction = float(self.y.fraction(np.array([value]))[0])
        if not -0.001 <= fraction <= 1.001:
            return None
        high = self.grid.look.high
        return self.top + min(max(round((1.0 - fraction) * (self.rows * high - 1)) // high, 0), self.rows - 1)

    def column_of(self, value: float) -> int | None:
        fraction = float(self.x.fraction(np.array([value]))[0])
        if not -0.001 <= fraction <= 1.001:
            return None
        wide = self.grid.look.wide
        return self.left + min(max(round(fraction * (self.columns * wide - 1)) // wide, 0), self.columns - 1)

    def paint(self, dots: braille.Dots, ink: Ink, level: int) -> None:
        """Put dots over what lies below `level`, together with what lies on it, and under what lies above."""
        cells = braille.cells(dots, self.grid.look)
        drawn = (cells > 0) & (self.level <= level)
        merged = np.where(self.level == level, self.dots, 0) | cells
        self.dots[drawn], self.level[drawn] = merged[drawn], level
        self.write(drawn, self.table[self.dots], ink)

    def write(self, where: npt.NDArray[np.bool_], codes: npt.NDArray[np.uint32], ink: Ink) -> None:
        """Characters of the area in one ink, over the heat map's colours where there is one."""
        area = np.s_[self.top : self.top + self.rows, self.left : self.left + self.columns]
        self.grid.codes[area][where] = codes[where]
        if self.backs is None or not self.grid.look.colours:
            self.grid.inks[area][where] = _number_of(ink)
            return
        for row, column in zip(*np.nonzero(where), strict=True):
            back = f"heat {self.backs[row, column]}"
            self.grid.inks[self.top + row, self.left + column] = _number_of(Ink(ink.name, ink.bold, back))


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
    frame = _framed(grid, plot)
    _legend(frame)
    _heat(frame)
    _references(frame)
    _verticals(frame)
    _histograms(frame)
    _bands(frame)
    for line in sorted(plot.lines, key=_level):
        _line(frame, line)
    _marks(frame)
    _names_of_verticals(frame)
    _labels(frame)
    if cursor is not None:
        _crosshair(frame, whole, cursor)
    return grid


def _framed(grid: Grid, plot: Plot) -> _Frame:
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
    frame = _Frame(grid, plot, x, y, legend, left, area_rows, area_columns, left + area_columns + beside + 1)
    grid.area, grid.x, grid.y = (legend, left, area_rows, area_columns), x, y
    _y_axis(frame, ticks, right)
    _x_axis(frame, tall)
    return frame


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


def _legend(frame: _Frame) -> None:
    if not frame.top:
        return
    column, plot, grid = frame.left + 1, frame.plot, frame.grid
    title = grid.look.text(plot.y_title)
    if plot.right is not None and plot.right.title and frame.labels > frame.left + frame.columns + 1:
        title = f"{title} · right: {plot.right.title}".removeprefix(" · ")
    for glyph, ink, text in plot.legend:
        if column + len(text) + 2 > grid.columns:
            break
        if ink.startswith("heat") and not _has_halves(grid.look):
            glyph, ink = (
                grid.look.ramp[round(int(ink.split()[1]) / (HEAT_STEPS - 1) * (len(grid.look.ramp) - 1))],
                "muted",
            )
        grid.put(0, column, glyph, Ink(ink, bold=True))
        grid.put(0, column + 2, text, Ink("muted"))
        column += len(text) + 4 if text else len(glyph)
    if title and column + len(title) <= grid.columns:
        grid.put(0, grid.columns - len(title), title, Ink("faint"))


def _y_axis(frame: _Frame, ticks: list[tuple[float, str]], right: list[tuple[float, str]]) -> None:
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


def _x_axis(frame: _Frame, tall: bool) -> None:
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


# --- content ----------------------------------------------------------------------------------------------------------------------


def _has_halves(look: Look) -> bool:
    """Whether a cell of a heat map is two steps of colour, one above the other, instead of one shade."""
    return look.colours and look.kind != "ascii"


def _heat(frame: _Frame) -> None:
    """Two steps of colour a cell, one above the other; without colours one shade."""
    heat, look = frame.plot.heat, frame.grid.look
    if heat is None:
        return
    halves = 2 if _has_halves(look) else 1
    x = np.array([frame.x.value(i / frame.columns) for i in range(frame.columns + 1)])
    height = frame.rows * halves
    y = np.array([frame.y.value(i / height) for i in range(height + 1)])
    shares = _on_pixels(heat, x, y)[::-1]
    # The root: what is rare is seen beside what is frequent. Brightest is what a tenth of the columns reach, not what one does.
    top = float(np.quantile(heat.values.max(axis=0), 0.9))
    shares = np.sqrt(shares / (top or float(heat.values.max())))
    if halves == 1:
        ramp = look.ramp
        steps = np.rint(np.clip(shares, 0, 1) * (len(ramp) - 1)).astype(np.int64)
        codes = np.array([ord(c) for c in ramp], dtype=np.uint32)[steps]
        frame.write(steps > 0, codes, Ink("muted"))
        return
    steps = np.rint(np.clip(shares, 0, 1) * (HEAT_STEPS - 1)).astype(np.int64)
    upper, lower = steps[0::2], steps[1::2]
    for row, column in zip(*np.nonzero((upper > 0) | (lower > 0)), strict=True):
        ink = Ink(f"heat {upper[row, column]}", back=f"heat {lower[row, column]}")
        frame.grid.put(frame.top + row, frame.left + column, "▀", ink)
    frame.backs = (upper + lower) // 2


def _on_pixels(heat: Heat, x: Floats, y: Floats) -> Floats:
    """The mean of the heat map's values on each pixel between rising edges, shape (len(y) − 1, len(x) − 1); 0 outside it."""

    def ranges(edges: Floats, pixels: Floats) -> list[tuple[int, int]]:
        first = np.searchsorted(edges, pixels[:-1], "right") - 1
        last = np.searchsorted(edges, pixels[1:], "left")
        outside = (pixels[1:] <= edges[0]) | (pixels[:-1] >= edges[-1])
        first, last = np.maximum(first, 0), np.minimum(last, len(edges) - 1)
        return [
            (0, 0) if gone else (int(a), max(int(b), int(a) + 1))
            for a, b, gone in zip(first, last, outside, strict=True)
        ]

    rows = np.stack(
        [heat.values[a:b].mean(0) if b > a else np.zeros(heat.values.shape[1]) for a, b in ranges(heat.y_edges, y)]
    )
    columns = [rows[:, a:b].mean(1) if b > a else np.zeros(len(rows)) for a, b in ranges(heat.x_edges, x)]
    return np.stack(columns, axis=1)


def _references(frame: _Frame) -> None:
    for reference in frame.plot.references:
        row = frame.row_of(reference.value)
        if row is not None:
            where = np.zeros((frame.rows, frame.columns), dtype=np.bool_)
            where[row - frame.top] = True
            frame.write(where, _all(frame, "┈"), Ink(reference.ink))


def _verticals(frame: _Frame) -> None:
    for vertical in frame.plot.verticals:
        column = frame.column_of(vertical.value)
        if column is None:
            continue
        where = np.zeros((frame.rows, frame.columns), dtype=np.bool_)
        where[:, column - frame.left] = True
        frame.write(where, _all(frame, "┊"), Ink(vertical.ink))


def _names_of_verticals(frame: _Frame) -> None:
    """At the top of each, right or left of it."""
    for vertical in frame.plot.verticals:
        column = frame.column_of(vertical.value)
        if column is None or not vertical.label:
            continue
        label, room = vertical.label, frame.left + frame.columns - column - 2
        place = column + 2 if len(label) <= room else column - 1 - len(label)
        if place > frame.left:
            frame.grid.put(frame.top, place, label, Ink(vertical.ink))


def _all(frame: _Frame, character: str) -> npt.NDArray[np.uint32]:
    return np.full((frame.rows, frame.columns), ord(frame.grid.look.text(character)), dtype=np.uint32)


def _histograms(frame: _Frame) -> None:
    for histogram in sorted(frame.plot.histograms, key=lambda h: not h.filled):
        edges = frame.x.fraction(histogram.edges)
        heights = frame.y.fraction(histogram.heights)
        keep = np.isfinite(edges[:-1]) & np.isfinite(edges[1:])
        dots = braille.empty(frame.rows, frame.columns, frame.grid.look)
        paint = braille.draw_filled if histogram.filled else braille.draw_outline
        paint(dots, edges[:-1][keep], edges[1:][keep], heights[keep])
        ink = Ink(histogram.ink)
        if histogram.filled:
            _fill(frame, dots, ink)
        else:
            frame.paint(dots, ink, _LINE)


def _fill(frame: _Frame, dots: braille.Dots, ink: Ink) -> None:
    """An area: stippled, or where dots are too coarse for that in the look's shade."""
    shade = frame.grid.look.shade
    if shade:
        cells = braille.cells(dots, frame.grid.look) > 0
        frame.write(cells & (frame.level < _AREA), _all(frame, shade), ink)
        frame.level[cells] = np.maximum(frame.level[cells], _AREA)
    else:
        frame.paint(dots, ink, _AREA)


def _bands(frame: _Frame) -> None:
    for band in frame.plot.bands:
        dots = braille.empty(frame.rows, frame.columns, frame.grid.look)
        # A band that begins below 0 on a logarithmic axis, or outside the window, is filled to the edge.
        low = np.where(np.isnan(frame.y.fraction(band.low)) & np.isfinite(band.low), -1.0, frame.y.fraction(band.low))
        braille.draw_band(dots, frame.x.fraction(band.x), low, frame.y.fraction(band.high))
        _fill(frame, dots, Ink(band.ink))


def _level(line: Line) -> int:
    return _BOLD if line.bold else _BEHIND if line.behind else _LINE


def _line(frame: _Frame, line: Line) -> None:
    x, y = frame.x.fraction(line.x), frame.y.fraction(line.y)
    dots = braille.empty(frame.rows, frame.columns, frame.grid.look)
    braille.draw_line(dots, x, y)
    braille.dash(dots, line.dash)
    if line.bold and frame.grid.look.kind == "braille":
        braille.thicken(dots)
    frame.paint(dots, Ink(line.ink), _level(line))
    points = np.isfinite(x) & np.isfinite(y)
    if line.marker and (points.sum() * 3 <= frame.columns or points.sum() == 1):
        for px, py in zip(line.x[points], line.y[points], strict=True):
            _glyph(frame, float(px), float(py), line.marker, line.ink)


def _glyph(frame: _Frame, x: float, y: float, glyph: str, ink: str) -> None:
    """One character at a point, where that is inside the plot."""
    column, row = frame.column_of(x), frame.row_of(y)
    if column is not None and row is not None:
        frame.grid.put(row, column, glyph, Ink(ink, bold=True))


def _marks(frame: _Frame) -> None:
    for mark in frame.plot.marks:
        _glyph(frame, mark.x, mark.y, mark.glyph, mark.ink)


def _labels(frame: _Frame) -> None:
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


# --- the crosshair ----------------------------------------------------------------------------------------------------------------

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


def _crosshair(frame: _Frame, whole: Plot, cursor: float) -> None:
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
            _glyph(frame, point[0], point[1], "●", line.ink)
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


def _free_corner(frame: _Frame, size: tuple[int, int], column: int) -> tuple[int, int] | None:
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
