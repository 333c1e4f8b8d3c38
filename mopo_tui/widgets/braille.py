"""Lines and areas as dots: 2×4 dots of braille a character cell, or fewer where the terminal has no braille (no Textual).

Dots are a boolean array (4·rows, 2·columns) with row 0 at the top; positions are fractions of the area, x rightwards and y upwards.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mopo_tui.widgets.glyphs import FINEST, Look
from mopo_tui.widgets.scale import Floats

Dots = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

# Bit of each dot of a cell, by (row, column): Unicode numbers dots 1-3 and 7 down the left side, 4-6 and 8 down the right.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.int64)
BLANK = 0x2800


# By column: whether a dot of a line is drawn. Without colour, dashes tell lines apart.
DASHES = {"dashed": (1, 1, 1, 1, 1, 0, 0, 0), "dotted": (1, 0), "dashdot": (1, 1, 1, 1, 0, 0, 1, 0, 0)}


def empty(rows: int, columns: int, look: Look = FINEST) -> Dots:
    """No dots on an area of that many cells."""
    return np.zeros((rows * look.high, columns * look.wide), dtype=np.bool_)


def cells(dots: Dots, look: Look = FINEST) -> Ints:
    """The pattern of each cell, a number below that of the look's characters, shape (rows, columns)."""
    high, wide = look.high, look.wide
    rows, columns = dots.shape[0] // high, dots.shape[1] // wide
    patterns: Ints = np.zeros((rows, columns), dtype=np.int64)
    for row in range(high):
        for column in range(wide):
            bit = _BITS[row, column] if look.kind == "braille" else 1 << row
            patterns += dots[row::high, column::wide] * bit
    return patterns


def thicken(dots: Dots) -> None:
    """Make every stroke two dots thick, upwards and to the right."""
    once = dots.copy()
    dots[:-1] |= once[1:]
    dots[:, 1:] |= once[:, :-1]


def dash(dots: Dots, kind: str) -> None:
    """Leave gaps in strokes; a kind that is no key of DASHES leaves none."""
    if kind in DASHES:
        pattern = np.resize(np.array(DASHES[kind], dtype=np.bool_), dots.shape[1])
        dots &= pattern[None, :]


def text(dots: Dots) -> list[str]:
    """The cells as lines of characters, a blank cell as a space."""
    return ["".join(chr(BLANK + c) if c else " " for c in row) for row in cells(dots)]


def _positions(x: Floats, y: Floats, shape: tuple[int, ...]) -> tuple[Ints, Ints]:
    """Dot columns and rows of fractions; 0 and 1 fall on the first and the last dot."""
    height, width = shape[0], shape[1]
    return np.rint(x * (width - 1)).astype(np.int64), np.rint((1.0 - y) * (height - 1)).astype(np.int64)


def _thinned(columns: Ints, rows: Ints) -> tuple[Ints, Ints]:
    """The same picture from at most four points per dot column: its first, highest, lowest and last."""
    starts = np.flatnonzero(np.r_[True, columns[1:] != columns[:-1]])
    ends = np.r_[starts[1:], len(columns)] - 1
    four = np.stack(
        [rows[starts], np.minimum.reduceat(rows, starts), np.maximum.reduceat(rows, starts), rows[ends]], axis=1
    )
    return np.repeat(columns[starts], 4), four.ravel()


def _stroke(dots: Dots, columns: Ints, rows: Ints) -> None:
    """Set the dots of a polyline through these dot positions."""
    if len(columns) > 8 * dots.shape[1]:
        columns, rows = _thinned(columns, rows)
    if len(columns) == 1:
        steps_x, steps_y = columns, rows
    else:
        dx, dy = np.diff(columns), np.diff(rows)
        count = np.maximum(np.maximum(np.abs(dx), np.abs(dy)), 1)
        start = np.repeat(np.cumsum(count) - count, count)
        t = (np.arange(int(count.sum())) - start) / np.repeat(count, count)
        steps_x = np.r_[
            np.rint(np.repeat(columns[:-1], count) + t * np.repeat(dx, count)).astype(np.int64), columns[-1]
        ]
        steps_y = np.r_[np.rint(np.repeat(rows[:-1], count) + t * np.repeat(dy, count)).astype(np.int64), rows[-1]]
    inside = (steps_x >= 0) & (steps_x < dots.shape[1]) & (steps_y >= 0) & (steps_y < dots.shape[0])
    dots[steps_y[inside], steps_x[inside]] = True


