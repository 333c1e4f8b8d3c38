"""One dataset to read: facts, references, what a check found, and its histograms as plots (no Textual)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from mopo_tui.data_view import Entry, Page
from mopo_tui.manager import Run, dataset_report
from mopo_tui.manager.dataset_check import Checked
from mopo_tui.manager.dataset_report import table_of
from mopo_tui.manager.scores import Score, reference_title, references, scale_words
from mopo_tui.widgets.dataset_rows import progress_words, share
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.plot import Histogram, Plot, Vertical
from mopo_tui.widgets.scale import number
from mopo_tui.widgets.words import duration, short_id

_LEVELS = {"error": ("✗", "vermillion"), "warning": ("!", "orange"), "note": ("·", "muted")}
_NAMES = 12  # columns of the names of facts
# Of a histogram of returns: what a reference is called there, and its colour.
_MARKS = {
    "batch_mean": ("mean", "text"),
    "random": ("random", "vermillion"),
    "do_nothing": ("do nothing", "purple"),
    "reference": ("online", "green"),
}


def page_text(page: Page, checked: Checked | str | None, dark: bool) -> RenderableType:
    """Everything of a dataset that is no chart.

    Args:
        checked: what a check found; a text while there is one, or where it failed.
    """
    if page.problem:
        return Text(page.problem, colour("orange", dark))
    report = table_of(page.manifest, "report")
    parts: list[RenderableType] = []
    if checked is not None:
        parts.append(_check(checked, dark))
    parts.append(_facts(dataset_report.facts(page.status, page.manifest), dark))
    if found := references(page.manifest):
        parts.append(_references(found, dark))
    if scale := scale_words(page.manifest):
        parts.append(Text(scale, colour("muted", dark)))
    if said := dataset_report.returns(report):
        parts.append(Text(said, colour("text", dark)))
    if said := dataset_report.lengths(report, page.manifest):
        parts.append(Text(said, colour("text", dark)))
    if cells := dataset_report.rewards(report):
        words = ", ".join(f"{name} {number(value)}" for name, value in cells)
        parts.append(Text(f"rewards of a step: {words}", colour("text", dark)))
    if lines := dataset_report.coverage(report):
        parts.append(Text("\n".join(lines), colour("text", dark)))
    blank = Text("")
    return Group(*(piece for part in parts for piece in (part, blank)))


def _facts(facts: Sequence[tuple[str, str]], dark: bool) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(width=_NAMES, no_wrap=True, style=colour("muted", dark))
    table.add_column(overflow="fold", ratio=1, style=colour("text", dark))
    for name, value in facts:
        table.add_row(name, Text(value))
    return table


def _references(found: Mapping[str, Score], dark: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style=colour("text", dark))
    for _ in range(4):
        table.add_column(no_wrap=True, justify="right", style=colour("text", dark))
    table.add_row(*(Text(name, colour("muted", dark)) for name in ("reference", "return", "±", "score %", "episodes")))
    for name, each in found.items():
        values = (each.value, each.stderr, each.normalized)
        cells = ["–" if value is None else f"{value:.1f}" for value in values]
        table.add_row(reference_title(name), *cells, "–" if each.episodes is None else str(each.episodes))
    return table


def _check(checked: Checked | str, dark: bool) -> RenderableType:
    if isinstance(checked, str):
        return Text(checked, colour("orange", dark))
    table = Table.grid(padding=(0, 1, 0, 0), expand=True)
    table.add_column(width=1)
    table.add_column(overflow="fold", ratio=1)
    table.add_row("", Text(f"checked: looks like {checked.like}", colour("text", dark)))
    for reason in checked.reasons:
        table.add_row("", Text(reason, colour("muted", dark)))
    for finding in checked.findings:
        glyph, ink = _LEVELS[finding.level]
        where = "" if finding.first_row is None else f" (first row {finding.first_row:,})"
        said = Text(f"{finding.level}: ", colour(ink, dark)).append(f"{finding.message}{where}", colour("text", dark))
        table.add_row(Text(glyph, colour(ink, dark)), said)
    if checked.worst in ("", "note"):
        table.add_row(Text("✓", colour("green", dark)), Text("no faults found", colour("green", dark)))
    return table


Keys = Callable[[str], str]  # how the key of an action of the table is written


def about_run(entry: Entry, run: Run | None, key: Keys, dark: bool) -> RenderableType:
    """A dataset that is being made, or could not be."""
    if run is None:
        return Text("The run that made it is gone.", colour("muted", dark))
    words = (
        [("state", run.state.value), ("why", run.reason)]
        if entry.section == "failed"
        else [("state", run.state.value), ("done", f"{100 * share(run):.0f} %, {progress_words(entry.id, run)}")]
    )
    facts = [("dataset", entry.id), ("task", run.task), ("run", f"{run.name} ({short_id(run.id)})"), *words]
    more = f"{key('data.again')} tries again" if entry.section == "failed" else f"{key('data.stop')} stops it"
    keys = f"{key('data.log')} shows its log, {more}"
    return Group(_facts([fact for fact in facts if fact[1]], dark), Text(""), Text(keys, colour("muted", dark)))


def about_missing(entry: Entry, key: Keys, dark: bool) -> RenderableType:
    """A task whose dataset is not built yet."""
    task = entry.task
    assert task is not None
    facts = [
        ("task", f"{task.name}: {task.title}"),
        ("dataset", entry.id),
        (
            "size",
            f"{task.default_size:,} transitions of {task.observation_dim} observations, {task.action_dim} actions",
        ),
        ("environment", task.environment),
        ("takes", f"about {duration(entry.seconds)} on two idle cores"),
    ]
    keys = f"{key('data.build')} builds it, {key('data.fetch')} fetches a published one instead"
    return Group(_facts(facts, dark), Text(""), Text(keys, colour("muted", dark)))


def about_download(entry: Entry, key: Keys, dark: bool) -> RenderableType:
    """A file that nothing was read from yet, or a dataset that cannot be read."""
    status = entry.status
    assert status is not None
    if status.download is None:
        keys = f"{key('data.remove')} removes what is left of it"
        return Text(f"{status.id}: {status.problem}; {keys}", colour("orange", dark))
    facts = [
        ("dataset", status.id),
        ("source", status.source),
        ("state", status.problem),
        ("file", f"{status.download}, {status.download_bytes / 1e6:.1f} MB"),
    ]
    keys = f"{key('data.fetch')} goes on with it, {key('data.remove')} removes the file"
    return Group(_facts(facts, dark), Text(""), Text(keys, colour("muted", dark)))


# --- histograms -------------------------------------------------------------------------------------------------------------------


def returns_plot(page: Page) -> Plot:
    """How many complete episodes have which return, with the references."""
    edges, counts = dataset_report.bars(table_of(page.manifest, "report"), "return_histogram")
    if not counts:
        return Plot(empty="no returns to tell apart")
    lines, legend = [], []
    known = references(page.manifest)
    for which, (name, ink) in _MARKS.items():
        each = known.get(which)
        if each is not None and edges[0] <= each.value <= edges[-1]:
            lines.append(Vertical(each.value, ink=ink))
            legend.append(("┊", ink, f"{name} {number(each.value)}"))
    bars = Histogram("episodes", np.array(edges), np.array(counts), filled=True)
    return Plot(histograms=[bars], verticals=lines, x_title="return", y_title="episodes", legend=legend)


def lengths_plot(page: Page) -> Plot:
    """How many episodes have which length."""
    edges, counts = dataset_report.bars(table_of(page.manifest, "report"), "length_histogram")
    if not counts:
        return Plot(empty="all episodes are of one length")
    bars = Histogram("episodes", np.array(edges), np.array(counts), "green", filled=True)
    return Plot(histograms=[bars], x_title="steps", y_title="episodes")
