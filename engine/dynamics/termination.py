"""Where a model step ends an episode, told from the next observation as the real environments tell it (v5)."""

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


# name in the task table -> rule: (batch, obs) -> terminal (batch,) bool
TERMINATIONS: dict[str, Callable[[Tensor], Tensor]] = {"never": never, "ant": ant}
