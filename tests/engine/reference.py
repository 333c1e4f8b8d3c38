"""MOPO's and SAC's formulas written out plainly in float64, from the papers and the official code's constants.

What the tests hold the engine against: nothing here calls it. Gradients are autograd's, of these plain formulas.

    MOPO   Yu et al. 2020, arXiv 2005.13239; the ensemble is that of PETS (Chua et al. 2018, arXiv 1805.12114)
    SAC    Haarnoja et al. 2018, arXiv 1812.05905

A network is a list of layers (W, b) with W (in, out) and b (out,); parameters come as named pieces, as `Layout.views` gives them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Network = list[tuple[Tensor, Tensor]]
Pieces = Mapping[str, Tensor]


# --- the ensemble -----------------------------------------------------------------------------------------------------------------


def member(pieces: Pieces, i: int, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """μ_i and log σ_i² of member i for standardised inputs, both (rows, 1 + obs)."""
    h, layer = inputs, 0
    while f"trunk{layer}/weight" in pieces:
        z = h @ pieces[f"trunk{layer}/weight"][i] + pieces[f"trunk{layer}/bias"][i]
        h = z / (1 + torch.exp(-z))
        layer += 1
    mean = h @ pieces["mean/weight"][i] + pieces["mean/bias"][i]
    raw = h @ pieces["log_variance/weight"][i] + pieces["log_variance/bias"][i]
    return mean, bounded(raw, pieces["max_log_variance"], pieces["min_log_variance"])


def bounded(log_variance: Tensor, high: Tensor, low: Tensor) -> Tensor:
    """max − softplus(max − log σ²), then min + softplus(that − min), softplus(x) = log(e⁰ + eˣ)."""
    zero = torch.zeros((), dtype=torch.float64)
    below = high - torch.logaddexp(zero, high - log_variance)
    return low + torch.logaddexp(zero, below - low)


def ensemble_loss(pieces: Pieces, inputs: Tensor, targets: Tensor, decays: Mapping[str, float]) -> Tensor:
    """Σ_i mean over rows and targets of (μ_i − y)²/σ_i² + log σ_i², the decays, and the weight on the bounds.

    Args:
        inputs, targets: (members, rows, …), a batch of its own for each member.
        decays: weight decay of each layer by name.
    """
    members, rows, width = targets.shape
    loss = torch.zeros((), dtype=torch.float64)
    for i in range(members):
        mean, log_variance = member(pieces, i, inputs[i])
        for row in range(rows):
            for k in range(width):
                error = mean[row, k] - targets[i, row, k]
                loss = loss + (error**2 / torch.exp(log_variance[row, k]) + log_variance[row, k]) / (rows * width)
        for name, decay in decays.items():
            loss = loss + 0.5 * decay * (pieces[f"{name}/weight"][i] ** 2).sum()
    return loss + 0.01 * pieces["max_log_variance"].sum() - 0.01 * pieces["min_log_variance"].sum()


def largest_norm(log_variances: Sequence[Tensor]) -> Tensor:
    """u = max_i ‖σ_i‖₂ from each member's log σ² (rows, 1 + obs); (rows,)."""
    norms = [(torch.exp(lv / 2) ** 2).sum(1).sqrt() for lv in log_variances]
    return torch.stack([max(column) for column in zip(*norms, strict=True)])


@dataclass
class Stopping:
    """Early stopping: where each member's best holdout MSE stands, and for how many epochs none has improved."""

    best: list[float | None]
    best_epoch: list[int]
    epochs_without: int = 0

    def see(self, epoch: int, losses: Sequence[float], share: float, patience: int) -> tuple[list[int], bool]:
        """The members that improved by more than `share` of their best, and whether to stop after this epoch."""
        improved = []
        for i, loss in enumerate(losses):
            best = self.best[i]
            if best is None or loss < best - share * best:
                self.best[i], self.best_epoch[i] = loss, epoch
                improved.append(i)
        self.epochs_without = 0 if improved else self.epochs_without + 1
        return improved, self.epochs_without > patience


