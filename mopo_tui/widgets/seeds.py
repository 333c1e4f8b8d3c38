"""Curves of one run or of a group of seeds: the x of a row, means, bands, thin lines (no Textual)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mopo_tui.manager import Run
from mopo_tui.manager.series import Series, over_seeds
from mopo_tui.run_view import RunView
from mopo_tui.widgets.palette import Stroke
from mopo_tui.widgets.plot import Band, Line
from mopo_tui.widgets.scale import SECONDS, Floats

# What x may be, and how the axis is called.
AXES = {"update": "updates", "epoch": "epoch", "step": "steps", "time": "time"}
_MOST = 1000  # points of a curve that goes into a mean
Curve = tuple[Floats, Floats]


@dataclass(frozen=True, eq=False)
class Group:
    """Runs that are drawn as one: the seeds of a setting, or a run alone.

    Attributes:
        members: runs with their columns, which may be None until they are read.
        label: what it is called beside others.
    """

    members: Sequence[tuple[Run, RunView | None]]
    label: str = ""
    stroke: Stroke = field(default_factory=lambda: Stroke("sky"))

    @property
    def read(self) -> list[tuple[Run, RunView]]:
        """The members whose columns are there."""
        return [(run, view) for run, view in self.members if view is not None and not view.problem]

    @property
    def single(self) -> bool:
        """A run alone."""
        return len(self.members) == 1


def alone(run: Run, view: RunView | None) -> Group:
    """A run as a group of its own."""
    return Group([(run, view)])


def values(view: RunView, name: str, axis: str) -> Curve | None:
    """A metric against an axis of AXES; None where the run has not measured it."""
    series = view.series.get(name)
    return None if series is None or not len(series) else (x_of(view, series, axis), floats(series.value))


def x_of(view: RunView, series: Series, axis: str) -> Floats:
    """Where a series' rows stand: `time` in seconds since the run's first row; epochs go on from one stage to the next."""
    if axis == "epoch":
        epoch = floats(series.epoch)
        falls = np.r_[False, epoch[1:] < epoch[:-1]]
        if falls.any():
            epoch = epoch + np.cumsum(np.where(falls, np.r_[0.0, epoch[:-1]], 0.0))
        return epoch
    if axis == "time":
        return floats(series.t) - view.started
    if axis == "update":
        update = floats(series.update)
        unknown = np.isnan(update)
        return np.where(unknown, update_at(view, floats(series.step)), update) if unknown.any() else update
    return floats(series.step)


def update_at(view: RunView, step: Floats) -> Floats:
    """How many policy updates were done at gradient steps of the run; NaN where the run has none at all."""
    rows = max((s for s in view.series.values() if np.isfinite(s.update).any()), key=len, default=None)
    if rows is None:
        return np.full(step.shape, np.nan)
    known = np.isfinite(rows.update)
    updates: Floats = np.r_[0.0, rows.update[known]]  # none before the first row
    return updates[np.searchsorted(rows.step[known], step, "right")]


def x_unit(axis: str) -> str:
    return SECONDS if axis == "time" else ""


Extract = Callable[[Run, RunView], Curve | None]


def curves_of(group: Group, extract: Extract) -> list[tuple[Run, Curve]]:
    """The members' curves, each where it has values, of those that have any."""
    found = []
    for run, view in group.read:
        curve = extract(run, view)
        if curve is not None:
            known = np.isfinite(curve[0]) & np.isfinite(curve[1])
            if known.any():
                found.append((run, (curve[0][known], curve[1][known]) if not known.all() else curve))
    return found


def spread(
    group: Group,
    extract: Extract,
    label: str,
    *,
    stroke: Stroke | None = None,
    end_label: str = "",
    smoothing: float = 0.0,
) -> tuple[list[Line], list[Band]]:
    """A metric of a group: its mean, bold, over the seeds where all have values; the seeds' thin lines; the band between the
    lowest and the highest. Of a run alone, or of a group of which one has values yet, one line."""
    stroke = stroke or group.stroke
    found = curves_of(group, extract)
    if not found:
        return [], []
    if len(found) == 1:
        (x, y) = found[0][1]
        only = Line(label, x, y, stroke.ink, end_label, "●", stroke.dash, smoothing=smoothing)
        return [only], []
    dim = f"{stroke.ink} dim"
    whose = f"{label} " if label == group.label else ""  # several groups lie over each other
    lines = [Line(f"{whose}seed {run.seed}", x, y, dim, behind=True, dash=stroke.dash) for run, (x, y) in found]
    shared, mean, low, high = over_seeds([thinned(curve) for _, curve in found])
    if not len(shared):
        return lines, []
    middle = Line(label, shared, mean, stroke.ink, end_label, "", stroke.dash, bold=True, smoothing=smoothing)
    return [*lines, middle], [Band(f"{label}, range", shared, low, high, f"{stroke.ink} faint")]


def thinned(curve: Curve) -> Curve:
    """A curve of some thousand points at most, each the mean of several."""
    x, y = curve
    size = len(x) // _MOST
    if size < 2:
        return curve
    whole = len(x) // size * size
    return x[:whole].reshape(-1, size).mean(1), y[:whole].reshape(-1, size).mean(1)


def lasts(group: Group, name: str) -> Floats:
    """The newest value of a metric of each member that has one."""
    found = [view.last(name) for _, view in group.read]
    return np.array([value for value in found if value is not None])


def floats(array: npt.ArrayLike) -> Floats:
    return np.asarray(array, dtype=np.float64)
