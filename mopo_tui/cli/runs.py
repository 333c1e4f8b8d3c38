"""`mopo ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mopo_tui.cli.completion import complete_field, complete_group, complete_state
from mopo_tui.cli.options import JsonOption, RunsOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mopo_tui.cli.grid import Cell, Column
    from mopo_tui.manager.index import Listed, Values
    from mopo_tui.manager.rows import Row, Spread

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
_SHORT = 4  # characters of an id, or of a setting, that name it as well
_SYMBOLS = {"rollout.coefficient": "λ", "rollout.length": "h"}
_DIFFERENCES = 3  # keys of a setting shown beside equal names
# What is left out where the terminal is too narrow, from nothing on; what a row cannot do without shrinks at the end.
# A setting left out stands behind the name.
_LEFT_OUT = tuple(("group", "long id", "seeds", "tags", "setting")[:count] for count in range(6))


def ls(
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="One row per run, also for seeds of one setting.")
    ] = False,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", "-f", metavar="EXPRESSION", help="Such as 'score>80 and algorithm=mopo'; see below."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Runs whose name contains this.")] = None,
    group: Annotated[
        str | None, typer.Option("--group", help="Runs of this group.", autocompletion=complete_group)
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Runs with this tag; repeatable: with all of them.")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Runs in this state; repeatable: in one of them.", autocompletion=complete_state),
    ] = None,
    sort_by: Annotated[
        str | None,
        typer.Option(
            "--sort-by",
            metavar="FIELD",
            help="A field, configuration key or metric; best or largest first.",
            autocompletion=complete_field,
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="At most so many rows.")] = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs, newest first; seeds of one setting are one row: mean ± std over seeds, n finished of started.

    A filter compares fields with = != < <= > >= or ~ (contains), joined by and, or, not and brackets. Fields: state, score, return,
    best, progress, age (2h, 3d), eta, name, group, tag, task, algorithm, seed, owner, note, reason, stage and the others of --json;
    any configuration key, such as rollout.coefficient; any metric, such as policy/q, by its last value.
    """
    from mopo_tui.cli import output
    from mopo_tui.manager import Store
    from mopo_tui.manager.index import Values, listing
    from mopo_tui.manager.rows import rows_of

    runs = Store.open(store)
    every = listing(runs)
    values = Values(runs)
    chosen = _chosen(every, values, filter_, name, group, tag or [], state or [])
    rows = rows_of(chosen, every, opened=everything or as_json)
    if sort_by is not None:
        from mopo_tui.manager.filters import ordered

        rows = ordered(rows, sort_by, every, values, reverse=reverse)
    elif reverse:
        rows.reverse()
    hidden = len(rows) - limit if limit is not None else 0
    rows = rows[:limit]
    if as_json:
        output.document([{**row.newest.to_json(), "setting": row.setting} for row in rows])
    elif not every:
        output.narrate(f"no runs in {runs.root} yet; `mopo run` starts one")
    elif not rows:
        output.narrate(f"none of {len(every)} runs in {runs.root} is like that")
    else:
        _print(rows, values)
        if hidden > 0:
            output.narrate(f"{hidden} more")
    values.save()


def _chosen(
    every: Sequence[Listed],
    values: Values,
    filter_: str | None,
    name: str | None,
    group: str | None,
    tags: Sequence[str],
    states: Sequence[str],
) -> Sequence[Listed]:
    """The runs that all given options agree on."""
    from mopo_tui.manager.state import RunState
    from mopo_tui.manager.store import StoreError

    for word in states:
        if word not in [state.value for state in RunState]:
            raise StoreError(f"--state {word}: one of {', '.join(state.value for state in RunState)}")
    if filter_ is not None:
        from mopo_tui.manager.filters import select

        every = select(filter_, every, values)
    return [
        listed
        for listed in every
        if (name is None or name.casefold() in listed.run.name.casefold())
        and (group is None or listed.run.group == group)
        and set(tags) <= set(listed.run.tags)
        and (not states or listed.run.state.value in states)
    ]


# --- the table --------------------------------------------------------------------------------------------------------------------


def _print(rows: Sequence[Row], values: Values) -> None:
    from mopo_tui.cli import grid

    sound = [row for row in rows if not row.newest.problem]
    if sound:
        limit = grid.width()
        columns, cells = _table(sound, _differences(sound, values), limit)
        for line in grid.lines(columns, cells, limit):
            print(line)
    for row in rows:
        if row.newest.problem:
            glyph, style = GLYPHS[row.newest.state.value]
            print(f"{grid.styled(glyph, style, grid.coloured())} {row.newest.id}: {row.newest.problem}")