def draw_line(dots: Dots, x: Floats, y: Floats) -> None:
    """Draw a polyline; a NaN in x or y is a gap, and what lies outside [0, 1] is cut off."""
    finite = np.isfinite(x) & np.isfinite(y)
    if not finite.any():
        return
    # Far outside values would make strokes of millions of dots: two areas away looks the same.
    x, y = np.clip(x, -2.0, 3.0), np.clip(y, -2.0, 3.0)
    edges = np.flatnonzero(np.diff(np.r_[False, finite, False].astype(np.int8)))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        columns, rows = _positions(x[first:last], y[first:last], dots.shape)
        _stroke(dots, columns, rows)


def _levels(left: Floats, right: Floats, heights: Floats, shape: tuple[int, ...]) -> Floats:
    """The height of a histogram at each dot column; NaN outside its bins. A bin thinner than a dot column shows its tallest."""
    width = shape[1]
    levels = np.full(width, np.nan)
    for a, b, h in zip(left, right, heights, strict=True):
        first, last = int(np.floor(a * width)), max(int(np.ceil(b * width)), int(np.floor(a * width)) + 1)
        if last <= 0 or first >= width or not np.isfinite(h):
            continue
        part = levels[max(first, 0) : min(last, width)]
        np.copyto(part, np.where(np.isnan(part), h, np.maximum(part, h)))
    return levels


def _tops(levels: Floats, height: int) -> Ints:
    """The top dot row of each column's bar; `height` where there is no bar: a bar above 0 has at least one dot."""
    filled = np.where(levels > 0, np.maximum(np.rint(np.nan_to_num(levels) * height), 1), 0)
    return height - np.minimum(filled, height).astype(np.int64)


def draw_filled(dots: Dots, left: Floats, right: Floats, heights: Floats) -> None:
    """A histogram as a stippled area: every second dot, so that it differs from an outline without colour too."""
    tops = _tops(_levels(left, right, heights, dots.shape), dots.shape[0])
    rows, columns = np.indices(dots.shape)
    dots |= (rows >= tops[None, :]) & ((rows + columns) % 2 == 0)


def draw_band(dots: Dots, x: Floats, low: Floats, high: Floats) -> None:
    """The area between two lines, stippled lightly: a fourth of its dots. NaN is a gap."""
    height, width = dots.shape
    known = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    columns = np.arange(width) / max(width - 1, 1)
    edges = np.flatnonzero(np.diff(np.r_[False, known, False].astype(np.int8)))
    rows = np.arange(height)[:, None]
    # Every second dot of every second row, each shifted against the one before: an even, light grey.
    stipple = (rows % 2 == 0) & ((np.arange(width)[None, :] + rows // 2) % 2 == 0)
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        part = np.s_[first:last]
        inside = (columns >= x[first] - 0.5 / width) & (columns <= x[last - 1] + 0.5 / width)
        top = (1.0 - np.interp(columns, x[part], high[part])) * (height - 1)
        bottom = (1.0 - np.interp(columns, x[part], low[part])) * (height - 1)
        dots |= stipple & inside & (rows >= np.rint(top)) & (rows <= np.rint(bottom))


def draw_outline(dots: Dots, left: Floats, right: Floats, heights: Floats) -> None:
    """A histogram as its outline, down to the ground at both ends."""
    height = dots.shape[0]
    tops = _tops(_levels(left, right, heights, dots.shape), height)
    drawn = np.flatnonzero(tops < height)
    if not drawn.size:
        return
    for column in range(int(drawn[0]), int(drawn[-1]) + 1):
        before = tops[column - 1] if column > drawn[0] else height
        top, bottom = sorted((int(tops[column]), int(before)))
        dots[min(top, height - 1) : max(min(bottom, height), min(top, height - 1) + 1), column] = True
    dots[tops[drawn[-1]] :, drawn[-1]] = True