# --- soft actor-critic ------------------------------------------------------------------------------------------------------------


def network(pieces: Pieces) -> Network:
    """The layers of one network."""
    return [(pieces[f"{i}/weight"], pieces[f"{i}/bias"]) for i in range(len(pieces) // 2)]


def networks(pieces: Pieces) -> list[Network]:
    """The networks of a stack: weights (n, in, out), biases (n, 1, out)."""
    stack = network(pieces)
    return [[(weight[j], bias[j, 0]) for weight, bias in stack] for j in range(len(stack[0][0]))]


def relu_network(layers: Network, x: Tensor) -> Tensor:
    for weight, bias in layers[:-1]:
        z = x @ weight + bias
        x = torch.where(z > 0, z, 0.0)
    return x @ layers[-1][0] + layers[-1][1]


def gaussian(actor: Network, s: Tensor, bounds: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """μ(s) and σ(s) before the tanh, with log σ clipped."""
    out = relu_network(actor, s)
    half = out.shape[1] // 2
    low, high = bounds
    log_std = out[:, half:]
    log_std = torch.where(log_std < low, low, torch.where(log_std > high, high, log_std))
    return out[:, :half], torch.exp(log_std)


def sample(actor: Network, s: Tensor, noise: Tensor, bounds: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """a = tanh(u), u = μ + σε, and log π(a|s) = Σ log N(u; μ, σ²) − Σ log(1 − a²)    (appendix C)."""
    mean, std = gaussian(actor, s, bounds)
    u = mean + std * noise
    a = torch.tanh(u)
    normal = torch.exp(-(((u - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi))
    return a, (torch.log(normal) - torch.log(1 - a**2)).sum(1)


def q(critic: Network, s: Tensor, a: Tensor) -> Tensor:
    return relu_network(critic, torch.cat([s, a], 1))[:, 0]


def least_q(critics: Sequence[Network], s: Tensor, a: Tensor) -> Tensor:
    """min_j Q_j(s, a), row by row."""
    values = [q(critic, s, a) for critic in critics]
    return torch.stack([min(row) for row in zip(*values, strict=True)])


@dataclass(frozen=True)
class Transitions:
    s: Tensor
    a: Tensor
    r: Tensor
    s_next: Tensor
    d: Tensor

    @staticmethod
    def of_rows(rows: Tensor, obs: int, act: int) -> Transitions:
        s, a, r, s_next, d = rows.double().split([obs, act, 1, obs, 1], 1)
        return Transitions(s, a, r[:, 0], s_next, d[:, 0])


def td_target(
    actor: Network,
    target_critics: Sequence[Network],
    alpha: float,
    batch: Transitions,
    noise: Tensor,
    discount: float,
    bounds: tuple[float, float],
) -> Tensor:
    """y = r + γ(min_j Q̄_j(s', a') − α log π(a'|s')), and y = r where s' is terminal    (eqs. 3 and 5)."""
    a_next, log_pi = sample(actor, batch.s_next, noise, bounds)
    soft_value = least_q(target_critics, batch.s_next, a_next) - alpha * log_pi
    return torch.where(batch.d == 1, batch.r, batch.r + discount * soft_value)


def critic_loss(critics: Sequence[Network], batch: Transitions, y: Tensor) -> Tensor:
    """J_Q = Σ_j mean ½(Q_j − y)²    (eq. 5)."""
    losses = [(0.5 * (q(critic, batch.s, batch.a) - y) ** 2).sum() / len(y) for critic in critics]
    return torch.stack(losses).sum()


def actor_loss(
    actor: Network,
    critics: Sequence[Network],
    alpha: float,
    batch: Transitions,
    noise: Tensor,
    bounds: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """J_π = mean of α log π(a|s) − min_j Q_j(s, a) (eq. 9), and the mean of log π."""
    a, log_pi = sample(actor, batch.s, noise, bounds)
    n = len(log_pi)
    return (alpha * log_pi - least_q(critics, batch.s, a)).sum() / n, log_pi.sum() / n
