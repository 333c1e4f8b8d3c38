"""`mopo tasks`: the problems that can be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mopo_tui.cli.completion import complete_task
from mopo_tui.cli.options import JsonOption

if TYPE_CHECKING:
    from engine.tasks import Task


def tasks(
    name: Annotated[str | None, typer.Argument(help="One task, in full.", autocompletion=complete_task)] = None,
    as_json: JsonOption = False,
) -> None:
    """List the tasks, or show one with its sources and published scores."""
    from engine.tasks import all_tasks, task
    from mopo_tui.cli import output

    if name is None:
        if as_json:
            output.document([_document(entry) for entry in all_tasks().values()])
            return
        table = output.table(
            "task", "environment", "obs", "act", "λ", "h", "score scale", "about", right=("obs", "act", "λ", "h")
        )
        for entry in all_tasks().values():
            coefficient, length = entry.tuned_rollout
            scale = "–" if entry.score_scale is None else f"{entry.score_scale[0]:.0f} to {entry.score_scale[1]:.0f}"
            sizes = (str(entry.observation_dim), str(entry.action_dim), f"{coefficient:g}", str(length))
            table.add_row(entry.name, entry.environment, *sizes, scale, entry.title)
        output.console().print(table)
        return
    chosen = task(name)
    if as_json:
        output.document(_document(chosen))
        return
    console = output.console()
    table = output.table("", "")
    for key, value in _facts(chosen):
        table.add_row(key, value)
    table.show_header = False
    console.print(table)
    if chosen.published:
        console.print()
        scores = output.table("published", "value", "±", "unit", "source", "data", right=("value", "±"))
        for p in chosen.published:
            scores.add_row(p.algorithm, output.number(p.value), output.number(p.spread), p.unit, p.source, p.data)
        console.print(scores)


def _document(entry: Task) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(entry)


def _facts(entry: Task) -> list[tuple[str, str]]:
    def rollout(pair: tuple[float, int]) -> str:
        return f"λ = {pair[0]:g}, h = {pair[1]}"

    scale = entry.score_scale
    official = "not published" if entry.paper_rollout is None else rollout(entry.paper_rollout)
    options = "".join(f", {key} = {value}" for key, value in entry.environment_options.items())
    sizes = f"{entry.observation_dim} observations, {entry.action_dim} actions"
    return [
        ("task", entry.name),
        ("about", entry.title),
        ("also called", ", ".join(entry.aliases) or "–"),
        ("environment", f"{entry.environment} ({sizes}{options}); data from elsewhere bring their own"),
        ("dataset", _data(entry)),
        ("rollouts", f"{rollout(entry.tuned_rollout)}: {entry.tuned_origin}"),
        ("preset paper", official),
        ("termination", entry.termination),
        ("score", "–" if scale is None else f"0 is a return of {scale[0]:g}, 100 one of {scale[1]:g}"),
        ("its origin", entry.scale_origin),
    ]


def _data(entry: Task) -> str:
    """Where the task's data comes from, in a few words."""
    from engine.tasks import OURS

    if entry.dataset != OURS:
        return entry.dataset
    statistic, value = entry.target
    medium = f"the snapshot of the behaviour {entry.behaviour!r} whose {statistic} return is near {value:g}"
    how = {
        "random": "uniformly random actions",
        "medium": medium,
        "replay": f"snapshots of the behaviour {entry.behaviour!r} up to where their {statistic} return is near {value:g}",
        "medium-expert": f"half {medium}, half its best",
        "expert": f"the best snapshot of the behaviour {entry.behaviour!r}",
    }[entry.collection]
    return f"collected here, {entry.default_size:,} transitions: {how}"
