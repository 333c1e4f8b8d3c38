"""A plot as a grid of characters and inks (no Textual).

12 ┤            legend        reference labels and
 8 ┤┈┈┈┈┈⠤⠒⠉┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈┈ ends of lines stand
 4 ┤  ⡠⠔⠁                      right of the plot
   └────────┬───────┬───────
   0       20k     40k  updates
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mopo_tui.widgets import braille
from mopo_tui.widgets.plot import Line, Plot, Reference
from mopo_tui.widgets.scale import Scale

NARROW = 48  # columns below which labels take their short form


@dataclass(frozen=True)
class Ink:
    """How a character is drawn: a colour's name of the palette, and weight."""

    name: str = "text"
    bold: bool = False


class Grid:
    """Characters with an ink each, shape (rows, columns)."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.characters: npt.NDArray[np.str_] = np.full((rows, columns), " ", dtype="<U1")
        self.inks: npt.NDArray[np.int64] = np.zeros((rows, columns), dtype=np.int64)
        self.table: list[Ink] = [Ink()]

    def ink(self, ink: Ink) -> int:
        """The index of an ink in the table."""
        if ink not in self.table:
            self.table.append(ink)
        return self.table.index(ink)

    def put(self, row: int, column: int, text: str, ink: Ink) -> None:
        """Write a text; what falls outside is cut off."""
        if not 0 <= row < self.rows:
            return
        first = max(column, 0)
        text = text[first - column : max(self.columns - column, 0)]
        if text:
            self.characters[row, first : first + len(text)] = list(text)
            self.inks[row, first : first + len(text)] = self.ink(ink)

    def runs(self, row: int) -> list[tuple[str, Ink]]:
        """A row as stretches of one ink."""
        inks = self.inks[row]
        starts = np.flatnonzero(np.r_[True, inks[1:] != inks[:-1]])
        ends = np.r_[starts[1:], self.columns]
        characters = self.characters[row]
        return [("".join(characters[a:b]), self.table[inks[a]]) for a, b in zip(starts, ends, strict=True)]

    def lines(self) -> list[str]:
        """The characters alone, as lines."""
        return ["".join(row) for row in self.characters]


@dataclass
class _Frame:
    """Where the plot's area lies in the grid, and its axes."""

    grid: Grid
    plot: Plot
    x: Scale
    y: Scale
    top: int
    left: int
    rows: int
    columns: int

    def row_of(self, value: float) -> int | None:
        fraction = float(self.y.fraction(np.array([value]))[0])
        if not -0.001 <= fraction <= 1.001:
            return None
        return self.top + min(max(round((1.0 - fraction) * (self.rows * 4 - 1)) // 4, 0), self.rows - 1)


def draw(plot: Plot, rows: int, columns: int) -> Grid:
    """Draw a plot on that many cells; an empty one says why it is empty."""
    grid = Grid(rows, columns)
    if rows < 1 or columns < 1:
        return grid
    if plot.is_empty or rows < 3 or columns < 12:
        _say(grid, plot.empty if plot.is_empty else "too small")
        return grid
    tall = rows >= 9
    legend = 1 if plot.legend and rows >= 5 else 0
    area_rows = rows - legend - (2 if tall else 1)
    y = plot.y_scale(max(area_rows // 2, 2))
    ticks = y.ticks(max((area_rows + 1) // 2, 2))
    left = max((len(label) for _, label in ticks), default=1) + 1
    gutter = _gutter(plot, columns)
    area_columns = max(columns - left - gutter, 4)
    x = plot.x_scale(max(area_columns // 8, 4))
    frame = _Frame(grid, plot, x, y, legend, left, area_rows, area_columns)
    _legend(frame)
    _y_axis(frame, ticks)
    _x_axis(frame, tall)
    _references(frame)
    _histograms(frame)
    for line in plot.lines:
        _line(frame, line)
    _labels(frame, columns)
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


def _legend(frame: _Frame) -> None:
    if not frame.top:
        return
    column = frame.left + 1
    for glyph, ink, text in frame.plot.legend:
        if column + len(text) + 2 > frame.grid.columns:
            break
        frame.grid.put(0, column, glyph, Ink(ink, bold=True))
        frame.grid.put(0, column + 2, text, Ink("muted"))
        column += len(text) + 4
    title = frame.plot.y_title
    if title and column + len(title) <= frame.grid.columns:
        frame.grid.put(0, frame.grid.columns - len(title), title, Ink("faint"))


def _y_axis(frame: _Frame, ticks: list[tuple[float, str]]) -> None:
    edge = frame.left - 1
    for row in range(frame.top, frame.top + frame.rows):
        frame.grid.put(row, edge, "│", Ink("faint"))
    taken: set[int] = set()
    for value, label in ticks:
        place = frame.row_of(value)
        if place is None or place in taken:
            continue
        taken.add(place)
        frame.grid.put(place, edge, "┤", Ink("faint"))
        frame.grid.put(place, edge - len(label), label, Ink("muted"))


def _x_axis(frame: _Frame, tall: bool) -> None:
    bottom = frame.top + frame.rows
    ticks = frame.x.ticks(max(frame.columns // 9, 2))
    labels = bottom + 1 if tall else bottom
    if tall:
        frame.grid.put(bottom, frame.left - 1, "└" + "─" * frame.columns, Ink("faint"))
    places: list[tuple[int, str]] = []
    for value, label in ticks:
        at = frame.left + round(float(frame.x.fraction(np.array([value]))[0]) * (frame.columns - 1))
        if tall:
            frame.grid.put(bottom, at, "┬", Ink("faint"))
        places.append((max(at - len(label) // 2, 0), label))
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


def _references(frame: _Frame) -> None:
    for reference in frame.plot.references:
        row = frame.row_of(reference.value)
        if row is not None:
            frame.grid.put(row, frame.left, "┈" * frame.columns, Ink(reference.ink))


def _blit(frame: _Frame, dots: braille.Dots, ink: Ink, over: bool = True) -> None:
    """Put dots into the grid; a cell that already has dots keeps them, in the new ink where `over`."""
    cells = braille.cells(dots)
    area = np.s_[frame.top : frame.top + frame.rows, frame.left : frame.left + frame.columns]
    characters, inks = frame.grid.characters[area], frame.grid.inks[area]
    held = np.array([[ord(c) - braille.BLANK for c in row] for row in characters])
    held[(held < 0) | (held > 255)] = 0
    drawn = cells > 0
    merged = np.where(drawn, cells | (held if over else 0), 0)
    for row, column in zip(*np.nonzero(drawn), strict=True):
        characters[row, column] = chr(braille.BLANK + int(merged[row, column]))
    inks[drawn] = frame.grid.ink(ink)


def _histograms(frame: _Frame) -> None:
    for histogram in sorted(frame.plot.histograms, key=lambda h: not h.filled):
        edges = frame.x.fraction(histogram.edges)
        heights = frame.y.fraction(histogram.heights)
        keep = np.isfinite(edges[:-1]) & np.isfinite(edges[1:])
        dots = braille.empty(frame.rows, frame.columns)
        paint = braille.draw_filled if histogram.filled else braille.draw_outline
        paint(dots, edges[:-1][keep], edges[1:][keep], heights[keep])
        # An outline takes its whole cell: merged with the stipple below it, its shape would be lost.
        _blit(frame, dots, Ink(histogram.ink), over=histogram.filled)


def _line(frame: _Frame, line: Line) -> None:
    x, y = frame.x.fraction(line.x), frame.y.fraction(line.y)
    dots = braille.empty(frame.rows, frame.columns)
    braille.draw_line(dots, x, y)
    if line.dotted:
        dots[:, 1::2] = False
    ink = Ink(line.ink, line.bold)
    _blit(frame, dots, ink)
    points = np.isfinite(x) & np.isfinite(y)
    if line.marker and points.sum() * 3 <= frame.columns:
        for fx, fy in zip(x[points], y[points], strict=True):
            if 0 <= fx <= 1 and 0 <= fy <= 1:
                column = frame.left + round(fx * (frame.columns * 2 - 1)) // 2
                row = frame.top + round((1 - fy) * (frame.rows * 4 - 1)) // 4
                frame.grid.put(row, column, line.marker, Ink(line.ink, bold=True))


def _labels(frame: _Frame, columns: int) -> None:
    """Ends of lines and names of reference lines right of the plot; a name whose row is taken moves down."""
    left = frame.left + frame.columns + 1
    room = frame.grid.columns - left
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
            if column + len(line.end_label) <= frame.grid.columns:
                frame.grid.put(row, column, line.end_label, Ink(line.ink, line.bold))
                column += len(line.end_label) + 1
        taken.add(row)
    names = sorted((r for r in frame.plot.references if frame.row_of(r.value) is not None), key=lambda r: -r.value)
    wanted = [place for r in names if (place := frame.row_of(r.value)) is not None]
    for reference, row in zip(names, _spread(wanted, range(frame.top, frame.top + frame.rows), taken), strict=False):
        frame.grid.put(row, left, _text_of(reference, columns)[:room], Ink(reference.ink))


def _spread(wanted: list[int], rows: range, taken: set[int]) -> list[int]:
    """A free row for each wanted one (rising), in the same order, near it; fewer where there are not enough rows."""
    free = [r for r in rows if r not in taken]
    wanted = wanted[: len(free)]
    chosen: list[int] = []
    at = 0
    for i, row in enumerate(wanted):
        left_over = len(wanted) - i - 1
        # The first free row at or below the wanted one, but leave a row for each name that is still to come.
        while at < len(free) - 1 - left_over and free[at] < row:
            at += 1
        chosen.append(free[at])
        at += 1
    return chosen
