"""What panels do with any metric: its curves over each other, its newest values, a panel of it alone, where a stage begins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.record import METRIC_TABLE, metric
from mopo_tui.manager import Run
from mopo_tui.run_view import RunView
from mopo_tui.widgets.palette import Stroke
from mopo_tui.widgets.panels.options import FROM_ZERO, Legend, Options, Panel, axes, axis_of
from mopo_tui.widgets.plot import Band, Line, Plot, Vertical
from mopo_tui.widgets.scale import number
from mopo_tui.widgets.seeds import AXES, Curve, Extract, Group, lasts, spread, update_at, values, x_of, x_unit


def measured_of(measured: set[str], panel_name: str) -> list[tuple[str, str]]:
    """The metrics of a panel that were measured, in the table's order."""
    return [
        (entry.name, f"{entry.name.split('/')[1].replace('_', ' ')}: {entry.about}")
        for entry in METRIC_TABLE
        if entry.panel == panel_name and entry.name in measured
    ]


def metric_curve(name: str, axis: str) -> Extract:
    """A metric's curve."""

    def extract(_run: Run, view: RunView) -> Curve | None:
        return values(view, name, axis)

    return extract


def overlaid(
    groups: Sequence[Group], extract: Extract, label: str, options: Options
) -> tuple[list[Line], list[Band], Legend]:
    """One metric of all groups, with what the legend says of them."""
    lines: list[Line] = []
    bands: list[Band] = []
    legend: Legend = ()
    for group in groups:
        several = len(groups) > 1
        more, area = spread(group, extract, group.label if several else label, smoothing=options.smoothing)
        lines += more
        bands += area
        if more and several:
            legend += ((stroke_glyph(group.stroke), group.stroke.ink, group.label),)
        elif area:
            n = sum(line.behind for line in more)
            legend += (
                ("━", group.stroke.ink, f"mean of {n} seeds"),
                ("░", f"{group.stroke.ink} dim", "lowest to highest"),
            )
    return lines, bands, legend


def stroke_glyph(stroke: Stroke) -> str:
    """A stroke in a legend."""
    return {"": "━", "dashed": "╌", "dotted": "┈", "dashdot": "─"}[stroke.dash]


def newest(groups: Sequence[Group], label: str, name: str) -> tuple[str, ...]:
    """The newest value of a metric: of a run alone itself, of seeds mean ± standard deviation, of several groups one each."""
    found = []
    for group in groups:
        newest = lasts(group, name)
        if not newest.size:
            continue
        text = number(float(newest.mean()))
        if newest.size > 1:
            text += f" ± {number(float(newest.std(ddof=1)), 2)} (n = {newest.size})"
        found.append(f"{group.label if len(groups) > 1 else label} {text}".strip())
    return tuple(found)


def one_metric(
    name: str, groups: Sequence[Group], options: Options, panel_name: str, numbers: tuple[str, ...] = ()
) -> Panel:
    """Any metric of the table, as the panel of that name shows it."""
    axis = axis_of(panel_name, options)
    entry = metric(name)
    label = name.split("/")[1].replace("_", " ")
    lines, bands, legend = overlaid(groups, metric_curve(name, axis), label, options)
    plot = Plot(
        lines,
        bands=bands,
        legend=legend,
        verticals=stage_changes(groups, axis),
        x_span=FROM_ZERO,
        y_title=entry.unit if entry is not None else "",
        y_log=options.log is True,
        empty=f"no {label} was measured",
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    title = entry.about if entry is not None else label
    return Panel(plot, _capital(title), numbers, _capital(label), axes(panel_name), logs=True, metric=name)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def stage_changes(groups: Sequence[Group], axis: str) -> list[Vertical]:
    """Where MB2PO's second stage begins, for a run alone or seeds for which that is the same."""
    places = set()
    for group in groups:
        for _, view in group.read:
            step = dict(view.stages).get("finetune")
            if step is None:
                continue
            place = _place(view, axis, step)
            if np.isfinite(place):
                places.add(round(place, 6))
    return [Vertical(places.pop(), "stage 2")] if len(places) == 1 else []


def _place(view: RunView, axis: str, step: float) -> float:
    """A gradient step of the run on an axis."""
    if axis == "step":
        return step
    if axis == "update":
        return float(update_at(view, np.array([step]))[0])
    before = [
        (float(series.step[row]), float(x_of(view, series, axis)[row]))
        for name, series in view.series.items()
        if name.startswith("policy/") and (row := int(np.searchsorted(series.step, step, "right")) - 1) >= 0
    ]
    return max(before)[1] if before else float("nan")