def _table(
    rows: Sequence[Row], differences: Mapping[str, str], limit: int | None
) -> tuple[list[Column], list[list[Cell]]]:
    """Columns and cells, as rich as the width allows. A short id names a run as well as the whole one."""
    from mopo_tui.cli.grid import Cell, Column, columns_needed

    columns = [
        Column(""),
        Column("id"),
        Column("name", shrinks=True, least=16),
        Column("setting", shrinks=True, least=12),
        Column("group", shrinks=True),
        Column("tags", shrinks=True),
        Column("seeds", right=True),
        Column("n", right=True),
        Column("state"),
        Column("done", right=True),
        Column("eta", right=True),
        Column("last", right=True),
        Column("±std", right=True),
        Column("best", right=True),
        Column("age", right=True),
    ]
    percent = any(spread is not None and spread.unit for row in rows for spread in (row.last(), row.best()))
    for left_out in _LEFT_OUT:
        cells = [
            [Cell("") if column.title in left_out else cell for column, cell in zip(columns, line, strict=True)]
            for line in (_cells(row, differences, left_out, percent) for row in rows)
        ]
        if limit is None or columns_needed(columns, cells) <= limit:
            break
    return columns, cells


def _cells(row: Row, differences: Mapping[str, str], left_out: Sequence[str], percent: bool) -> list[Cell]:
    from mopo_tui.cli import output
    from mopo_tui.cli.grid import Cell
    from mopo_tui.manager import rows

    run, several = row.newest, len(row.runs) > 1
    state = row.states[0][0]
    glyph, style = GLYPHS[state.value]
    setting = differences.get(run.id, "")
    identity = row.setting if several else run.id
    short = identity[:_SHORT] if several else identity[-_SHORT:]
    last, best = row.last(), row.best()
    spread = "" if last is None or last.std is None else f"±{last.std:.1f}"
    started = f"{row.finished_seeds}/{len(row.seeds)}" + (f" of {row.total}" if row.total > len(row.runs) else "")
    return [
        Cell(glyph, style),
        Cell(short if "long id" in left_out else identity, "dim" if several else ""),
        Cell(f"{rows.title(row)} {setting}".rstrip() if "setting" in left_out else rows.title(row)),
        Cell(setting),
        Cell(run.group, "dim"),
        Cell(" ".join(dict.fromkeys(tag for each in row.runs for tag in each.tags)), "cyan"),
        Cell(_spans(row.seeds), "dim"),
        Cell(started if several else ""),
        Cell(_state(row), style),
        Cell(f"{100 * row.progress:.0f}%"),
        Cell("" if row.eta_s is None else output.duration(row.eta_s)),
        Cell(_mean(last, percent)),
        Cell(spread, "dim"),
        Cell(_mean(best, percent)),
        Cell(output.age(run.created), "dim"),
    ]


def _mean(spread: Spread | None, percent: bool) -> str:
    """A score or a return; a blank in place of the unit keeps the digits below each other."""
    return "–" + " " * percent if spread is None else f"{spread.mean:.1f}" + (spread.unit or " " * percent)


def _state(row: Row) -> str:
    """The stage of a run that moves, else the state; of several runs how many are in which, finished ones standing under n."""
    run = row.newest
    if len(row.runs) == 1:
        return run.stage if run.stage and not run.state.over else run.state.value
    told = [(state, count) for state, count in row.states if state.value != "finished"]
    if len(told) <= 1:
        return " ".join(f"{count} {state.value}" for state, count in told) or "finished"
    return " ".join(f"{count}{GLYPHS[state.value][0]}" for state, count in told)


def _spans(numbers: Sequence[int]) -> str:
    """0–4 or 0,2–3."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    return ",".join(str(span[0]) if len(span) == 1 else f"{span[0]}–{span[-1]}" for span in spans)


def _differences(rows: Sequence[Row], values: Values) -> dict[str, str]:
    """By the id of a row's newest run: what its setting differs in from those of rows called the same."""
    from mopo_tui.manager.rows import differences

    told = {}
    for run_id, different in differences(rows, values).items():
        parts = [_written(key, value) for key, value in different.items()]
        told[run_id] = " ".join(parts[:_DIFFERENCES]) + (" …" if len(parts) > _DIFFERENCES else "")
    return told


def _written(key: str, value: str) -> str:
    """A setting's value, short: λ=0.5, paper, patience=3."""
    if key == "preset":
        return value
    return f"{_SYMBOLS.get(key, key.rpartition('.')[2])}={value}"
