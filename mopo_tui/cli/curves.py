"""Curves of runs and of groups of seeds, drawn with matplotlib, in the app's colours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mopo_tui.cli.pictures import STYLE
from mopo_tui.manager.state import clean
from mopo_tui.manager.store import StoreError
from mopo_tui.widgets.palette import SERIES, colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mopo_tui.manager import Comparison
    from mopo_tui.manager.compared import Group, TaskScores
    from mopo_tui.manager.series import Floats

_METADATA: dict[str, dict[str, Any]] = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
_ENTRY = 0.17  # inches of an entry of a legend below its chart
_LABELLED = 8  # lines up to which a small chart has a legend
_DASHES = ("-", "--", "-.", ":")
_REFERENCES = {"random": ":", "do_nothing": "-.", "batch_mean": (0, (1, 3)), "batch_best": (0, (6, 3))}
METRIC = "eval/return"


def check(path: Path, force: bool) -> None:
    """Refuse what cannot become a picture, before anything is read.

    Raises:
        StoreError: another kind of file, no folder for it, or it is there already.
    """
    from mopo_tui.manager.export import check_target

    if path.suffix.lower() not in _METADATA:
        raise StoreError(f"{path}: a picture is a .png or .svg file")
    check_target(path, force)


def compared(comparison: Comparison, path: Path) -> None:
    """Each group's mean over its seeds against policy updates, with the range of the seeds, task by task.

    Raises:
        StoreError: the file cannot be written.
    """
    from mopo_tui.manager.export import write_target

    write_target(path, picture(comparison, path.suffix.lower()))


def picture(comparison: Comparison, suffix: str) -> bytes:
    """The same as the bytes of a .png or .svg file."""
    import matplotlib

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        entries = sum(
            len(task.letters) + (len(task.references) if task.unit == "return" else 0) for task in comparison.tasks
        )
        figure = _figure(7.2, 3.2 * len(comparison.tasks) + _ENTRY * entries)
        rows = figure.subplots(len(comparison.tasks), 1, squeeze=False)[:, 0]
        folders = {entry.id: Path(entry.folder) for entry in comparison.runs}
        for axes, task in zip(rows, comparison.tasks, strict=True):
            _task(axes, task, folders)
        return _bytes(figure, suffix)


def inline(comparison: Comparison) -> str:
    """The same as SVG markup, without an XML header."""
    text = picture(comparison, ".svg").decode()
    return text[text.index("<svg") :]


def _task(axes: Axes, task: TaskScores, folders: Mapping[str, Path]) -> None:
    from matplotlib.ticker import EngFormatter

    drawn = 0
    for letter in task.letters:
        group = next(group for group in task.groups if group.letter == letter)
        curves = [curve for run in group.runs if (curve := _curve(folders[run], task.unit)) is not None]
        if curves:
            _group(axes, group, curves, drawn)
            drawn += 1
    if task.unit == "return":
        for name, score in task.references.items():
            dashes: Any = _REFERENCES.get(name, ":")
            label = _words(name.replace("_", " "))
            axes.axhline(score.value, color=colour("faint", dark=False), linewidth=0.9, linestyle=dashes, label=label)
    axes.set_title(f"{_words(task.task)}: mean of the seeds, and their range")
    axes.set_xlabel("policy updates", loc="right")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_ylabel("normalized score (%)" if task.unit == "%" else "return in the real environment")
    if axes.get_legend_handles_labels()[0]:
        # Below: a setting's label may be as long as the axes are wide.
        axes.legend(frameon=False, fontsize=7.5, loc="upper left", bbox_to_anchor=(0.0, -0.14))


def _group(axes: Axes, group: Group, curves: Sequence[tuple[Floats, Floats]], number: int) -> None:
    from mopo_tui.manager.series import over_seeds

    x, mean, low, high = over_seeds(curves)
    ink = colour(SERIES[number % len(SERIES)], dark=False)
    dashes = _DASHES[number // len(SERIES) % len(_DASHES)]
    label = _words(f"{group.letter} {group.label} (n = {len(curves)})")
    axes.plot(x, mean, color=ink, linewidth=1.6, linestyle=dashes, label=label)
    if len(curves) > 1:
        axes.fill_between(x, low, high, color=ink, alpha=0.18, linewidth=0)


def _curve(folder: Path, unit: str) -> tuple[Floats, Floats] | None:
    """A run's evaluations during training: policy updates, and the score or return."""
    import numpy as np

    from mopo_tui.manager.scores import normalized_score
    from mopo_tui.manager.series import RunReader

    reader = RunReader(folder)
    reader.refresh()
    series = reader.series(METRIC)
    known = np.isfinite(series.update) & np.isfinite(series.value)
    if not known.any():
        return None
    value = series.value[known]
    if unit == "%":
        low, high = (normalized_score(each, reader.environment) for each in (0.0, 1.0))
        if low is None or high is None:
            return None
        value = low + (high - low) * value
    return series.update[known], value


def line_chart(title: str, series: Sequence[tuple[str, Floats, Floats]], xlabel: str, *, log: bool = False) -> str:
    """One small chart as SVG markup, without an XML header: (label, x, y) for each line."""
    import matplotlib

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = _figure(5.2, 2.5)
        axes = figure.subplots()
        for i, (label, x, y) in enumerate(series):
            ink = colour(SERIES[i % len(SERIES)], dark=False)
            marker = "o" if len(x) == 1 else ""
            dashes = _DASHES[i // len(SERIES) % len(_DASHES)]
            axes.plot(x, y, color=ink, linewidth=1.2, marker=marker, linestyle=dashes, label=_words(label))
        if log and all((y[y == y] > 0).all() for _, _, y in series):
            axes.set_yscale("log")
        axes.set_title(_words(title))
        axes.set_xlabel(xlabel)
        if 1 < len(series) <= _LABELLED:
            axes.legend(frameon=False, fontsize=7)
        return _markup(figure)


def histogram_chart(title: str, edges: Floats, series: Sequence[tuple[str, Floats]], xlabel: str) -> str:
    """Shares of counts over logarithmic edges as SVG markup: (label, counts) for each."""
    import matplotlib

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        figure = _figure(5.2, 2.5)
        axes = figure.subplots()
        for i, (label, counts) in enumerate(series):
            ink = colour(SERIES[i % len(SERIES)], dark=False)
            axes.stairs(counts / max(1.0, counts.sum()), edges, color=ink, fill=True, alpha=0.3)
            axes.stairs(counts / max(1.0, counts.sum()), edges, color=ink, label=_words(label))
        axes.set_xscale("log")
        axes.set_title(_words(title))
        axes.set_xlabel(xlabel)
        axes.legend(frameon=False, fontsize=7)
        return _markup(figure)


def _words(text: str) -> str:
    """Text as it stands: without control characters, and no formula between dollars."""
    return clean(text).replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    """A figure that no window knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _bytes(figure: Figure, suffix: str) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format=suffix[1:], metadata=_METADATA[suffix])
    return data.getvalue()


def _markup(figure: Figure) -> str:
    text = _bytes(figure, ".svg").decode()
    return text[text.index("<svg") :]
