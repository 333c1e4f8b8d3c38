"""Runs and groups of seeds side by side: their scores, what they differ in, and what makes a comparison unfair."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import record
from engine.tasks import Published, Task, nearest, task
from mopo_tui.manager.groups import group_key, origin_of, setting_key, shared_settings, with_defaults
from mopo_tui.manager.run import Run, number_of, text_of
from mopo_tui.manager.settings import read_settings
from mopo_tui.manager.state import clean
from mopo_tui.manager.store import StoreError

if TYPE_CHECKING:
    from mopo_tui.manager.series import Floats
    from mopo_tui.manager.statistics import Improvement, Summary

LAST = 10  # evaluations in "mean of the last"
U, SPEED = "uncertainty/mean", "speed/updates_per_s"
MODEL, PENALISED, REAL = "eval/model_return", "eval/model_return_penalised", "eval/discounted_return"
GAP, PENALISED_GAP = "gap", "gap_penalised"  # the model's estimate of the discounted return less the real one
_LABEL_KEYS = 3
_OF_DATA = ("scale", "batch_mean", "batch_best")  # references that other warnings speak for
_NAMED_FIRST = ("algorithm", "preset")  # a group's label says these without their key


@dataclass(frozen=True)
class Score:
    """An undiscounted return in the real environment, and what goes with it.

    Attributes:
        value: mean return.
        std: over the episodes; None for a mean of evaluations.
        normalized: in %, None where the task has no scale.
        progress: return less the survive reward, where the task has one.
        length: mean episode length in steps.
        episodes: how many were played; `evaluations` how many evaluations are averaged.
    """

    value: float
    std: float | None = None
    stderr: float | None = None
    normalized: float | None = None
    progress: float | None = None
    length: float | None = None
    episodes: int | None = None
    evaluations: int | None = None


@dataclass(frozen=True)
class Entry:
    """One run of a comparison. `final` is None until the run is finished; the other scores are of the evaluations so far.

    Attributes:
        setting: what it shares with its other seeds (`groups.setting_key`).
        group: the letter of the group that it is in.
        left_out: why it does not count in its group; empty where it does.
        stages: the final scores of both stages of an MB2PO run, by name, of which `final` is that of the `recommended` one.
        speed: policy updates per second, mean of the last ten epochs.
    """

    id: str
    name: str
    state: str
    task: str
    algorithm: str
    preset: str
    seed: int
    update: int
    wall_s: float | None
    final: Score | None
    mean_last_10: Score | None
    best: Score | None
    references: dict[str, float]
    dataset: str
    fingerprint: str
    evaluated_in: str
    versions: dict[str, str]
    commit: str = ""
    reason: str = ""
    folder: str = ""
    setting: str = ""
    group: str = ""
    left_out: str = ""
    stages: dict[str, Score] = field(default_factory=dict)
    recommended: str = ""
    speed: float | None = None


@dataclass(frozen=True)
class Difference:
    """A configuration key on which the runs do not agree, with the value of each (None: the run does not know the key)."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Measure:
    """A metric over the runs of a group: mean and standard deviation over the seeds of its last value, and of the mean of
    its last ten values; a deviation is None for one run."""

    n: int
    last: float
    last_std: float | None
    mean_last_10: float
    mean_last_10_std: float | None


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed.

    Attributes:
        letter: by which tables name it.
        label: what sets it apart from the comparison's other groups.
        key, setting: `groups.group_key` and `groups.setting_key` of its runs.
        values: its values of the keys on which its task's groups differ, and of the one that they are ordered by.
        runs, seeds: of the runs that count, which are finished.
        started: how many runs of it were started, of which those in `runs` count.
        left_out: the ids of those that do not count; their entries say why.
        final, mean_last_10, best, progress: over the runs that count, in the unit of its task; progress is a return.
        stages: the same of MB2PO's two stages; `recommended` counts which one the runs took.
        wall_s, speed: means over the runs that count: seconds, and policy updates per second.
        measures: by metric; `gap` and `gap_penalised` are the model's discounted return less the real one.
    """

    letter: str
    label: str
    key: str
    setting: str
    task: str
    algorithm: str
    values: dict[str, Any]
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    started: int
    left_out: tuple[str, ...]
    recommended: dict[str, int]
    episodes: tuple[int, ...]
    wall_s: float | None
    speed: float | None
    measures: dict[str, Measure]
    final: Summary | None = None
    mean_last_10: Summary | None = None
    best: Summary | None = None
    progress: Summary | None = None
    stages: dict[str, Summary] = field(default_factory=dict)


@dataclass(frozen=True)
class Beats:
    """How likely a run of group `a` scores higher than one of group `b`."""

    a: str
    b: str
    improvement: Improvement


@dataclass(frozen=True)
class TaskScores:
    """What may be compared: the groups of one task.

    Attributes:
        unit: "%" where all have one and the same scale, or "return".
        why: why it is the return; empty for a score.
        groups: highest interquartile mean first, or by the values of a key; those without a finished run last.
        letters, settings: of the groups in the order they were given, and the keys on which they differ with a value for each.
        beats: every pair of groups that have finished runs.
        published: scores of the literature of the same algorithms.
    """

    task: str
    unit: str
    why: str
    groups: tuple[Group, ...]
    letters: tuple[str, ...]
    settings: tuple[Difference, ...]
    beats: tuple[Beats, ...]
    published: tuple[Published, ...]
    references: dict[str, float]
    evaluated_in: tuple[str, ...]
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: in the order they were given.
        differing: keys on which the runs differ.
        warnings: what keeps scores from being compared as they stand.
        unfinished: one line for each run that has no final score.
        tasks: the groups, task by task; scores of two tasks have no common mean.
        by: the key whose values the groups stand for; empty for none.
    """

    runs: tuple[Entry, ...]
    differing: tuple[Difference, ...]
    warnings: tuple[str, ...]
    unfinished: tuple[str, ...]
    tasks: tuple[TaskScores, ...]
    by: str = ""

    def groups(self) -> list[Group]:
        """All groups, by letter."""
        return sorted((g for each in self.tasks for g in each.groups), key=lambda g: (len(g.letter), g.letter))

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


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
    seeds = [_Seed(run) for run in runs]
    if by:
        _check_key(by, seeds)
    groups = _grouped(seeds)
    tasks = [
        _task_scores(name, [group for group in groups if group[0].run.task == name], by)
        for name in dict.fromkeys(seed.run.task for seed in seeds)
    ]
    entries = tuple(seed.entry() for seed in seeds)
    return Comparison(
        runs=entries,
        differing=tuple(_differing([seed.settings for seed in seeds])),
        warnings=tuple(_warnings(entries, seeds)),
        unfinished=tuple(_unfinished(entries)),
        tasks=tuple(tasks),
        by=by,
    )


