"""What a chart shows, as plain data: lines, bands, marks, reference lines, histograms, a heat map, axes (no Textual)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mopo_tui.widgets.scale import Floats, Scale, fitted, span


@dataclass(frozen=True, eq=False)
class Line:
    """One series.

    Attributes:
        x, y: equal lengths; NaN is a gap.
        end_label: stands right of the plot at the height of the last value.
        marker: a character on each point, while points are far enough apart to tell.
        dash: "" is a full line; "dashed", "dotted" and "dashdot" tell lines apart without colour.
        bold: twice as thick, and on top.
        behind: below all lines that are not: one seed beside the mean, the raw values behind the smoothed ones.
        smoothing: weight of the exponential moving average, 0 to below 1; where above 0, the raw line stands dimly behind it.
        raw: True for that raw line itself, which a crosshair does not read a second time.
    """

    label: str
    x: Floats
    y: Floats
    ink: str = "sky"
    end_label: str = ""
    marker: str = ""
    dash: str = ""
    bold: bool = False
    behind: bool = False
    smoothing: float = 0.0
    raw: bool = False


@dataclass(frozen=True, eq=False)
class Band:
    """The area between `low` and `high` over `x`, lightly stippled; NaN in any of the three is a gap."""

    label: str
    x: Floats
    low: Floats
    high: Floats
    ink: str = "sky"


@dataclass(frozen=True)
class Mark:
    """One point that matters, such as a best epoch."""

    x: float
    y: float
    glyph: str = "◆"
    ink: str = "text"


@dataclass(frozen=True)
class Reference:
    """A horizontal line; `short` is its label where the chart is narrow."""

    value: float
    label: str
    short: str = ""
    ink: str = "muted"


@dataclass(frozen=True)
class Vertical:
    """A vertical line, such as the change from one stage to the next; its label stands at its top."""

    value: float
    label: str = ""
    ink: str = "muted"


@dataclass(frozen=True, eq=False)
class Histogram:
    """Bars of `heights` between `edges` (one more than heights), filled (stippled) or outlined."""

    label: str
    edges: Floats
    heights: Floats
    ink: str = "sky"
    filled: bool = False


@dataclass(frozen=True, eq=False)
class Heat:
    """A heat map: `values` (rows, columns), 0 or more, between `y_edges` (rows + 1, rising) and `x_edges` (columns + 1, rising)."""

    x_edges: Floats
    y_edges: Floats
    values: Floats


@dataclass(frozen=True)
class RightAxis:
    """What the left axis' values are on another scale: factor·value + offset."""

    factor: float
    offset: float
    title: str = ""


@dataclass(frozen=True, eq=False)
class Plot:
    """A chart's whole content.

    Attributes:
        words: lines of (what, text) in place of a drawing, such as a decision and its reasons.
        x_unit, y_unit: SECONDS or PERCENT of `scale`, or nothing.
        x_span, y_span: widen the axes beyond what the content needs, so that two charts share them.
        window: the part of x that is looked at; y then fits what is seen.
        legend: (glyph, ink, text); an entry without text stands close to the next one.
        empty: why there is nothing to see, where there is nothing.
    """

    lines: Sequence[Line] = ()
    references: Sequence[Reference] = ()
    histograms: Sequence[Histogram] = ()
    bands: Sequence[Band] = ()
    marks: Sequence[Mark] = ()
    verticals: Sequence[Vertical] = ()
    heat: Heat | None = None
    words: Sequence[tuple[str, str]] = ()
    x_title: str = ""
    y_title: str = ""
    x_log: bool = False
    y_log: bool = False
    x_unit: str = ""
    y_unit: str = ""
    x_span: tuple[float, float] | None = None
    y_span: tuple[float, float] | None = None
    right: RightAxis | None = None
    window: tuple[float, float] | None = None
    legend: Sequence[tuple[str, str, str]] = field(default_factory=tuple)
    empty: str = "nothing recorded yet"

    @property
    def is_empty(self) -> bool:
        """No value that could be drawn."""
        if self.words or (self.heat is not None and self.heat.values.any()):
            return False
        if any(h.heights.any() for h in self.histograms):
            return False
        return not any(_drawable(line.x, line.y, self.x_log, self.y_log) for line in self.lines)

    def needed_x(self) -> tuple[float, float] | None:
        """The span of x over all content."""
        parts: list[Floats] = [line.x for line in self.lines] + [band.x for band in self.bands]
        for h in self.histograms:
            drawn = np.flatnonzero(h.heights > 0)
            if drawn.size:
                parts.append(h.edges[[drawn[0], drawn[-1] + 1]])
        if self.heat is not None:
            parts.append(self.heat.x_edges[[0, -1]])
        return _joined(span(*parts, log=self.x_log), self.x_span)

    def needed_y(self) -> tuple[float, float] | None:
        """The span of y over all content, reference lines too; a histogram stands on 0."""
        parts: list[Floats] = [line.y for line in self.lines]
        for band in self.bands:
            inside = np.s_[:] if self.window is None else (band.x >= self.window[0]) & (band.x <= self.window[1])
            parts += [band.low[inside], band.high[inside]]
        parts += [np.array([r.value for r in self.references])]
        parts += [np.r_[0.0, h.heights] for h in self.histograms]
        if self.heat is not None:
            rows = np.flatnonzero(self.heat.values.any(axis=1))
            if rows.size:
                parts.append(self.heat.y_edges[[rows[0], rows[-1] + 1]])
        return _joined(span(*parts, log=self.y_log), self.y_span)

    def x_scale(self, parts: int) -> Scale:
        """The x axis: the window as it is, or all content between round ends, cut into at most `parts` parts."""
        if self.window is not None:
            return Scale(*self.window, self.x_log, self.x_unit)
        nothing = (1.0, 10.0) if self.x_log else (0.0, 1.0)
        return fitted(*(self.needed_x() or nothing), self.x_log, parts, self.x_unit)

    def y_scale(self, parts: int) -> Scale:
        """The y axis, cut into at most `parts` parts."""
        nothing = (1.0, 10.0) if self.y_log else (0.0, 1.0)
        return fitted(*(self.needed_y() or nothing), self.y_log, parts, self.y_unit)


def _drawable(x: Floats, y: Floats, x_log: bool, y_log: bool) -> bool:
    """Whether a point has both a place in x and one in y."""
    known = np.isfinite(x) & np.isfinite(y)
    if x_log:
        known &= x > 0
    if y_log:
        known &= y > 0
    return bool(known.any())


def _joined(one: tuple[float, float] | None, other: tuple[float, float] | None) -> tuple[float, float] | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def share_axes(plots: Sequence[Plot]) -> list[Plot]:
    """The same plots, each with axes that hold the content of all."""
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None
    for plot in plots:
        if not plot.is_empty:  # an empty chart's axes say nothing
            x, y = _joined(x, plot.needed_x()), _joined(y, plot.needed_y())
    return [replace(plot, x_span=x, y_span=y) for plot in plots]
