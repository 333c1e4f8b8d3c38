"""Termination rules and rewards against the real environments."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from amount import amount

from engine import envs
from engine.dynamics.termination import TERMINATIONS
from engine.tasks import TASKS
from engine.tasks import TERMINATIONS as NAMES

TRANSITIONS = amount(30_000, 100_000)


def mismatches(
    env_id: str, rule: str, scale: float, transitions: int = TRANSITIONS, **options: object
) -> tuple[int, int]:
    """Steps on which the rule and the environment disagree, and how many were terminal, over random steps."""
    env = envs.make(env_id, **options)
    rng = np.random.default_rng(0)
    env.action_space.seed(0)
    env.reset(seed=0)
    states, ended = np.zeros((transitions, env.observation_space.shape[0])), np.zeros(transitions, dtype=bool)
    for i in range(transitions):
        action = (scale * rng.uniform(-1, 1, env.action_space.shape)).astype(np.float32)
        states[i], _, ended[i], truncated, _ = env.step(action)
        if ended[i] or truncated:
            env.reset()
    told = TERMINATIONS[rule](torch.from_numpy(states)).numpy()
    return int((told != ended).sum()), int(ended.sum())


def test_ant_termination_agrees_with_the_environment() -> None:
    wrong, terminal = mismatches("Ant-v5", "ant", 1.0, include_cfrc_ext_in_observation=False)
    assert wrong == 0
    assert terminal > 100


def test_halfcheetah_termination_agrees_with_the_environment() -> None:
    assert mismatches("HalfCheetah-v5", "never", 1.0) == (0, 0)


@pytest.mark.parametrize("env_id", ["Hopper-v5", "Hopper-v4", "Walker2d-v5", "Walker2d-v4"])
def test_hopper_and_walker_terminations_agree_with_the_environment(env_id: str) -> None:
    wrong, terminal = mismatches(env_id, env_id.partition("-")[0].lower(), 1.0, 20_000)
    assert wrong == 0
    assert terminal > 100


def test_hopper_ends_at_every_bound_of_a_healthy_state() -> None:
    """Random hopping does not reach all of them; the environment's own rule says what is healthy."""
    env = envs.make("Hopper-v5")
    env.reset(seed=0)
    simulator = env.unwrapped
    cases = np.zeros((9, 11))
    cases[:, 0] = 1.2
    cases[1, 0], cases[2, 1], cases[3, 1], cases[4, 5], cases[5, 5] = 0.7, 0.2, -0.2, 100.0, -100.0
    cases[6, 3], cases[7, 4], cases[8, 5] = -101.0, 101.0, 99.0
    told = TERMINATIONS["hopper"](torch.from_numpy(cases)).numpy()
    for case, terminal in zip(cases, told, strict=True):
        simulator.set_state(np.concatenate([[0.0], case[:5]]), case[5:])
        assert simulator.is_healthy is not bool(terminal), case
    assert told.tolist() == [False, True, True, True, True, True, True, True, False]


def test_every_task_names_a_rule() -> None:
    assert set(NAMES) == set(TERMINATIONS)
    assert {t.termination for t in TASKS.values()} == set(TERMINATIONS)


def test_halfcheetah_jump_reward_is_the_formula_on_simulator_state() -> None:
    env, plain = envs.make(envs.HALFCHEETAH_JUMP_ID), envs.make(envs.HALFCHEETAH_JUMP_ID, height_weight=0.0)
    rng = np.random.default_rng(1)
    env.reset(seed=1)
    plain.reset(seed=1)
    simulator = env.unwrapped
    fast = 0
    for _ in range(2000):
        before = simulator.data.qpos[0]
        action = rng.uniform(-1, 1, 6).astype(np.float32)
        if simulator.data.qvel[0] < 4.0:  # random cheetahs never reach the cap of the speed
            simulator.data.qvel[0] += 0.5
            plain.unwrapped.data.qvel[0] += 0.5
        observation, reward, terminated, truncated, info = env.step(action)
        velocity = (simulator.data.qpos[0] - before) / simulator.dt
        rest = min(velocity, 3.0) - 0.1 * float(np.square(action).sum())
        height = simulator.data.qpos[1] - simulator.init_qpos[1]
        assert math.isclose(reward, rest + 15.0 * height, rel_tol=1e-6, abs_tol=1e-6)
        assert math.isclose(info["behaviour_reward"], rest, rel_tol=1e-6, abs_tol=1e-6)
        assert observation[0] == simulator.data.qpos[1]
        assert not terminated
        behaviour = plain.step(action)[1]
        assert math.isclose(behaviour, rest, rel_tol=1e-6, abs_tol=1e-6)
        fast += velocity > 3.0
        if truncated:
            env.reset(seed=2)
            plain.reset(seed=2)
    assert fast > 20


