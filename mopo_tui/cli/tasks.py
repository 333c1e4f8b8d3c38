"""`mopo tasks`: the problems that can be trained on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from mopo_tui.cli.options import JsonOption


def tasks(
    name: Annotated[str | None, typer.Argument(help="One task, in full.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the tasks, or show one with its sources and published scores."""
    from engine.tasks import TASKS, task
    from mopo_tui.cli import output

    if name is None:
        if as_json:
            output.document([_document(entry) for entry in TASKS.values()])
            return
        table = output.table(
            "task", "environment", "obs", "act", "λ", "h", "score scale", "about", right=("obs", "act", "λ", "h")
        )
        for entry in TASKS.values():
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


def _document(entry: Any) -> dict[str, Any]:
    import dataclasses

    return dataclasses.asdict(entry)


def _facts(entry: Any) -> list[tuple[str, str]]:
    def rollout(pair: tuple[float, int]) -> str:
        return f"λ = {pair[0]:g}, h = {pair[1]}"

    scale = entry.score_scale
    official = "not published" if entry.paper_rollout is None else rollout(entry.paper_rollout)
    return [
        ("task", entry.name),
        ("about", entry.title),
        ("also called", ", ".join(entry.aliases) or "–"),
        ("environment", f"{entry.environment} ({entry.observation_dim} observations, {entry.action_dim} actions)"),
        ("dataset", f"replay of the behaviour {entry.behaviour!r}, {entry.default_size:,} transitions"),
        ("rollouts", f"{rollout(entry.tuned_rollout)}; official code: {official}"),
        ("termination", entry.termination),
        ("score", "–" if scale is None else f"0 is a return of {scale[0]:g}, 100 one of {scale[1]:g}"),
        ("its origin", entry.scale_origin),
    ]
