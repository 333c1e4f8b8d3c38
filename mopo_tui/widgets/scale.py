"""Axes: bounds snapped to round numbers, the place of a value between them, ticks with readable labels (no Textual)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SLACK = 2e-3  # of a step: what ends that little beyond a round number, less than a dot, does not take a step more
_LOG_STEPS = (1.0, 2.0, 5.0, 10.0)
# Seconds between the ticks of an axis of time: round parts of minutes, hours and days.
_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0
_TIME_STEPS = (
    *(m * _MINUTE for m in (1 / 6, 1 / 4, 1 / 2, 1, 2, 5, 10, 15, 30)),
    *(h * _HOUR for h in (1, 2, 3, 6, 12)),
    *(d * _DAY for d in (1, 2, 5, 10, 20, 50, 100)),
)
SECONDS, PERCENT = "s", "%"  # units that an axis writes beside its numbers


def nice_step(span: float, parts: int, unit: str = "") -> float:
    """The smallest of 1, 2, 2.5, 5·10^k that divides `span` into at most `parts` parts; of seconds, a round part of the clock."""
    raw = span / max(parts, 1)
    if unit == SECONDS and raw > 5:
        return next((step for step in _TIME_STEPS if raw <= step * (1 + 1e-9)), _TIME_STEPS[-1])
    power = 10.0 ** math.floor(math.log10(raw))
    for step in _STEPS:
        if raw <= step * power * (1 + 1e-9):
            return step * power
    return 10.0 * power


def number(value: float, digits: int = 3) -> str:
    """A value with `digits` significant digits as a person writes it: 1512, 0.0123, 3.1e-05; whole parts are never rounded away."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e7 or size < 1e-3:
        mantissa, _, exponent = f"{value:.{max(digits - 2, 0)}e}".partition("e")
        return f"{mantissa}e{int(exponent)}".replace("-", "−", 1) if value < 0 else f"{mantissa}e{int(exponent)}"
    decimals = max(digits - 1 - math.floor(math.log10(size)), 0)
    text = f"{value:.{decimals}f}"
    if "." in text and size < 1:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", "−", 1)


def deviation(value: float, beside: str) -> str:
    """A deviation with as many decimals as the mean beside it has: 44.4 ±0.1."""
    return (
        f"{value:.{0 if 'e' in beside else len(beside.partition('.')[2])}f}" if math.isfinite(value) else number(value)
    )


def whole(value: float) -> str:
    """A value without decimals: 1002, −58."""
    return (
        f"{value:.0f}".replace("-0", "0", 1).replace("-", "−") if abs(value) < 0.5 else f"{value:.0f}".replace("-", "−")
    )


def _decimals(step: float) -> int:
    for decimals in range(10):
        if abs(round(step, decimals) - step) <= 1e-9 * abs(step):
            return decimals
    return 10


def clock(seconds: float) -> str:
    """A time as the largest two of days, hours, minutes and seconds: 45s, 2m30, 1h, 1h30, 2d6h."""
    sign, left = "−" if seconds < 0 else "", round(abs(seconds), 1)
    if left < _MINUTE:
        return f"{sign}{left:g}s" if left else "0"
    left = round(left)
    for size, unit, smaller, mark in ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, ""), (_MINUTE, "m", 1.0, "")):
        if left >= size:
            whole_part, rest = divmod(round(left / smaller), round(size / smaller))
            return f"{sign}{whole_part}{unit}" + ((f"{rest}{mark}" if mark else f"{rest:02d}") if rest else "")
    raise AssertionError("not reached: a minute is the smallest unit")


def tick_labels(values: list[float], step: float, unit: str = "") -> list[str]:
    """Labels of a linear axis with one unit and one number of decimals: 0, 20k, 40k; 0.25, 0.50; 0, 30s, 1m; 0%, 50%."""
    if unit == SECONDS:
        return [clock(v) for v in values]
    if unit == PERCENT:
        return [f"{label}%" for label in tick_labels(values, step)]
    largest = max((abs(v) for v in values), default=0.0)
    size, suffix = (1e6, "M") if largest >= 1e6 else (1e3, "k") if largest >= 1e4 else (1.0, "")
    if 0 < largest < 1e-3:
        return ["0" if v == 0 else f"{v:.0e}".replace("e-0", "e-") for v in values]
    decimals = _decimals(step / size)
    return ["0" if v == 0 else f"{v / size:.{decimals}f}{suffix}".replace("-", "−", 1) for v in values]


def _log_label(value: float) -> str:
    if value >= 1e6 or value < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return f"{value / 1e3:g}k" if value >= 1e4 else f"{value:g}"


