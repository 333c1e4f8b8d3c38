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


def max_disagreement(mean: Tensor, log_variance: Tensor) -> Tensor:
    """u(s, a) = max_i ‖μ_i(s, a) − mean_j μ_j(s, a)‖₂ over the observation dimensions: the official code's alternative.

    The reward's disagreement does not count, and a lone member disagrees with nobody: u = 0. Arguments and result as above.
    """
    del log_variance
    states = mean[..., 1:]
    u: Tensor = (states - states.mean(0)).norm(dim=-1).amax(0)
    return u


def ensemble_std(mean: Tensor, log_variance: Tensor) -> Tensor:
    """u(s, a) = ‖σ*(s, a)‖₂, the standard deviation of the members' Gaussian mixture, over reward and observation (Lu et al. 2022).

    σ*² = mean_i(σ_i² + μ_i²) − (mean_i μ_i)² is computed as mean_i σ_i² + mean_i (μ_i − mean_j μ_j)², which cannot cancel where
    the means are large and alike. Arguments and result as above.
    """
    aleatoric = torch.exp(log_variance).mean(0)
    epistemic = (mean - mean.mean(0)).square().mean(0)
    return (aleatoric + epistemic).sum(-1).sqrt()


# name in `rollout.uncertainty` -> function of all members' Gaussians
UNCERTAINTIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "max_aleatoric": max_aleatoric,
    "max_disagreement": max_disagreement,
    "ensemble_std": ensemble_std,
}


def histogram_counts(u: Tensor) -> Sequence[int]:
    """Counts of u over the run folder's fixed log-spaced edges: underflow, 160 bins, overflow; 162 entries."""
    low = HISTOGRAM_DECADES[0]
    position = torch.floor((torch.log10(u.double().clamp(min=1e-300)) - low) * BINS_PER_DECADE)
    index = position.clamp(-1, HISTOGRAM_BINS).long() + 1
    counts: list[int] = torch.bincount(index, minlength=HISTOGRAM_BINS + 2).tolist()
    return counts
