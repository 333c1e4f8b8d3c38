"""u(s, a): how far the model is to be trusted, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.record import BINS_PER_DECADE, HISTOGRAM_BINS, HISTOGRAM_DECADES


def max_aleatoric(mean: Tensor, log_variance: Tensor) -> Tensor:
    """u(s, a) = max_i ‖σ_i(s, a)‖₂ over all members, σ of reward and observation, raw units (Yu et al. 2020).

    The paper writes the Frobenius norm of Σ_i; its code takes the norm of the vector of standard deviations, as here.

    Args:
        mean, log_variance: (members, batch, 1 + obs).

    Returns:
        (batch,)
    """
    del mean
    u: Tensor = torch.exp(0.5 * log_variance).norm(dim=-1).amax(0)
    return u


# name in `rollout.uncertainty` -> function of all members' Gaussians
UNCERTAINTIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"max_aleatoric": max_aleatoric}


def histogram_counts(u: Tensor) -> Sequence[int]:
    """Counts of u over the run folder's fixed log-spaced edges: underflow, 160 bins, overflow; 162 entries."""
    low = HISTOGRAM_DECADES[0]
    position = torch.floor((torch.log10(u.double().clamp(min=1e-300)) - low) * BINS_PER_DECADE)
    index = position.clamp(-1, HISTOGRAM_BINS).long() + 1
    counts: list[int] = torch.bincount(index, minlength=HISTOGRAM_BINS + 2).tolist()
    return counts