def scores(run: Run) -> tuple[Score | None, Score | None, Score | None]:
    """(final, mean of the last ten evaluations, best evaluation): of result.json where the run is finished, else of the evaluations
    recorded so far."""
    if run.result is not None:
        recorded = tuple(_recorded_score(run.result.get(key)) for key in ("final", "mean_last_10", "best"))
        return recorded[0], recorded[1], recorded[2]
    returns = evaluations(run.folder)
    if not returns:
        return None, None, None
    environment = record.read_json(run.folder / record.ENVIRONMENT) or {}

    def normalized(value: float) -> float | None:
        return normalized_score(value, environment)

    last = returns[-LAST:]
    mean = sum(last) / len(last)
    best = max(returns)
    return (
        None,
        Score(mean, normalized=normalized(mean), evaluations=len(last)),
        Score(best, normalized=normalized(best)),
    )


def evaluations(folder: Path) -> list[float]:
    """The mean return of each evaluation during training, in order of the steps; a step evaluated again counts once."""
    kept: dict[float, float] = {}
    for row in record.read_rows(folder / record.METRICS)[0]:
        values = row.get("m")
        if not isinstance(values, Mapping) or row.get("stage") == "evaluation":
            continue
        value, step = number_of(values, "eval/return"), number_of(row, "step")
        if value is not None and step is not None:
            kept[step] = value
    return [kept[step] for step in sorted(kept)]


def stage_scores(result: Mapping[str, Any]) -> dict[str, Score]:
    """The final scores of MB2PO's two stages, by name; empty for other algorithms."""
    found, recorded = {}, result.get("policies")
    for name, values in recorded.items() if isinstance(recorded, Mapping) else ():
        if (score := _recorded_score(values)) is not None:
            found[clean(str(name))] = score
    return found


def references(environment: Mapping[str, Any]) -> dict[str, float]:
    """Mean returns by name ("random", "do_nothing", "batch_mean", "batch_best"), as far as environment.json has them."""
    found: dict[str, float] = {}
    recorded = environment.get("references")
    for name, values in recorded.items() if isinstance(recorded, Mapping) else ():
        if isinstance(values, Mapping) and (value := number_of(values, "return")) is not None:
            found[str(name)] = value
    return found


