"""What stands inside the axes: heat map, reference lines, histograms, bands, lines, marks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mopo_tui.widgets import braille
from mopo_tui.widgets.drawing.frame import AREA, BEHIND, BOLD, LINE, Frame, put_glyph
from mopo_tui.widgets.drawing.grid import Ink
from mopo_tui.widgets.glyphs import Look
from mopo_tui.widgets.palette import HEAT_STEPS
from mopo_tui.widgets.plot import Heat, Line
from mopo_tui.widgets.scale import Floats


def has_halves(look: Look) -> bool:
    """Whether a cell of a heat map is two steps of colour, one above the other, instead of one shade."""
    return look.colours and look.kind != "ascii"


def draw_heat(frame: Frame) -> None:
    """Two steps of colour a cell, one above the other; without colours one shade."""
    heat, look = frame.plot.heat, frame.grid.look
    if heat is None:
        return
    halves = 2 if has_halves(look) else 1
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


def draw_references(frame: Frame) -> None:
    for reference in frame.plot.references:
        row = frame.row_of(reference.value)
        if row is not None:
            where = np.zeros((frame.rows, frame.columns), dtype=np.bool_)
            where[row - frame.top] = True
            frame.write(where, _all(frame, "┈"), Ink(reference.ink))


def draw_verticals(frame: Frame) -> None:
    for vertical in frame.plot.verticals:
        column = frame.column_of(vertical.value)
        if column is None:
            continue
        where = np.zeros((frame.rows, frame.columns), dtype=np.bool_)
        where[:, column - frame.left] = True
        frame.write(where, _all(frame, "┊"), Ink(vertical.ink))


def _all(frame: Frame, character: str) -> npt.NDArray[np.uint32]:
    return np.full((frame.rows, frame.columns), ord(frame.grid.look.text(character)), dtype=np.uint32)


def draw_histograms(frame: Frame) -> None:
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
            frame.paint(dots, ink, LINE)


def _fill(frame: Frame, dots: braille.Dots, ink: Ink) -> None:
    """An area: stippled, or where dots are too coarse for that in the look's shade."""
    shade = frame.grid.look.shade
    if shade:
        cells = braille.cells(dots, frame.grid.look) > 0
        frame.write(cells & (frame.level < AREA), _all(frame, shade), ink)
        frame.level[cells] = np.maximum(frame.level[cells], AREA)
    else:
        frame.paint(dots, ink, AREA)


def draw_bands(frame: Frame) -> None:
    for band in frame.plot.bands:
        dots = braille.empty(frame.rows, frame.columns, frame.grid.look)
        # A band that begins below 0 on a logarithmic axis, or outside the window, is filled to the edge.
        low = np.where(np.isnan(frame.y.fraction(band.low)) & np.isfinite(band.low), -1.0, frame.y.fraction(band.low))
        braille.draw_band(dots, frame.x.fraction(band.x), low, frame.y.fraction(band.high))
        _fill(frame, dots, Ink(band.ink))


def level_of(line: Line) -> int:
    return BOLD if line.bold else BEHIND if line.behind else LINE


def draw_line(frame: Frame, line: Line) -> None:
    x, y = frame.x.fraction(line.x), frame.y.fraction(line.y)
    dots = braille.empty(frame.rows, frame.columns, frame.grid.look)
    braille.draw_line(dots, x, y)
    braille.dash(dots, line.dash)
    if line.bold and frame.grid.look.kind == "braille":
        braille.thicken(dots)
    frame.paint(dots, Ink(line.ink), level_of(line))
    points = np.isfinite(x) & np.isfinite(y)
    if line.marker and (points.sum() * 3 <= frame.columns or points.sum() == 1):
        for px, py in zip(line.x[points], line.y[points], strict=True):
            put_glyph(frame, float(px), float(py), line.marker, line.ink)


def draw_marks(frame: Frame) -> None:
    for mark in frame.plot.marks:
        put_glyph(frame, mark.x, mark.y, mark.glyph, mark.ink)
