"""Checking datasets: real rollouts are clean and recognised; each kind of damage is found where it was done."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine import envs
from engine.data.check import FEWEST_ROWS, Finding, check, looks_like, main
from engine.data.dataset import TransitionDataset, in_memory, write
from engine.data.likeness import ROBOTS, healthy, robot_of
from engine.dynamics.termination import TERMINATIONS
from engine.tasks import TASKS

Rows = NDArray[np.float32]
BARE = {"include_cfrc_ext_in_observation": False}
# id, keywords, robot, rows
REAL: dict[str, tuple[str, dict[str, Any], str, int]] = {
    "hopper": ("Hopper-v5", {}, "Hopper", 2000),
    "hopper-v4": ("Hopper-v4", {}, "Hopper", 600),
    "walker2d": ("Walker2d-v5", {}, "Walker2d", 2000),
    "walker2d-v4": ("Walker2d-v4", {}, "Walker2d", 600),
    "halfcheetah": ("HalfCheetah-v5", {}, "HalfCheetah", 2000),
    "halfcheetah-jump": ("mopo/HalfCheetahJump-v0", {}, "HalfCheetah", 2000),
    "ant": ("Ant-v5", BARE, "Ant", 2000),
    "ant-105": ("Ant-v5", {}, "Ant", 600),
    "ant-angle": ("mopo/AntAngle-v0", {}, "Ant", 2000),
    "ant-angle-60": ("mopo/AntAngle-v0", {"angle": 60.0}, "Ant", 600),
}


def rollout(environment: str, options: dict[str, Any], size: int, limit: int = 1000) -> TransitionDataset:
    """Steps of a real environment with uniform actions; what its manifest says of it, as every dataset's does."""
    env = envs.make(environment, max_episode_steps=limit, **options)
    act = env.action_space.shape[0] if env.action_space.shape else 0
    rng = np.random.default_rng(0)
    rows: list[Rows] = []
    ends: list[int] = []
    while len(rows) < size:
        s, _ = env.reset(seed=len(ends))
        done = False
        while not done and len(rows) < size:
            a = rng.uniform(-1, 1, act).astype(np.float32)
            following, r, terminal, truncated, _ = env.step(a)
            rows.append(np.concatenate([s, a, [float(r)], following, [terminal]]).astype(np.float32))
            s, done = following, terminal or truncated
        ends.append(len(rows))
    env.close()
    manifest = {"environment": environment, "environment_options": options, "max_episode_steps": limit}
    return in_memory(np.array(rows), np.array(ends), len(s), act, manifest)


@pytest.fixture(scope="module")
def real() -> Callable[[str], TransitionDataset]:
    made: dict[str, TransitionDataset] = {}

    def of(name: str) -> TransitionDataset:
        if name not in made:
            environment, options, _, size = REAL[name]
            made[name] = rollout(environment, options, size)
        return made[name]

    return of


def changed(
    dataset: TransitionDataset,
    damage: Callable[[TransitionDataset], object] = lambda _: None,
    ends: NDArray[np.int64] | None = None,
    **manifest: Any,
) -> TransitionDataset:
    """A copy, with `damage` done to it and other episode ends or manifest entries."""
    copy = in_memory(
        dataset.rows.copy(),
        dataset.episode_ends if ends is None else ends,
        dataset.observation_dim,
        dataset.action_dim,
        {**dataset.manifest, **manifest},
    )
    damage(copy)
    return copy


def found(dataset: TransitionDataset, **about: Any) -> dict[str, Finding]:
    """Findings worse than a note, by code; each code at most once, each message one line."""
    findings = [f for f in check(dataset, **about) if f.level != "note"]
    assert all("\n" not in f.message and "{" not in f.message and len(f.message) < 300 for f in findings)
    assert len({f.code for f in findings}) == len(findings)
    return {f.code: f for f in findings}


def notes(dataset: TransitionDataset, **about: Any) -> set[str]:
    return {f.code for f in check(dataset, **about) if f.level == "note"}


