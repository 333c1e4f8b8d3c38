"""The three panels of a training run as plots with titles: pure functions of what was read (no Textual)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from engine.record import histogram_edges
from engine.tasks import TASKS
from mopo_tui.manager import Run
from mopo_tui.run_view import RunView
from mopo_tui.widgets.palette import SERIES
from mopo_tui.widgets.plot import Histogram, Line, Plot, Reference
from mopo_tui.widgets.scale import Floats, number, whole

PANELS = ("dynamics", "uncertainty", "score")
FROM_ZERO = (0.0, 0.0)
_EDGES = np.array(histogram_edges())


@dataclass(frozen=True, eq=False)
class Panel:
    """A plot with a title and the most important numbers below it, most important first: as many are shown as fit."""

    plot: Plot
    title: str
    numbers: tuple[str, ...] = ()


def panels(run: Run, view: RunView | None, log: bool = True) -> dict[str, Panel]:
    """All panels of a run by name; before its columns are read they say so."""
    if view is None or view.problem:
        empty = Plot(empty=view.problem if view else "reading …")
        return {
            "dynamics": Panel(empty, "Validation loss"),
            "uncertainty": Panel(empty, "Uncertainty"),
            "score": Panel(empty, "Score"),
        }
    return {
        "dynamics": dynamics(run, view, log),
        "uncertainty": uncertainty(run, view),
        "score": score(run, view),
    }


def _why_empty(run: Run, awaited: str) -> str:
    if run.job in ("dataset", "behaviour"):
        return f"a {run.job} job has no {awaited}"
    if run.state == "queued":
        return "queued: waits to be started"
    if run.state in ("running", "paused"):
        return f"waits for the first {awaited}"
    return f"the run ended before the first {awaited}"


def dynamics(run: Run, view: RunView, log: bool = True) -> Panel:
    """Holdout error of each member against its epoch; elites in colour and drawn last, the others dim."""
    order = [m for m in view.losses if m not in view.elites] + [m for m in view.losses if m in view.elites]
    lines = []
    for member in order:
        series = view.losses[member]
        elite = member in view.elites or not view.elites
        ink = SERIES[member % len(SERIES)] if elite else "faint"
        lines.append(Line(f"member {member}", _floats(series.epoch), _floats(series.value), ink, str(member)))
    numbers: tuple[str, ...] = ()
    lasts = [float(line.y[np.isfinite(line.y)].min()) for line in lines if np.isfinite(line.y).any()]
    if lasts:
        numbers = (f"best {number(min(lasts))}",)
    if view.elites:
        numbers = (f"elites {' '.join(str(m) for m in sorted(view.elites))}", *numbers)
    legend = (("━", "sky", "elites"), ("━", "faint", "others")) if view.elites and lines else ()
    plot = Plot(
        lines,
        x_title="epoch",
        y_title="MSE",
        y_log=log,
        x_span=FROM_ZERO,
        legend=legend,
        empty=_why_empty(run, "dynamics epoch"),
    )
    return Panel(plot, "Validation loss per member", numbers)


def _shares(counts: Floats) -> Floats:
    """Percent of all samples in each bin; those beyond the edges count in the whole."""
    total = counts.sum()
    return counts[1:-1] * (100.0 / total) if total > 0 else np.zeros(len(counts) - 2)


def uncertainty(run: Run, view: RunView) -> Panel:
    """The newest histogram of u on model rollouts, outlined, over that on the data, filled; in percent of their samples."""
    histograms, legend = [], []
    if "data" in view.histograms:
        histograms.append(Histogram("data", _EDGES, _shares(view.histograms["data"]), "muted", filled=True))
        legend.append(("▒", "muted", "data"))
    if "rollout" in view.histograms:
        histograms.append(Histogram("rollouts", _EDGES, _shares(view.histograms["rollout"]), "orange"))
        legend.append(("━", "orange", "rollouts"))
    numbers = []
    penalty = view.last("rollout/penalty")
    for where, low, high in (
        ("rollouts", "uncertainty/p50", "uncertainty/p95"),
        ("data", "uncertainty/data_p50", "uncertainty/data_p95"),
    ):
        p50, p95 = view.last(low), view.last(high)
        if p50 is not None and p95 is not None:
            numbers.append(f"{where} p50 {number(p50)} p95 {number(p95)}")
    title = "Uncertainty"
    if penalty is not None:
        title = f"Uncertainty, mean penalty {number(penalty)}"
    outside = sum(float(h[0] + h[-1]) for h in view.histograms.values())
    if outside:
        numbers.append(f"{outside:.0f} beyond the axis")
    plot = Plot(
        histograms=histograms,
        x_log=True,
        x_title="u",
        y_title="% of samples",
        legend=legend,
        empty=_why_empty(run, "model rollout"),
    )
    return Panel(plot, title, tuple(numbers))


def score(run: Run, view: RunView) -> Panel:
    """Normalized score against policy updates; the raw return with its references where the task has no scale."""
    if run.job == "behaviour":
        return _training_return(run, view)
    if view.normalized(0.0) is not None:
        return _normalized(run, view)
    return _raw(run, view)


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


def _normalized(run: Run, view: RunView) -> Panel:
    references = [Reference(100.0, "100", "100", "muted"), *_references(view, scaled=True)]
    task = TASKS.get(run.task)
    published = task.published_for(run.algorithm) if task is not None else None
    if published is not None and published.unit == "normalized":
        label = f"published {published.value:g} ({published.data})"
        references.append(Reference(published.value, label, published.data, "purple"))
    line = _line(view, "eval/normalized_score", "score", "sky", "●")
    lines = [line] if line is not None else []
    numbers = _numbers(view, ("score", "eval/normalized_score"), ("return", "eval/return"))
    plot = Plot(
        lines,
        references if lines else (),
        x_title="updates",
        x_span=FROM_ZERO,
        legend=(("━", "sky", "score in the real environment"),),
        empty=_why_empty(run, "evaluation"),
    )
    return Panel(plot, "Normalized score", numbers)


def _raw(run: Run, view: RunView) -> Panel:
    references = _references(view, scaled=False)
    lines, legend = [], []
    progress = _line(view, "eval/progress", "progress", "blue", "", dash="dotted")
    if progress is not None:
        lines.append(progress)
        legend.append(("┈", "blue", "progress"))
    returns = _line(view, "eval/return", "return", "sky", "●")
    if returns is not None:
        lines.append(returns)
        legend.insert(0, ("━", "sky", "return"))
    parts = [("return", "eval/return"), ("progress", "eval/progress")]
    numbers = _numbers(view, *(parts if progress is not None else parts[:1]))
    nothing = view.reference("do_nothing")
    if nothing is not None:
        numbers = (*numbers, f"doing nothing {whole(nothing)}")
    plot = Plot(
        lines,
        references if lines else (),
        x_title="updates",
        x_span=FROM_ZERO,
        legend=legend,
        empty=_why_empty(run, "evaluation"),
    )
    return Panel(plot, "Return in the real environment", numbers)


def _training_return(run: Run, view: RunView) -> Panel:
    name = "train/return"
    if name not in view.series:
        waits = run.state in ("queued", "running", "paused")
        empty = "waits for the first episode" if waits else "the run ended before the first episode"
        return Panel(Plot(empty=empty), "Return of training episodes")
    series = view.series[name]
    line = Line("return", _floats(series.step), _floats(series.value), "sky")
    return Panel(
        Plot([line], x_title="steps", x_span=FROM_ZERO), "Return of training episodes", _numbers(view, ("return", name))
    )


def _line(view: RunView, name: str, label: str, ink: str, marker: str, dash: str = "") -> Line | None:
    if name not in view.series:
        return None
    series = view.series[name]
    return Line(label, _floats(series.update), _floats(series.value), ink, marker=marker, dash=dash)


def _numbers(view: RunView, *parts: tuple[str, str]) -> tuple[str, ...]:
    found = [(label, view.last(name)) for label, name in parts]
    return tuple(f"{label} {number(value)}" for label, value in found if value is not None)


def _floats(values: npt.ArrayLike) -> Floats:
    return np.asarray(values, dtype=np.float64)
