"""Seeds of one setting as one row."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import pytest
from many_runs import write_run, write_store

from engine.config import resolve
from mopo_tui.manager import Run, RunState, Store
from mopo_tui.manager.index import Listed, Values, listing
from mopo_tui.manager.rows import Row, Spread, differences, rows_of, title


def run(seed: int, score: float | None, state: RunState = RunState.FINISHED, **values: object) -> Run:
    made = Run(Path("/x"), f"20260101-00000{seed}-a", name=f"a-s{seed}", seed=seed, state=state, score_last=score)
    return dataclasses.replace(made, **values)  # type: ignore[arg-type]


def test_mean_and_spread_over_seeds() -> None:
    scores = [40.0, 47.5, 52.25]
    row = Row(tuple(run(seed, score) for seed, score in enumerate(scores)))
    assert row.last() == Spread(pytest.approx(statistics.mean(scores)), pytest.approx(statistics.stdev(scores)), 3, "%")
    assert Row((run(0, 40.0),)).last() == Spread(40.0, None, 1, "%")
    assert Row((run(0, None),)).last() is None
    assert Row((run(0, None, return_last=5.0), run(1, None, return_last=7.0))).last() == Spread(
        6.0, pytest.approx(2.0**0.5), 2, ""
    )


def test_a_seed_that_was_run_again_counts_once_and_a_run_without_a_score_not() -> None:
    newest_first = (run(0, 50.0), run(1, None, RunState.FAILED), run(1, 70.0), run(0, 10.0))
    row = Row(newest_first)
    assert row.last() == Spread(60.0, pytest.approx(200.0**0.5), 2, "%")
    assert (row.seeds, row.finished, len(row.runs)) == ([0, 1], 3, 4)
    assert row.finished_seeds == 2  # what stands beside the mean


def test_the_states_of_a_row_begin_with_what_moves() -> None:
    row = Row((run(0, 1.0), run(1, 1.0, RunState.FAILED), run(2, 1.0, RunState.RUNNING), run(3, 1.0)))
    assert row.states == [(RunState.RUNNING, 1), (RunState.FAILED, 1), (RunState.FINISHED, 2)]


def test_progress_is_the_mean_and_eta_that_of_the_slowest() -> None:
    row = Row((run(0, 1.0, progress=1.0), run(1, 1.0, progress=0.5, eta_s=30.0), run(2, 1.0, eta_s=90.0)))
    assert (row.progress, row.eta_s) == (0.5, 90.0)


def test_a_store_in_rows(store: Store) -> None:
    write_store(store.root, 23)
    every = listing(store)
    rows = rows_of(every, every, opened=False)
    assert [len(row.runs) for row in rows] == [3, 5, 5, 5, 5]
    assert len(rows_of(every, every, opened=True)) == 23
    assert rows[1].runs == tuple(sorted(rows[1].runs, key=lambda run: run.id, reverse=True))
    some = [listed for listed in every if listed.run.seed < 2]
    assert [(len(row.runs), row.total) for row in rows_of(some, every, opened=False)] == [(2, 3)] + [(2, 5)] * 4


def test_runs_without_a_setting_stand_alone() -> None:
    every = [Listed(run(0, 1.0), ""), Listed(run(1, 1.0), "")]
    assert [len(row.runs) for row in rows_of(every, every, opened=False)] == [1, 1]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["mine-s1"], "mine-s1"),
        (["hopper-mopo-s0", "hopper-mopo-s1"], "hopper-mopo"),
        (["mine", "mine"], "mine"),
        (["sweep a", "sweep b"], "sweep…"),
        (["one", "two"], "one"),
    ],
)
def test_what_a_row_is_called(names: list[str], expected: str) -> None:
    assert title(Row(tuple(run(seed, 1.0, name=name) for seed, name in enumerate(names)))) == expected


def test_rows_called_the_same_tell_what_their_settings_differ_in(store: Store) -> None:
    for number in (0, 1, 60, 15, 20):  # ant-angle mopo twice, λ 0.5 and 3.5; ant-angle mbpo; hopper once
        write_run(store.root, number, "finished", 1)
    every = listing(store)
    rows = rows_of(every, every, opened=False)
    told = differences(rows, Values(store))
    assert sorted(told.values(), key=str) == [{"rollout.coefficient": "0.5"}, {"rollout.coefficient": "3.5"}]


def test_as_few_keys_as_tell_settings_apart(store: Store) -> None:
    for number, change in enumerate(
        ({}, {"rollout.length": 1}, {"preset": "smoke"}, {"preset": "smoke", "sac.polyak": 0.5})
    ):
        config = resolve([("test", {"compute.threads": 1, **change})]).config
        store.create(config, name="mine")
        assert len(listing(store)) == number + 1
    every = listing(store)
    told = differences(rows_of(every, every, opened=False), Values(store))
    assert [list(each) for each in told.values()] == [["preset", "rollout.length", "sac.polyak"]] * 4
    assert sorted(" ".join(each.values()) for each in told.values()) == [
        "quick 1 0.005",
        "quick 5 0.005",
        "smoke 5 0.005",
        "smoke 5 0.5",
    ]