def normalized_score(value: float, environment: Mapping[str, Any]) -> float | None:
    """100·(R − min)/(max − min) on the scale that was recorded with the run; None where it has none."""
    recorded = environment.get("references")
    scale = recorded.get("scale") if isinstance(recorded, Mapping) else None
    low, high = (number_of(scale, "min"), number_of(scale, "max")) if isinstance(scale, Mapping) else (None, None)
    return None if low is None or high is None or low == high else 100.0 * (value - low) / (high - low)


def share_of_batch(value: float, environment: Mapping[str, Any]) -> float | None:
    """100·(R − batch mean)/(batch best − batch mean): steadier than a scale that begins at a random policy whose return varies by
    thousands, as on halfcheetah-jump. None where the batch has no complete episode."""
    known = references(environment)
    mean, best = known.get("batch_mean"), known.get("batch_best")
    return None if mean is None or best is None or best <= mean else 100.0 * (value - mean) / (best - mean)


def evaluated_in(environment: Mapping[str, Any]) -> str:
    """The environment of a run's scores with what decides how it behaves: "Hopper-v5, gymnasium 1.4.0, mujoco 4.0.0"."""
    recorded, versions = environment.get("environment"), environment.get("versions")
    parts = []
    if isinstance(recorded, Mapping) and recorded.get("id"):
        options = recorded.get("options")
        given = [f"{k}={v}" for k, v in options.items()] if isinstance(options, Mapping) else []
        parts.append(f"{recorded['id']}" + (f" ({', '.join(given)})" if given else ""))
    if isinstance(versions, Mapping):
        parts += [f"{name} {versions[name]}" for name in ("gymnasium", "mujoco") if name in versions]
    return ", ".join(parts)


def _recorded_score(values: Any) -> Score | None:
    if not isinstance(values, Mapping) or (value := number_of(values, "return")) is None:
        return None

    def count(key: str) -> int | None:
        number = number_of(values, key)
        return None if number is None else int(number)

    return Score(
        value,
        std=number_of(values, "return_std"),
        stderr=number_of(values, "return_stderr"),
        normalized=number_of(values, "normalized_score"),
        progress=number_of(values, "progress"),
        length=number_of(values, "length"),
        episodes=count("episodes"),
        evaluations=count("evaluations"),
    )


# --- two runs ---------------------------------------------------------------------------------------------------------------------

_PARTS = {
    "data": ("dataset", ("id", "origin", "source", "size", "episodes", "seed", "fingerprint", "ladder")),
    "environment": ("environment", ("id", "options")),
    "versions": ("versions", ()),
    "compute": ("compute", ()),
}
_MACHINE = ("host", "platform", "cpu", "cores", "python")


def differences(a: Run, b: Run) -> dict[str, tuple[Difference, ...]]:
    """In what two runs differ, by part: "configuration", "data", "environment", "constants" (what a score is read against),
    "versions", "code" (the commit), "compute" and "machine"; a part in which they agree is empty."""
    found = {"configuration": tuple(_differing([with_defaults(read_settings(run.folder)) for run in (a, b)]))}
    environments = [record.read_json(run.folder / record.ENVIRONMENT) or {} for run in (a, b)]
    for part, (name, keys) in _PARTS.items():
        recorded = [each.get(name) for each in environments]
        tables = [table if isinstance(table, Mapping) else {} for table in recorded]
        found[part] = tuple(
            _differing([{key: value for key, value in table.items() if not keys or key in keys} for table in tables])
        )
        if part == "environment":
            found["constants"] = tuple(_differing([origin_of(each)["references"] for each in environments]))
    found["code"] = tuple(_differing([{"commit": each.get("git_commit")} for each in environments]))
    found["machine"] = tuple(_differing([{key: each.get(key) for key in _MACHINE} for each in environments]))
    return found


# --- runs -------------------------------------------------------------------------------------------------------------------------


