"""With which contacts a dataset's steps were simulated, told by simulating some of them again.

MuJoCo 3.5 changed what the margins of two geoms add up to, so that Hopper, Ant and the humanoids move otherwise than before
(`engine.envs.make`). A dataset seldom says what made it; its rows do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engine import envs

Contacts = Literal["old", "new"]

WITH_MARGINS = re.compile(
    r"(Ant|Hopper|Humanoid|HumanoidStandup|Pusher)-v[45]"
)  # Gymnasium's environments that it concerns
# How many positions of the torso an observation leaves out; the pusher's is not made of positions.
_HIDDEN_POSITIONS = {"Hopper": 1, "Ant": 2, "Humanoid": 2, "HumanoidStandup": 2}
STEPS = 400  # tried again; about 0.2 s
FEWEST = 10  # steps on which the two must differ
_DIFFERENT = 1e-3  # between the states that the two lead to; float32 and solvers come to 1e-5
_NEARER = 0.1  # of the other's error at most
_CLIPPED = 10.0  # Hopper's observed velocities end here, and what lies beyond cannot be set


def contacts_of(
    env_id: str, options: Mapping[str, Any], rows: NDArray[np.float32], observation_dim: int, action_dim: int
) -> Contacts | None:
    """The contacts that lead from the rows' s to their s'; None where they do not tell, or the environment has no margins.

    Args:
        env_id, options: of the environment that made the data.
        rows: s, a, r, s', d, (rows, width).
    """
    name = env_id.partition("-")[0]
    if not WITH_MARGINS.fullmatch(env_id) or name not in _HIDDEN_POSITIONS or not len(rows):
        return None
    taken = np.asarray(rows[np.linspace(0, len(rows) - 1, min(STEPS, len(rows))).astype(int)], dtype=np.float64)
    s, a = taken[:, :observation_dim], taken[:, observation_dim : observation_dim + action_dim]
    s_next = taken[:, observation_dim + action_dim + 1 : -1]
    plain = {name: value for name, value in options.items() if name != "legacy_contacts"}
    old, new = (_stepped(env_id, plain, legacy, _HIDDEN_POSITIONS[name], s, a) for legacy in (True, False))
    if old is None or new is None:
        return None
    state = old.shape[1]
    known = (np.abs(s[:, :state]) < _CLIPPED).all(axis=1) & (np.abs(s_next[:, :state]) < _CLIPPED).all(axis=1)
    telling = known & (np.abs(old - new).max(axis=1) > _DIFFERENT)
    if telling.sum() < FEWEST:
        return None
    off_old, off_new = (float(np.median(np.abs(each - s_next[:, :state])[telling].max(axis=1))) for each in (old, new))
    if off_old < _NEARER * off_new:
        return "old"
    return "new" if off_new < _NEARER * off_old else None


def _stepped(
    env_id: str, options: Mapping[str, Any], legacy: bool, hidden: int, s: NDArray[np.float64], a: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Where one step leads from each s, (rows, positions and velocities); None where s does not hold them."""
    try:
        env: Any = envs.make(env_id, legacy_contacts=legacy, **options).unwrapped
    except Exception:  # told where the data's environment is made for evaluations
        return None
    try:
        model = env.model
        state = model.nq - hidden + model.nv
        if state > s.shape[1] or a.shape[1] != model.nu:
            return None
        env.reset(seed=0)
        reached = np.empty((len(s), state))
        for i, (observation, action) in enumerate(zip(s, a, strict=True)):
            positions = np.concatenate([np.zeros(hidden), observation[: model.nq - hidden]])
            env.set_state(positions, observation[model.nq - hidden : state])
            env.do_simulation(action, env.frame_skip)
            reached[i] = np.concatenate([env.data.qpos[hidden:], env.data.qvel])
        return reached
    finally:
        env.close()
