"""What each panel shows of a run or of groups of seeds, as a plot with a title: pure functions of what was read (no Textual).

Every panel takes groups: a run alone is a group of one (`alone`), the seeds of a setting are one group, and several groups are laid
over each other. Of a group there is the mean, the band between its lowest and its highest seed, and a thin line for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from engine.config import MODEL_BASED
from engine.record import METRIC_TABLE, histogram_edges, metric
from engine.tasks import TASKS
from mopo_tui.manager import Run
from mopo_tui.run_view import LOSS, RunView
from mopo_tui.widgets.palette import SERIES, Stroke
from mopo_tui.widgets.plot import Band, Heat, Histogram, Line, Mark, Plot, Reference, RightAxis, Vertical
from mopo_tui.widgets.scale import PERCENT, Floats, number, whole
from mopo_tui.widgets.seeds import (
    AXES,
    Curve,
    Extract,
    Group,
    alone,
    curves_of,
    floats,
    lasts,
    spread,
    update_at,
    values,
    x_of,
    x_unit,
)

PANELS = ("dynamics", "uncertainty", "score")  # those that a small screen has room for
EVERY_PANEL = (*PANELS, "calibration", "optimisation")
TITLES = {
    "dynamics": "Validation loss",
    "uncertainty": "Uncertainty",
    "score": "Score",
    "calibration": "Model against reality",
    "optimisation": "Optimisation",
}
FROM_ZERO = (0.0, 0.0)
_EDGES = np.array(histogram_edges())
_RARE = 0.002  # of a round's samples: bins with less are not worth the heat map's room
Legend = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, eq=False)
class Panel:
    """A plot with a title and the most important numbers below it, most important first: as many are shown as fit."""

    plot: Plot
    title: str
    numbers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Options:
    """How a panel is shown.

    Attributes:
        x: one of AXES; empty, or one that the panel does not have, is the panel's own choice.
        log: y on a logarithmic axis; None is the panel's own choice.
        smoothing: weight of the moving average over the raw lines, 0 to below 1.
        metric: what is shown of the panels that have a choice; empty, or one that is not there, is the first of `choices`.
    """

    x: str = ""
    log: bool | None = None
    smoothing: float = 0.0
    metric: str = ""


def panels(run: Run, view: RunView | None, log: bool = True) -> dict[str, Panel]:
    """The panels of PANELS of one run by name; before its columns are read they say so."""
    groups, options = [alone(run, view)], {"dynamics": Options(log=log)}
    return {name: panel(name, groups, options.get(name, Options())) for name in PANELS}


def panel(name: str, groups: Sequence[Group], options: Options = Options()) -> Panel:
    """One panel of EVERY_PANEL. What goes wrong in it stands in its place: it costs no other panel.

    Raises:
        KeyError: no such panel.
    """
    make = _MAKERS[name]
    if not any(group.read for group in groups):
        problems = [view.problem for group in groups for _, view in group.members if view is not None and view.problem]
        return Panel(Plot(empty=problems[0] if problems else "reading …"), TITLES[name])
    try:
        return make(groups, options)
    except Exception as error:  # whatever a run recorded, one panel is all that it may cost
        return Panel(Plot(empty=f"cannot be shown: {type(error).__name__}: {error}"), TITLES[name])


def axes(name: str) -> tuple[str, ...]:
    """The x axes that a panel can have, its own choice first."""
    if name == "dynamics":
        return ("epoch", "step", "time")
    return ("update", "epoch", "step", "time")


def choices(name: str, groups: Sequence[Group]) -> list[tuple[str, str]]:
    """What `Options.metric` may be: (metric, title) in the order of a key that goes through them; empty without a choice."""
    if name == "uncertainty":
        return [("newest", "newest rollouts"), ("time", "over time")]
    measured = {name for group in groups for _, view in group.read for name in view.series}
    if name == "calibration":
        one = [("returns", "model return and real return")] if len(groups) == 1 else []
        found = [("calibration/open_loop", "open-loop error")] if any("open_loop" in m for m in measured) else []
        return one + _told(measured, "calibration") + found
    if name == "optimisation":
        gate = [("gate", "the gate")] if any(view.gate for group in groups for _, view in group.read) else []
        return _told(measured, "optimisation") + _told(measured, "speed") + gate
    return []


def _told(measured: set[str], panel_name: str) -> list[tuple[str, str]]:
    """The metrics of a panel that were measured, in the table's order."""
    return [
        (entry.name, f"{entry.name.split('/')[1].replace('_', ' ')}: {entry.about}")
        for entry in METRIC_TABLE
        if entry.panel == panel_name and entry.name in measured
    ]