# --- clean data -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REAL)
def test_real_rollouts_are_clean_and_recognised(real: Callable[[str], TransitionDataset], name: str) -> None:
    environment, _, family, _ = REAL[name]
    d = real(name)
    assert found(d) == found(d, family=family) == {}
    assert "few-rows" in notes(d)
    like = looks_like(d)
    assert (like.name, like.environment, like.confidence) == (family, environment, "very likely")
    assert like.reward_gap is not None
    assert like.reward_gap < ROBOTS[family].band / 2
    # Without a manifest that says so, only the ant's other angle is not known.
    alone = looks_like(changed(d, environment=None, environment_options={}))
    assert (alone.name, alone.environment) == (family, None if name == "ant-angle-60" else environment)


def test_the_keywords_of_the_ants_are_recognised(real: Callable[[str], TransitionDataset]) -> None:
    assert looks_like(real("ant")).options == BARE
    assert looks_like(real("ant-105")).options == {}
    assert looks_like(real("ant-angle")).options == {"angle": 30.0}
    assert looks_like(real("ant-angle-60")).options == {"angle": 60.0}
    wide = rollout("Ant-v4", {"use_contact_forces": True}, 400)
    like = looks_like(wide)
    assert (wide.observation_dim, like.environment, like.options) == (111, "Ant-v4", {"use_contact_forces": True})


def test_a_capped_reward_is_told_from_the_plain_one_only_by_speed() -> None:
    capped = rollout("mopo/HalfCheetahJump-v0", {"height_weight": 0.0}, 500)
    assert looks_like(changed(capped, environment=None)).environment == "HalfCheetah-v5"

    def faster(d: TransitionDataset) -> None:  # the real formula, five metres a second faster: the cap cuts in
        d.observations[:, 8] += 5
        d.next_observations[:, 8] += 5
        d.rewards[:] = 3 - 0.1 * (d.actions**2).sum(axis=1)

    like = looks_like(changed(capped, faster, environment=None))
    assert (like.environment, like.options) == ("mopo/HalfCheetahJump-v0", {"height_weight": 0.0})


def test_the_rules_are_those_of_the_models_rollouts() -> None:
    rng = np.random.default_rng(0)
    bounds = {"Hopper": 11, "Walker2d": 17, "Ant": 27, "HalfCheetah": 17}
    rule = {"Hopper": "hopper", "Walker2d": "walker2d", "Ant": "ant", "HalfCheetah": "never"}
    assert bounds.keys() == ROBOTS.keys() == {t.family for t in TASKS.values()} | {"Ant"}
    for name, obs in bounds.items():
        s = rng.normal(0, 0.4, (4000, obs)).astype(np.float32)
        s[:, 0] = rng.uniform(0, 2.5, 4000)
        s[:50, 0] = np.float32([0.2, 0.7, 0.8, 1.0, 2.0]).repeat(10)
        s[50:100, 1] = np.float32([-1, 1, -0.2, 0.2, 0]).repeat(10)
        s[100:150, 3] = np.float32([-100, 100, -99.9, 150, -1e9]).repeat(10)
        s[150:200, rng.integers(0, obs, 50)] = np.float32([np.nan, np.inf, -np.inf, np.nan, np.inf]).repeat(10)
        terminal = TERMINATIONS[rule[name]](torch.from_numpy(s)).numpy()
        np.testing.assert_array_equal(healthy(name, s), ~terminal)
        assert name == "HalfCheetah" or 0.1 < terminal.mean() < 0.9


def test_slack_widens_and_narrows_the_rules() -> None:
    s = np.zeros((1, 11), dtype=np.float32)
    s[0, :2] = 0.7001, 0.1999
    assert healthy("Hopper", s)[0]
    assert not healthy("Hopper", s, -0.001)[0]
    s[0, 0] = 0.6999
    assert not healthy("Hopper", s)[0]
    assert healthy("Hopper", s, 0.001)[0]


def test_robots_of_environments() -> None:
    assert all(robot_of(t.environment) == t.family for t in TASKS.values())
    assert [robot_of(e) for e in ("Hopper-v2", "HopperTall-v5", "x:Hopper-v5", "", None)] == ["Hopper", *[None] * 4]


