"""A picture in half blocks: two pixels a cell, of which only rows that changed are written again, in as few bytes as that takes."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from rich.color import Color, ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from mopo_tui.widgets.glyphs import Look, look_of
from mopo_tui.widgets.half_blocks import Codes, Pixels, fine, greys, paired, rgb
from mopo_tui.widgets.partial_rows import PartialRows

if TYPE_CHECKING:
    from rich.console import Console

_COLOUR_BYTES = 17  # of the sequence that changes one of the two colours
_BLOCK_BYTES = 3  # of ▀ in UTF-8


class _Compact(Strip):
    """A row of a picture. Textual writes both colours and a reset for every stretch; this one writes what changes from one stretch
    to the next, which is half of it."""

    def render(self, console: Console) -> str:
        """The row as the terminal takes it."""
        if self._render_cache is None:
            system = console._color_system or ColorSystem.TRUECOLOR
            self._render_cache = _compact(self, system)
        return self._render_cache


def _compact(segments: Iterable[Segment], system: ColorSystem) -> str:
    parts: list[str] = []
    before: tuple[Color | None, Color | None] = (None, None)
    for text, style, _ in segments:
        if style is None:
            parts.append(text)
            continue
        codes: list[str] = []
        # A blank shows no foreground: what it is does not matter.
        ink = before[0] if text.isspace() else style.color
        if ink != before[0] and ink is not None:
            codes += ink.downgrade(system).get_ansi_codes()
        if style.bgcolor != before[1] and style.bgcolor is not None:
            codes += style.bgcolor.downgrade(system).get_ansi_codes(foreground=False)
        before = ink, style.bgcolor
        parts.append(f"\x1b[{';'.join(codes)}m{text}" if codes else text)
    return "".join(parts) + "\x1b[0m"


class Picture(PartialRows):
    """Shows one picture; `show` gives it the next."""

    ROW = _Compact

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._cells: Codes | None = None
        self._look: Look | None = None
        self._styles: dict[int, Style] = {}

    @property
    def look(self) -> Look:
        """What the terminal can show."""
        if self._look is None:
            self._look = look_of(os.environ, colours=not self.app.no_color)
        return self._look

    @property
    def pixels(self) -> tuple[int, int]:
        """Columns and rows of a picture that fills it; two zeros where there is no room for one."""
        size = self.size
        return (size.width, 2 * size.height) if self.display and size.width > 3 and size.height > 1 else (0, 0)

    @property
    def coloured(self) -> bool:
        """Whether it is drawn in colours; else in shades of the terminal's own."""
        return self.look.colours and self.look.kind != "ascii"

    def show(self, pixels: Pixels) -> int:
        """Draw (2·lines, columns, 3); returns about how many bytes that writes to the terminal. One of another size is left out."""
        if (pixels.shape[1], pixels.shape[0]) != self.pixels:
            return 0
        cells = paired(fine(pixels) if self.coloured else greys(pixels, len(self.look.ramp)))
        before, self._cells = self._cells, cells
        if before is None or before.shape != cells.shape:
            self.refresh()
            return self._bytes(cells)
        changed = cells != before
        written = 0
        regions = []
        for row in np.flatnonzero(changed.any(axis=1)).tolist():
            columns = np.flatnonzero(changed[row])
            first, end = int(columns[0]), int(columns[-1]) + 1
            regions.append(Region(first, row, end - first, 1))
            written += self._bytes(cells[row : row + 1, first:end])
        if regions:
            self.refresh(*regions)
        return written

    def clear(self) -> None:
        """Show nothing."""
        if self._cells is not None:
            self._cells = None
            self.refresh()

    def _bytes(self, cells: Codes) -> int:
        if not self.coloured:
            return int(cells.size) * _BLOCK_BYTES
        upper, lower = cells >> 16, cells & 0xFFFF
        blocks = upper != lower
        changes = np.count_nonzero(np.diff(lower, axis=1)) + np.count_nonzero(np.diff(upper, axis=1) * blocks[:, 1:])
        return int(changes) * _COLOUR_BYTES + int(np.count_nonzero(blocks)) * (_BLOCK_BYTES - 1) + int(cells.size)

    def render_line(self, y: int) -> Strip:
        """One row."""
        width, base = self.size.width, self.rich_style
        cells = self._cells
        if cells is None or y >= len(cells) or cells.shape[1] != width:
            return Strip.blank(width, base)
        row = cells[y]
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        lengths = np.diff(starts, append=width)
        segments = []
        for cell, length in zip(row[starts].tolist(), lengths.tolist(), strict=True):
            upper, lower = cell >> 16, cell & 0xFFFF
            if self.coloured:
                segments.append(Segment((" " if upper == lower else "▀") * length, self._style(cell)))
            else:
                segments.append(Segment(self.look.ramp[(upper + lower + 1) // 2] * length, base))
        return Strip(segments, width)

    def _style(self, cell: int) -> Style:
        found = self._styles.get(cell)
        if found is None:
            if len(self._styles) > 1 << 15:
                self._styles.clear()
            upper, lower = (Color.from_rgb(*rgb(code)) for code in (cell >> 16, cell & 0xFFFF))
            found = self._styles[cell] = Style(color=upper, bgcolor=lower)
        return found
