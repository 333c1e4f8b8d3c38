"""Networks as functions of one flat parameter vector.

Every learner keeps all its parameters in one flat tensor, so that one Adam step and one Polyak average serve it all. A `Layout`
names the pieces of that vector; `mlp` and `tanh_gaussian` take the pieces as views; `Networks` are an agent's actor and critics.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import softplus

from engine.compute import mm

Layers = list[tuple[Tensor, Tensor]]
# A flat vector, or its named pieces.
Parameters = Tensor | dict[str, Tensor]
# Actions at ±1 have no finite counterpart before the tanh.
LARGEST_ACTION = 1 - 1e-6


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the pieces of a flat vector, in order."""

    shapes: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def size(self) -> int:
        return sum(math.prod(shape) for _, shape in self.shapes)

    def views(self, parameters: Parameters) -> dict[str, Tensor]:
        """The named pieces as views of a flat vector, shape (size,); pieces stay as they are."""
        if isinstance(parameters, dict):
            return parameters
        pieces, start = {}, 0
        for name, shape in self.shapes:
            length = math.prod(shape)
            pieces[name] = parameters[start : start + length].view(shape)
            start += length
        return pieces

    def gradient(
        self, loss: Callable[..., Any], flat: Tensor, *inputs: Any, has_aux: bool = False
    ) -> tuple[Tensor, Any]:
        """The gradient of `loss(parameters, *inputs)`, (size,), and what the loss gives.

        It is taken with respect to each piece and then put together. Taken with respect to the vector it would be a sum of as many
        vectors as there are pieces, each of which is 0 but for one: that sum takes longer than the rest of Adam's step.
        """
        by_piece, value = torch.func.grad_and_value(loss, has_aux=has_aux)(self.views(flat), *inputs)
        return torch.cat([by_piece[name].reshape(-1) for name, _ in self.shapes]), value


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


def layers(layout: Layout, parameters: Parameters) -> Layers:
    """The (weight, bias) pairs of an `mlp_layout`."""
    views = list(layout.views(parameters).values())
    return list(zip(views[0::2], views[1::2], strict=True))


def mlp(parameters: Layers, x: Tensor) -> Tensor:
    """ReLU network: (batch, in) -> (batch, out), or (members, batch, in) -> (members, batch, out) for a stack."""
    for weight, bias in parameters[:-1]:
        x = torch.relu(mm(x, weight) + bias)
    weight, bias = parameters[-1]
    if weight.shape[-1] == 1:  # a weighted sum, which compiles into its neighbours: faster than a product of one column
        return (x * weight.mT).sum(-1, keepdim=True) + bias
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


# --- actor and critics ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Transitions: observation (batch, obs), action (batch, act), reward, terminal (batch,), next_observation (batch, obs)."""

    observation: Tensor
    action: Tensor
    reward: Tensor
    next_observation: Tensor
    terminal: Tensor

    @staticmethod
    def of_rows(rows: Tensor, observation_dim: int, action_dim: int) -> Batch:
        """Views into packed rows [s | a | r | s' | d], shape (batch, 2·obs + act + 2)."""
        o, a = observation_dim, action_dim
        return Batch(rows[:, :o], rows[:, o : o + a], rows[:, o + a], rows[:, o + a + 1 : -1], rows[:, -1])


class ActorCritic(Protocol):
    """Settings that an agent's networks need: those of SAC or of AWAC."""

    @property
    def hidden(self) -> tuple[int, ...]: ...
    @property
    def critics(self) -> int: ...
    @property
    def discount(self) -> float: ...
    @property
    def log_std_min(self) -> float: ...
    @property
    def log_std_max(self) -> float: ...


