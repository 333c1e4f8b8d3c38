"""`mopo watch`: runs until they have all ended, as a live table or as lines. Only looks: what is watched goes on without it."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Protocol, TextIO

import typer

from mopo_tui.cli.completion import complete_runs
from mopo_tui.cli.options import JsonOption, RunsOption

if TYPE_CHECKING:
    from mopo_tui.cli.grid import Cell, Column
    from mopo_tui.manager import Run

PLAIN_SECONDS = 60.0  # after which a run that only goes on is told again
_BAR = 16
_LEFT_OUT: tuple[tuple[str, ...], ...] = ((), ("detail",), ("detail", "progress"))  # on narrower terminals


def watch(
    references: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|GROUP]...", help="Runs, groups; none: all that have not ended.", autocompletion=complete_runs
        ),
    ] = None,
    interval: Annotated[float, typer.Option("--interval", min=0.1, help="Seconds between looks.")] = 1.0,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Watch runs until all have ended. Exit code 0 if all finished. Ctrl-C ends the watching, not the runs."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store
    from mopo_tui.manager.groups import find_runs
    from mopo_tui.manager.run import read_run

    runs = Store.open(store)
    now = find_runs(runs, references) if references else [run for run in runs.runs() if not run.state.over]
    if not now:
        output.narrate("nothing is running or queued")
    view: View = LiveTable() if sys.stdout.isatty() and not as_json else Lines(sys.stderr if as_json else sys.stdout)
    try:
        while True:
            now = [read_run(run.folder) for run in now]
            view.show(now)
            if all(run.state.over for run in now):
                break
            time.sleep(interval)
    except KeyboardInterrupt:
        view.end()
        output.narrate("no longer watched; the runs go on")
        raise
    view.end()
    if as_json:
        output.document([run.to_json() for run in now])
    raise typer.Exit(exit_code(now))


def exit_code(runs: Sequence[Run]) -> int:
    """0 where all finished; of a single run what it ended with; 1 for several of which one did not finish."""
    from mopo_tui.cli import errors, follow
    from mopo_tui.manager.state import RunState

    if len(runs) == 1:
        return follow.exit_code(runs[0])
    return errors.OK if all(run.state is RunState.FINISHED for run in runs) else errors.FAILED


class View(Protocol):
    """How the runs are shown."""

    def show(self, runs: Sequence[Run]) -> None: ...
    def end(self) -> None: ...


class Lines:
    """One line at each change of a run's state or stage, and now and then while it goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._told: dict[str, tuple[str, float]] = {}

    def show(self, runs: Sequence[Run]) -> None:
        for run in runs:
            what = _what(run)
            before, told = self._told.get(run.id, ("", 0.0))
            if what == before and (run.state.over or time.monotonic() - told < PLAIN_SECONDS):
                continue
            self._told[run.id] = (what, time.monotonic())
            print(f"{time.strftime('%H:%M:%S')} {run.id} {_line(run)}", file=self._stream, flush=True)

    def end(self) -> None:
        pass


class LiveTable:
    """A table that is redrawn in place: what moves first. Rows for which the terminal is not high enough are counted."""

    def __init__(self) -> None:
        from rich.live import Live

        from mopo_tui.cli import output

        self._console = output.console()
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._runs: Sequence[Run] = ()

    def show(self, runs: Sequence[Run]) -> None:
        from rich.text import Text

        self._runs = runs
        room = max(3, self._console.height - 3)
        ordered = sorted(runs, key=lambda run: run.state.over)
        lines = table(ordered[:room], self._console.width)
        if len(ordered) > room:
            lines.append(f"and {len(ordered) - room} more")
        self._live.update(Text("\n").join(Text.from_ansi(line) for line in lines), refresh=True)

    def end(self) -> None:
        """Leave the last table on the screen, whole, and why runs did not finish."""
        self._live.stop()
        for line in table(self._runs, self._console.width) if self._runs else ():
            print(line)
        for run in self._runs:
            if run.state.over and (run.problem or run.reason):
                print(f"{run.id[-4:]} {run.state.value}: {run.problem or run.reason}")


def table(runs: Sequence[Run], width: int) -> list[str]:
    """The lines of the live table, at most `width` columns wide."""
    from mopo_tui.cli import grid
    from mopo_tui.cli.grid import Column

    columns: list[Column] = [
        Column(""),
        Column("id"),
        Column("name", shrinks=True, least=12),
        Column("state"),
        Column("done", right=True),
        Column("progress"),
        Column("eta", right=True),
        Column("detail", shrinks=True, least=10),
        Column("last", right=True),
        Column("best", right=True),
    ]
    rows: list[list[Cell]] = []
    shown = columns
    for left_out in _LEFT_OUT:
        shown = [column for column in columns if column.title not in left_out]
        rows = [[cell for cell, c in zip(_cells(run), columns, strict=True) if c.title not in left_out] for run in runs]
        if grid.columns_needed(shown, rows) <= width:
            break
    return list(grid.lines(shown, rows, width))


def _cells(run: Run) -> list[Cell]:
    from mopo_tui.cli import output
    from mopo_tui.cli.grid import Cell
    from mopo_tui.cli.runs import GLYPHS
    from mopo_tui.manager.run import text_of

    glyph, style = GLYPHS[run.state.value]
    percent = run.score_last is not None or run.score_best is not None
    last, best = (run.score_last, run.score_best) if percent else (run.return_last, run.return_best)
    unit = "%" if percent else ""
    filled = round(run.progress * _BAR)
    return [
        Cell(glyph, style),
        Cell(run.id[-4:]),
        Cell(run.name or run.id),
        Cell(_what(run), style),
        Cell(f"{100 * run.progress:.0f}%"),
        Cell("━" * filled + "─" * (_BAR - filled), "dim" if run.state.over else style),
        Cell("" if run.eta_s is None else output.duration(run.eta_s)),
        Cell("" if run.state.over else text_of(run.summary, "detail"), "dim"),
        Cell("" if last is None else output.number(last) + unit),
        Cell("" if best is None else output.number(best) + unit),
    ]


def _what(run: Run) -> str:
    """The stage of a run that moves, else its state."""
    return run.stage if run.state.value == "running" and run.stage else run.state.value


def _line(run: Run) -> str:
    from mopo_tui.cli import output
    from mopo_tui.manager.run import text_of

    if run.state.over:
        reason = run.problem or run.reason
        return run.state.value + (f": {reason}" if reason else "")
    parts = [
        _what(run),
        f"{100 * run.progress:.0f}%" if run.stage else "",
        text_of(run.summary, "detail"),
        f"ETA {output.duration(run.eta_s)}" if run.eta_s is not None else "",
    ]
    return " ".join(part for part in parts if part)