# --- why there is nothing ---------------------------------------------------------------------------------------------------------


def _why_empty(groups: Sequence[Group], awaited: str, needs_model: bool = False) -> str:
    """Why the first run of `groups` has nothing to show yet, or never will."""
    run, view = groups[0].read[0]
    if run.job in ("dataset", "behaviour"):
        return f"a {run.job} job has no {awaited}"
    if needs_model and run.algorithm and run.algorithm not in MODEL_BASED:
        return f"{run.algorithm.upper()} fits no model"
    if run.state == "queued":
        return "queued: waits to be started"
    in_stage_1 = run.algorithm == "mb2po" and not any(stage == "dynamics" for stage, _ in view.stages)
    if run.state in ("running", "paused"):
        if needs_model and in_stage_1 and any(stage == "policy" for stage, _ in view.stages):
            return "stage 1 learns from the batch alone; the model comes after it"
        every = view.config.get("evaluation.every")
        if awaited == "evaluation" and isinstance(every, int):
            return f"no evaluation yet: the first comes after epoch {every}"
        return f"waits for the first {awaited}"
    if needs_model and view.gate and run.state == "finished":
        return f"no {awaited}: the gate {view.gate[-1]}"
    return f"the run ended before the first {awaited}"


# --- axes and numbers that panels share -------------------------------------------------------------------------------------------


def _axis(name: str, options: Options) -> str:
    return options.x if options.x in axes(name) else axes(name)[0]


def _of(name: str, axis: str) -> Extract:
    """A metric's curve."""

    def extract(_run: Run, view: RunView) -> Curve | None:
        return values(view, name, axis)

    return extract


