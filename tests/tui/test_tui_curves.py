"""Long series as few points, followed as they grow, and smoothed."""

from __future__ import annotations

import numpy as np
import pytest

from mopo_tui.widgets import braille
from mopo_tui.widgets.plot import Line, Plot
from mopo_tui.widgets.thinning import Curve, Curves, at


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


@pytest.mark.parametrize("count", [0, 1, 100, 5_000, 50_003, 700_000])
def test_few_points_keep_both_ends_and_the_extremes(count: int) -> None:
    curve, x, y = Curve(), np.arange(float(count)), noise(count)
    if count:
        y[count // 3], y[count // 2] = 99.0, -99.0
    curve.update(x, y)
    few_x, few_y = curve.points(300)
    assert len(few_x) == len(few_y) <= 40 * 300
    if count:
        assert (few_x[0], few_x[-1]) == (x[0], x[-1])
        assert (few_y.max(), few_y.min()) == (y.max(), y.min())
        assert (np.diff(few_x) >= 0).all()


def test_few_points_draw_the_same_dots() -> None:
    x, y = np.linspace(0, 1, 50_000), 0.5 + 0.1 * noise(50_000)
    curve = Curve()
    curve.update(x, y)
    all_dots, few_dots = braille.empty(10, 60), braille.empty(10, 60)
    braille.draw_line(all_dots, x, y)
    braille.draw_line(few_dots, *curve.points(120))
    # A chunk on the border of two columns may give one of them a dot less.
    assert (all_dots != few_dots).mean() < 0.02


def test_what_grows_is_the_same_as_what_is_read_at_once() -> None:
    x, y = np.arange(60_000.0), noise(60_000)
    y[100:300] = np.nan
    grown, whole = Curve(), Curve()
    for end in (1, 63, 64, 1000, 30_000, 30_001, 60_000):
        grown.update(x[:end], y[:end])
        grown.points(200)
        grown.smoothed(0.9)
    whole.update(x, y)
    for one, other in zip(grown.points(200), whole.points(200), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(grown.smoothed(0.9).points(200), whole.smoothed(0.9).points(200), strict=True):
        np.testing.assert_allclose(one, other)


def test_another_run_s_values_are_not_taken_for_more_of_the_same() -> None:
    curve, x = Curve(), np.arange(10_000.0)
    curve.update(x, noise(10_000))
    curve.points(100)
    other = noise(10_000, seed=1)
    curve.update(x, other)
    assert curve.points(100)[1].max() == other.max()
    curve.update(x[:5], other[:5])
    np.testing.assert_array_equal(curve.points(100)[1], other[:5])


def test_a_window_takes_only_its_part_and_a_point_at_each_side() -> None:
    curve = Curve()
    curve.update(np.arange(100.0), np.arange(100.0))
    assert curve.points(300, (10.5, 12.5))[0].tolist() == [10, 11, 12, 13]
    curve.update(np.arange(100_000.0), noise(100_000))
    x, _ = curve.points(300, (20_000.0, 70_000.0))
    assert len(x) < 12_000
    assert x[0] >= 19_999
    assert x[-1] <= 70_001


@pytest.mark.parametrize("weight", [0.5, 0.9, 0.99, 0.999])
def test_smoothing_is_the_mean_of_what_was_so_far_with_falling_weights(weight: float) -> None:
    values = noise(700)
    values[[0, 40, 41, 300]] = np.nan
    curve = Curve()
    curve.update(np.arange(700.0), values)
    smooth = curve.smoothed(weight).points(10_000)[1]
    for i in (1, 5, 39, 42, 127, 128, 129, 699):
        weights = weight ** (i - np.arange(i + 1)) * np.isfinite(values[: i + 1])
        assert smooth[i] == pytest.approx((weights * np.nan_to_num(values[: i + 1])).sum() / weights.sum())
    assert np.isnan(smooth[[0, 40, 41, 300]]).all()


def test_a_constant_stays_what_it_is_when_smoothed() -> None:
    curve = Curve()
    curve.update(np.arange(500.0), np.full(500, 7.0))
    np.testing.assert_allclose(curve.smoothed(0.99).points(10_000)[1], 7.0)


def test_a_smoothed_line_stands_before_its_dim_raw_values() -> None:
    x = np.arange(100.0)
    plot = Plot([Line("q", x, noise(100), "sky", end_label="q", dash="dashed", smoothing=0.9)])
    raw, smooth = Curves().thinned(plot, 100).lines
    assert (raw.ink, raw.behind, raw.raw, raw.end_label, raw.dash) == ("sky dim", True, True, "", "")
    assert (smooth.ink, smooth.end_label, smooth.dash) == ("sky", "q", "dashed")
    assert np.std(smooth.y) < np.std(raw.y)


def test_the_nearest_point_with_a_value() -> None:
    x, y = np.array([0.0, 1, 2, 3]), np.array([1.0, np.nan, 5, np.inf])
    assert at(x, y, 0.9) == (0, 1)
    assert at(x, y, 1.2) == (2, 5)
    assert at(x, y, 99) == (2, 5)
    assert at(x, np.full(4, np.nan), 1) is None