def test_an_angle_of_90_degrees_rewards_velocity_to_the_left() -> None:
    env = envs.make(envs.ANT_ANGLE_ID, angle=90.0)
    env.reset(seed=3)
    for _ in range(20):
        _, _, _, _, info = env.step(np.ones(8, dtype=np.float32))
        assert math.isclose(info["progress"], info["y_velocity"], rel_tol=1e-9, abs_tol=1e-9)


def test_legacy_contacts_change_hopper_and_ant_and_not_the_others() -> None:
    """MuJoCo from 3.5 on adds two geoms' contact margins where earlier ones took the larger."""
    differ = {}
    for env_id in ("Hopper-v4", "Ant-v4", "HalfCheetah-v4", "Walker2d-v4"):
        pair = [envs.make(env_id, legacy_contacts=legacy) for legacy in (False, True)]
        np.testing.assert_array_equal(pair[1].unwrapped.model.geom_margin, pair[0].unwrapped.model.geom_margin / 2)
        for env in pair:
            env.reset(seed=0)
        rng, gap = np.random.default_rng(0), 0.0
        for _ in range(15):
            action = rng.uniform(-1, 1, pair[0].action_space.shape).astype(np.float32)
            (a, *_), (b, *_) = (env.step(action) for env in pair)
            gap = max(gap, float(np.abs(a - b).max()))
        differ[env_id] = gap > 0
    assert differ == {"Hopper-v4": True, "Ant-v4": True, "HalfCheetah-v4": False, "Walker2d-v4": False}


def test_ant_angle_reward_is_the_formula_on_simulator_state() -> None:
    env = envs.make(envs.ANT_ANGLE_ID)
    env.reset(seed=1)
    rng = np.random.default_rng(1)
    simulator = env.unwrapped
    survived = 0
    for _ in range(3000):
        before = simulator.data.xpos[1, :2].copy()
        action = rng.uniform(-1, 1, 8).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        velocity = (simulator.data.xpos[1, :2] - before) / simulator.dt
        z = simulator.data.qpos[2]
        healthy = bool(np.isfinite(simulator.state_vector()).all()) and 0.2 <= z <= 1.0
        contact = np.clip(simulator.data.cfrc_ext, -1, 1)
        rest = (
            -0.5 * float(np.square(action).sum()) - 5e-4 * float(np.square(contact).sum()) + (1.0 if healthy else 0.0)
        )
        along = velocity[0] * math.cos(math.pi / 6) + velocity[1] * math.sin(math.pi / 6)
        assert math.isclose(reward, along + rest, rel_tol=1e-6, abs_tol=1e-6)
        assert math.isclose(info["behaviour_reward"], velocity[0] + rest, rel_tol=1e-6, abs_tol=1e-6)
        assert terminated is not healthy
        assert observation.shape == (27,)
        np.testing.assert_allclose(observation[:13], simulator.data.qpos[2:])
        survived += healthy
        if terminated or truncated:
            env.reset()
    assert survived > 2000


def test_ant_angle_lasts_at_most_1000_steps_and_a_time_out_is_not_terminal() -> None:
    env = envs.make(envs.ANT_ANGLE_ID)
    env.reset(seed=0)
    for step in range(1, 1001):
        _, _, terminated, truncated, _ = env.step(np.zeros(8, dtype=np.float32))
        assert not terminated
        assert truncated is (step == 1000)


def test_making_an_environment_prints_nothing_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    envs.make("HalfCheetah-v5")
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""