# --- damaged data -----------------------------------------------------------------------------------------------------------------

HOPPER_S, HOPPER_A = 11, 3
Z_NEXT = HOPPER_S + HOPPER_A + 1  # of a packed hopper row: the height in s'


def middle(d: TransitionDataset, after: int = 0) -> int:
    """A row in the middle of an episode, beyond row `after`."""
    i = int(np.searchsorted(d.episode_ends, after + 1)) + 1
    return int(d.episode_starts[i] + d.episode_lengths[i] // 2)


def test_nan_and_infinity(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        d.rows[40, 3], d.rows[700, -2], d.rows[1999, HOPPER_S + HOPPER_A] = np.nan, np.inf, -np.inf

    f = found(changed(real("hopper"), damage))
    assert f.keys() == {"not-finite"}
    assert (f["not-finite"].level, f["not-finite"].rows, f["not-finite"].first_row) == ("error", 3, 40)
    everything = changed(real("hopper"), lambda d: d.rows.fill(np.nan))
    assert "not-finite" in found(everything)
    assert looks_like(everything).name == "unknown"


def test_actions_outside_the_range(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        d.actions[100:104, 1] = 1.5, -3.25, 1.0, -1.0

    f = found(changed(real("walker2d"), damage))
    assert f.keys() == {"action-range"}
    assert (f["action-range"].rows, f["action-range"].first_row) == (2, 100)
    assert "3.25" in f["action-range"].message


def put_at(d: TransitionDataset, at: int, height: float) -> None:
    d.next_observations[at, 0] = d.observations[at + 1, 0] = height


@pytest.mark.parametrize(
    ("name", "height"), [("hopper", 1e6), ("hopper", 7.0), ("halfcheetah", 50.0), ("halfcheetah", -6.0)]
)
def test_heights_that_no_rule_forbids_and_no_robot_reaches(
    real: Callable[[str], TransitionDataset], name: str, height: float
) -> None:
    d = real(name)
    at = middle(d, 100)

    f = found(changed(d, lambda d: put_at(d, at, height)))
    assert f.keys() == {"height"}
    assert (f["height"].rows, f["height"].first_row) == (1, at)


@pytest.mark.parametrize(("name", "height"), [("hopper", 0.5), ("walker2d", 0.5), ("ant", 1.2)])
def test_impossible_heights(real: Callable[[str], TransitionDataset], name: str, height: float) -> None:
    d = real(name)
    at = middle(d, 100)

    f = found(changed(d, lambda d: put_at(d, at, height)))
    assert f.keys() == {"unhealthy"}
    assert (f["unhealthy"].rows, f["unhealthy"].first_row) == (1, at)

    def stand_up(d: TransitionDataset) -> None:
        ended = np.flatnonzero(d.terminals)[:2]
        d.next_observations[ended] = d.observations[ended]  # the state before, in which the robot stood

    first = int(np.flatnonzero(d.terminals)[0])
    f = found(changed(d, stand_up))
    assert f.keys() == {"healthy-terminal"}
    assert (f["healthy-terminal"].rows, f["healthy-terminal"].first_row) == (2, first)
    # Where the file did not tell them, s' of terminal rows stand as s, and say nothing.
    assert found(changed(d, stand_up, terminal_next_observations=False)) == {}


def test_terminals_that_were_dropped(real: Callable[[str], TransitionDataset]) -> None:
    d = real("hopper")
    terminals = int(d.terminals.sum())
    f = found(changed(d, lambda d: d.terminals.fill(0)))
    assert f.keys() == {"unhealthy"}
    assert f["unhealthy"].rows == terminals


def test_terminals_of_a_cheetah(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        d.terminals[999] = 1

    d = real("halfcheetah")
    f = found(changed(d, damage))  # one of the two episodes of full length: not all of them
    assert f.keys() == {"never-terminal"}
    assert (f["never-terminal"].rows, f["never-terminal"].first_row) == (1, 999)
    assert looks_like(changed(d, damage)).confidence == "likely"


def test_time_outs_stored_as_terminals(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        d.terminals[d.episode_ends[d.episode_lengths == d.manifest["max_episode_steps"]] - 1] = 1

    cheetah = real("halfcheetah")
    f = found(changed(cheetah, damage))
    assert f.keys() == {"timeouts-as-terminals"}
    assert (f["timeouts-as-terminals"].rows, f["timeouts-as-terminals"].first_row) == (2, 999)
    short = rollout("Hopper-v5", {}, 400, limit=10)  # some fall at the very last step, which is no time-out
    assert found(short) == {}
    timeouts = (short.episode_lengths == 10) & (short.terminals[short.episode_ends - 1] == 0)
    f = found(changed(short, damage))
    assert f.keys() == {"timeouts-as-terminals"}
    assert 20 < f["timeouts-as-terminals"].rows == timeouts.sum()
    # Also where nothing is known of the environment.
    unknown = changed(cheetah, damage, environment="their/Cheetah-v0")
    assert found(unknown).keys() == {"timeouts-as-terminals"}


def test_terminal_flags_that_are_none(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        d.terminals[d.terminals == 1] = 255

    f = found(changed(real("hopper"), damage))
    assert f.keys() == {"terminal-values"}


def test_a_terminal_inside_an_episode(real: Callable[[str], TransitionDataset]) -> None:
    d = real("hopper")
    f = found(changed(d, ends=np.delete(d.episode_ends, 3)))
    assert f.keys() == {"terminal-inside"}
    assert (f["terminal-inside"].rows, f["terminal-inside"].first_row) == (1, d.episode_ends[3] - 1)


def test_an_end_that_is_missing(real: Callable[[str], TransitionDataset]) -> None:
    d = real("halfcheetah")
    f = found(changed(d, ends=np.array([2000])))
    assert f.keys() == {"broken-episode", "long-episode"}
    assert (f["broken-episode"].rows, f["broken-episode"].first_row) == (1, 999)
    assert (f["long-episode"].rows, f["long-episode"].first_row) == (2000, 0)


def test_rows_that_were_shuffled(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        d.rows[:1000] = np.random.default_rng(0).permutation(d.rows[:1000])

    f = found(changed(real("halfcheetah"), damage))
    assert f.keys() == {"broken-episode"}
    assert f["broken-episode"].rows == pytest.approx(1000, abs=10)


@pytest.mark.parametrize("name", ["hopper", "walker2d", "halfcheetah", "ant"])
def test_next_observations_taken_across_a_cut(name: str) -> None:
    """s'[i] = s[i + 1] at every row, as a reader makes it that does not know the ends."""
    environment, options, *_ = REAL[name]
    d = rollout(environment, options, 400, limit=10)
    cut = np.flatnonzero(d.terminals[d.episode_ends - 1] == 0)[:-1]
    rows = d.episode_ends[cut] - 1
    assert len(rows)

    def damage(d: TransitionDataset) -> None:
        d.next_observations[rows] = d.observations[rows + 1]

    declared = found(changed(d, damage))
    assert declared.keys() == {"hidden-reset"}
    assert (declared["hidden-reset"].rows, declared["hidden-reset"].first_row) == (len(rows), rows[0])
    joined = changed(d, damage, ends=np.delete(d.episode_ends, cut))
    assert found(joined).keys() - {"long-episode"} == {"hidden-reset"}


def test_an_episode_cut_in_two(real: Callable[[str], TransitionDataset]) -> None:
    d = real("halfcheetah")
    f = found(changed(d, ends=np.array([300, 1000, 2000])))
    assert f.keys() == {"split-episode"}
    assert (f["split-episode"].level, f["split-episode"].first_row) == ("warning", 299)


def test_episode_ends_that_do_not_divide_the_rows(real: Callable[[str], TransitionDataset]) -> None:
    d = real("halfcheetah")
    for ends in ([1000, 1000, 2000], [1000], []):
        assert found(changed(d, ends=np.array(ends, dtype=np.int64))).keys() == {"episode-ends"}


def test_constant_columns(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        d.observations[:, 12] = d.next_observations[:, 12] = 0.3
        d.rewards[:] += 0.5 * d.actions[:, 4] ** 2
        d.actions[:, 4] = 0

    d = changed(real("ant"), damage)
    messages = [f.message for f in check(d) if f.code == "constant-column"]
    assert [m.split(" never")[0] for m in messages] == ["s[12]", "a[4]"]
    assert {f.code for f in check(d) if f.level != "note"} == {"constant-column"}
    rewards = changed(real("halfcheetah"), lambda d: d.rewards.fill(0.5), environment="their/Cheetah-v0")
    assert found(rewards)["constant-column"].message.startswith("r never")


def test_contact_forces_that_are_always_zero_are_worth_a_note(real: Callable[[str], TransitionDataset]) -> None:
    d = changed(real("ant-105"), lambda d: d.observations[:, 27:].fill(0) or d.next_observations[:, 27:].fill(0))
    assert found(d) == {}
    assert "constant-column" in notes(d)


def test_duplicate_rows(real: Callable[[str], TransitionDataset]) -> None:
    d = real("halfcheetah")
    rows = np.insert(d.rows, 51, d.rows[50], axis=0)
    f = found(in_memory(rows, d.episode_ends + 1, 17, 6, {**d.manifest, "max_episode_steps": 1001}))
    assert f["duplicate-rows"].level == "warning"
    assert (f["duplicate-rows"].rows, f["duplicate-rows"].first_row) == (1, 50)
    assert f.keys() == {"duplicate-rows", "broken-episode"}


def test_damage_is_found_at_the_joints_of_the_pass(real: Callable[[str], TransitionDataset]) -> None:
    """The pass goes in pieces of 16,384 rows: what lies between two of them is seen as well."""
    d = real("halfcheetah")
    rows = np.tile(d.rows, (10, 1))
    ends = np.arange(1000, 20_001, 1000)
    assert found(in_memory(rows, ends, 17, 6, d.manifest)) == {}
    rows[16384] = rows[16383]
    f = found(in_memory(rows, ends, 17, 6, d.manifest))
    assert f["duplicate-rows"].first_row == f["broken-episode"].first_row == 16383


# --- rewards and environments -----------------------------------------------------------------------------------------------------


def test_rewards_of_another_task(real: Callable[[str], TransitionDataset]) -> None:
    f = found(changed(real("ant"), environment="mopo/AntAngle-v0", environment_options={"angle": 30.0}))
    assert f.keys() == {"rewards"}
    assert f["rewards"].level == "error"
    assert "they fit Ant-v5" in f["rewards"].message
    f = found(changed(real("ant-angle"), environment="Ant-v5", environment_options=BARE))
    assert "they fit mopo/AntAngle-v0 angle=30.0" in f["rewards"].message
    assert "rewards" in found(changed(real("ant-angle-60"), environment_options={"angle": 30.0}))
    f = found(changed(real("halfcheetah-jump"), environment="HalfCheetah-v5", environment_options={}))
    assert "they fit mopo/HalfCheetahJump-v0" in f["rewards"].message


@pytest.mark.parametrize("name", ["hopper", "walker2d", "halfcheetah", "ant", "ant-angle", "halfcheetah-jump"])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda r: r * 10, id="scaled"),
        pytest.param(lambda r: r + 1, id="shifted"),
        pytest.param(lambda r: np.roll(r, 500), id="of other rows"),
    ],
)
def test_rewards_that_do_not_fit(real: Callable[[str], TransitionDataset], name: str, damage: Any) -> None:
    def apply(d: TransitionDataset) -> None:
        d.rewards[:] = damage(d.rewards.copy())

    d = changed(real(name), apply)
    f = found(d)
    assert f.keys() == {"rewards"}
    assert f["rewards"].level == "error"
    undeclared = changed(d, environment=None)
    assert {k: v.level for k, v in found(undeclared).items()} == {"rewards": "warning"}
    like = looks_like(undeclared)
    assert (like.name, like.environment) == (REAL[name][2], None)


def test_data_of_an_older_version_is_noted(real: Callable[[str], TransitionDataset]) -> None:
    d = changed(real("walker2d-v4"), environment="Walker2d-v5")
    assert found(d) == {}
    assert "version" in notes(d)
    assert "version" not in notes(real("walker2d-v4")) | notes(real("walker2d"))


def test_data_of_another_robot(real: Callable[[str], TransitionDataset]) -> None:
    f = found(real("halfcheetah"), family="Walker2d")
    assert f.keys() == {"environment"}
    assert "look like HalfCheetah" in f["environment"].message
    assert found(changed(real("walker2d"), environment="HalfCheetah-v5")).keys() == {"environment"}
    f = found(real("hopper"), family="Ant")
    assert f.keys() == {"dimensions"}
    assert "27 or 105 or 111 observations" in f["dimensions"].message


def test_observations_that_were_normalised(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        mean, std = d.observations.mean(axis=0), d.observations.std(axis=0)
        d.observations[:] = (d.observations - mean) / std
        d.next_observations[:] = (d.next_observations - mean) / std

    d = changed(real("hopper"), damage)
    assert found(d).keys() == {"environment"}
    like = looks_like(d)
    assert (like.name, like.environment, like.reward_gap) == ("unknown", None, None)


def test_environments_that_are_not_known(real: Callable[[str], TransitionDataset]) -> None:
    own = changed(real("halfcheetah"), lambda d: d.rewards.fill(1) or d.rewards[::2].fill(0), environment="my/Own-v3")
    assert found(own) == {}
    assert "unknown-environment" in notes(own)
    pendulum = rollout("Pendulum-v1", {}, 600, limit=200)
    like = looks_like(pendulum)
    assert (like.name, like.environment, like.reward_gap) == ("unknown", None, None)
    assert "3 observations and 1 actions" in like.reasons[0]
    assert found(changed(pendulum, environment=None)) == {}


# --- sizes and sources ------------------------------------------------------------------------------------------------------------


def test_too_few_rows(real: Callable[[str], TransitionDataset]) -> None:
    d = real("halfcheetah")
    few = in_memory(d.rows[: FEWEST_ROWS - 1], np.array([FEWEST_ROWS - 1]), 17, 6, d.manifest)
    assert found(few).keys() == {"few-rows"}
    enough = in_memory(d.rows[:FEWEST_ROWS], np.array([FEWEST_ROWS]), 17, 6, d.manifest)
    assert found(enough) == {}
    none = TransitionDataset(d.rows[:0], np.zeros(0, dtype=np.int64), 17, 6, d.manifest)
    assert found(none).keys() == {"few-rows"}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("d4rl:hopper-medium-expert-v0", "use hopper-medium-expert-v2"),
        ("/data/hopper_medium_expert.hdf5", "use hopper-medium-expert-v2"),
        ("https://host/gym_mujoco_v1/walker2d_medium_replay-v1.hdf5", "use walker2d-medium-replay-v2"),
        ("d4rl:hopper-medium-expert-v2", None),
        ("hopper_medium.hdf5", None),
    ],
)
def test_known_faults_by_name(real: Callable[[str], TransitionDataset], source: str, fault: str | None) -> None:
    d = real("hopper")
    for f in (found(d, source=source), found(changed(d, source={"name": source, "stamp": {}}, origin="d4rl"))):
        assert f.keys() == ({"known-fault"} if fault else set())
        assert fault is None or fault in f["known-fault"].message
    assert found(changed(d, origin="collected"), source=source) == {}


def test_known_faults_by_size(real: Callable[[str], TransitionDataset]) -> None:
    d = real("hopper")

    def codes(size: int, origin: str) -> set[str]:
        rows = np.broadcast_to(d.rows[0], (size, d.rows.shape[1]))  # in the size of the file, and in no memory
        manifest = {**d.manifest, "origin": origin}
        return {f.code for f in check(TransitionDataset(rows, np.array([size]), 11, 3, manifest))}

    assert "known-fault" in codes(1_200_919, "file")
    assert "known-fault" not in codes(1_200_919, "collected") | codes(1_198_000, "file")


def test_errors_come_first(real: Callable[[str], TransitionDataset]) -> None:
    def damage(d: TransitionDataset) -> None:
        d.rows[51] = d.rows[50]
        d.actions[3] = 2

    levels = [f.level for f in check(changed(real("halfcheetah"), damage))]
    assert set(levels) == {"error", "warning", "note"}
    assert levels == sorted(levels, key=["error", "warning", "note"].index)


def test_a_million_rows_would_take_three_seconds_of_one_core_at_most(real: Callable[[str], TransitionDataset]) -> None:
    d = real("ant")
    ends = (d.episode_ends + len(d) * np.arange(150)[:, None]).ravel()
    large = TransitionDataset(np.tile(d.rows, (150, 1)), ends, 27, 8, d.manifest)
    start = time.process_time()
    assert found(large) == {}
    assert time.process_time() - start < 0.9


# --- the command ------------------------------------------------------------------------------------------------------------------


def stored(dataset: TransitionDataset, folder: Path) -> Path:
    manifest = {**dataset.manifest, "id": "file/mine", "references": {}, "report": {}}
    made = in_memory(dataset.rows, dataset.episode_ends, dataset.observation_dim, dataset.action_dim, manifest)
    write(made, folder)
    return folder


def test_the_command_on_clean_data(
    real: Callable[[str], TransitionDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = stored(real("ant-angle"), tmp_path / "clean")
    assert main([str(cache)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("file/mine: 2,000 rows, ")
    assert lines[1] == "looks like: mopo/AntAngle-v0 angle=30.0 (very likely)"
    assert lines[-1] == "0 errors, 0 warnings, 1 note"
    assert main([str(cache), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["looks_like"]["name"] == "Ant"
    assert document["looks_like"]["options"] == {"angle": 30.0}
    assert [f["code"] for f in document["findings"]] == ["few-rows"]
    assert document["size"] == 2000


def test_the_command_in_a_process_of_its_own(real: Callable[[str], TransitionDataset], tmp_path: Path) -> None:
    def damage(d: TransitionDataset) -> None:
        d.rows[7, 2] = np.nan
        d.actions[9] = 4

    cache = stored(changed(real("hopper"), damage), tmp_path / "damaged")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-P", "-m", "engine.data.check", *map(str, arguments)]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)

    done = run(cache)
    assert (done.returncode, done.stderr) == (1, "")
    assert "error: 1 row with NaN or infinite values: drop them, or find what wrote them (first row 7)" in done.stdout
    assert done.stdout.splitlines()[-1] == "2 errors, 0 warnings, 1 note"
    done = run("--json", cache)
    assert done.returncode == 1
    first = json.loads(done.stdout)["findings"][0]
    assert (first["code"], first["level"], first["rows"], first["first_row"]) == ("not-finite", "error", 1, 7)


def test_a_warning_alone_is_a_finding(real: Callable[[str], TransitionDataset], tmp_path: Path) -> None:
    assert main([str(stored(changed(real("halfcheetah"), ends=np.array([300, 1000, 2000])), tmp_path / "split"))]) == 1


def test_what_cannot_be_read_is_one_line(
    real: Callable[[str], TransitionDataset], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = stored(real("hopper"), tmp_path / "cache")
    with open(cache / "rows.f32", "r+b") as f:
        f.seek(4000)
        f.write(b"\x00\x01\x02\x03")
    for folder, said in (
        (cache, "its rows"),
        (tmp_path / "no", "no dataset at"),
        (tmp_path, "dataset.json is missing"),
    ):
        assert main([str(folder)]) == 3
        written = capsys.readouterr()
        assert written.out == ""
        assert said in written.err
        assert written.err.count("\n") == 1
    with pytest.raises(SystemExit, match="2"):
        main([])


def test_it_starts_without_torch(tmp_path: Path) -> None:
    code = "import sys, engine.data.check; print(sorted({'torch', 'gymnasium', 'mujoco'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
