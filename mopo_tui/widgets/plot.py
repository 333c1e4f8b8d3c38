"""What a chart shows, as plain data: lines, reference lines, histograms, axes (no Textual)."""

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
        dotted: every second dot only, for a second series.
    """

    label: str
    x: Floats
    y: Floats
    ink: str = "sky"
    end_label: str = ""
    marker: str = ""
    dotted: bool = False
    bold: bool = False


@dataclass(frozen=True)
class Reference:
    """A horizontal line; `short` is its label where the chart is narrow."""

    value: float
    label: str
    short: str = ""
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
class Plot:
    """A chart's whole content. `x_span`, `y_span` widen the axes beyond what the content needs, so that two charts share them."""

    lines: Sequence[Line] = ()
    references: Sequence[Reference] = ()
    histograms: Sequence[Histogram] = ()
    x_title: str = ""
    y_title: str = ""
    x_log: bool = False
    y_log: bool = False
    x_span: tuple[float, float] | None = None
    y_span: tuple[float, float] | None = None
    legend: Sequence[tuple[str, str, str]] = field(default_factory=tuple)  # (glyph, ink, text)
    empty: str = "nothing recorded yet"

    @property
    def is_empty(self) -> bool:
        """No value that could be drawn."""
        drawn = any(
            span(line.y[np.isfinite(line.x)] if line.x.size == line.y.size else line.y, log=self.y_log)
            for line in self.lines
        )
        return not drawn and not any(h.heights.any() for h in self.histograms)

    def needed_x(self) -> tuple[float, float] | None:
        """The span of x over all content."""
        parts: list[Floats] = [line.x for line in self.lines]
        for h in self.histograms:
            drawn = np.flatnonzero(h.heights > 0)
            if drawn.size:
                parts.append(h.edges[[drawn[0], drawn[-1] + 1]])
        return _joined(span(*parts, log=self.x_log), self.x_span)

    def needed_y(self) -> tuple[float, float] | None:
        """The span of y over all content, reference lines too; a histogram stands on 0."""
        parts: list[Floats] = [line.y for line in self.lines]
        parts += [np.array([r.value for r in self.references])]
        parts += [np.r_[0.0, h.heights] for h in self.histograms]
        return _joined(span(*parts, log=self.y_log), self.y_span)

    def x_scale(self, parts: int) -> Scale:
        """The x axis, cut into at most `parts` parts."""
        return fitted(*(self.needed_x() or ((1.0, 10.0) if self.x_log else (0.0, 1.0))), self.x_log, parts)

    def y_scale(self, parts: int) -> Scale:
        """The y axis, cut into at most `parts` parts."""
        return fitted(*(self.needed_y() or ((1.0, 10.0) if self.y_log else (0.0, 1.0))), self.y_log, parts)


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
