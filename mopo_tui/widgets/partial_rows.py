"""Widgets of which rows change in part: only what changed is written to the terminal."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget


class _Changed(Strip):
    """A row of the screen that differs from what the terminal shows from column `first` to `last` only.

    Textual writes a changed row from the widget's left edge on, whatever its regions say: of a chart that grows at its right
    end that is ten times what is needed. This row skips what is there already.
    """

    def __init__(self, strip: Strip, first: int, last: int, kind: type[Strip]) -> None:
        super().__init__(list(strip), strip.cell_length)
        self._first, self._last, self._kind = first, last, kind

    def crop(self, start: int, end: int | None = None) -> Strip:
        """The part that is written: where it ends with what changed, what does not change is stepped over."""
        if start == 0 and end == self._last and self._first > 0:
            return self._kind([Segment(f"\x1b[{self._first}C"), *super().crop(self._first, end)], end)
        return self._kind(list(super().crop(start, end)), end)


class PartialRows(Widget):
    """A widget whose `refresh(*regions)` writes these regions and no more."""

    ROW: ClassVar[type[Strip]] = Strip

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._taken: Collection[Region] = ()  # what the screen is about to repaint of this widget
        self._moved = True  # whether the screen was laid out anew: then more than this widget may be repainted

    def on_mount(self) -> None:
        self.screen.screen_layout_refresh_signal.subscribe(self, self._laid_out)

    def _laid_out(self, _screen: object) -> None:
        self._moved = True

    def _exchange_repaint_regions(self) -> Collection[Region]:
        self._taken = super()._exchange_repaint_regions()
        return self._taken

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows of the widget, of which those that change in part are written in part."""
        strips = super().render_lines(crop)
        taken, moved, self._taken, self._moved = self._taken, self._moved, (), False
        kind = self.ROW
        whole = moved or crop.x or crop.width != self.outer_size.width
        columns: dict[int, tuple[int, int]] = {}
        for region in () if whole else taken:
            for row in range(region.y, region.bottom):
                first, last = columns.get(row, (region.x, region.right))
                columns[row] = min(first, region.x), max(last, region.right)
        rows: list[Strip] = []
        for row, strip in enumerate(strips, start=crop.y):
            if row in columns:
                rows.append(_Changed(strip, *columns[row], kind))
            else:
                rows.append(strip if kind is Strip else kind(list(strip), strip.cell_length))
        return rows
