"""Where a model step ends an episode, told from the next observation as the real environments tell it (v4 and v5)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def never(next_observation: Tensor) -> Tensor:
    """HalfCheetah: no state is terminal."""
    return torch.zeros(next_observation.shape[:-1], dtype=torch.bool, device=next_observation.device)


def ant(next_observation: Tensor) -> Tensor:
    """Ant with 27-d observations: healthy while the state is finite and 0.2 ≤ z ≤ 1.0, z = s'[0]."""
    z = next_observation[..., 0]
    return ~(torch.isfinite(next_observation).all(-1) & (z >= 0.2) & (z <= 1.0))


def hopper(next_observation: Tensor) -> Tensor:
    """Hopper: healthy while finite, all of s'[1:] within ±100, z = s'[0] above 0.7 and the torso's angle s'[1] within ±0.2.

    The bound on s'[1:] has both sides, as in the environment; the published ports of MOPO leave the lower one unchecked.
    """
    z, angle, rest = next_observation[..., 0], next_observation[..., 1], next_observation[..., 1:]
    within = (rest.abs() < 100).all(-1)
    return ~(torch.isfinite(next_observation).all(-1) & within & (z > 0.7) & (angle.abs() < 0.2))


def walker2d(next_observation: Tensor) -> Tensor:
    """Walker2d: healthy while 0.8 < z < 2.0 and the torso's angle is within ±1, z = s'[0] and the angle s'[1]."""
    z, angle = next_observation[..., 0], next_observation[..., 1]
    return ~((z > 0.8) & (z < 2.0) & (angle.abs() < 1.0))


# name in the task table -> rule: (batch, obs) -> terminal (batch,) bool
TERMINATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "never": never,
    "ant": ant,
    "hopper": hopper,
    "walker2d": walker2d,
}
