"""Statistics of scores over seeds: point estimates, bootstrap intervals, and how often one setting beats another.

Scores are arrays (runs, tasks); leading axes, such as that of bootstrap resamples, are carried along. The interquartile mean and
the stratified bootstrap are those of Agarwal et al. 2021 (arXiv:2108.13264).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Interval = tuple[float, float]

RESAMPLES = 10_000
LEVEL = 95.0  # %, of every interval
MINIMUM = 3  # runs below which an interval would mean nothing
FEW = 5  # runs up to which a percentile interval covers far less than it says
CUT = 0.25  # share of the scores that the interquartile mean leaves out at each end


@dataclass(frozen=True)
class Summary:
    """What the runs of a group say together.

    Attributes:
        n: runs.
        std: over the runs, with n − 1; None for one run.
        interval: of the interquartile mean; `mean_interval` of the mean; None below `MINIMUM` runs.
    """

    n: int
    iqm: float
    interval: Interval | None
    mean: float
    std: float | None
    mean_interval: Interval | None


@dataclass(frozen=True)
class Improvement:
    """How likely a run of one group scores higher than one of another, ties counting half; the interval is None where a group has
    fewer than `MINIMUM` runs."""

    probability: float
    interval: Interval | None


def summarise(values: Sequence[float]) -> Summary:
    """The statistics of one task's scores, one per run; at least one, all finite. The same values give the same intervals."""
    scores = np.asarray(values, dtype=np.float64)[:, None]
    n = len(scores)
    of_iqm = of_mean = None
    if n >= MINIMUM:
        drawn = resampled(scores, resamples(n, 1, RESAMPLES, np.random.default_rng(0)))
        of_iqm, of_mean = interval(interquartile_mean(drawn)), interval(mean(drawn))
    std = float(scores.std(ddof=1)) if n > 1 else None
    return Summary(n, float(interquartile_mean(scores)), of_iqm, float(mean(scores)), std, of_mean)


def compare_groups(a: Sequence[float], b: Sequence[float]) -> Improvement:
    """How likely a run of `a` scores higher than one of `b`, of one task's finite scores."""
    x, y = (np.asarray(values, dtype=np.float64)[:, None] for values in (a, b))
    found = None
    if min(len(x), len(y)) >= MINIMUM:
        rng = np.random.default_rng(0)
        drawn = [resampled(scores, resamples(len(scores), 1, RESAMPLES, rng)) for scores in (x, y)]
        found = interval(probability_of_improvement(*drawn))
    return Improvement(float(probability_of_improvement(x, y)), found)


def caution(n: int) -> str:
    """What must be said of an interval over `n` runs; empty where it may stand alone."""
    if n < MINIMUM:
        return f"n = {n}: an interval would mean nothing below {MINIMUM} seeds"
    return f"n = {n}: nominal 95 %, covers about 75–85 %" if n <= FEW else ""


# --- point statistics -------------------------------------------------------------------------------------------------------------


def mean(scores: Floats) -> Floats:
    """Mean over the tasks of the means over runs: (…, runs, tasks) to (…)."""
    return np.asarray(scores.mean(axis=-2).mean(axis=-1))


def interquartile_mean(scores: Floats) -> Floats:
    """Mean of all scores without the lowest and the highest quarter, each rounded down: (…, runs, tasks) to (…)."""
    pooled = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    cut = int(CUT * pooled.shape[-1])
    return np.asarray(pooled[..., cut : pooled.shape[-1] - cut].mean(axis=-1))


def probability_of_improvement(x: Floats, y: Floats) -> Floats:
    """P(X > Y) + P(X = Y)/2 over all pairs of runs, averaged over tasks: (…, n, tasks) and (…, m, tasks) to (…)."""
    difference = np.sign(x[..., :, None, :] - y[..., None, :, :])
    return np.asarray((0.5 + 0.5 * difference).mean(axis=(-3, -2)).mean(axis=-1))


# --- bootstrap --------------------------------------------------------------------------------------------------------------------


def resamples(runs: int, tasks: int, count: int, rng: np.random.Generator) -> Indices:
    """Run indices of `count` stratified resamples, (count, runs, tasks): each task's runs are drawn on their own."""
    return rng.integers(runs, size=(count, runs, tasks))


def resampled(scores: Floats, indices: Indices) -> Floats:
    """The scores (runs, tasks) that `indices` (count, runs, tasks) draw, of the shape of `indices`."""
    return np.take_along_axis(scores[None], indices, axis=1)


def interval(values: Floats) -> Interval:
    """The percentile interval of a statistic's values on resamples, (count,)."""
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)
