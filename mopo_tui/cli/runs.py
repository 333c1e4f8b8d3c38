"""`mopo ls` and `mopo compare`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mopo_tui.cli.options import JsonOption, RunsOption

if TYPE_CHECKING:
    from rich.table import Table

    from mopo_tui.manager import Comparison, Run
    from mopo_tui.manager.comparison import Score

GLYPHS = {
    "queued": ("·", "dim"),
    "running": ("●", "green"),
    "paused": ("‖", "yellow"),
    "finished": ("✓", "green"),
    "stopped": ("■", "yellow"),
    "failed": ("✗", "red"),
    "lost": ("?", "red"),
    "unreadable": ("!", "red"),
}
_WIDE = 140  # columns from which on whole ids fit


def ls(store: RunsOption = None, as_json: JsonOption = False) -> None:
    """List the runs, newest first."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store

    runs = Store.open(store)
    found = runs.runs()
    if as_json:
        output.document([run.to_json() for run in found])
        return
    if not found:
        output.narrate(f"no runs in {runs.root} yet; `mopo run` starts one")
        return
    console = output.console()
    console.print(_list([run for run in found if not run.problem], console.width))
    for run in found:
        if run.problem:
            console.print(f"{GLYPHS[run.state.value][0]} {run.id}: {run.problem}", soft_wrap=True)


def _list(runs: list[Run], width: int) -> Table:
    """The table in `width` columns: where whole ids do not fit, their last four characters name a run as well, and its name stands
    for task, algorithm and seed."""
    from rich.cells import cell_len
    from rich.text import Text

    from mopo_tui.cli import output

    wide = width >= _WIDE
    about = ("task", "algo", "seed") if wide else ()
    columns = ("", "id", "name", *about, "state", "done", "eta", "last", "best", "age")
    rows = [_row(run, wide) for run in runs]
    cells = [[columns[i], *(row[i] for row in rows)] for i in range(len(columns))]
    name = columns.index("name")
    taken = sum(max(map(cell_len, column)) + 1 for i, column in enumerate(cells) if i != name)
    table = output.table(*columns, right=("seed", "done", "eta", "last", "best", "age"), gap=1)
    for run, row in zip(runs, rows, strict=True):
        style = GLYPHS[run.state.value][1]
        row[name] = output.shortened(row[name], max(8, width - taken))
        coloured = (0, columns.index("state"))
        table.add_row(*(Text(cell, style if i in coloured else "") for i, cell in enumerate(row)))
    return table


def _row(run: Run, wide: bool) -> list[str]:
    from mopo_tui.cli import output

    score = run.score_last is not None or run.score_best is not None
    last, best = (run.score_last, run.score_best) if score else (run.return_last, run.return_best)
    unit = "%" if score else ""
    return [
        GLYPHS[run.state.value][0],
        run.id if wide else run.id[-4:],
        run.name,
        *((run.task, run.algorithm or run.job, str(run.seed)) if wide else ()),
        run.stage if run.stage and not run.state.over else run.state.value,
        f"{100 * run.progress:.0f}%",
        output.duration(run.eta_s),
        output.number(last) + (unit if last is not None else ""),
        output.number(best) + (unit if best is not None else ""),
        output.age(run.created),
    ]


def compare(
    references: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two or more runs.")],
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put runs side by side: scores, references, differing configuration, and what makes the comparison unfair."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager import compare as compare_runs

    if len(references) < 2:
        raise StoreError("compare needs two runs or more: mopo compare A B")
    runs = Store.open(store)
    comparison = compare_runs([runs.find(reference) for reference in references])
    if as_json:
        output.document(comparison.to_json())
        return
    _show(comparison)


def _show(comparison: Comparison) -> None:
    from mopo_tui.cli import output
    from mopo_tui.cli.result import REFERENCE_TITLES

    console = output.console()
    entries = comparison.runs
    # Equal names would head two columns alike: the ids' last characters tell them apart.
    heads = [f"{entry.name} {entry.id[-4:]}" for entry in entries]
    table = output.table("", *heads, right=tuple(heads))
    table.add_row("state", *(entry.state for entry in entries))

    def row(title: str, values: list[float | None], digits: int = 1) -> None:
        if any(value is not None for value in values):
            table.add_row(title, *(output.number(value, digits) for value in values))

    def block(title: str, found: list[Score | None]) -> None:
        if any(score is not None for score in found):
            table.add_row(f"{title} return", *(_with_spread(score) for score in found))
        row(f"{title} score %", [score.normalized if score else None for score in found])
        row(f"{title} progress", [score.progress if score else None for score in found])
        row(f"{title} length", [score.length if score else None for score in found], 0)

    block("final", [entry.final for entry in entries])
    block("last 10", [entry.mean_last_10 for entry in entries])
    block("best", [entry.best for entry in entries])
    for name in dict.fromkeys(name for entry in entries for name in entry.references):
        row(f"{REFERENCE_TITLES.get(name, name)} return", [entry.references.get(name) for entry in entries])
    row("policy updates", [float(entry.update) for entry in entries], 0)
    if any(entry.wall_s is not None for entry in entries):
        table.add_row("time", *(output.duration(entry.wall_s) for entry in entries))
    console.print(table)
    for where in dict.fromkeys(entry.evaluated_in for entry in entries if entry.evaluated_in):
        console.print(f"evaluated in {where}", soft_wrap=True)
    if comparison.differing:
        console.print()
        settings = output.table("differing configuration", *heads, right=tuple(heads))
        for difference in comparison.differing:
            settings.add_row(difference.key, *("–" if v is None else str(v) for v in difference.values))
        console.print(settings)
    else:
        console.print("\nthe configurations are equal")
    for warning in comparison.warnings:
        output.narrate(f"warning: {warning}")


def _with_spread(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.value:.1f}" + (f" (std {score.std:.1f})" if score.std is not None else "")
