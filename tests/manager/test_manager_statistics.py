"""The statistics against rliable's, and against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from rliable import library, metrics

from mopo_tui.manager import statistics as own

SHAPES = [(3, 1), (4, 1), (5, 2), (7, 1), (10, 3), (20, 5)]


def scores(shape: tuple[int, int], seed: int = 0) -> own.Floats:
    return np.random.default_rng(seed).normal(50.0, 20.0, shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_point_statistics_are_rliables(shape: tuple[int, int]) -> None:
    x, y = scores(shape), scores(shape, seed=1)
    y[0] = x[1]  # a tie
    assert own.interquartile_mean(x) == pytest.approx(metrics.aggregate_iqm(x), abs=1e-6)
    assert own.mean(x) == pytest.approx(metrics.aggregate_mean(x), abs=1e-6)
    assert own.probability_of_improvement(x, y) == pytest.approx(metrics.probability_of_improvement(x, y), abs=1e-6)
    assert own.probability_of_improvement(x, x) == 0.5


@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_are_rliables_on_the_same_resamples(shape: tuple[int, int]) -> None:
    x, count = scores(shape), 400
    np.random.seed(3)  # rliable draws from the global generator
    drawn = np.stack([np.random.choice(shape[0], shape, replace=True) for _ in range(count)])
    ours = [own.interval(f(own.resampled(x, drawn))) for f in (own.interquartile_mean, own.mean)]
    np.random.seed(3)
    both = lambda s: np.array([metrics.aggregate_iqm(s), metrics.aggregate_mean(s)])  # noqa: E731
    _, theirs = library.get_interval_estimates({"x": x}, both, reps=count)
    np.testing.assert_allclose(np.array(ours).T, theirs["x"], atol=1e-6)


def test_interval_of_the_improvement_is_rliables_on_the_same_resamples() -> None:
    x, y, count = scores((6, 2)), scores((4, 2), seed=1) + 10, 300
    np.random.seed(3)
    pairs = [[np.random.choice(len(s), s.shape, replace=True) for s in (x, y)] for _ in range(count)]
    drawn = [own.resampled(s, np.stack([pair[i] for pair in pairs])) for i, s in enumerate((x, y))]
    np.random.seed(3)
    one = lambda a, b: np.array([metrics.probability_of_improvement(a, b)])  # noqa: E731
    _, theirs = library.get_interval_estimates({"p": [x, y]}, one, reps=count)
    assert own.interval(own.probability_of_improvement(*drawn)) == pytest.approx(theirs["p"][:, 0], abs=1e-6)


def test_summary_of_three_of_two_and_of_one() -> None:
    three = own.summarise([1.0, 5.0, 3.0])
    assert (three.n, three.iqm, three.mean, three.std) == (3, 3.0, 3.0, 2.0)
    assert three.interval == three.mean_interval == (1.0, 5.0)  # the bootstrap of three cannot say more than its range
    two, one = own.summarise([1.0, 3.0]), own.summarise([4.0])
    assert (two.mean, two.interval, two.mean_interval) == (2.0, None, None)
    assert (one.iqm, one.std, one.interval) == (4.0, None, None)
    assert own.summarise([3.0, 1.0, 5.0]) == three


def test_iqm_leaves_out_a_quarter_at_each_end() -> None:
    assert own.summarise([-1000.0, 1.0, 2.0, 1000.0]).iqm == 1.5
    assert own.summarise([-1000.0, 1.0, 2.0, 3.0, 1000.0]).iqm == 2.0


def test_probability_of_improvement_between_groups() -> None:
    assert own.compare_groups([3, 4, 5], [0, 1, 2]) == own.Improvement(1.0, (1.0, 1.0))
    assert own.compare_groups([1.0, 3.0], [2.0, 2.0]) == own.Improvement(0.5, None)
    some = own.compare_groups([1, 2, 3, 9], [0, 2, 4, 5])
    assert some.probability == 8.5 / 16  # one tie
    assert some.interval is not None
    assert 0 <= some.interval[0] < some.probability < some.interval[1] <= 1


def test_few_seeds_are_called_few() -> None:
    assert "would mean nothing" in own.caution(2)
    assert all("nominal 95 %, covers about 75–85 %" in own.caution(n) for n in (3, 4, 5))
    assert own.caution(6) == ""


@pytest.mark.parametrize(("n", "low", "high"), [(3, 0.70, 0.79), (5, 0.79, 0.88)])
def test_an_interval_over_few_seeds_covers_what_it_is_said_to(n: int, low: float, high: float) -> None:
    """Simulated: the mean of normal scores lies in the nominal 95 % interval about so often."""
    rng = np.random.default_rng(0)
    drawn = own.resamples(n, 1, 1000, rng)
    hits = 0
    for _ in range(1000):
        found = own.interval(own.mean(own.resampled(rng.normal(size=(n, 1)), drawn)))
        hits += found[0] <= 0 <= found[1]
    assert low < hits / 1000 < high
