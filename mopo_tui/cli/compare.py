"""`mopo compare` and `mopo diff`: runs and groups of seeds side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mopo_tui.cli.completion import complete_runs
from mopo_tui.cli.options import JsonOption, RunArgument, RunsOption

if TYPE_CHECKING:
    from mopo_tui.manager import Comparison
    from mopo_tui.manager.statistics import Summary

RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|GROUP...",
        help="Runs, paths of run folders, groups, or settings by their 12 digits.",
        autocompletion=complete_runs,
    ),
]
AllSeedsOption = Annotated[bool, typer.Option("--all-seeds", help="With each run, every other of its setting.")]


def compare(
    references: RunsArgument,
    by: Annotated[
        str, typer.Option("--by", metavar="KEY", help="One row per value of a configuration key, with u and the gap.")
    ] = "",
    all_seeds: AllSeedsOption = False,
    every: Annotated[bool, typer.Option("--all", help="A row for each run, however many there are.")] = False,
    store: RunsOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One row per group, comma-separated.")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Tables in Markdown.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Tables in LaTeX, for booktabs.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Curves with bands over seeds: a .png or .svg file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Compare runs, and groups of runs that differ in nothing but their seed."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager import compare as compare_runs
    from mopo_tui.manager.comparison_tables import tables
    from mopo_tui.manager.comparison_warnings import left_out
    from mopo_tui.manager.groups import find_runs
    from mopo_tui.manager.sections import latex, markdown
    from mopo_tui.widgets.section_text import show

    if as_json + as_csv + as_markdown + as_latex > 1:
        raise StoreError("--json, --csv, --md and --latex: choose one")
    if plot is not None:
        from mopo_tui.cli import curves

        curves.check(plot, force)
    runs = find_runs(Store.open(store), references, all_seeds=all_seeds)
    comparison = compare_runs(runs, by)
    if as_json:
        output.document(comparison.to_json())
    elif as_csv:
        for line in [*comparison.warnings, *left_out(comparison.runs)]:
            output.narrate(f"warning: {line}")
        print(comma_separated(comparison), end="")
    elif as_markdown:
        print(markdown(tables(comparison, every=every)), end="")
    elif as_latex:
        print(latex(tables(comparison, every=every)), end="")
    else:
        console = output.console()
        show(tables(comparison, every=every, width=console.width), console)
    if plot is not None:
        curves.compared(comparison, plot)
        output.narrate(f"curves in {plot}")


def diff(a: RunArgument, b: RunArgument, store: RunsOption = None, as_json: JsonOption = False) -> None:
    """Tell in what two runs differ: configuration, data, environment, versions, code, compute, machine."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store
    from mopo_tui.manager.differences import differences
    from mopo_tui.manager.groups import find_runs
    from mopo_tui.manager.sections import Section
    from mopo_tui.widgets.section_text import show

    runs = [*find_runs(Store.open(store), [a]), *find_runs(Store.open(store), [b])]
    if len(runs) != 2:
        from mopo_tui.manager import StoreError

        raise StoreError("diff takes two runs, not groups")
    found = differences(*runs)
    if as_json:
        parts = {part: {row.key: list(row.values) for row in rows} for part, rows in found.items()}
        output.document({"runs": [run.id for run in runs], **parts})
        return
    rows = [
        [part if i == 0 else "", row.key, *(_short(row.key, value) for value in row.values)]
        for part, of in found.items()
        for i, row in enumerate(of)
    ]
    heads = [f"{run.name} {run.id[-4:]}" for run in runs]
    if runs[0].id == runs[1].id or heads[0] == heads[1]:
        heads = [f"A {heads[0]}", f"B {heads[1]}"]
    columns = ["", "key", *heads]
    same = [part for part, of in found.items() if not of]
    section = Section(
        columns=columns,
        rows=rows,
        left=frozenset(columns),
        notes=[f"the same: {', '.join(same)}"] if same else [],
        wrap=True,
    )
    show([section], output.console())


def _short(key: str, value: object) -> str:
    """A value in a table; of a digest the beginning says enough."""
    from mopo_tui.manager.differences import shown

    return shown(value)[:12] if key in ("fingerprint", "ladder") else shown(value)


# --- comma-separated --------------------------------------------------------------------------------------------------------------


def comma_separated(comparison: Comparison) -> str:
    """One row per group: everything that the tables have, with a column for each key on which groups differ."""
    import csv
    import io

    rows: list[dict[str, Any]] = []
    for task in comparison.tasks:
        for group in task.groups:
            row: dict[str, Any] = {
                "task": task.task, "group": group.letter, "label": group.label, "algorithm": group.algorithm,
                "setting": group.setting, "key": group.key, "seeds": " ".join(map(str, group.seeds)),
                "n": len(group.runs), "started": group.started, "unit": task.unit,
            }  # fmt: skip
            row |= _of_summary("final", group.final, intervals=True)
            row |= _of_summary("last_10", group.mean_last_10) | _of_summary("best", group.best)
            row |= _of_summary("progress", group.progress)
            for stage, summary in group.stages.items():
                row |= _of_summary(stage, summary)
            row |= {"wall_s": group.wall_s, "updates_per_s": group.speed}
            row |= {key: value for key, value in group.values.items() if key not in row}
            for name, measure in group.measures.items():
                row |= {f"{name}:last": measure.last, f"{name}:last_10": measure.mean_last_10}
            rows.append(row)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _of_summary(name: str, summary: Summary | None, *, intervals: bool = False) -> dict[str, Any]:
    keys = [f"{name}_mean", f"{name}_std"]
    values: list[Any] = [None, None] if summary is None else [summary.mean, summary.std]
    if intervals:
        keys += [f"{name}_iqm", f"{name}_iqm_low", f"{name}_iqm_high", f"{name}_mean_low", f"{name}_mean_high"]
        none = (None, None)
        values += [None] * 5 if summary is None else [
            summary.iqm, *(summary.interval or none), *(summary.mean_interval or none)
        ]  # fmt: skip
    return dict(zip(keys, values, strict=True))