@dataclass(frozen=True)
class Scale:
    """One axis from `low` to `high`, linear or logarithmic (then both are above 0); `unit` is SECONDS, PERCENT or nothing."""

    low: float
    high: float
    log: bool = False
    unit: str = ""

    def fraction(self, values: npt.ArrayLike) -> Floats:
        """Where values lie between `low` (0) and `high` (1); NaN where they have none (not finite; on a log axis not above 0)."""
        array = np.asarray(values, dtype=np.float64)
        out: Floats = np.full(array.shape, np.nan)
        if self.log:
            low, high = math.log10(self.low), math.log10(self.high)
            np.log10(array, out=out, where=np.isfinite(array) & (array > 0))
            return (out - low) / (high - low)
        np.copyto(out, array, where=np.isfinite(array))
        return (out - self.low) / (self.high - self.low)

    def value(self, fraction: float) -> float:
        """The value at a place between 0 and 1."""
        if self.log:
            return float(10.0 ** (math.log10(self.low) + fraction * (math.log10(self.high) - math.log10(self.low))))
        return self.low + fraction * (self.high - self.low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """At most `most` (value, label) pairs on round numbers inside the axis, in rising order; at least one."""
        most = max(most, 1)
        if self.log:
            return [(v, _log_label(v)) for v in self._log_ticks(most)]
        parts = most
        while True:
            step = nice_step(self.high - self.low, max(parts - 1, 1), self.unit)
            first = math.ceil(self.low / step - 1e-9)
            values = [i * step for i in range(first, math.floor(self.high / step + 1e-9) + 1)]
            if len(values) < 2 <= most:  # the ends are round numbers too
                values = [self.low, self.high]
                step = nice_step(self.high - self.low, 1) if self.low else self.high
            if len(values) <= most or parts == 1:
                return list(zip(values[:most], tick_labels(values, step, self.unit)[:most], strict=True))
            parts -= 1

    def _log_ticks(self, most: int) -> list[float]:
        first, last = math.floor(math.log10(self.low) + 1e-9), math.ceil(math.log10(self.high) - 1e-9)
        inside = (self.low * (1 - 1e-9), self.high * (1 + 1e-9))

        def of(steps: tuple[float, ...], stride: int = 1) -> list[float]:
            powers = range(first - first % stride if stride > 1 else first, last + 1, stride)
            return [s * 10.0**p for p in powers for s in steps if inside[0] <= s * 10.0**p <= inside[1]]

        for values in (of((1, 2, 5)), of((1, 3)), of((1,))):
            if 2 <= len(values) <= most:
                return values
        for stride in range(2, last - first + 2):
            values = of((1,), stride)
            if 1 <= len(values) <= most:
                return values
        return [self.low]


def span(*arrays: npt.ArrayLike, log: bool = False) -> tuple[float, float] | None:
    """Smallest and largest finite value (above 0 where `log`) of all arrays; None where there is none."""
    low, high = math.inf, -math.inf
    for array in arrays:
        values = np.asarray(array, dtype=np.float64).ravel()
        if not values.size:
            continue
        # Most arrays hold only values that can be drawn: told from their ends alone, which costs a fifth of picking them out.
        ends = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
        if not (math.isfinite(ends[0]) and math.isfinite(ends[1]) and (ends[0] > 0 or not log)):
            values = values[np.isfinite(values) & (values > 0)] if log else values[np.isfinite(values)]
            if not values.size:
                continue
            ends = float(values.min()), float(values.max())
        low, high = min(low, ends[0]), max(high, ends[1])
    return (low, high) if low <= high else None


def fitted(low: float, high: float, log: bool = False, parts: int = 5, unit: str = "") -> Scale:
    """The smallest axis with round ends around [low, high], so that it seldom changes while values come in.

    Linear ends are multiples of a step that cuts the span in at most `parts` parts; logarithmic ones 1, 2 or 5·10^k.
    """
    if log:
        return Scale(_log_end(low, up=False), _log_end(high if high > low else high * 1.001, up=True), True, unit)
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = (0.0, 1.0) if low == 0 else (low - pad, low + pad)
    step = nice_step(high - low, parts, unit)
    return Scale(math.floor(low / step + _SLACK) * step, math.ceil(high / step - _SLACK) * step, False, unit)


def _log_end(value: float, up: bool) -> float:
    power = math.floor(math.log10(value) + 1e-12)
    ends = [s * 10.0**p for p in (power - 1, power, power + 1) for s in _LOG_STEPS[:3]]
    if up:
        return min(e for e in ends if e >= value * (1 - 1e-9))
    return max(e for e in ends if e <= value * (1 + 1e-9))