class _Seed:
    """A run with what its folder says, read once."""

    def __init__(self, run: Run) -> None:
        from mopo_tui.manager.series import RunReader

        self.run = run
        self.reader = RunReader(run.folder)
        self.reader.refresh()
        self.environment = self.reader.environment
        self.settings = with_defaults(self.reader.config)
        self.final, self.mean_last_10, self.best = scores(run)
        self.stages = stage_scores(run.result or {})
        self.wall_s = number_of(run.result, "wall_s") if run.result is not None else None
        speed = self.reader.series(SPEED).value[-LAST:]
        self.speed = float(speed.mean()) if len(speed) and math.isfinite(speed.mean()) else None
        self.letter = ""
        self.left_out = ""

    def entry(self) -> Entry:
        run, dataset, versions = self.run, self.environment.get("dataset"), self.environment.get("versions")
        dataset = dataset if isinstance(dataset, Mapping) else {}
        return Entry(
            id=run.id,
            name=run.name,
            state=run.state.value,
            task=run.task,
            algorithm=run.algorithm,
            preset=run.preset,
            seed=run.seed,
            update=int(number_of(run.result or run.summary, "update") or 0),
            wall_s=self.wall_s,
            final=self.final,
            mean_last_10=self.mean_last_10,
            best=self.best,
            references=references(self.environment),
            dataset=text_of(dataset, "id"),
            fingerprint=text_of(dataset, "fingerprint"),
            evaluated_in=clean(evaluated_in(self.environment)),
            versions={clean(str(k)): clean(str(v)) for k, v in versions.items()}
            if isinstance(versions, Mapping)
            else {},
            commit=text_of(self.environment, "git_commit"),
            reason=run.reason,
            folder=str(run.folder),
            setting=setting_key(run.folder),
            group=self.letter,
            left_out=self.left_out,
            stages=self.stages,
            recommended=text_of(run.result or {}, "recommended"),
            speed=self.speed,
        )

    def measured(self, name: str) -> tuple[float, float] | None:
        """A metric's last finite value, and the mean of its last ten; None where it has none."""
        return _last_values(self.reader.series(name).value)

    def gap(self, estimate: str) -> tuple[float, float] | None:
        """The same of an estimate of the model less the real discounted return, where both were measured at one step."""
        import numpy as np

        ours, real = self.reader.series(estimate), self.reader.series(REAL)
        _, i, j = np.intersect1d(ours.step, real.step, return_indices=True)
        return _last_values(ours.value[i] - real.value[j])


def _last_values(values: Floats) -> tuple[float, float] | None:
    import numpy as np

    finite = values[np.isfinite(values)]
    return (float(finite[-1]), float(finite[-LAST:].mean())) if len(finite) else None


# --- groups -----------------------------------------------------------------------------------------------------------------------


def _grouped(seeds: Sequence[_Seed]) -> list[list[_Seed]]:
    """The seeds of one group together, by seed; the groups in the order in which their first run was given."""
    found: dict[str, list[_Seed]] = {}
    waiting: list[_Seed] = []
    taken: set[Path] = set()
    for seed in seeds:
        if seed.run.folder in taken:
            continue
        taken.add(seed.run.folder)
        if "versions" not in seed.environment and seed.settings:
            waiting.append(
                seed
            )  # nothing says yet on what data it learns: it belongs to its setting, if that is one group
        else:
            found.setdefault(group_key(seed.run.folder) or seed.run.id, []).append(seed)
    for seed in waiting:
        setting = setting_key(seed.run.folder)
        same = [key for key, group in found.items() if setting_key(group[0].run.folder) == setting]
        found.setdefault(same[0] if len(same) == 1 else setting, []).append(seed)
    order = {seed.run.folder: i for i, seed in enumerate(seeds)}
    groups = sorted(found.values(), key=lambda group: min(order[seed.run.folder] for seed in group))
    for i, group in enumerate(groups):
        group.sort(key=lambda seed: (seed.run.seed, seed.run.created))
        for seed in group:
            seed.letter = _letter(i)
        _leave_out(group)
    return groups


def _leave_out(group: Sequence[_Seed]) -> None:
    """Say of each run that has no final score, or is not the newest finished one of its seed, why it does not count."""
    newest: dict[int, _Seed] = {}
    for seed in group:
        if seed.run.state.value != "finished":
            seed.left_out = seed.run.state.value + (f": {seed.run.reason}" if seed.run.reason else "")
        elif seed.final is None:
            seed.left_out = "finished without a final score"
        else:
            newest[seed.run.seed] = seed
    for seed in group:
        if not seed.left_out and newest[seed.run.seed] is not seed:
            seed.left_out = f"seed {seed.run.seed} again: {newest[seed.run.seed].run.id} is newer"


