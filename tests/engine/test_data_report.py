"""The numbers that describe a dataset, against plain numpy and data of known shape."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import envs
from engine.data.dataset import TransitionDataset, in_memory, row_width
from engine.data.report import COVERAGE_ROWS, HISTOGRAM_BINS, MAP_CELLS, coverage, report, taken_evenly
from engine.record import dumps


def dataset_of(s: NDArray[np.float64], limit: int = 50) -> TransitionDataset:
    """States that are given, in episodes of `limit` steps; one action in [-1, 1] and the reward −1."""
    count, obs = s.shape
    rows = np.zeros((count, row_width(obs, 1)), dtype=np.float32)
    rows[:, :obs], rows[:, obs + 2 : -1] = s, s
    rows[:, obs] = np.random.default_rng(5).uniform(-1, 1, count)
    rows[:, obs + 1] = -1
    ends = np.append(np.arange(limit, count, limit), count)
    return in_memory(rows, ends, obs, 1, {"max_episode_steps": limit})


@pytest.fixture(scope="module")
def hopper() -> TransitionDataset:
    """800 steps of Hopper with uniform actions."""
    env = envs.make("Hopper-v5")
    rng, rows, ends = np.random.default_rng(0), [], []
    while len(rows) < 800:
        s, _ = env.reset(seed=len(ends))
        done = False
        while not done and len(rows) < 800:
            a = rng.uniform(-1, 1, 3).astype(np.float32)
            following, r, terminal, truncated, _ = env.step(a)
            rows.append(np.concatenate([s, a, [float(r)], following, [terminal]]).astype(np.float32))
            s, done = following, terminal or truncated
        ends.append(len(rows))
    return in_memory(np.array(rows), np.array(ends), 11, 3, {"max_episode_steps": 1000})


def test_sizes_returns_and_spans(hopper: TransitionDataset) -> None:
    r = report(hopper)
    returns = hopper.episode_returns[hopper.complete_episodes]
    assert 0 < len(returns) == r["complete_episodes"] <= r["episodes"] == len(hopper.episode_ends)
    assert r["size"] == 800
    assert r["terminal_episodes"] == int(hopper.terminals.sum()) == round(800 * r["terminal_fraction"])
    for name, value in (
        ("mean", returns.mean()),
        ("std", returns.std()),
        ("min", returns.min()),
        ("best", returns.max()),
    ):
        assert r[f"{name}_return"] == pytest.approx(value)
    assert r["mean_length"] == pytest.approx(800 / len(hopper.episode_ends))
    for key, columns in (("observations", hopper.observations), ("actions", hopper.actions)):
        values = columns.astype(np.float64)
        for name in ("min", "max", "mean", "std"):
            np.testing.assert_allclose(r[key][name], getattr(values, name)(axis=0), rtol=1e-9, atol=1e-12)
    assert r["reward"]["std"] == pytest.approx(hopper.rewards.astype(np.float64).std())
    levels = r["reward_quantiles"]["levels"]
    np.testing.assert_allclose(r["reward_quantiles"]["values"], np.quantile(hopper.rewards, levels), rtol=1e-6)


def test_the_histograms_hold_every_episode(hopper: TransitionDataset) -> None:
    r = report(hopper)
    for name, values in (
        ("return_histogram", hopper.episode_returns[hopper.complete_episodes]),
        ("length_histogram", hopper.episode_lengths),
    ):
        edges, counts = r[name]["edges"], r[name]["counts"]
        assert len(edges) == HISTOGRAM_BINS + 1 == len(counts) + 1
        assert sum(counts) == len(values)
        assert (edges[0], edges[-1]) == pytest.approx((values.min(), values.max()))
        below = int((values < edges[7]).sum())
        assert sum(counts[:7]) == below


def test_without_a_complete_episode_there_are_no_returns() -> None:
    d = dataset_of(np.random.default_rng(0).normal(size=(40, 3)))
    r = report(d)
    assert r["complete_episodes"] == 0
    assert r["mean_return"] is r["best_return"] is r["return_histogram"] is None
    assert sum(r["length_histogram"]["counts"]) == 1


def test_it_is_json(hopper: TransitionDataset) -> None:
    assert json.loads(dumps(report(hopper))) == report(hopper)


def test_values_that_are_not_finite_are_left_out_of_the_coverage() -> None:
    s = np.random.default_rng(1).normal(size=(400, 3))
    clean = coverage(dataset_of(s))
    s[7, 1], s[8, 2] = np.nan, np.inf
    r = report(dataset_of(s))
    assert r["coverage"]["rows"] == 398
    assert r["coverage"]["effective_dimension"] == pytest.approx(clean["effective_dimension"], rel=0.02)
    assert np.isnan(r["observations"]["mean"][1])
    assert r["observations"]["max"][2] == np.inf
    assert json.loads(dumps(r))["observations"]["max"][2] == "Infinity"
    assert np.isfinite(r["observations"]["mean"][0])


def test_the_effective_dimension_counts_directions() -> None:
    rng = np.random.default_rng(2)
    free = rng.normal(size=(20_000, 6)) * [1, 10, 100, 0.1, 5, 1] + 3  # the scale of a dimension does not count
    assert coverage(dataset_of(free))["effective_dimension"] == pytest.approx(6, abs=0.02)
    line = np.outer(rng.normal(size=500), [1.0, -2.0, 5.0])
    on_a_line = coverage(dataset_of(line))
    assert on_a_line["effective_dimension"] == pytest.approx(1, abs=1e-4)
    assert on_a_line["principal_share"][0] == pytest.approx(1, abs=1e-4)
    # Two dimensions that are one, and one beside: λ = 2, 1, 0 and (2 + 1)²/(4 + 1).
    x, y = rng.normal(size=(2, 50_000))
    assert coverage(dataset_of(np.stack([x, -x, y], axis=1)))["effective_dimension"] == pytest.approx(1.8, abs=0.02)


def test_dimensions_that_never_vary_are_left_out() -> None:
    s = np.random.default_rng(3).normal(size=(500, 4))
    s[:, 2] = 0.1
    c = coverage(dataset_of(s))
    assert c["varying_dimensions"] == 3
    assert c["effective_dimension"] == pytest.approx(3, abs=0.1)
    assert sum(c["principal_share"]) < 1
    fixed = coverage(dataset_of(np.full((60, 2), 0.1)))
    assert (fixed["varying_dimensions"], fixed["effective_dimension"], fixed["map"]) == (0, None, None)
    s[:, 1:] = 7
    assert coverage(dataset_of(s))["map"] is None


def test_quantiles_of_observations_and_actions(hopper: TransitionDataset) -> None:
    c = coverage(hopper)
    assert c["levels"] == [0.01, 0.5, 0.99]
    np.testing.assert_allclose(c["observations"], np.quantile(hopper.observations, c["levels"], axis=0), rtol=1e-5)
    np.testing.assert_allclose(c["actions"], np.quantile(hopper.actions, c["levels"], axis=0), rtol=1e-5)
    assert np.shape(coverage(dataset_of(np.zeros((9, 2))))["actions"]) == (3, 1)


def test_the_map_shows_where_the_rows_are() -> None:
    rng = np.random.default_rng(4)
    # Two clouds, apart along the diagonal of the first two dimensions, which so is the first principal component.
    far = np.where(rng.random(4000) < 0.25, 10.0, -10.0)
    s = np.stack([far + rng.normal(size=4000), far + rng.normal(size=4000), rng.normal(size=4000)], axis=1)
    m = coverage(dataset_of(s))["map"]
    counts = np.array(m["counts"])
    assert counts.shape == (MAP_CELLS, MAP_CELLS)
    assert counts.sum() + m["outside"] == 4000
    assert 0 < m["outside"] <= 0.02 * 4000
    assert m["occupied"] == pytest.approx((counts > 0).mean())
    assert m["occupied"] < 0.6
    along = counts.sum(axis=0)  # x: the quarter of the rows is far from the others
    assert along[MAP_CELLS // 2 - 4 : MAP_CELLS // 2 + 4].sum() == 0
    assert along[MAP_CELLS // 2 :].sum() == pytest.approx(1000, abs=60)
    assert m["x"][0] < -0.4 < 2.2 < m["x"][1]


def test_one_stray_row_does_not_squeeze_the_map() -> None:
    s = np.random.default_rng(6).normal(size=(5000, 2))
    before = coverage(dataset_of(s))["map"]["occupied"]
    s[0] = 1e4
    assert coverage(dataset_of(s))["map"]["occupied"] > 0.2 < before


def test_actions_at_the_limit() -> None:
    d = dataset_of(np.zeros((200, 2)))
    d.actions[:50] = 1.0
    d.actions[50:80] = -0.9995
    d.actions[80:] = 0.9985
    assert report(d)["actions_at_limit"] == pytest.approx(80 / 200)


def test_rows_are_taken_evenly() -> None:
    d = dataset_of(np.arange(1000.0)[:, None])
    taken = taken_evenly(d, 100)[:, 0]
    assert (taken[0], taken[-1], len(taken)) == (0, 999, 100)
    assert set(np.diff(taken)) <= {10, 11}
    assert len(taken_evenly(d, 5000)) == 1000


def test_a_million_rows_would_take_two_seconds_of_one_core_at_most() -> None:
    rows = np.random.default_rng(7).standard_normal((20_000, row_width(27, 8)), dtype=np.float32)
    rows[:, -1] = 0
    d = TransitionDataset(np.tile(rows, (20, 1)), np.arange(1000, 400_001, 1000), 27, 8, {"max_episode_steps": 1000})
    took = []
    for _ in range(3):  # the least: another program on the same core slows what it does not stop
        start = time.process_time()
        r = report(d)
        took.append(time.process_time() - start)
    assert min(took) < 0.8
    assert r["coverage"]["rows"] == COVERAGE_ROWS
