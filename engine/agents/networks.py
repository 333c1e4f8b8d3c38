"""Networks as functions of one flat parameter vector.

Every learner keeps all its parameters in one flat tensor, so that one Adam step and one Polyak average serve it all. A `Layout`
names the pieces of that vector; `mlp` and `tanh_gaussian` take the pieces as views.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from engine.compute import mm

Layers = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the pieces of a flat vector, in order."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def size(self) -> int:
        return sum(math.prod(shape) for _, shape in self.shapes)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The named pieces as views of `flat`, shape (size,)."""
        pieces, start = {}, 0
        for name, shape in self.shapes:
            length = math.prod(shape)
            pieces[name] = flat[start : start + length].view(shape)
            start += length
        return pieces


def mlp_layout(sizes: Sequence[int], members: int | None = None) -> Layout:
    """Weights (in, out) and biases of a fully connected network; with `members`, a stack of such networks."""
    shapes: list[tuple[str, tuple[int, ...]]] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        if members is None:
            shapes += [(f"{i}/weight", (fan_in, fan_out)), (f"{i}/bias", (fan_out,))]
        else:
            shapes += [
                (f"{i}/weight", (members, fan_in, fan_out)),
                (f"{i}/bias", (members, 1, fan_out)),
            ]
    return Layout(tuple(shapes))


def layers(layout: Layout, flat: Tensor) -> Layers:
    """The (weight, bias) pairs of an `mlp_layout`."""
    views = list(layout.views(flat).values())
    return list(zip(views[0::2], views[1::2], strict=True))


def mlp(parameters: Layers, x: Tensor) -> Tensor:
    """ReLU network: (batch, in) -> (batch, out), or (members, batch, in) -> (members, batch, out) for a stack."""
    for weight, bias in parameters[:-1]:
        x = torch.relu(mm(x, weight) + bias)
    weight, bias = parameters[-1]
    return mm(x, weight) + bias


def glorot_uniform(layout: Layout, generator: torch.Generator) -> Tensor:
    """Weights uniform in ±sqrt(6 / (fan_in + fan_out)), biases 0 (Glorot & Bengio 2010)."""
    flat = torch.zeros(layout.size)
    for name, view in layout.views(flat).items():
        if name.endswith("weight"):
            bound = math.sqrt(6 / (view.shape[-2] + view.shape[-1]))
            view.uniform_(-bound, bound, generator=generator)
    return flat


def tanh_gaussian(
    parameters: Layers, observation: Tensor, noise: Tensor, log_std_min: float, log_std_max: float
) -> tuple[Tensor, Tensor]:
    """A reparametrised sample of the tanh-squashed Gaussian policy and its log-density.

    a = tanh(μ(s) + σ(s)·ε),  log π(a|s) = log N(ε; 0, 1) − log σ − log(1 − a²)    (SAC, Haarnoja et al. 2018, appendix C)

    Args:
        parameters: layers of a network with 2·action_dim outputs (μ and log σ).
        observation: (batch, obs).
        noise: ε, standard normal, (batch, act).

    Returns:
        action (batch, act) in (−1, 1) and log-density (batch,).
    """
    mean, log_std = mlp(parameters, observation).chunk(2, dim=-1)
    log_std = log_std.clamp(log_std_min, log_std_max)
    pre_tanh = mean + log_std.exp() * noise
    # log(1 − tanh(u)²) = 2(log 2 − u − softplus(−2u)), exact where 1 − a² underflows.
    log_density = (
        -0.5 * noise.square()
        - log_std
        - 0.5 * math.log(2 * math.pi)
        - 2 * (math.log(2) - pre_tanh - softplus(-2 * pre_tanh))
    )
    return torch.tanh(pre_tanh), log_density.sum(-1)