def _group(label: str, group: Sequence[_Seed], values: Mapping[str, Any]) -> Group:
    """Everything of a group but its scores, whose unit its task decides."""
    counted = [seed for seed in group if not seed.left_out]
    names = dict.fromkeys(
        name
        for seed in counted
        for name in seed.reader.names()
        if name in (U, MODEL, PENALISED, REAL) or name.startswith("calibration/")
    )
    measures = {name: _measure([seed.measured(name) for seed in counted]) for name in names}
    measures[GAP] = _measure([seed.gap(MODEL) for seed in counted])
    measures[PENALISED_GAP] = _measure([seed.gap(PENALISED) for seed in counted])
    first = group[0]
    return Group(
        letter=first.letter,
        label=label,
        key=group_key(first.run.folder),
        setting=setting_key(first.run.folder),
        task=first.run.task,
        algorithm=first.run.algorithm,
        values=dict(values),
        runs=tuple(seed.run.id for seed in counted),
        seeds=tuple(seed.run.seed for seed in counted),
        started=sum(seed.run.state.value != "queued" for seed in group),
        left_out=tuple(seed.run.id for seed in group if seed.left_out),
        recommended=dict(Counter(text for seed in counted if (text := text_of(seed.run.result or {}, "recommended")))),
        episodes=tuple(dict.fromkeys(seed.final.episodes for seed in counted if seed.final and seed.final.episodes)),
        wall_s=_mean_of([seed.wall_s for seed in counted]),
        speed=_mean_of([seed.speed for seed in counted]),
        measures={name: measure for name, measure in measures.items() if measure is not None},
    )


def _measure(found: Sequence[tuple[float, float] | None]) -> Measure | None:
    from mopo_tui.manager.statistics import summarise

    known = [each for each in found if each is not None]
    if not known:
        return None
    last, mean = (summarise(values) for values in zip(*known, strict=True))
    return Measure(last.n, last.mean, last.std, mean.mean, mean.std)


def _task_scores(name: str, groups: Sequence[Sequence[_Seed]], by: str) -> TaskScores:
    """The groups of one task with their scores, in the unit that all share."""
    from mopo_tui.manager.statistics import compare_groups, summarise

    shared = [shared_settings(group[0].settings) for group in groups]
    settings = _differing(shared)
    keys = dict.fromkeys([row.key for row in settings] + ([by] if by else []))
    labels = _labels(groups, settings)
    made = [
        _group(label, group, {key: values.get(key) for key in keys})
        for label, group, values in zip(labels, groups, shared, strict=True)
    ]
    counted = [[seed for seed in group if not seed.left_out] for group in groups]
    unit, why = _unit(name, [seed for group in groups for seed in group if "versions" in seed.environment])

    def value(seed: _Seed, score: Score | None) -> float | None:
        if score is None or unit == "return":
            return None if score is None else score.value
        return score.normalized if score.normalized is not None else normalized_score(score.value, seed.environment)

    def summary(found: Sequence[float | None]) -> Summary | None:
        known = [each for each in found if each is not None]
        return summarise(known) if known else None

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


def _unit(name: str, seeds: Sequence[_Seed]) -> tuple[str, str]:
    """ "%" where all runs have one and the same scale; otherwise "return", and why."""
    if not seeds:
        return "return", ""
    scales = [origin_of(seed.environment)["references"].get("scale") for seed in seeds]
    bounds = {record.dumps([scale.get("min"), scale.get("max")]) for scale in scales if isinstance(scale, Mapping)}
    if not bounds:
        known = _task_of(name)
        origin = known.scale_origin if known is not None and known.score_scale is None else ""
        return "return", f"this task has no scale{': ' + origin if origin else ''}"
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


