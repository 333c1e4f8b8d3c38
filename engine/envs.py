"""Real environments: the two tasks of Yu et al. 2020, in the form of its authors' code, registered beside the standard ones."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any, SupportsFloat

import gymnasium
import mujoco
import numpy as np

ANT_ANGLE_ID = "mopo/AntAngle-v0"
HALFCHEETAH_JUMP_ID = "mopo/HalfCheetahJump-v0"


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


class HalfCheetahJump(gymnasium.Wrapper[Any, Any, Any, Any]):
    """HalfCheetah-v5 rewarded for jumping, with a capped reward for speed; never done.

    r = min(v_x, 3) − 0.1‖a‖² + w·(z − z_init), w = 15

    z is the torso's height above where it starts, the first entry of the observation; so the reward is a function of (s, a, s')
    through v_x, as HalfCheetah's own. With height_weight 0 it is the behaviour's reward. Beside the reward, info holds
    "behaviour_reward".
    """

    def __init__(self, height_weight: float = 15.0, **kwargs: Any) -> None:
        super().__init__(gymnasium.make("HalfCheetah-v5", **kwargs).unwrapped)
        self._weight = height_weight
        self._start = float(self.env.unwrapped.init_qpos[1])  # type: ignore[attr-defined]

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, _, terminated, truncated, info = self.env.step(action)
        behaviour_reward = min(info["x_velocity"], 3.0) + info["reward_ctrl"]
        info["behaviour_reward"] = behaviour_reward
        return observation, behaviour_reward + float(self.height_reward(observation)), terminated, truncated, info

    def height_reward(self, next_observation: np.ndarray) -> Any:
        """w·(z − z_init), what the task's reward has beside the behaviour's: (..., obs) -> (...)."""
        return self._weight * (next_observation[..., 0] - self._start)


for _id, _entry_point in ((ANT_ANGLE_ID, AntAngle), (HALFCHEETAH_JUMP_ID, HalfCheetahJump)):
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=_entry_point, max_episode_steps=1000)


@contextlib.contextmanager
def _without_model_warnings() -> Iterator[None]:
    """HalfCheetah's XML makes MuJoCo warn of a deprecated attribute at every load, in a file in the working folder."""
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda _: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def make(env_id: str, legacy_contacts: bool = False, **kwargs: Any) -> gymnasium.Env[np.ndarray, np.ndarray]:
    """The environment `env_id` with its time limit; a new instance.

    Args:
        legacy_contacts: contacts as MuJoCo up to 3.4 made them, for data made with it. Newer ones add the contact margins of two
            geoms where the older ones took the larger, so Hopper and Ant behave otherwise; halving every margin undoes that.
    """
    with _without_model_warnings(), warnings.catch_warnings():
        # D4RL's data want v4, and every evaluation would be told that v5 is newer.
        warnings.simplefilter("ignore", DeprecationWarning)
        env = gymnasium.make(env_id, **kwargs)
    if legacy_contacts:
        env.unwrapped.model.geom_margin[:] *= 0.5  # type: ignore[attr-defined]
    return env
