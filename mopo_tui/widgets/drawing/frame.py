"""The plot's area inside a grid: which cell a value has, and what covers what there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mopo_tui.widgets import braille
from mopo_tui.widgets.drawing.grid import Grid, Ink, number_of
from mopo_tui.widgets.plot import Plot
from mopo_tui.widgets.scale import Scale

AREA, BEHIND, LINE, BOLD = 1, 2, 3, 4  # what covers what


@dataclass
class Frame:
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
            self.grid.inks[area][where] = number_of(ink)
            return
        for row, column in zip(*np.nonzero(where), strict=True):
            back = f"heat {self.backs[row, column]}"
            self.grid.inks[self.top + row, self.left + column] = number_of(Ink(ink.name, ink.bold, back))


def put_glyph(frame: Frame, x: float, y: float, glyph: str, ink: str) -> None:
    """One character at a point, where that is inside the plot."""
    column, row = frame.column_of(x), frame.row_of(y)
    if column is not None and row is not None:
        frame.grid.put(row, column, glyph, Ink(ink, bold=True))
