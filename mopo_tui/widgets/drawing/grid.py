"""Characters with an ink each: what a drawing is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mopo_tui.widgets.glyphs import FINEST, Look
from mopo_tui.widgets.scale import Scale


@dataclass(frozen=True)
class Ink:
    """How a character is drawn: a colour's name of the palette, weight, and the colour's name behind it ("" is the chart's own)."""

    name: str = "text"
    bold: bool = False
    back: str = ""


# Every ink that was ever used, so that a number means the same ink in all grids; some dozens.
_INKS: list[Ink] = [Ink()]
_NUMBERS: dict[Ink, int] = {Ink(): 0}


def number_of(ink: Ink) -> int:
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
            self.inks[row, first : first + len(text)] = number_of(ink)

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
