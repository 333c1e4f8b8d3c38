"""Runs and groups of seeds side by side: their scores, what they differ in, and what makes a comparison unfair."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engine import record
from engine.tasks import Published, Task, nearest, task
from mopo_tui.manager.compared import Beats, Comparison, Group, TaskScores
from mopo_tui.manager.comparison_labels import labels_of
from mopo_tui.manager.comparison_seeds import Seed, grouped, unscored_group
from mopo_tui.manager.comparison_warnings import unfinished, warnings
from mopo_tui.manager.differences import differing, used
from mopo_tui.manager.groups import origin_of, shared_settings
from mopo_tui.manager.run import Run
from mopo_tui.manager.scores import Score, normalized_score
from mopo_tui.manager.store import StoreError

if TYPE_CHECKING:
    from mopo_tui.manager.statistics import Summary


def compare(runs: Sequence[Run], by: str = "") -> Comparison:
    """Scores, groups, statistics, differing keys and warnings of `runs`; what is not recorded yet is None.

    Args:
        by: a configuration key, by whose values the groups are ordered.

    Raises:
        StoreError: a run has no scores, or `by` tells no groups apart.
        UnknownName: no run knows the key `by`.
    """
    for run in runs:
        if run.problem:
            raise StoreError(f"{run.id}: {run.problem}")
        if run.job == "dataset":
            raise StoreError(f"{run.id} made a dataset: it has no scores to compare")
    seeds = [Seed(run) for run in runs]
    if by:
        _check_key(by, seeds)
    groups = grouped(seeds)
    tasks = [
        _task_scores(name, [group for group in groups if group[0].run.task == name], by)
        for name in dict.fromkeys(seed.run.task for seed in seeds)
    ]
    entries = tuple(seed.entry() for seed in seeds)
    return Comparison(
        runs=entries,
        differing=tuple(differing([seed.settings for seed in seeds])),
        warnings=tuple(warnings(entries, seeds)),
        unfinished=tuple(unfinished(entries)),
        tasks=tuple(tasks),
        by=by,
    )


def _check_key(by: str, seeds: Sequence[Seed]) -> None:
    known = dict.fromkeys(key for seed in seeds for key in seed.settings)
    if by not in known:
        raise nearest("configuration key", by, list(known))
    if by not in shared_settings(dict.fromkeys(known)):
        raise StoreError(f"--by {by}: the seeds of a setting may differ in it, so it tells no groups apart")
    if all(used(seed.settings, by) is None for seed in seeds):
        algorithms = ", ".join(dict.fromkeys(seed.run.algorithm for seed in seeds))
        raise StoreError(f"--by {by}: {algorithms} does not use it")


def _task_scores(name: str, groups: Sequence[Sequence[Seed]], by: str) -> TaskScores:
    """The groups of one task with their scores, in the unit that all share."""
    from mopo_tui.manager.statistics import compare_groups, summarise

    shared = [shared_settings(group[0].settings) for group in groups]
    settings = differing(shared)
    keys = dict.fromkeys([row.key for row in settings] + ([by] if by else []))
    labels = labels_of(groups, settings)
    made = [
        unscored_group(label, group, {key: used(values, key) for key in keys})
        for label, group, values in zip(labels, groups, shared, strict=True)
    ]
    counted = [[seed for seed in group if not seed.left_out] for group in groups]
    unit, why = _unit(name, [seed for group in groups for seed in group if "versions" in seed.environment])

    def value(seed: Seed, score: Score | None) -> float | None:
        if score is None or unit == "return":
            return None if score is None else score.value
        return score.normalized if score.normalized is not None else normalized_score(score.value, seed.environment)

    def summary(found: Sequence[float | None]) -> Summary | None:
        known = [each for each in found if each is not None]
        return summarise(known) if known else None

    def trend(seed: Seed) -> float | None:
        found = seed.trend()
        if found is None or unit == "return":
            return found
        zero, one = (normalized_score(each, seed.environment) for each in (0.0, 1.0))
        return None if zero is None or one is None else found * (one - zero)

    finals = [[v for seed in group if (v := value(seed, seed.final)) is not None] for group in counted]
    scored = []
    for one, group in zip(made, counted, strict=True):
        stages = dict.fromkeys(stage for seed in group for stage in seed.stages)
        scored.append(
            dataclasses.replace(
                one,
                final=summary([value(seed, seed.final) for seed in group]),
                mean_last_10=summary([value(seed, seed.mean_last_10) for seed in group]),
                best=summary([value(seed, seed.best) for seed in group]),
                trend=summary([trend(seed) for seed in group]),
                progress=summary([seed.final.progress if seed.final else None for seed in group]),
                stages={
                    stage: found
                    for stage in stages
                    if (found := summary([value(seed, seed.stages.get(stage)) for seed in group])) is not None
                },
            )
        )
    beats = [
        Beats(made[i].letter, made[j].letter, compare_groups(finals[i], finals[j]))
        for i in range(len(made))
        for j in range(i + 1, len(made))
        if finals[i] and finals[j]
    ]
    every = [seed.entry() for group in groups for seed in group]
    return TaskScores(
        task=name,
        unit=unit,
        why=why,
        groups=tuple(sorted(scored, key=lambda group: _rank(group, by))),
        letters=tuple(group.letter for group in made),
        settings=tuple(settings),
        beats=tuple(beats),
        published=_published(name, {group.algorithm for group in made}),
        references=next((entry.references for entry in every if entry.references), {}),
        scale=next((entry.scale for entry in every if entry.scale), "") if unit == "%" else "",
        evaluated_in=tuple(dict.fromkeys(entry.evaluated_in for entry in every if entry.evaluated_in)),
        datasets=tuple(
            dict.fromkeys(f"{entry.dataset}, fingerprint {entry.fingerprint[:12]}" for entry in every if entry.dataset)
        ),
    )


def _rank(group: Group, by: str) -> tuple[Any, ...]:
    score = -math.inf if group.final is None else group.final.iqm
    if not by:
        return (-score,)
    value = group.values.get(by)
    number = float(value) if isinstance(value, (int, float)) else math.inf
    return (number, str(value), -score)


def _unit(name: str, seeds: Sequence[Seed]) -> tuple[str, str]:
    """ "%" where all runs have one and the same scale; otherwise "return", and why."""
    if not seeds:
        return "return", ""
    scales = [origin_of(seed.environment)["references"].get("scale") for seed in seeds]
    bounds = {record.dumps([scale.get("min"), scale.get("max")]) for scale in scales if isinstance(scale, Mapping)}
    if not bounds:
        known = _task_of(name)
        if known is not None and known.score_scale is not None:
            return "return", "they were recorded before this task had its scale"
        return "return", f"this task has no scale{': ' + known.scale_origin if known is not None else ''}"
    if len(bounds) > 1 or not all(isinstance(scale, Mapping) for scale in scales):
        return "return", "the runs have different scales"
    if any(normalized_score(0.0, seed.environment) is None for seed in seeds):
        return "return", "the recorded scale cannot be used"
    return "%", ""


def _task_of(name: str) -> Task | None:
    try:
        return task(name)
    except ValueError:  # a behaviour's name, or a task of somebody's own file
        return None


def _published(name: str, algorithms: set[str]) -> tuple[Published, ...]:
    known = _task_of(name)
    return () if known is None else tuple(p for p in known.published if p.algorithm in algorithms)