def _mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _letter(i: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    return (_letter(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)


def _labels(groups: Sequence[Sequence[_Seed]], settings: Sequence[Difference]) -> list[str]:
    """What sets each group apart, in a few words: its algorithm, its values of what differs, and where that is not enough the data,
    environment, versions or constants."""
    rows = [row for row in settings if row.key not in _NAMED_FIRST]
    tails = Counter(row.key.rpartition(".")[2] for row in rows)
    several = {row.key for row in settings}
    labels = []
    for i, group in enumerate(groups):
        run = group[0].run
        words = [run.algorithm or run.job]
        if "preset" in several and run.preset:
            words.append(run.preset)
        for row in rows[:_LABEL_KEYS]:
            tail = row.key.rpartition(".")[2]
            words.append(f"{tail if tails[tail] == 1 else row.key}={shown(row.values[i])}")
        words += ["…"] if len(rows) > _LABEL_KEYS else []
        labels.append(" ".join(words))
    same = {label for label, count in Counter(labels).items() if count > 1}
    if not same:
        return labels
    origins = [origin_of(group[0].environment) for group in groups]
    for i, label in enumerate(labels):
        if label in same:
            others = [origins[j] for j, other in enumerate(labels) if other == label]
            labels[i] = " ".join([label, *_origin_words(origins[i], others)])
    return labels


def _origin_words(origin: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    words = []
    if any(other["fingerprint"] != origin["fingerprint"] for other in others):
        words.append(f"data {clean(origin['fingerprint'][:6]) or '?'}")
    if any(other["environment"] != origin["environment"] for other in others):
        words.append(f"in {clean(str(origin['environment'].get('id', '?')))}")
    versions = origin["versions"]
    for name in sorted({str(name) for other in others for name in other["versions"]} | set(versions)):
        if len({str(other["versions"].get(name)) for other in others}) > 1:
            words += [clean(f"{name} {versions.get(name, '?')}")]
    if not words and any(other["references"] != origin["references"] for other in others):
        words.append("other constants")
    return words


def shown(value: Any) -> str:
    """A configuration's value in a table: a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(shown(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return " ".join(f"{clean(str(k))}={shown(v)}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else clean(str(value))


def _check_key(by: str, seeds: Sequence[_Seed]) -> None:
    known = dict.fromkeys(key for seed in seeds for key in seed.settings)
    if by not in known:
        raise nearest("configuration key", by, list(known))
    if by not in shared_settings(dict.fromkeys(known)):
        raise StoreError(f"--by {by}: the seeds of a setting may differ in it, so it tells no groups apart")


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[Difference]:
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = [Difference(key, tuple(each.get(key) for each in settings)) for key in keys]
    return [row for row in rows if any(value != row.values[0] for value in row.values)]


# --- what is unfair ---------------------------------------------------------------------------------------------------------------


def _warnings(entries: Sequence[Entry], seeds: Sequence[_Seed]) -> list[str]:
    """What keeps the runs' scores from being compared as they stand, one line each."""
    found: list[str] = []

    def differ(what: str, values: Iterable[str], consequence: str) -> None:
        known = list(dict.fromkeys(value for value in values if value))
        if len(known) > 1:
            found.append(f"different {what}: {' | '.join(known)}; {consequence}")

    differ("tasks", (e.task for e in entries), "their returns mean different things, so there is no common score")
    tasks = list(dict.fromkeys(e.task for e in entries))
    for name in tasks:
        of = f" of {name}" if len(tasks) > 1 else ""
        same = [(entry, seed) for entry, seed in zip(entries, seeds, strict=True) if entry.task == name]
        prints = (e.fingerprint[:12] for e, _ in same)
        differ(f"dataset fingerprints{of}", prints, "they learned from different data")
        worlds = (e.evaluated_in.partition(", gymnasium")[0] for e, _ in same)
        differ(f"environments{of}", worlds, "their policies were evaluated in different worlds")
        constants = [origin_of(seed.environment)["references"] for _, seed in same]
        scales = (clean(record.dumps(known["scale"])) if known.get("scale") else "" for known in constants)
        differ(f"score scales{of}", scales, "compare returns, not normalized scores")
        for key in dict.fromkeys(key for known in constants for key in known if key not in _OF_DATA):
            values = (f"{known[key]:.1f}" if key in known else "" for known in constants)
            differ(f"{clean(key).replace('_', ' ')} returns{of}", values, "the lines to read a score against differ")
    for name in sorted({name for e in entries for name in e.versions}):
        differ(f"versions of {name}", (e.versions.get(name, "") for e in entries), "arithmetic or physics may differ")
    differ("commits", (e.commit for e in entries), "the code may differ")
    for entry, seed in zip(entries, seeds, strict=True):
        if entry.final is not None and not entry.fingerprint:
            found.append(f"{entry.name} ({entry.id}): its dataset's fingerprint is not recorded")
        if seed.environment.get("earlier"):
            found.append(f"{entry.name} ({entry.id}): its attempts had different hosts, versions or commits")
    return list(dict.fromkeys(found))


def _unfinished(entries: Sequence[Entry]) -> list[str]:
    return [f"{e.name} ({e.id}) is {e.state}: its scores are those so far" for e in entries if e.state != "finished"]
