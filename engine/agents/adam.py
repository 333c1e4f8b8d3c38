"""Adam on one flat parameter vector (Kingma & Ba 2015, algorithm 1), in place."""

from __future__ import annotations

import torch
from torch import Tensor

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
# Past this many steps both corrections are 1 in float32.
_TABLE_STEPS = 20_000


def bias_corrections(device: str | torch.device = "cpu") -> Tensor:
    """Row t holds 1/(1−β₁ᵗ⁺¹) and 1/(1−β₂ᵗ⁺¹); a table because β**t in the step is slow and loses accuracy. Shape (20000, 2)."""
    t = torch.arange(1, _TABLE_STEPS + 1, dtype=torch.float64)
    table = torch.stack([1 / (1 - BETA1**t), 1 / (1 - BETA2**t)], dim=1)
    return table.float().to(device)


def correction(table: Tensor, step: int) -> Tensor:
    """The two corrections for the update after `step` updates, shape (2,)."""
    return table[min(step, _TABLE_STEPS - 1)]


def adam_(parameters: Tensor, gradient: Tensor, m: Tensor, v: Tensor, corrections: Tensor, lr: Tensor) -> None:
    """One step in place: all of shape (size,) but `corrections` (2,) and `lr`, which broadcasts."""
    m.lerp_(gradient, 1 - BETA1)
    v.lerp_(gradient.square(), 1 - BETA2)
    parameters.sub_(lr * (m * corrections[0]) / ((v * corrections[1]).sqrt() + EPSILON))
