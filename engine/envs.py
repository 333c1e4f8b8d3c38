"""Real environments: ant-angle (Yu et al. 2020, in the form of its authors' code) registered beside the standard ones."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any, SupportsFloat

import gymnasium
import mujoco
import numpy as np

ANT_ANGLE_ID = "mopo/AntAngle-v0"


class AntAngle(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Ant-v5 with 27-d observations, rewarded for velocity along a direction in the plane.

    r = v_x cos φ + v_y sin φ − 0.5‖a‖² − 5e-4 Σ clip(cfrc_ext, −1, 1)² + 1

    v is the torso's velocity over the step; the survive reward is 0 on a step that ends unhealthy (v5). Beside the reward,
    info holds "progress" (the velocity term) and "behaviour_reward" (the same reward with v_x alone).
    """

    def __init__(self, angle: float = 30.0, **kwargs: Any) -> None:
        super().__init__(gymnasium.make("Ant-v5", include_cfrc_ext_in_observation=False, **kwargs).unwrapped)
        self._cos, self._sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        progress = info["x_velocity"] * self._cos + info["y_velocity"] * self._sin
        info["progress"] = progress
        info["behaviour_reward"] = float(reward)
        return observation, float(reward) - info["x_velocity"] + progress, terminated, truncated, info


if ANT_ANGLE_ID not in gymnasium.registry:
    gymnasium.register(ANT_ANGLE_ID, entry_point=AntAngle, max_episode_steps=1000)


@contextlib.contextmanager
def _without_model_warnings() -> Iterator[None]:
    """HalfCheetah's XML makes MuJoCo warn of a deprecated attribute at every load, in a file in the working folder."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def make(env_id: str, **kwargs: Any) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """The environment `env_id` with its time limit; a new instance."""
    with _without_model_warnings():
        return gymnasium.make(env_id, **kwargs)
