"""The scores of one run: final, over its evaluations, by stage, and what they are read against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager.run import Run, number_of, text_of
from mopo_tui.manager.state import clean

LAST = 10  # evaluations in "mean of the last"
REFERENCE_TITLES = {
    "random": "random policy",
    "do_nothing": "do-nothing policy",
    "batch_mean": "batch mean",
    "batch_best": "batch best",
    "reference": "online reference policy",
}


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


def references(recorded: Mapping[str, Any]) -> dict[str, Score]:
    """Returns against which scores are read, by name ("random", "do_nothing", "batch_mean", "batch_best", "reference"), as far as
    an environment.json or a dataset's manifest has them."""
    found: dict[str, Score] = {}
    known = recorded.get("references")
    for name, values in known.items() if isinstance(known, Mapping) else ():
        if isinstance(values, Mapping) and (value := number_of(values, "return")) is not None:
            episodes = number_of(values, "episodes")
            found[str(name)] = Score(
                value,
                stderr=number_of(values, "stderr"),
                normalized=normalized_score(value, recorded),
                progress=number_of(values, "progress"),
                length=number_of(values, "length"),
                episodes=None if episodes is None else int(episodes),
            )
    return found


def reference_title(name: str) -> str:
    """What a reference is called where a person reads it."""
    return clean(REFERENCE_TITLES.get(name, name))


def _scale(recorded: Mapping[str, Any]) -> tuple[float, float, str] | None:
    known = recorded.get("references")
    scale = known.get("scale") if isinstance(known, Mapping) else None
    if not isinstance(scale, Mapping):
        return None
    low, high = number_of(scale, "min"), number_of(scale, "max")
    return None if low is None or high is None or low == high else (low, high, text_of(scale, "origin"))


def scale_words(recorded: Mapping[str, Any]) -> str:
    """Between which returns a score in % lies, and where these come from; empty without a scale."""
    scale = _scale(recorded)
    if scale is None:
        return ""
    low, high, origin = scale
    return f"score: 0 is a return of {low:g}, 100 one of {high:g}" + (f" ({origin})" if origin else "")


def normalized_score(value: float, recorded: Mapping[str, Any]) -> float | None:
    """100·(R − min)/(max − min) on the scale that was recorded with the run or dataset; None where it has none."""
    scale = _scale(recorded)
    return None if scale is None else 100.0 * (value - scale[0]) / (scale[1] - scale[0])


def share_of_batch(value: float, environment: Mapping[str, Any]) -> float | None:
    """100·(R − batch mean)/(batch best − batch mean): steadier than a scale that begins at a random policy whose return varies by
    thousands, as on halfcheetah-jump. None where the batch has no complete episode."""
    known = references(environment)
    if "batch_mean" not in known or "batch_best" not in known:
        return None
    mean, best = known["batch_mean"].value, known["batch_best"].value
    return None if best <= mean else 100.0 * (value - mean) / (best - mean)


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
