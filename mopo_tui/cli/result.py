"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine import record
from mopo_tui.cli import output
from mopo_tui.manager.run import Run, number_of, text_of
from mopo_tui.manager.scores import (
    Score,
    evaluated_in,
    reference_title,
    references,
    scale_words,
    scores,
    share_of_batch,
    stage_scores,
)
from mopo_tui.manager.state import clean

if TYPE_CHECKING:
    from rich.table import Table

STAGE_TITLES = {"stage1": "stage 1, AWAC on the batch", "stage2": "stage 2, AWAC in the model"}


def print_result(run: Run) -> None:
    """The scores of a finished run, with the references that tell what they are worth, on stdout."""
    console = output.console()
    for line in _headline(run):
        console.print(line, soft_wrap=True)
    if run.job == "dataset" and _print_dataset(run):
        return
    environment = record.read_json(run.folder / record.ENVIRONMENT) or {}
    table = scores_table(run, environment)
    if table.row_count:
        console.print(table)
    for line in gate_lines(run):
        console.print(line, soft_wrap=True, markup=False)
    final = scores(run)[0]
    if scale := scale_words(environment):
        console.print(scale, soft_wrap=True)
    if final is not None and (share := share_of_batch(final.value, environment)) is not None:
        console.print(f"between the batch's mean (0) and its best episode (100): {share:.1f}", soft_wrap=True)
    where = clean(evaluated_in(environment))
    if where and run.job == "train":
        console.print(f"evaluated in {where}", soft_wrap=True)


def _print_dataset(run: Run) -> bool:
    """What `mopo data show` prints of the dataset that a run made; False where it is gone."""
    from mopo_tui.cli.dataset_page import print_page
    from mopo_tui.manager.datasets import DatasetUnavailable, datasets, find_dataset, read_manifest

    try:
        status = find_dataset(text_of(run.result or {}, "dataset"), datasets())
        manifest = read_manifest(status)
    except DatasetUnavailable:
        return False
    print_page(status, manifest)
    return True


def scores_table(run: Run, environment: Mapping[str, Any]) -> Table:
    """A run's scores so far and the references beside them; without rows where nothing is measured. ± is a standard error."""
    rows: list[tuple[str, Score]] = []
    final, mean, best = scores(run)
    titles = (("final policy", final), ("mean of the last evaluations", mean), ("best evaluation", best))
    # Of MB2PO the final policy is one stage's, and so are its last evaluations; the best one is of either.
    recommended = text_of(run.result or {}, "recommended").replace("stage", "stage ")
    notes = (recommended, recommended, "both stages") if recommended else ("", "", "")
    for (title, score), note in zip(titles, notes, strict=True):
        if score is not None:
            rows.append((_title(title, score) + (f", {note}" if note else ""), score))
    for name, score in stage_scores(run.result or {}).items():
        rows.append((_title(STAGE_TITLES.get(name, clean(name)), score), score))
    rows += [(_title(reference_title(name), score), score) for name, score in references(environment).items()]
    heads = ("return", "±", "std", "length", "score %", "progress")
    cells = [_cells(score) for _, score in rows]
    shown = [i for i in range(len(heads)) if heads[i] != "±" or any(row[i] != "–" for row in cells)]
    table = output.table("", *(heads[i] for i in shown), right=heads)
    for (title, _), row in zip(rows, cells, strict=True):
        table.add_row(title, *(row[i] for i in shown))
    return table


def gate_lines(run: Run) -> list[str]:
    """What MB2PO's gate decided before and after its second stage, and why."""
    gate = (run.result or {}).get("gate")
    titles = {
        "enter": ("stayed with stage 1", "entered stage 2"),
        "recommend": ("recommends stage 1", "recommends stage 2"),
    }
    lines = []
    for which, decision in gate.items() if isinstance(gate, dict) else ():
        if which in titles and isinstance(decision, dict):
            lines.append(f"gate: {titles[which][bool(decision.get('yes'))]}: {text_of(decision, 'why')}")
    return lines


def _headline(run: Run) -> list[str]:
    result = run.result or {}
    lines = [
        f"{run.name} finished"
        + (f" after {output.duration(seconds)}" if (seconds := _wall(result)) is not None else "")
    ]
    stages = result.get("stages")
    if isinstance(stages, dict) and stages:
        parts = [f"{name} {output.duration(number_of(stages, name))}" for name in stages]
        lines[0] += f" ({', '.join(parts)})"
    if run.job == "dataset":
        lines.append(f"dataset {text_of(result, 'dataset')}, fingerprint {text_of(result, 'fingerprint')}")
    return lines


def _wall(result: dict[str, Any]) -> float | None:
    return number_of(result, "wall_s")


def _title(title: str, score: Score) -> str:
    if title == "mean of the last evaluations" and score.evaluations:
        return f"mean of the last {score.evaluations} evaluations" if score.evaluations > 1 else "last evaluation"
    return f"{title} ({score.episodes} episode{'s' if score.episodes != 1 else ''})" if score.episodes else title


def _cells(score: Score) -> tuple[str, ...]:
    return (
        output.number(score.value),
        output.number(score.stderr),
        output.number(score.std),
        output.number(score.length, 0),
        output.number(score.normalized),
        output.number(score.progress),
    )
