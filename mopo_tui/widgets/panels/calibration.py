"""Model against reality: does the model tell the truth about the policy, and is its penalty honest?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mopo_tui.run_view import RunView
from mopo_tui.widgets.palette import SERIES, Stroke
from mopo_tui.widgets.panels.metrics import measured_of, metric_curve, newest, one_metric, overlaid, stroke_glyph
from mopo_tui.widgets.panels.options import DEFAULT, FROM_ZERO, Legend, Options, Panel, axes, axis_of
from mopo_tui.widgets.panels.why_empty import why_empty
from mopo_tui.widgets.plot import Band, Line, Plot
from mopo_tui.widgets.scale import number
from mopo_tui.widgets.seeds import AXES, Group, floats, lasts, spread, x_unit

_RETURNS = (
    ("eval/discounted_return", "real", Stroke("sky")),
    ("eval/model_return", "model", Stroke("orange", "dashed")),
    ("eval/model_return_penalised", "penalised", Stroke("green", "dotted")),
)
_OPEN_LOOP = "calibration/open_loop/"


def calibration_choices(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """What the panel can show, as `choices`."""
    measured = {name for group in groups for _, view in group.read for name in view.series}
    one = [("returns", "model return and real return")] if len(groups) == 1 else []
    found = [("calibration/open_loop", "open-loop error")] if any("open_loop" in m for m in measured) else []
    return one + measured_of(measured, "calibration") + found


def calibration(groups: Sequence[Group], options: Options = DEFAULT) -> Panel:
    """Does the model tell the truth about the policy? Its return, plain and penalised, beside the real discounted one; or another
    of `choices`: the penalty's rank correlation with the true error, the open-loop error by horizon, the margin, …"""
    axis = axis_of("calibration", options)
    there = [name for name, _ in calibration_choices(groups)]
    shown = options.metric if options.metric in there else next(iter(there), "returns")
    if options.metric not in there and len(groups) > 1 and "calibration/margin" in there:
        shown = "calibration/margin"
    empty = why_empty(groups, "evaluation", needs_model=True)
    if shown == "returns":
        lines, bands, legend = _side_by_side(groups[0], _RETURNS, axis, options)
        plot = Plot(
            lines, bands=bands, legend=legend, x_span=FROM_ZERO, empty=empty, x_title=AXES[axis], x_unit=x_unit(axis)
        )
        title, short = "Discounted return: model against reality", "Model against reality"
        return Panel(plot, title, _honesty(groups), short, axes("calibration"), metric=shown)
    if shown == "calibration/open_loop":
        lines, bands, legend = _open_loop(groups, axis, options)
        plot = Plot(
            lines, bands=bands, legend=legend, x_span=FROM_ZERO, y_title="state error, std", y_log=options.log is True,
            empty=empty, x_title=AXES[axis],
        x_unit=x_unit(axis),
        )  # fmt: skip
        title, short = "Open-loop error of the model", "Open-loop error"
        return Panel(plot, title, _honesty(groups), short, axes("calibration"), logs=True, metric=shown)
    return one_metric(shown, groups, options, "calibration", _honesty(groups))


def _side_by_side(
    group: Group, parts: Sequence[tuple[str, str, Stroke]], axis: str, options: Options
) -> tuple[list[Line], list[Band], Legend]:
    """Several metrics of one group; of seeds the means, and the band of the first one."""
    lines: list[Line] = []
    bands: list[Band] = []
    legend: Legend = ()
    for name, label, stroke in parts:
        more, area = spread(group, metric_curve(name, axis), label, stroke=stroke, smoothing=options.smoothing)
        lines += [line for line in more if not line.behind]
        bands += area if not bands else []
        if more:
            legend += ((stroke_glyph(stroke), stroke.ink, label),)
    return lines, bands, legend


def _open_loop(groups: Sequence[Group], axis: str, options: Options) -> tuple[list[Line], list[Band], Legend]:
    """A line for each horizon; of several groups that of the longest one."""
    horizons = _horizons(groups)
    if len(groups) > 1:
        return overlaid(groups, metric_curve(f"{_OPEN_LOOP}{horizons[-1]}", axis), f"{horizons[-1]} steps", options)
    strokes = [Stroke(ink, dash) for ink, dash in zip(SERIES, ("", "dashed", "dotted", "dashdot"), strict=False)]
    lines: list[Line] = []
    legend: Legend = ()
    for horizon, stroke in zip(horizons, strokes, strict=False):
        label = f"{horizon} step{'s' if horizon > 1 else ''}"
        more, _ = spread(
            groups[0], metric_curve(f"{_OPEN_LOOP}{horizon}", axis), label, stroke=stroke, end_label=str(horizon),
            smoothing=options.smoothing,
        )  # fmt: skip
        lines += [line for line in more if not line.behind]
        legend += ((stroke_glyph(stroke), stroke.ink, label),)
    return lines, [], legend


def _horizons(groups: Sequence[Group]) -> list[int]:
    names = {name for group in groups for _, view in group.read for name in view.series if name.startswith(_OPEN_LOOP)}
    tails = (name.removeprefix(_OPEN_LOOP) for name in names)
    return sorted(int(tail) for tail in tails if tail.isdecimal())


def _honesty(groups: Sequence[Group]) -> tuple[str, ...]:
    """Rank correlation, how often the lower bound held, and the error over the horizons; of several groups the first alone."""
    numbers = newest(groups, "rank correlation", "calibration/rank_correlation")
    if len(groups) > 1:
        return ("rank correlation:", *numbers) if numbers else ()
    held = [floats(view.series["calibration/lower_bound"].value) for _, view in groups[0].read if _bounded(view)]
    if held:
        every = np.concatenate(held)
        every = every[np.isfinite(every)]
        numbers += (f"bound held at {int(every.sum())} of {every.size}",)
    errors = [(horizon, lasts(groups[0], f"{_OPEN_LOOP}{horizon}")) for horizon in _horizons(groups)]
    if errors:
        told = "  ".join(f"{horizon}: {number(float(values.mean()), 2)}" for horizon, values in errors if values.size)
        numbers += (f"open-loop error {told}",)
    return numbers


def _bounded(view: RunView) -> bool:
    return "calibration/lower_bound" in view.series
