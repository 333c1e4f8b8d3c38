"""Axes: round ends, places, ticks."""

from __future__ import annotations

import numpy as np
import pytest

from mopo_tui.widgets.scale import Scale, clock, deviation, fitted, number, span, whole


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 97, (0, 100)),
        (-58.4, 2331.6, (-500, 2500)),
        (0.011, 0.0193, (0.01, 0.02)),
        (3, 3, (2.7, 3.3)),
        (0, 0, (0, 1)),
    ],
)
def test_linear_ends_are_round_and_hold_the_values(low: float, high: float, expected: tuple[float, float]) -> None:
    scale = fitted(low, high)
    assert scale.low <= low
    assert scale.high >= high
    if low != high or low == 0:
        assert (scale.low, scale.high) == pytest.approx(expected)


def test_what_is_less_than_a_dot_beyond_a_round_number_takes_no_step_more() -> None:
    scale = fitted(-0.015, 99.9)
    assert (scale.low, scale.high) == (0, 100)
    assert fitted(-2, 99.9).low < 0


def test_logarithmic_ends_are_1_2_or_5() -> None:
    scale = fitted(0.0168, 0.34, log=True)
    assert (scale.low, scale.high) == pytest.approx((0.01, 0.5))
    assert fitted(1e-4, 1e4, log=True) == Scale(pytest.approx(1e-4), pytest.approx(1e4), True)


def test_ends_do_not_move_while_values_stay_inside() -> None:
    assert fitted(0, 61_000) == fitted(0, 79_000)


def test_places() -> None:
    assert Scale(0, 10).fraction([0, 5, 10]).tolist() == [0, 0.5, 1]
    assert Scale(0.01, 100, log=True).fraction([0.01, 1, 100]).tolist() == pytest.approx([0, 0.5, 1])


def test_what_has_no_place_is_nan() -> None:
    assert np.isnan(Scale(0, 1).fraction([np.nan, np.inf, -np.inf])).all()
    assert np.isnan(Scale(1, 10, log=True).fraction([0, -1, np.nan])).all()


@pytest.mark.parametrize("most", range(1, 12))
@pytest.mark.parametrize(
    "scale", [Scale(0, 100), Scale(-500, 2500), Scale(0, 100_000), Scale(0, 0.25), Scale(-1000, 3000)]
)
def test_ticks_are_inside_rising_and_few(scale: Scale, most: int) -> None:
    ticks = scale.ticks(most)
    values = [value for value, _ in ticks]
    assert 1 <= len(ticks) <= most
    assert values == sorted(values)
    assert scale.low <= values[0]
    assert values[-1] <= scale.high
    assert len({label for _, label in ticks}) == len(ticks)
    assert len(ticks) >= 2 or most == 1


@pytest.mark.parametrize("most", range(2, 12))
@pytest.mark.parametrize("bounds", [(1e-4, 1e4), (0.01, 0.5), (20, 50), (1, 10)])
def test_logarithmic_ticks_are_inside_and_few(bounds: tuple[float, float], most: int) -> None:
    values = [value for value, _ in Scale(*bounds, log=True).ticks(most)]
    assert 1 <= len(values) <= most
    assert all(bounds[0] * 0.999 <= v <= bounds[1] * 1.001 for v in values)


def test_labels() -> None:
    assert [label for _, label in Scale(0, 100_000).ticks(6)] == ["0", "20k", "40k", "60k", "80k", "100k"]
    assert [label for _, label in Scale(-1000, 2000).ticks(4)] == ["−1000", "0", "1000", "2000"]
    assert [label for _, label in Scale(0, 0.2).ticks(5)] == ["0", "0.05", "0.10", "0.15", "0.20"]
    assert [label for _, label in Scale(0.01, 1, log=True).ticks(3)] == ["0.01", "0.1", "1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1512.34, "1512"),
        (0.01234, "0.0123"),
        (3.14159, "3.14"),
        (-56.2, "−56.2"),
        (54, "54.0"),
        (0, "0"),
        (2.5e8, "2.5e8"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_whole_numbers() -> None:
    assert [whole(v) for v in (1001.7, -58.4, -0.2, 0.2)] == ["1002", "−58", "0", "0"]


def test_span_ignores_what_cannot_be_drawn() -> None:
    assert span([np.nan, 3, np.inf], [1]) == (1, 3)
    assert span([0, -1, 5, 2], log=True) == (2, 5)
    assert span([np.nan]) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0"),
        (45, "45s"),
        (60, "1m"),
        (150, "2m30"),
        (3599.9, "1h"),
        (5400, "1h30"),
        (86_400, "1d"),
        (194_400, "2d6h"),
        (-90, "−1m30"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize("seconds", [8.0, 42.0, 300.0, 4000.0, 30_000.0, 200_000.0, 3e6])
def test_an_axis_of_time_has_round_ends_and_distinct_ticks(seconds: float) -> None:
    scale = fitted(0, seconds, unit="s")
    assert seconds <= scale.high <= 2.5 * seconds
    ticks = scale.ticks(8)
    assert len({label for _, label in ticks}) == len(ticks) >= 2
    assert all(value % 60 == 0 for value, _ in ticks) or scale.high < 600


def test_percent_stands_beside_the_numbers() -> None:
    assert [label for _, label in Scale(0, 100, unit="%").ticks(3)] == ["0%", "50%", "100%"]


@pytest.mark.parametrize("scale", [Scale(-3, 12), Scale(0.01, 100, log=True)])
def test_the_value_of_a_place_is_the_inverse_of_its_place(scale: Scale) -> None:
    assert [float(scale.fraction([scale.value(f)])[0]) for f in (0, 0.3, 1)] == pytest.approx([0, 0.3, 1])


@pytest.mark.parametrize(
    ("std", "mean", "text"),
    [(0.0951, 44.4, "0.1"), (7.12, 38.1, "7.1"), (438.2, 3616.0, "438"), (0.00123, 0.0456, "0.0012"), (2.0, 1e9, "2")],
)
def test_a_deviation_has_the_decimals_of_its_mean(std: float, mean: float, text: str) -> None:
    assert deviation(std, number(mean)) == text
