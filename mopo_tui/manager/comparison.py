"""Runs side by side: their scores, what their configurations differ in, and what makes a comparison unfair."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager.run import Run, number_of
from mopo_tui.manager.settings import read_settings

LAST = 10  # evaluations in "mean of the last"


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
    """One run of a comparison. `final` is None until the run is finished; the other scores are of the evaluations so far."""

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


@dataclass(frozen=True)
class Difference:
    """A configuration key on which the runs do not agree, with the value of each (None: the run does not know the key)."""

    key: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Comparison:
    runs: tuple[Entry, ...]
    differing: tuple[Difference, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def compare(runs: Sequence[Run]) -> Comparison:
    """Scores, differing keys and warnings of `runs`, in their order; what is not recorded yet is None."""
    environments = [record.read_json(run.folder / record.ENVIRONMENT) or {} for run in runs]
    entries = tuple(_entry(run, environment) for run, environment in zip(runs, environments, strict=True))
    settings = [read_settings(run.folder) for run in runs]
    keys = list(dict.fromkeys(key for each in settings for key in each))
    rows = [Difference(key, tuple(each.get(key) for each in settings)) for key in keys]
    differing = tuple(row for row in rows if any(value != row.values[0] for value in row.values))
    return Comparison(entries, differing, tuple(_warnings(entries, environments)))


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


def _entry(run: Run, environment: Mapping[str, Any]) -> Entry:
    final, mean, best = scores(run)
    dataset = environment.get("dataset")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    versions = environment.get("versions")
    return Entry(
        id=run.id,
        name=run.name,
        state=run.state.value,
        task=run.task,
        algorithm=run.algorithm,
        preset=run.preset,
        seed=run.seed,
        update=int(number_of(run.result or run.summary, "update") or 0),
        wall_s=number_of(run.result, "wall_s") if run.result is not None else None,
        final=final,
        mean_last_10=mean,
        best=best,
        references=references(environment),
        dataset=str(dataset.get("id", "")),
        fingerprint=str(dataset.get("fingerprint", "")),
        evaluated_in=evaluated_in(environment),
        versions={str(k): str(v) for k, v in versions.items()} if isinstance(versions, Mapping) else {},
    )


def _warnings(entries: Sequence[Entry], environments: Sequence[Mapping[str, Any]]) -> list[str]:
    """What keeps the runs' scores from being compared as they stand, one line each."""
    found: list[str] = []

    def differ(what: str, values: Sequence[str], consequence: str) -> None:
        known = [value for value in values if value]
        if len(set(known)) > 1:
            found.append(f"{what}: {' | '.join(value or '?' for value in values)}; {consequence}")

    differ("different tasks", [e.task for e in entries], "their returns mean different things")
    differ("different dataset fingerprints", [e.fingerprint[:12] for e in entries], "they learned from different data")
    differ(
        "different environments",
        [e.evaluated_in.partition(", gymnasium")[0] for e in entries],
        "their policies were evaluated in different worlds",
    )
    for name in sorted({name for e in entries for name in e.versions}):
        differ(
            f"different versions of {name}",
            [e.versions.get(name, "") for e in entries],
            "arithmetic or physics may differ",
        )
    scales = [environment.get("references", {}) for environment in environments]
    scales = [scale.get("scale") if isinstance(scale, Mapping) else None for scale in scales]
    differ(
        "different score scales",
        [record.dumps(s) if s else "" for s in scales],
        "compare returns, not normalized scores",
    )
    for entry in entries:
        if not entry.fingerprint:
            found.append(f"{entry.name} ({entry.id}): its dataset's fingerprint is not recorded")
        if entry.state != "finished":
            found.append(f"{entry.name} ({entry.id}) is {entry.state}: its scores are those so far")
    return found