class Networks:
    """The layouts of actor and critics for given dimensions, and what they compute.

    The policy is a tanh-squashed mixture of `components` Gaussians with diagonal covariance; with one, SAC's tanh-Gaussian. An
    actor's outputs are [log weights | μ of each component | log σ of each], the first only where there are several.

    Args:
        components: of the policy's mixture.
        quantiles: outputs of a critic, whose mean is Q; 1: Q itself.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        settings: ActorCritic,
        components: int = 1,
        quantiles: int = 1,
    ) -> None:
        self.observation_dim, self.action_dim, self.settings = observation_dim, action_dim, settings
        self.components, self.number_of_quantiles = components, quantiles
        outputs = 2 * components * action_dim + (components if components > 1 else 0)
        self.actor: Layout = mlp_layout((observation_dim, *settings.hidden, outputs))
        self.critic: Layout = mlp_layout(
            (observation_dim + action_dim, *settings.hidden, quantiles), members=settings.critics
        )

    @property
    def noise_dim(self) -> int:
        """Standard normal numbers that one sampled action takes: one per dimension, and one for the choice of the component."""
        return self.action_dim + (self.components > 1)

    def mixture(self, actor: Parameters, observation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log weights (batch, components), μ and log σ (batch, components, act) of π(·|s) before the tanh."""
        out = mlp(layers(self.actor, actor), observation)
        k = self.components
        logits = out[:, :k] if k > 1 else torch.zeros_like(out[:, :1])
        mean, log_std = out[:, k if k > 1 else 0 :].reshape(len(out), 2, k, self.action_dim).unbind(1)
        s = self.settings
        return torch.log_softmax(logits, dim=-1), mean, log_std.clamp(s.log_std_min, s.log_std_max)

    def sample(self, actor: Parameters, observation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """a ~ π(·|s), (batch, act), and log π(a|s), (batch,); noise standard normal, (batch, `noise_dim`)."""
        if self.components == 1:
            s = self.settings
            return tanh_gaussian(layers(self.actor, actor), observation, noise, s.log_std_min, s.log_std_max)
        return sample_mixture(*self.mixture(actor, observation), noise)

    def mode(self, actor: Parameters, observation: Tensor) -> Tensor:
        """The action by which a policy is evaluated: tanh(μ) of the likeliest component, (batch, act)."""
        log_weights, mean, _ = self.mixture(actor, observation)
        return torch.tanh(mean[torch.arange(len(mean), device=mean.device), log_weights.argmax(-1)])

    def log_density(self, actor: Parameters, observation: Tensor, action: Tensor) -> Tensor:
        """log π(a|s) of given actions (batch, act) in [−1, 1]; (batch,)."""
        return mixture_log_density(*self.mixture(actor, observation), before_tanh(action))

    def q_quantiles(self, critic: Parameters, observation: Tensor, action: Tensor) -> Tensor:
        """The outputs of every critic, (critics, batch, quantiles)."""
        x = torch.cat([observation, action], dim=-1)
        return mlp(layers(self.critic, critic), x.expand(self.settings.critics, *x.shape))

    def q(self, critic: Parameters, observation: Tensor, action: Tensor) -> Tensor:
        """Q_j(s, a) of every critic, shape (critics, batch)."""
        out = self.q_quantiles(critic, observation, action)
        return out[..., 0] if self.number_of_quantiles == 1 else out.mean(-1)

    def q_of_many(self, critic: Parameters, observation: Tensor, action: Tensor) -> Tensor:
        """What `q` gives, one critic after another: faster for thousands of rows, whose stack would leave the cache."""
        x, parameters = torch.cat([observation, action], dim=-1), layers(self.critic, critic)
        each = [mlp([(w[j], b[j]) for w, b in parameters], x).mean(-1) for j in range(self.settings.critics)]
        return torch.stack(each)

    def action_gradients(self, critic: Parameters, observation: Tensor, action: Tensor) -> Tensor:
        """∇_a Q_j(s, a) of every critic, (critics, batch, act).

        Written out for ReLU layers, whose derivative is a mask: so a loss may hold it, and one ordinary gradient is enough.
        """
        parameters = layers(self.critic, critic)
        x = torch.cat([observation, action], dim=-1)
        x, masks = x.expand(self.settings.critics, *x.shape), []
        for weight, bias in parameters[:-1]:
            x = mm(x, weight) + bias
            masks.append((x > 0).to(x.dtype))
            x = torch.relu(x)
        gradient = parameters[-1][0].mean(-1)[:, None].expand_as(masks[-1])
        for (weight, _), mask in zip(reversed(parameters[:-1]), reversed(masks), strict=True):
            gradient = mm(gradient * mask, weight.mT)
        return gradient[..., self.observation_dim :]


def before_tanh(action: Tensor) -> Tensor:
    """u with tanh(u) = a, of actions in [−1, 1], taken as at most 1 − 1e-6 in size."""
    return torch.atanh(action.clamp(-LARGEST_ACTION, LARGEST_ACTION))


def mixture_log_density(log_weights: Tensor, mean: Tensor, log_std: Tensor, pre_tanh: Tensor) -> Tensor:
    """log Σ_k w_k N(u; μ_k, σ_k²) − Σ log(1 − tanh(u)²), the log-density of a = tanh(u); (batch,).

    Args:
        log_weights: (batch, components).
        mean, log_std: (batch, components, act).
        pre_tanh: u, (batch, act).
    """
    z = (pre_tanh[:, None] - mean) * torch.exp(-log_std)
    normal = (-0.5 * z.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)
    squash = 2 * (math.log(2) - pre_tanh - softplus(-2 * pre_tanh))
    return torch.logsumexp(log_weights + normal, dim=-1) - squash.sum(-1)


def sample_mixture(log_weights: Tensor, mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A sample of the squashed mixture and its log-density; not differentiable in the choice of the component.

    Args:
        noise: standard normal, (batch, act + 1); the last column, mapped to a uniform number by the normal's distribution
            function, chooses the component. Of one component it may be missing.
    """
    uniform = 0.5 * (1 + torch.erf(noise[:, -1:] / math.sqrt(2)))
    chosen = (log_weights.exp().cumsum(-1)[:, :-1] < uniform).sum(-1)
    rows = torch.arange(len(mean), device=mean.device)
    pre_tanh = mean[rows, chosen] + log_std[rows, chosen].exp() * noise[:, : mean.shape[-1]]
    return torch.tanh(pre_tanh), mixture_log_density(log_weights, mean, log_std, pre_tanh)
