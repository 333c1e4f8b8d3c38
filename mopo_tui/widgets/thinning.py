"""Long series as few points that draw the same picture, and smoothed: only what was added is looked at again (no Textual)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mopo_tui.widgets.plot import Line, Plot
from mopo_tui.widgets.scale import Floats

_SIZES = (8, 64, 512, 4096)  # points of a chunk, of which four are drawn: first, lowest, highest, last
_BLOCK = 128  # points smoothed at once
RAW_INK = "dim"  # shade of the raw line behind a smoothed one
_NONE: Floats = np.empty(0)


class Curve:
    """One series as it grows. Arrays given to `update` must stay as they are."""

    def __init__(self) -> None:
        self._x, self._y = _NONE, _NONE
        self._rising = True
        self._size = 0  # of the chunks that are kept
        self._thin_x, self._thin_y = _NONE, _NONE
        self._average: _Average | None = None
        self._smooth: Curve | None = None

    def update(self, x: Floats, y: Floats) -> None:
        """The series is now this one; where it begins with the one before, only the rest is new."""
        n = len(self._x)
        if len(x) < n or not (_same(x[:n], self._x) and _same(y[:n], self._y)):
            self.__init__()  # type: ignore[misc]
            n = 0
        if len(x) > n:
            self._rising = self._rising and bool((np.diff(x[max(n - 1, 0) :]) >= 0).all())
        self._x, self._y = x, y

    def points(self, dots: int, window: tuple[float, float] | None = None) -> tuple[Floats, Floats]:
        """Points that look like the series where `dots` dots are side by side: with the extremes, and at most some 32 a dot.

        Args:
            window: only from here to there in x, and one point more at both sides, so that lines reach the edges.
        """
        first, last = 0, len(self._x)
        if window is not None and self._rising:
            first = max(int(np.searchsorted(self._x, window[0], "left")) - 1, 0)
            last = min(int(np.searchsorted(self._x, window[1], "right")) + 1, last)
        size = max((s for s in _SIZES if (last - first) >= s * dots), default=0)
        if not size:
            return self._x[first:last], self._y[first:last]
        self._chunk(size)
        a, b = -(-first // size), last // size  # whole chunks; what is left at both ends is drawn as it is
        return tuple(  # type: ignore[return-value]
            np.concatenate([raw[first : a * size], thin[4 * a : 4 * b], raw[b * size : last]])
            for raw, thin in ((self._x, self._thin_x), (self._y, self._thin_y))
        )

    def smoothed(self, weight: float) -> Curve:
        """The exponential moving average: each point is the mean of those before it, each `weight` times as heavy as the next
        (0 to below 1). A NaN is left out of the mean and stays a gap."""
        if self._smooth is None or self._average is None or self._average.weight != weight:
            self._average, self._smooth = _Average(weight), Curve()
        self._smooth.update(self._x, self._average.of(self._y))
        return self._smooth

    def _chunk(self, size: int) -> None:
        """Bring the chunks of that size up to date."""
        if size != self._size:
            self._size, self._thin_x, self._thin_y = size, _NONE, _NONE
        done, whole = len(self._thin_x) // 4 * size, len(self._x) // size * size
        if done == whole:
            return
        y = self._y[done:whole].reshape(-1, size)
        known = np.isfinite(y)
        low = np.where(known, y, np.inf).argmin(1)
        high = np.where(known, y, -np.inf).argmax(1)
        ends = np.zeros_like(low), np.full_like(low, size - 1)
        places = np.sort(np.stack([ends[0], low, high, ends[1]], axis=1), axis=1)
        places += np.arange(done, whole, size)[:, None]
        self._thin_x = np.concatenate([self._thin_x, self._x[places.ravel()]])
        self._thin_y = np.concatenate([self._thin_y, self._y[places.ravel()]])


class _Average:
    """An exponential moving average that goes on where it stopped."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._values: Floats = _NONE  # room, of which `_count` are taken; what was handed out stays as it is
        self._count = 0
        self._sum, self._mass = 0.0, 0.0
        powers = weight ** np.arange(_BLOCK + 1)
        self._decay = powers[1:]
        lags = np.arange(_BLOCK)[:, None] - np.arange(_BLOCK)[None, :]
        self._within = np.where(lags >= 0, (1 - weight) * powers[np.abs(lags)], 0.0)

    def of(self, values: Floats) -> Floats:
        """The average of all `values`, of which the first ones are those of the call before."""
        count = len(values)
        if count > self._count:
            if count > len(self._values):  # doubled, so that all together are copied but once or twice
                room = np.empty(max(count, 2 * self._count))
                room[: self._count] = self._values[: self._count]
                self._values = room
            self._values[self._count : count] = self._go_on(values[self._count :])
            self._count = count
        return self._values[:count]

    def _go_on(self, new: Floats) -> Floats:
        blocks = -(-len(new) // _BLOCK)
        known = np.zeros(blocks * _BLOCK)
        known[: len(new)] = np.isfinite(new)
        values = np.zeros(blocks * _BLOCK)
        np.copyto(values[: len(new)], new, where=known[: len(new)] > 0)
        sums = values.reshape(blocks, _BLOCK) @ self._within.T
        masses = known.reshape(blocks, _BLOCK) @ self._within.T
        for i in range(blocks):
            sums[i] += self._sum * self._decay
            masses[i] += self._mass * self._decay
            last = min(len(new) - i * _BLOCK, _BLOCK) - 1
            self._sum, self._mass = float(sums[i, last]), float(masses[i, last])
        with np.errstate(invalid="ignore", divide="ignore"):
            average = (sums / masses).ravel()[: len(new)]
        return np.where(known[: len(new)] > 0, average, np.nan)


class Curves:
    """The curves of one chart, by their place among its lines."""

    def __init__(self) -> None:
        self._curves: list[Curve] = []

    def thinned(self, plot: Plot, dots: int) -> Plot:
        """The same picture of few points: each line no longer than it needs to be on `dots` dots, cut to the plot's window, and
        where it is to be smoothed as two, the raw one behind."""
        while len(self._curves) < len(plot.lines):
            self._curves.append(Curve())
        del self._curves[len(plot.lines) :]
        lines: list[Line] = []
        for line, curve in zip(plot.lines, self._curves, strict=True):
            curve.update(line.x, line.y)
            smooth = line.smoothing and len(line.x) > 2
            x, y = curve.points(dots, plot.window)
            if smooth:
                ink = f"{line.ink.partition(' ')[0]} {RAW_INK}"
                behind = replace(line, x=x, y=y, ink=ink, end_label="", marker="", dash="", bold=False, behind=True)
                lines.append(replace(behind, raw=True))
                x, y = curve.smoothed(line.smoothing).points(dots, plot.window)
            lines.append(replace(line, x=x, y=y, smoothing=0.0))
        return replace(plot, lines=lines)


def _same(one: Floats, other: Floats) -> bool:
    """Bit for bit, so that NaN equals NaN; where both are the same memory, unread: what was given stays as it is."""
    return _memory(one) == _memory(other) or np.array_equal(_bits(one), _bits(other))


def _memory(values: Floats) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return values.__array_interface__["data"][0], values.shape, values.strides


def _bits(values: Floats) -> Floats:
    return np.ascontiguousarray(values, dtype=np.float64).view(np.int64)


def at(x: Floats, y: Floats, place: float) -> tuple[float, float] | None:
    """The point of a series that is nearest to `place` in x and has a value."""
    known = np.isfinite(x) & np.isfinite(y)
    if not known.any():
        return None
    nearest = int(np.where(known, np.abs(x - place), np.inf).argmin())
    return float(x[nearest]), float(y[nearest])


def nearest_x(lines: Sequence[Line], place: float) -> float | None:
    """The x of the point nearest to `place` among all lines."""
    found = [point[0] for line in lines if (point := at(line.x, line.y, place)) is not None]
    return min(found, key=lambda x: abs(x - place)) if found else None
