"""Termination rules and rewards against the real environments."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import envs
from engine.dynamics.termination import TERMINATIONS

TRANSITIONS = 100_000


def mismatches(env_id: str, rule: str, scale: float, **options: object) -> tuple[int, int]:
    """Steps on which the rule and the environment disagree, and how many were terminal, over 100k random steps."""
    env = envs.make(env_id, **options)
    rng = np.random.default_rng(0)
    env.action_space.seed(0)
    env.reset(seed=0)
    states, ended = np.zeros((TRANSITIONS, env.observation_space.shape[0])), np.zeros(TRANSITIONS, dtype=bool)
    for i in range(TRANSITIONS):
        action = (scale * rng.uniform(-1, 1, env.action_space.shape)).astype(np.float32)
        states[i], _, ended[i], truncated, _ = env.step(action)
        if ended[i] or truncated:
            env.reset()
    told = TERMINATIONS[rule](torch.from_numpy(states)).numpy()
    return int((told != ended).sum()), int(ended.sum())


def test_ant_termination_agrees_with_the_environment_on_100k_transitions() -> None:
    wrong, terminal = mismatches("Ant-v5", "ant", 1.0, include_cfrc_ext_in_observation=False)
    assert wrong == 0
    assert terminal > 100


def test_halfcheetah_termination_agrees_with_the_environment_on_100k_transitions() -> None:
    assert mismatches("HalfCheetah-v5", "never", 1.0) == (0, 0)


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