def _overlaid(
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
            legend += ((_glyph(group.stroke), group.stroke.ink, group.label),)
        elif area:
            n = sum(line.behind for line in more)
            legend += (
                ("━", group.stroke.ink, f"mean of {n} seeds"),
                ("░", f"{group.stroke.ink} dim", "lowest to highest"),
            )
    return lines, bands, legend


def _glyph(stroke: Stroke) -> str:
    """A stroke in a legend."""
    return {"": "━", "dashed": "╌", "dotted": "┈", "dashdot": "─"}[stroke.dash]


def _number(groups: Sequence[Group], label: str, name: str) -> tuple[str, ...]:
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


# --- validation loss --------------------------------------------------------------------------------------------------------------


def dynamics(groups: Sequence[Group], options: Options = Options()) -> Panel:
    """Holdout error of each member of the ensemble; elites in colour and drawn last, the others dim, best epochs marked. Of
    seeds the mean over each one's elites."""
    axis = _axis("dynamics", options)
    if len(groups) == 1 and groups[0].single:
        lines, marks, legend, numbers = _members(groups[0].read[0][1], axis, options)
        bands: list[Band] = []
        title = "Validation loss per member"
    else:
        lines, bands, legend = _overlaid(groups, _elite_loss(axis), "elites", options)
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
        empty=_why_empty(groups, "dynamics epoch", needs_model=True),
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    return Panel(plot, title, numbers)


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


# --- uncertainty ------------------------------------------------------------------------------------------------------------------


def uncertainty(groups: Sequence[Group], options: Options = Options()) -> Panel:
    """The newest histogram of u on model rollouts, outlined, over that on the data, filled, in percent of their samples; or with
    the metric "time" the rollouts' histograms as a heat map, a column a round. The counts of seeds are added."""
    if options.metric == "time":
        return _over_time(groups, options)
    histograms: list[Histogram] = []
    legend: Legend = ()
    every = [view for group in groups for _, view in group.read]
    if (data := _summed(every, "data")) is not None:
        histograms.append(Histogram("data", _EDGES, _shares(data), "muted", filled=True))
        legend += (("▒", "muted", "data"),)
    for group in groups:
        if (rolled := _summed([view for _, view in group.read], "rollout")) is not None:
            ink = group.stroke.ink if len(groups) > 1 else "orange"
            label = group.label if len(groups) > 1 else "rollouts"
            histograms.append(Histogram(label, _EDGES, _shares(rolled), ink))
            legend += (("━", ink, label),)
    outside = sum(float(h[0] + h[-1]) for view in every for h in view.histograms.values())
    numbers = _uncertain(groups)
    if outside:
        numbers += (f"{outside:.0f} beyond the axis",)
    plot = Plot(
        histograms=histograms,
        x_log=True,
        x_title="u",
        y_title="of samples",
        y_unit=PERCENT,
        legend=legend,
        empty=_why_empty(groups, "model rollout", needs_model=True),
    )
    return Panel(plot, _penalised("Uncertainty", groups), numbers)


def _penalised(title: str, groups: Sequence[Group]) -> str:
    """The title, with the mean penalty beside the reward from which it is taken."""
    penalty, reward = lasts(groups[0], "rollout/penalty"), lasts(groups[0], "rollout/reward")
    if len(groups) > 1 or not penalty.size:
        return title
    beside = f" beside reward {number(float(reward.mean()))}" if reward.size else ""
    return f"{title}, mean penalty {number(float(penalty.mean()))}{beside}"


def _uncertain(groups: Sequence[Group]) -> tuple[str, ...]:
    """Median and 95th percentile of u on rollouts and data; of several groups on rollouts."""
    found = []
    several = len(groups) > 1
    parts = [
        ("rollouts", "uncertainty/p50", "uncertainty/p95"),
        ("data", "uncertainty/data_p50", "uncertainty/data_p95"),
    ]
    for group in groups:
        for where, low, high in parts[:1] if several else parts:
            p50, p95 = lasts(group, low), lasts(group, high)
            if p50.size and p95.size:
                label = group.label if several else where
                found.append(f"{label} p50 {number(float(p50.mean()))} p95 {number(float(p95.mean()))}")
    return tuple(found)


def _summed(views: Sequence[RunView], name: str) -> Floats | None:
    found = [view.histograms[name] for view in views if name in view.histograms]
    return np.sum(found, axis=0) if found else None


def _shares(counts: Floats) -> Floats:
    """Percent of all samples in each bin; those beyond the edges count in the whole."""
    total = counts.sum()
    return counts[1:-1] * (100.0 / total) if total > 0 else np.zeros(len(counts) - 2)


def _over_time(groups: Sequence[Group], options: Options) -> Panel:
    """One group as a heat map with the data's median and 95th percentile; several as lines of their medians."""
    title = _penalised("Uncertainty over time", groups)
    empty = _why_empty(groups, "model rollout", needs_model=True)
    if len(groups) > 1:
        axis = _axis("uncertainty", options)
        lines, bands, legend = _overlaid(groups, _of("uncertainty/p50", axis), "p50", options)
        plot = Plot(
            lines,
            bands=bands,
            legend=legend,
            y_title="median u",
            y_log=options.log is not False,
            empty=empty,
            x_title=AXES[axis],
            x_unit=x_unit(axis),
        )
        return Panel(plot, title, _uncertain(groups))
    heat = _heat([view for _, view in groups[0].read])
    references = []
    for name, label in (("uncertainty/data_p50", "data p50"), ("uncertainty/data_p95", "data p95")):
        known = lasts(groups[0], name)
        if known.size and heat is not None:
            references.append(Reference(float(known.mean()), label, label[5:], "text"))
    ramp: Legend = (*((("█", f"heat {step}", "")) for step in (4, 12, 20, 27)), ("█", "heat 31", "few to many samples"))
    plot = Plot(
        references=references,
        verticals=_changes(groups, "update"),
        heat=heat,
        x_span=FROM_ZERO,
        y_log=True,
        y_title="u",
        x_title=AXES["update"],
        legend=ramp,
        empty=empty,
    )
    return Panel(plot, title, _uncertain(groups))


def _heat(views: Sequence[RunView]) -> Heat | None:
    """The shares of the rollouts' bins by round, the counts of seeds added; None before the first round."""
    known = [
        (floats(view.rounds["rollout"][0]), view.rounds["rollout"][1]) for view in views if "rollout" in view.rounds
    ]
    known = [(updates[np.isfinite(updates)], counts[np.isfinite(updates)]) for updates, counts in known]
    known = [(updates, counts) for updates, counts in known if len(updates)]
    if not known:
        return None
    updates, counts = max(known, key=lambda rounds: len(rounds[0]))
    total = np.zeros_like(counts)
    for own, rows in known:
        # Rounds of seeds come at the same updates; a seed that is not as far yet has no part in the later ones.
        places = np.searchsorted(own, updates)
        there = places < len(own)
        total[there] += rows[places[there]]
    shares = np.divide(total, np.maximum(total.sum(1, keepdims=True), 1.0))[:, 1:-1].T
    seen = np.flatnonzero(shares.max(axis=1) > _RARE)
    if not seen.size:
        return None
    rows_seen = slice(int(seen[0]), int(seen[-1]) + 1)
    # A round's column goes from the update of the one before to its own, at which it was recorded.
    begin = 2 * updates[0] - updates[1] if len(updates) > 1 else 0.0
    return Heat(np.r_[max(begin, 0.0), updates], _EDGES[rows_seen.start : rows_seen.stop + 1], shares[rows_seen])


# --- score ------------------------------------------------------------------------------------------------------------------------


def score(groups: Sequence[Group], options: Options = Options()) -> Panel:
    """Normalized score; the raw return with its references where the task has no scale."""
    every = [(run, view) for group in groups for run, view in group.read]
    if every[0][0].job == "behaviour":
        return _training_return(groups, options)
    if all(view.normalized(0.0) is not None for _, view in every):
        return _normalized(groups, options)
    return _raw(groups, options)


def _references(view: RunView, scaled: bool) -> list[Reference]:
    """The returns against which a run is read, in per cent where there is a scale."""
    found = []
    for name, label, short, ink in (
        ("batch_best", "batch best", "best", "green"),
        ("do_nothing", "do-nothing", "nothing", "vermillion"),
        ("batch_mean", "batch mean", "mean", "yellow"),
        ("random", "random", "random", "muted"),
    ):
        value = view.reference(name)
        if value is not None and scaled:
            value = view.normalized(value)
        if value is not None:
            found.append(Reference(value, f"{label} {whole(value)}", short, ink))
    return found


def _published(run: Run, unit: str) -> list[Reference]:
    """What the literature reports of this task and algorithm, with the data on which it was."""
    task = TASKS.get(run.task)
    found = task.published_for(run.algorithm) if task is not None else None
    if found is None or found.unit != unit:
        return []
    if "D4RL" in found.data:
        return [Reference(found.value, f"published {found.value:g} ({found.data})", found.data, "purple")]
    return [Reference(found.value, f"paper {whole(found.value)}, its data", "paper", "purple")]


def _changes(groups: Sequence[Group], axis: str) -> list[Vertical]:
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
    return [Vertical(places.pop(), "stage 2", "purple")] if len(places) == 1 else []


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


def _normalized(groups: Sequence[Group], options: Options) -> Panel:
    axis = _axis("score", options)
    run, view = groups[0].read[0]
    zero, one = view.normalized(0.0), view.normalized(1.0)
    lines, bands, legend = _overlaid(groups, _of("eval/normalized_score", axis), "score", options)
    references = [Reference(100.0, "100"), *_references(view, True), *_published(run, "normalized")]
    if not any(abs(reference.value) < 1 for reference in references):  # on D4RL's scale 0 is the random policy
        references.append(Reference(0.0, "0"))
    right = None
    if zero is not None and one is not None and one > zero:
        right = RightAxis(1 / (one - zero), -zero / (one - zero), "return")
    plot = Plot(
        lines,
        references if lines else (),
        bands=bands,
        verticals=_changes(groups, axis),
        x_span=FROM_ZERO,
        y_title="score",
        right=right,
        legend=legend or (("━", "sky", "score in the real environment"),),
        empty=_why_empty(groups, "evaluation"),
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    numbers = _number(groups, "score", "eval/normalized_score")
    if len(groups) == 1:
        numbers += _number(groups, "return", "eval/return")
    return Panel(plot, "Normalized score", numbers)


def _raw(groups: Sequence[Group], options: Options) -> Panel:
    axis = _axis("score", options)
    run, view = groups[0].read[0]
    lines, bands, legend = _overlaid(groups, _of("eval/return", axis), "return", options)
    numbers = _number(groups, "return", "eval/return")
    if len(groups) == 1 and groups[0].single and "eval/progress" in view.series:
        progress, _ = spread(groups[0], _of("eval/progress", axis), "progress", stroke=Stroke("blue", "dotted"))
        lines = [*(_without_marks(line) for line in progress), *lines]
        legend = (("━", "sky", "return"), ("┈", "blue", "progress"))
        numbers += _number(groups, "progress", "eval/progress")
    nothing = view.reference("do_nothing")
    if nothing is not None and len(groups) == 1:
        numbers = (*numbers, f"doing nothing {whole(nothing)}")
    plot = Plot(
        lines,
        [*_references(view, False), *_published(run, "return")] if lines else (),
        bands=bands,
        verticals=_changes(groups, axis),
        x_span=FROM_ZERO,
        legend=legend,
        empty=_why_empty(groups, "evaluation"),
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    return Panel(plot, "Return in the real environment", numbers)


def _without_marks(line: Line) -> Line:
    return Line(line.label, line.x, line.y, line.ink, dash=line.dash, smoothing=line.smoothing)


def _training_return(groups: Sequence[Group], options: Options) -> Panel:
    axis = options.x if options.x in ("step", "time") else "step"
    run, _ = groups[0].read[0]
    waits = run.state in ("queued", "running", "paused")
    lines, bands, legend = _overlaid(groups, _of("train/return", axis), "return", options)
    empty = "waits for the first episode" if waits else "the run ended before the first episode"
    plot = Plot(
        [_without_marks(line) if not line.bold and not line.behind else line for line in lines],
        bands=bands,
        x_span=FROM_ZERO,
        legend=legend,
        empty=empty,
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    return Panel(plot, "Return of training episodes", _number(groups, "return", "train/return"))


# --- model against reality --------------------------------------------------------------------------------------------------------

_RETURNS = (
    ("eval/discounted_return", "real", Stroke("sky")),
    ("eval/model_return", "model", Stroke("orange", "dashed")),
    ("eval/model_return_penalised", "penalised", Stroke("green", "dotted")),
)
_OPEN_LOOP = "calibration/open_loop/"


def calibration(groups: Sequence[Group], options: Options = Options()) -> Panel:
    """Does the model tell the truth about the policy? Its return, plain and penalised, beside the real discounted one; or another
    of `choices`: the penalty's rank correlation with the true error, the open-loop error by horizon, the margin, …"""
    axis = _axis("calibration", options)
    there = [name for name, _ in choices("calibration", groups)]
    shown = options.metric if options.metric in there else next(iter(there), "returns")
    if options.metric not in there and len(groups) > 1 and "calibration/margin" in there:
        shown = "calibration/margin"
    empty = _why_empty(groups, "evaluation", needs_model=True)
    if shown == "returns":
        lines, bands, legend = _side_by_side(groups[0], _RETURNS, axis, options)
        plot = Plot(
            lines, bands=bands, legend=legend, x_span=FROM_ZERO, empty=empty, x_title=AXES[axis], x_unit=x_unit(axis)
        )
        return Panel(plot, "Discounted return: model against reality", _honesty(groups))
    if shown == "calibration/open_loop":
        lines, bands, legend = _open_loop(groups, axis, options)
        plot = Plot(
            lines, bands=bands, legend=legend, x_span=FROM_ZERO, y_title="state error, std", y_log=options.log is True,
            empty=empty, x_title=AXES[axis],
        x_unit=x_unit(axis),
        )  # fmt: skip
        return Panel(plot, "Open-loop error of the model", _honesty(groups))
    plot, title = _one_metric(shown, groups, axis, options)
    return Panel(plot, title, _honesty(groups))


def _side_by_side(
    group: Group, parts: Sequence[tuple[str, str, Stroke]], axis: str, options: Options
) -> tuple[list[Line], list[Band], Legend]:
    """Several metrics of one group; of seeds the means, and the band of the first one."""
    lines: list[Line] = []
    bands: list[Band] = []
    legend: Legend = ()
    for name, label, stroke in parts:
        more, area = spread(group, _of(name, axis), label, stroke=stroke, smoothing=options.smoothing)
        lines += [line for line in more if not line.behind]
        bands += area if not bands else []
        if more:
            legend += ((_glyph(stroke), stroke.ink, label),)
    return lines, bands, legend


def _open_loop(groups: Sequence[Group], axis: str, options: Options) -> tuple[list[Line], list[Band], Legend]:
    """A line for each horizon; of several groups that of the longest one."""
    horizons = _horizons(groups)
    if len(groups) > 1:
        return _overlaid(groups, _of(f"{_OPEN_LOOP}{horizons[-1]}", axis), f"{horizons[-1]} steps", options)
    strokes = [Stroke(ink, dash) for ink, dash in zip(SERIES, ("", "dashed", "dotted", "dashdot"), strict=False)]
    lines: list[Line] = []
    legend: Legend = ()
    for horizon, stroke in zip(horizons, strokes, strict=False):
        label = f"{horizon} step{'s' if horizon > 1 else ''}"
        more, _ = spread(
            groups[0], _of(f"{_OPEN_LOOP}{horizon}", axis), label, stroke=stroke, end_label=str(horizon),
            smoothing=options.smoothing,
        )  # fmt: skip
        lines += [line for line in more if not line.behind]
        legend += ((_glyph(stroke), stroke.ink, label),)
    return lines, [], legend


def _horizons(groups: Sequence[Group]) -> list[int]:
    names = {name for group in groups for _, view in group.read for name in view.series if name.startswith(_OPEN_LOOP)}
    tails = (name.removeprefix(_OPEN_LOOP) for name in names)
    return sorted(int(tail) for tail in tails if tail.isdecimal())


def _honesty(groups: Sequence[Group]) -> tuple[str, ...]:
    """Rank correlation, how often the lower bound held, and the error over the horizons; of several groups the first alone."""
    numbers = _number(groups, "rank correlation", "calibration/rank_correlation")
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


# --- optimisation -----------------------------------------------------------------------------------------------------------------


def optimisation(groups: Sequence[Group], options: Options = Options()) -> Panel:
    """One metric of the optimisation, or for MB2PO what its gate said and by which figures."""
    there = [name for name, _ in choices("optimisation", groups)]
    first = "policy/q" if "policy/q" in there else next(iter(there), "")
    shown = options.metric if options.metric in there else first
    if not shown:
        return Panel(Plot(empty=_why_empty(groups, "policy epoch")), TITLES["optimisation"])
    if shown == "gate":
        return _gate(groups)
    plot, title = _one_metric(shown, groups, _axis("optimisation", options), options)
    return Panel(plot, title, _number(groups, shown.split("/")[1].replace("_", " "), shown))


def _one_metric(name: str, groups: Sequence[Group], axis: str, options: Options) -> tuple[Plot, str]:
    """Any metric of the table."""
    entry = metric(name)
    label = name.split("/")[1].replace("_", " ")
    lines, bands, legend = _overlaid(groups, _of(name, axis), label, options)
    plot = Plot(
        lines,
        bands=bands,
        legend=legend,
        verticals=_changes(groups, axis),
        x_span=FROM_ZERO,
        y_title=entry.unit if entry is not None else "",
        y_log=options.log is True,
        empty=f"no {label} was measured",
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    title = entry.about if entry is not None else label
    return plot, title[:1].upper() + title[1:]


def _gate(groups: Sequence[Group]) -> Panel:
    """What the gate decided, why, and the figures that it had."""
    words: list[tuple[str, str]] = []
    for group in groups:
        for run, view in group.read:
            who = "" if len(groups) == 1 and group.single else f"seed {run.seed} "
            words += [(f"{who}gate", text) for text in view.gate]
            if len(groups) == 1 and group.single:
                words += [
                    (entry.name.removeprefix("gate/").replace("_", " "), f"{number(value)} · {entry.about}")
                    for entry in METRIC_TABLE
                    if entry.panel == "gate" and (value := view.last(entry.name)) is not None
                ]
    return Panel(Plot(words=words, empty="the gate has not decided yet"), "The gate between the stages")


_MAKERS: Mapping[str, Callable[[Sequence[Group], Options], Panel]] = {
    "dynamics": dynamics,
    "uncertainty": uncertainty,
    "score": score,
    "calibration": calibration,
    "optimisation": optimisation,
}
