"""The score in the real environment, against what it has to beat."""

from __future__ import annotations

from collections.abc import Sequence

from engine.tasks import TASKS
from mopo_tui.manager import Run
from mopo_tui.run_view import RunView
from mopo_tui.widgets.palette import Stroke
from mopo_tui.widgets.panels.metrics import metric_curve, newest, overlaid, stage_changes, stroke_glyph
from mopo_tui.widgets.panels.options import DEFAULT, FROM_ZERO, Options, Panel, axes, axis_of
from mopo_tui.widgets.panels.why_empty import why_empty
from mopo_tui.widgets.plot import Line, Plot, Reference, RightAxis
from mopo_tui.widgets.scale import whole
from mopo_tui.widgets.seeds import AXES, Group, spread, x_unit

_TRAINING_AXES = ("step", "time")


def score(groups: Sequence[Group], options: Options = DEFAULT) -> Panel:
    """Normalized score; the raw return with its references where the task has no scale."""
    every = _begun(groups)
    if every[0][0].job == "behaviour":
        return _training_return(groups, options)
    if all(view.normalized(0.0) is not None for _, view in every):
        return _normalized(groups, options)
    return _raw(groups, options)


def _begun(groups: Sequence[Group]) -> list[tuple[Run, RunView]]:
    """The runs whose references are known; all of them where none are. A seed that waits in the queue has none yet."""
    every = [(run, view) for group in groups for run, view in group.read]
    return [(run, view) for run, view in every if view.references] or every


def _references(view: RunView, scaled: bool) -> list[Reference]:
    """The returns against which a run is read, in per cent where there is a scale. Colours are for runs: these have their names."""
    found = []
    for name, label, short in (
        ("batch_best", "batch best", "best"),
        ("do_nothing", "do-nothing", "nothing"),
        ("batch_mean", "batch mean", "mean"),
        ("random", "random", "random"),
    ):
        value = view.reference(name)
        if value is not None and scaled:
            value = view.normalized(value)
        if value is not None:
            found.append(Reference(value, f"{label} {whole(value)}", short))
    return found


def _published(run: Run, unit: str) -> list[Reference]:
    """What the literature reports of this task and algorithm, with the data on which it was."""
    task = TASKS.get(run.task)
    found = task.published_for(run.algorithm) if task is not None else None
    if found is None or found.unit != unit:
        return []
    if "D4RL" in found.data:
        return [Reference(found.value, f"published {found.value:g} ({found.data})", found.data, "text")]
    return [Reference(found.value, f"paper {whole(found.value)}, its data", "paper", "text")]


def _normalized(groups: Sequence[Group], options: Options) -> Panel:
    axis = axis_of("score", options)
    (run, view), stroke = _begun(groups)[0], groups[0].stroke
    zero, one = view.normalized(0.0), view.normalized(1.0)
    lines, bands, legend = overlaid(groups, metric_curve("eval/normalized_score", axis), "score", options)
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
        verticals=stage_changes(groups, axis),
        x_span=FROM_ZERO,
        y_title="score",
        right=right,
        legend=legend or ((stroke_glyph(stroke), stroke.ink, "score in the real environment"),),
        empty=why_empty(groups, "evaluation"),
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    numbers = newest(groups, "score", "eval/normalized_score")
    if len(groups) == 1:
        numbers += newest(groups, "return", "eval/return")
    return Panel(plot, "Normalized score", numbers, axes=axes("score"))


def _raw(groups: Sequence[Group], options: Options) -> Panel:
    axis = axis_of("score", options)
    run, view = _begun(groups)[0]
    lines, bands, legend = overlaid(groups, metric_curve("eval/return", axis), "return", options)
    numbers = newest(groups, "return", "eval/return")
    if len(groups) == 1 and groups[0].single and "eval/progress" in view.series:
        own = groups[0].stroke
        dim = Stroke(f"{own.ink} dim", "dotted")
        progress, _ = spread(groups[0], metric_curve("eval/progress", axis), "progress", stroke=dim)
        lines = [*(_without_marks(line) for line in progress), *lines]
        legend = ((stroke_glyph(own), own.ink, "return"), (stroke_glyph(dim), dim.ink, "progress"))
        numbers += newest(groups, "progress", "eval/progress")
    nothing = view.reference("do_nothing")
    if nothing is not None and len(groups) == 1:
        numbers = (*numbers, f"doing nothing {whole(nothing)}")
    plot = Plot(
        lines,
        [*_references(view, False), *_published(run, "return")] if lines else (),
        bands=bands,
        verticals=stage_changes(groups, axis),
        x_span=FROM_ZERO,
        legend=legend,
        empty=why_empty(groups, "evaluation"),
        x_title=AXES[axis],
        x_unit=x_unit(axis),
    )
    return Panel(plot, "Return in the real environment", numbers, "Return", axes("score"))


def _without_marks(line: Line) -> Line:
    return Line(line.label, line.x, line.y, line.ink, dash=line.dash, smoothing=line.smoothing)


def _training_return(groups: Sequence[Group], options: Options) -> Panel:
    axis = options.x if options.x in _TRAINING_AXES else _TRAINING_AXES[0]
    run, _ = groups[0].read[0]
    waits = run.state in ("queued", "running", "paused")
    lines, bands, legend = overlaid(groups, metric_curve("train/return", axis), "return", options)
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
    numbers = newest(groups, "return", "train/return")
    return Panel(plot, "Return of training episodes", numbers, "Training return", _TRAINING_AXES)
