"""What the Compare screen shows, made off the UI thread: panels by column or of all groups, scores, differences (no Textual)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mopo_tui.manager import Comparison, Run, compare
from mopo_tui.manager.compared import Entry, Group
from mopo_tui.manager.comparison_tables import tables
from mopo_tui.manager.comparison_warnings import everything_unfair
from mopo_tui.manager.differences import Difference
from mopo_tui.run_view import RunView
from mopo_tui.widgets.palette import Stroke
from mopo_tui.widgets.panels import PANELS, Options, Panel, axes, panel
from mopo_tui.widgets.plot import Plot, share_axes
from mopo_tui.widgets.seeds import Group as Drawn

_SMOOTHING = (0.0, 0.6, 0.9, 0.97)
_IN_HEADS = ("task", "algorithm", "seed")  # what the heads of columns say
Views = Mapping[str, RunView]


@dataclass(frozen=True)
class Column:
    """A marked run, or the seeds of a marked row.

    Attributes:
        letter: of its group in the comparison; "A+B" where its runs do not share one, since their data or versions differ.
        label: what it is called in a legend.
    """

    runs: tuple[Run, ...]
    stroke: Stroke
    letter: str
    label: str

    @property
    def alone(self) -> bool:
        return len(self.runs) == 1


@dataclass(frozen=True)
class Drawing:
    """How the panels are drawn.

    Attributes:
        axis: x of all panels that have it; empty for each one's own.
        smoothing: which of the steps.
        log: validation loss on a logarithmic axis.
        over_time: uncertainty over time, instead of its newest histogram.
    """

    axis: str = ""
    smoothing: int = 0
    log: bool = True
    over_time: bool = False

    def options(self) -> dict[str, Options]:
        """By panel."""
        shared = Options(self.axis, smoothing=_SMOOTHING[self.smoothing])
        return {
            "dynamics": replace(shared, log=self.log),
            "uncertainty": replace(shared, metric="time" if self.over_time else "newest"),
            "score": shared,
        }

    def with_next_axis(self) -> Drawing:
        every = axes("score")
        return replace(self, axis=every[(every.index(self.axis or every[0]) + 1) % len(every)])

    def smoother(self, steps: int) -> Drawing:
        return replace(self, smoothing=min(max(self.smoothing + steps, 0), len(_SMOOTHING) - 1))


@dataclass(frozen=True)
class Compared:
    """A comparison as the screen needs it.

    Attributes:
        warnings: what `mopo compare` says of it, the worst first.
        differing: the configuration keys on which the columns differ, with a value for each column.
        entries, groups: of each column.
    """

    comparison: Comparison
    columns: tuple[Column, ...]
    warnings: tuple[str, ...]
    differing: tuple[Difference, ...]
    entries: tuple[tuple[Entry, ...], ...]
    groups: tuple[tuple[Group, ...], ...]

    def unit(self, column: int) -> str:
        """ "%" or "return": what the statistics of a column are in."""
        name = self.columns[column].runs[0].task
        return next(task.unit for task in self.comparison.tasks if task.task == name)


def columns_of(marked: Sequence[Sequence[Run]], strokes: Sequence[Stroke]) -> tuple[Column, ...]:
    """The columns before anything is read: letters in the order in which they were marked."""
    return tuple(
        Column(tuple(runs), stroke, letter, f"{letter} {runs[0].algorithm or runs[0].job}")
        for runs, stroke, letter in zip(marked, strokes, "ABCD", strict=False)
    )


def compared(columns: Sequence[Column]) -> Compared:
    """The comparison of all runs of the columns.

    Raises:
        StoreError: a run has no scores.
    """
    comparison = compare(list({run.id: run for column in columns for run in column.runs}.values()))
    by_id = {entry.id: entry for entry in comparison.runs}
    by_letter = {group.letter: group for group in comparison.groups()}
    entries = tuple(tuple(by_id[run.id] for run in column.runs) for column in columns)
    letters = [tuple(dict.fromkeys(entry.group for entry in each)) for each in entries]
    groups = tuple(tuple(by_letter[letter] for letter in each) for each in letters)
    named = tuple(
        replace(column, letter="+".join(own), label=_label(column, own, letters))
        for column, own in zip(columns, letters, strict=True)
    )
    first = [[entry.id for entry in comparison.runs].index(each[0].id) for each in entries]
    rows = [Difference(row.key, tuple(row.values[i] for i in first)) for row in comparison.differing]
    differing = [row for row in rows if row.key not in _IN_HEADS and any(v != row.values[0] for v in row.values)]
    return Compared(comparison, named, tuple(everything_unfair(comparison)), tuple(differing), entries, groups)


def _label(column: Column, own: tuple[str, ...], letters: Sequence[tuple[str, ...]]) -> str:
    """Letter and algorithm; two seeds of one group are told apart by their numbers. What else differs stands above the charts."""
    words = [f"s{column.runs[0].seed}"] if column.alone and letters.count(own) > 1 else []
    return " ".join(["+".join(own), column.runs[0].algorithm or column.runs[0].job, *words])


# --- panels -----------------------------------------------------------------------------------------------------------------------


def side_by_side(columns: Sequence[Column], views: Views, options: Mapping[str, Options]) -> dict[str, list[Panel]]:
    """By panel, one for each column; those that show the same quantity have the same axes."""
    found = {}
    for name in PANELS:
        every = [panel(name, [_drawn(column, views, Stroke(column.stroke.ink))], options[name]) for column in columns]
        plots = _with_shared_axes([each.plot for each in every])
        found[name] = [replace(each, plot=plot) for each, plot in zip(every, plots, strict=True)]
    return found


def overlaid(columns: Sequence[Column], views: Views, options: Mapping[str, Options]) -> dict[str, list[Panel]]:
    """By panel, one with all groups; those of which nothing is read yet are left out."""
    groups = [_drawn(column, views, column.stroke) for column in columns]
    groups = [group for group in groups if group.read] or groups
    return {name: [panel(name, groups, options[name])] for name in PANELS}


def _drawn(column: Column, views: Views, stroke: Stroke) -> Drawn:
    return Drawn([(run, views.get(run.id)) for run in column.runs], column.label, stroke)


def _with_shared_axes(plots: Sequence[Plot]) -> list[Plot]:
    """Scores in per cent and returns, or epochs and steps, have no axis in common."""
    shared = list(plots)
    quantities: dict[tuple[object, ...], list[int]] = {}
    for i, plot in enumerate(plots):
        key = (plot.x_title, plot.y_title, plot.x_log, plot.y_log, plot.right is not None)
        quantities.setdefault(key, []).append(i)
    for same in quantities.values():
        for i, plot in zip(same, share_axes([plots[i] for i in same]), strict=True):
            shared[i] = plot
    return shared


# --- the table --------------------------------------------------------------------------------------------------------------------


def printed(comparison: Comparison, width: int, warning: str = "") -> str:
    """What `mopo compare` prints on a terminal of that width, with its escape sequences.

    Args:
        warning: the style of warnings.
    """
    from rich.console import Console

    from mopo_tui.widgets.section_text import show

    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor", highlight=False, markup=False,
        emoji=False, legacy_windows=False,
    )  # fmt: skip
    show(tables(comparison, width=width), console, warning)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
