"""`mopo ls`: the runs of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mopo_tui.cli.options import JsonOption, RunsOption

if TYPE_CHECKING:
    from rich.table import Table

    from mopo_tui.manager import Run

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
