"""`mopo compare`: runs and groups of seeds side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mopo_tui.cli.options import JsonOption, RunsOption

if TYPE_CHECKING:
    from mopo_tui.manager import Comparison
    from mopo_tui.manager.comparison import Score


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
