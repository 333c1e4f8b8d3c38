"""What a dataset holds, in numbers: sizes, returns, rewards, spans of the columns, and how much of the state space it covers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import TransitionDataset

HISTOGRAM_BINS = 20
REWARD_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
COVERAGE_LEVELS = (0.01, 0.5, 0.99)
COVERAGE_ROWS = 200_000
MAP_CELLS = 32
MAP_TAIL = 0.005  # of the rows beyond each end of an axis: one stray row would squeeze all others into few cells
AT_LIMIT = 0.999
_PIECE = 1 << 14  # rows at a time: the float64 copy of a piece stays in the cache


def report(dataset: TransitionDataset) -> dict[str, Any]:
    """Numbers that describe a dataset, in a form that JSON holds; a million rows of 64 columns take about half a second.

    Returns are of complete episodes, and None where there are none; lengths are of all episodes. NaN and infinite values pass
    through to the spans they lie in; the histograms, quantiles and the coverage leave them out.

    Returns:
        size, episodes, complete_episodes; mean_, std_, min_ and best_return; mean_length; terminal_fraction (of the rows) and
        terminal_episodes;
        reward: {min, max, mean, std}; observations, actions: the same, with a list over dimensions each;
        return_histogram, length_histogram: {edges (21), counts (20)}, equal bins from smallest to largest, or None;
        reward_quantiles: {levels, values}, in the unit of a step's reward;
        actions_at_limit: the share of all action entries with |a| > 0.999, where the tanh of a policy (or a clip) has saturated;
        coverage: see `coverage`.
    """
    complete = dataset.complete_episodes
    returns = dataset.episode_returns[complete]
    terminal = int(dataset.terminals.sum())
    spans, at_limit = _spans(dataset)
    obs, act = dataset.observation_dim, dataset.action_dim
    return {
        "size": len(dataset),
        "episodes": len(complete),
        "complete_episodes": len(returns),
        "mean_return": float(returns.mean()) if len(returns) else None,
        "std_return": float(returns.std()) if len(returns) else None,
        "min_return": float(returns.min()) if len(returns) else None,
        "best_return": float(returns.max()) if len(returns) else None,
        "mean_length": float(dataset.episode_lengths.mean()),
        "terminal_fraction": terminal / len(dataset),
        "terminal_episodes": terminal,
        "reward": {name: float(values[obs + act]) for name, values in spans.items()},
        "observations": {name: values[:obs].tolist() for name, values in spans.items()},
        "actions": {name: values[obs : obs + act].tolist() for name, values in spans.items()},
        "return_histogram": _histogram(returns),
        "length_histogram": _histogram(dataset.episode_lengths.astype(np.float64)),
        "reward_quantiles": {
            "levels": list(REWARD_LEVELS),
            "values": _quantiles(dataset.rewards[:, None], REWARD_LEVELS)[:, 0].tolist(),
        },
        "actions_at_limit": at_limit,
        "coverage": coverage(dataset),
    }


def coverage(dataset: TransitionDataset) -> dict[str, Any]:
    """Where in the state space the data lies, on at most 200,000 finite rows taken evenly.

    The observations are standardised (each dimension less its mean, over its standard deviation; those that never vary are left
    out), so that metres and radians count alike. λ are the eigenvalues of their covariance.

    Returns:
        rows: how many rows this is computed on;
        levels, observations, actions: the 1 %, 50 % and 99 % quantiles of s and a, a list over dimensions for each level;
        varying_dimensions: the dimensions of s that vary at all;
        effective_dimension: the participation ratio (Σλ)²/Σλ², from 1 (all on a line) to varying_dimensions (the same all ways);
        principal_share: the shares λ₁/Σλ and λ₂/Σλ of the variance that the first two principal components hold;
        map: the rows over those two components as counts[y][x] on a 32 × 32 grid, with x and y the axes' (low, high): the 0.5 % and
        99.5 % quantiles; outside: the rows beyond them; occupied: the share of cells with any row. None where fewer than two
        dimensions vary.
    """
    rows = taken_evenly(dataset, COVERAGE_ROWS)
    obs, act = dataset.observation_dim, dataset.action_dim
    s = rows[:, :obs].astype(np.float64)
    out: dict[str, Any] = {
        "rows": len(rows),
        "levels": list(COVERAGE_LEVELS),
        "observations": _quantiles(rows[:, :obs], COVERAGE_LEVELS).tolist(),
        "actions": _quantiles(rows[:, obs : obs + act], COVERAGE_LEVELS).tolist(),
        "varying_dimensions": 0,
        "effective_dimension": None,
        "principal_share": None,
        "map": None,
    }
    if not len(rows):
        return out
    mean, std = s.mean(axis=0), s.std(axis=0)
    varies = std > 1e-9 * (1 + np.abs(mean))  # a constant column's mean is rounded, too
    out["varying_dimensions"] = int(varies.sum())
    if not varies.any():
        return out
    z = (s[:, varies] - mean[varies]) / std[varies]
    eigenvalues, vectors = np.linalg.eigh(z.T @ z / len(z))
    eigenvalues, vectors = np.maximum(eigenvalues[::-1], 0), vectors[:, ::-1]
    total = eigenvalues.sum()
    out["effective_dimension"] = float(total**2 / (eigenvalues**2).sum())
    out["principal_share"] = [float(v / total) for v in eigenvalues[:2]]
    if len(eigenvalues) > 1:
        axes = vectors[:, :2]
        # An eigenvector's sign is arbitrary: its largest entry is made positive, so that two reports of like data look alike.
        out["map"] = _map(z @ (axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])))
    return out


def taken_evenly(dataset: TransitionDataset, most: int) -> NDArray[np.float32]:
    """The finite ones among at most `most` packed rows that lie evenly over the dataset, a copy (rows, width)."""
    count = min(len(dataset), most)
    rows = np.asarray(dataset.rows)[np.linspace(0, len(dataset) - 1, count).astype(np.int64)]
    finite = np.isfinite(rows).all(axis=1)
    return rows if finite.all() else rows[finite]


def _spans(dataset: TransitionDataset) -> tuple[dict[str, NDArray[np.float64]], float]:
    """Smallest, largest, mean and standard deviation of the columns of [s | a | r], and the share of actions at their limits.

    One pass over the rows in float64; the sums are of differences from the first piece's mean, which keeps the digits of a column
    that hardly varies.
    """
    obs, width = dataset.observation_dim, dataset.observation_dim + dataset.action_dim + 1
    pivot = dataset.rows[:_PIECE, :width].mean(axis=0, dtype=np.float64)
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    total, squares, at_limit = np.zeros(width), np.zeros(width), 0
    for start in range(0, len(dataset), _PIECE):
        piece = dataset.rows[start : start + _PIECE, :width].astype(np.float64)
        at_limit += int((np.abs(piece[:, obs:-1]) > AT_LIMIT).sum())
        low, high = np.minimum(low, piece.min(axis=0)), np.maximum(high, piece.max(axis=0))
        with np.errstate(invalid="ignore"):  # ∞ − ∞
            piece -= pivot
            total += piece.sum(axis=0)
            squares += np.einsum("ij,ij->j", piece, piece)
    count = len(dataset)
    with np.errstate(invalid="ignore"):
        shift = total / count
        std = np.sqrt(np.maximum(squares / count - shift**2, 0))
    spans = {"min": low, "max": high, "mean": pivot + shift, "std": std}
    return spans, at_limit / (count * dataset.action_dim)


def _histogram(values: NDArray[np.float64]) -> dict[str, list[float]] | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    counts, edges = np.histogram(values, bins=HISTOGRAM_BINS)
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def _quantiles(columns: NDArray[np.float32], levels: tuple[float, ...]) -> NDArray[np.float64]:
    """Quantiles of each column's finite values, (levels, columns); NaN where a column has none."""
    out = np.full((len(levels), columns.shape[1]), np.nan)
    for i, column in enumerate(np.ascontiguousarray(columns.T)):
        finite = np.isfinite(column)
        if finite.any():
            out[:, i] = np.quantile(column if finite.all() else column[finite], levels)
    return out


def _map(points: NDArray[np.float64]) -> dict[str, Any]:
    """Counts of the points (rows, 2) on the grid that `coverage` describes."""
    cell, axes = [], []
    for values in points.T:
        low, high = (float(v) for v in np.quantile(values, (MAP_TAIL, 1 - MAP_TAIL)))
        if not high > low:  # all but a few rows on one spot
            low, high = low - 0.5, low + 0.5
        axes.append([low, high])
        # The upper end belongs to the last cell.
        at = np.floor((values - low) * (MAP_CELLS / (high - low)))
        cell.append(np.where(values == high, MAP_CELLS - 1, at).astype(np.int64))
    inside = np.logical_and.reduce([(c >= 0) & (c < MAP_CELLS) for c in cell])
    flat = np.bincount(cell[1][inside] * MAP_CELLS + cell[0][inside], minlength=MAP_CELLS**2)
    return {
        "x": axes[0],
        "y": axes[1],
        "counts": flat.reshape(MAP_CELLS, MAP_CELLS).tolist(),
        "outside": int(len(points) - inside.sum()),
        "occupied": float((flat > 0).mean()),
    }
