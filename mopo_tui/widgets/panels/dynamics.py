"""The ensemble's validation loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mopo_tui.manager import Run
from mopo_tui.run_view import LOSS, RunView
from mopo_tui.widgets.palette import SERIES
from mopo_tui.widgets.panels.metrics import overlaid
from mopo_tui.widgets.panels.options import DEFAULT, FROM_ZERO, Legend, Options, Panel, axes, axis_of
from mopo_tui.widgets.panels.why_empty import why_empty
from mopo_tui.widgets.plot import Band, Line, Mark, Plot
from mopo_tui.widgets.scale import number
from mopo_tui.widgets.seeds import AXES, Curve, Extract, Group, curves_of, floats, values, x_of, x_unit


def dynamics(groups: Sequence[Group], options: Options = DEFAULT) -> Panel:
    """Holdout error of each member of the ensemble; elites in colour and drawn last, the others dim, best epochs marked. Of
    seeds the mean over each one's elites."""
    axis = axis_of("dynamics", options)
    if len(groups) == 1 and groups[0].single:
        lines, marks, legend, numbers = _members(groups[0].read[0][1], axis, options)
        bands: list[Band] = []
        title = "Validation loss per member"
    else:
        lines, bands, legend = overlaid(groups, _elite_loss(axis), "elites", options)
        marks, title = [], "Validation loss of the elites"
        numbers = _lowest(groups, axis)
    plot = Plot(
        lines,
        bands=bands,
        marks=marks,
        y_title="MSE",
        y_log=options.log is not False,
        x_span=FROM_ZERO,
        legend=legend,
        empty=why_empty(groups, "dynamics epoch", needs_model=True),
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    return Panel(plot, title, numbers, "Validation loss", axes("dynamics"), logs=True)


def _members(view: RunView, axis: str, options: Options) -> tuple[list[Line], list[Mark], Legend, tuple[str, ...]]:
    lines, marks, lowest = [], [], []
    for member in sorted(view.losses, key=lambda m: (m in view.elites, m)):
        x, y = values(view, f"{LOSS}{member}", axis) or (np.empty(0), np.empty(0))
        elite = member in view.elites or not view.elites
        ink = SERIES[member % len(SERIES)] if elite else "faint"
        lines.append(Line(f"member {member}", x, y, ink, str(member), behind=not elite, smoothing=options.smoothing))
        known = np.flatnonzero(np.isfinite(y))
        if not known.size:
            continue
        best = _best_row(view, member, known[int(y[known].argmin())])
        lowest.append(float(y[best]))
        if elite:
            marks.append(Mark(float(x[best]), float(y[best]), "◆", ink))
    numbers: tuple[str, ...] = ()
    if lowest:
        numbers = (f"best {number(min(lowest))}",)
    if view.elites:
        numbers = (f"elites {' '.join(str(m) for m in sorted(view.elites))}", *numbers)
    legend: Legend = ()
    if view.elites and lines:
        legend += (("━", "sky", "elites"), ("━", "faint", "others"))
    if marks:
        legend += (("◆", "muted", "best epoch"),)
    return lines, marks, legend, numbers


def _best_row(view: RunView, member: int, lowest: int) -> int:
    """The row whose weights the member kept: that of its best epoch where the fit told it, else the lowest one."""
    told = view.best_epochs.get(member)
    rows = np.flatnonzero(floats(view.losses[member].epoch) == told) if told is not None else np.empty(0)
    return int(rows[-1]) if len(rows) else lowest


def _elite_loss(axis: str) -> Extract:
    """The mean over a run's elites, or over all members while there are none."""

    def extract(_run: Run, view: RunView) -> Curve | None:
        members = [m for m in view.losses if m in view.elites] or list(view.losses)
        if not members:
            return None
        rows = min(len(view.losses[m]) for m in members)  # a torn row may lack some
        first = view.losses[members[0]]
        mean = np.mean([floats(view.losses[m].value)[:rows] for m in members], axis=0)
        return x_of(view, first, axis)[:rows], mean

    return extract


def _lowest(groups: Sequence[Group], axis: str) -> tuple[str, ...]:
    found = []
    for group in groups:
        best = [float(y.min()) for _, (_, y) in curves_of(group, _elite_loss(axis))]
        if best:
            label = f"{group.label} " if len(groups) > 1 else ""
            found.append(f"{label}best {number(float(np.mean(best)))} (n = {len(best)})")
    return tuple(found)
