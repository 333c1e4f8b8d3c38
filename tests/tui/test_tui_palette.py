"""Colours: legible, told apart, and stable."""

from __future__ import annotations

import itertools

import pytest

from mopo_tui.widgets.palette import DASHES, SERIES, Colours, Stroke, colour, colour_of, heat, lightness, mixed

GROUNDS = {True: "#16181c", False: "#f4f5f7"}


def channels(name: str) -> list[float]:
    return [int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def luminance(name: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels(name)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [True, False])
def test_series_are_legible(dark: bool) -> None:
    for name in (*SERIES, "text", "muted"):
        assert contrast(colour(name, dark), GROUNDS[dark]) > 3.0, name
    for name in SERIES:
        assert contrast(colour(f"{name} dim", dark), GROUNDS[dark]) > 1.5, name
        assert contrast(colour(name, dark), GROUNDS[dark]) > contrast(colour(f"{name} dim", dark), GROUNDS[dark])


@pytest.mark.parametrize("dark", [True, False])
def test_the_heat_map_s_lightness_is_even_and_never_turns(dark: bool) -> None:
    levels = [lightness(heat(i / 20, dark)) for i in range(21)]
    steps = [b - a if dark else a - b for a, b in itertools.pairwise(levels)]
    assert all(0.01 < step < 0.065 for step in steps)


def test_mixing_meets_both_ends() -> None:
    assert mixed("#16181c", "#e69f00", 0.0) == "#16181c"
    assert mixed("#16181c", "#e69f00", 1.0) == "#e69f00"


def test_a_run_has_its_colour_of_itself() -> None:
    assert colour_of("20260921-133000-ant-angle-mopo-s0-x7k2") == colour_of("20260921-133000-ant-angle-mopo-s0-x7k2")
    assert len({colour_of(f"run-{i}") for i in range(100)}) == len(SERIES)


def test_colours_stay_while_others_come_and_go() -> None:
    colours = Colours()
    ids = [f"run-{i}" for i in range(6)]
    first = colours.of(ids[:3])
    assert len({stroke.ink for stroke in first.values()}) == 3
    later = colours.of([ids[5], ids[2], ids[0], ids[4]])
    assert later[ids[0]] == first[ids[0]]
    assert later[ids[2]] == first[ids[2]]
    assert len({stroke.ink for stroke in later.values()}) == 4
    assert colours.of([ids[1]])[ids[1]] == first[ids[1]]


def test_two_of_one_colour_that_meet_have_different_dashes() -> None:
    same = [name for name in (f"run-{i}" for i in range(100)) if colour_of(name) == "sky"][:2]
    colours = Colours()
    colours.of(same[:1])
    colours.of(same[1:])
    strokes = colours.of(same)
    assert {stroke.ink for stroke in strokes.values()} == {"sky"}
    assert len(set(strokes.values())) == 2


def test_more_runs_than_colours_are_told_apart_by_dashes() -> None:
    strokes = Colours().of([f"run-{i}" for i in range(len(SERIES) * len(DASHES))])
    assert len(set(strokes.values())) == len(strokes)
    assert Stroke(SERIES[0], "dotted") in strokes.values()
