"""Advantage-weighted actor-critic (Nair et al. 2020, arXiv 2006.09359), as stage 1 of MB2PO uses it (Villaflor et al. 2020).

The policy only ever imitates actions of the batch, each the more, the better the critics find it. So no model of the behaviour
policy is needed, and no gradient goes through a sampled action: the policy may be a mixture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.agents.learner import Learner
from engine.agents.networks import Batch, Networks, Parameters, before_tanh, mixture_log_density, sample_mixture
from engine.compute import Compute
from engine.config import Awac
from engine.pessimism import BellmanPenalty, pessimistic_value

METRICS = (
    "policy/q",
    "policy/critic_loss",
    "policy/actor_loss",
    "policy/advantage",
    "policy/weight",
    "policy/weight_clipped",
    "policy/entropy",
)


def advantages(q: Tensor, sampled: Tensor) -> Tensor:
    """A(s, a) = min_j Q_j(s, a) − mean_m min_j Q_j(s, a_m), a_m ~ π(·|s).

    Args:
        q: Q_j(s, a), (critics, batch).
        sampled: Q_j(s, a_m), (critics, samples, batch).
    """
    return pessimistic_value(q) - pessimistic_value(sampled).mean(0)


def advantage_weights(advantage: Tensor, temperature: float, largest: float) -> Tensor:
    """min(exp(A/α), `largest`); Z(s) is not estimated. Any shape. exp never sees more than log `largest`, so it cannot overflow."""
    return torch.exp((advantage / temperature).clamp(max=math.log(largest)))


def actor_loss(
    actor: Parameters, networks: Networks, critic: Tensor, q: Tensor, batch: Batch, noise: Tensor, settings: Awac
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """J_π = −E[w(s, a) log π(a|s)] over the batch's own actions; beside it A, w and the samples' log π.

    No gradient goes through the weights. The actor looks at each state once, for its samples and for the density of the batch's
    action; the critics see all samples of all states in one pass.

    Args:
        q: Q_j(s, a) of the batch, (critics, batch).
        noise: (samples, batch, `networks.noise_dim`).
    """
    samples, rows = noise.shape[:2]

    def each_sample(values: Tensor) -> Tensor:
        return values.detach().expand(samples, *values.shape).flatten(0, 1)

    log_weights, mean, log_std = networks.mixture(actor, batch.observation)
    action, log_density = sample_mixture(
        each_sample(log_weights), each_sample(mean), each_sample(log_std), noise.flatten(0, 1)
    )
    sampled = networks.q_of_many(critic, each_sample(batch.observation), action).view(len(q), samples, rows)
    advantage = advantages(q, sampled)
    weights = advantage_weights(advantage, settings.temperature, settings.max_weight)
    likelihood = mixture_log_density(log_weights, mean, log_std, before_tanh(batch.action))
    return -(weights * likelihood).mean(), (advantage, weights, log_density)


def td_target(networks: Networks, actor: Tensor, target_critic: Tensor, batch: Batch, noise: Tensor) -> Tensor:
    """y = r + γ(1 − d) min_j Q̄_j(s', a'), a' ~ π(·|s'); (batch, quantiles), from the critic whose mean is lower."""
    action, _ = networks.sample(actor, batch.next_observation, noise)
    quantiles = networks.q_quantiles(target_critic, batch.next_observation, action)
    lower = quantiles.mean(-1).argmin(0)
    value = quantiles[lower, torch.arange(len(lower), device=lower.device)]
    return batch.reward[:, None] + networks.settings.discount * (1 - batch.terminal)[:, None] * value


def critic_loss(critic: Parameters, networks: Networks, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
    """J_Q = Σ_j ½ E[(Q_j(s, a) − y)²], or the quantile regressions of a quantile critic; beside it Q_j(s, a), (critics, batch).

    Args:
        target: (batch, quantiles).
    """
    quantiles = networks.q_quantiles(critic, batch.observation, batch.action)
    q = quantiles.detach().mean(-1)
    if networks.number_of_quantiles == 1:
        return 0.5 * (quantiles - target).square().mean((1, 2)).sum(), q
    return quantile_huber(quantiles, target).mean(1).sum(), q


def quantile_huber(quantiles: Tensor, target: Tensor) -> Tensor:
    """Σ_i mean_k |τ_i − 1{y_k < θ_i}|·huber(y_k − θ_i), τ_i = (i − ½)/n  (QR-DQN, Dabney et al. 2018, with κ = 1).

    Args:
        quantiles: θ, (critics, batch, n).
        target: y, (batch, k).

    Returns:
        (critics, batch)
    """
    n = quantiles.shape[-1]
    tau = (torch.arange(n, device=quantiles.device, dtype=quantiles.dtype) + 0.5) / n
    error = target[None, :, None, :] - quantiles[..., None]
    size = error.abs()
    huber = torch.where(size <= 1, 0.5 * error.square(), size - 0.5)
    weight = (tau[:, None] - (error < 0).to(error.dtype)).abs()
    return (weight * huber).mean(-1).sum(-1)


class AWAC(Learner):
    """A mixture policy and clipped double critics.

    Args:
        observation_dim, action_dim: sizes of the space; actions lie in [−1, 1].
        settings: hyper-parameters.
        compute: device and compile mode.
        generator: draws the initial weights.
        penalty: comes off the targets of model rows, where there is one.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        settings: Awac,
        compute: Compute,
        generator: torch.Generator,
        penalty: BellmanPenalty | None = None,
    ) -> None:
        self.settings = settings
        quantiles = settings.quantiles if settings.critic == "quantile" else 1
        networks = Networks(observation_dim, action_dim, settings, settings.components, quantiles)
        rates = (settings.actor_lr, settings.critic_lr, 0.0)
        super().__init__(networks, torch.empty(0), rates, settings.polyak, METRICS, compute, generator, penalty)

    def draws(self) -> int:
        """One for the target, the others for the advantage's baseline."""
        return 1 + self.settings.advantage_samples

    def gradients(
        self,
        sections: tuple[Tensor, Tensor, Tensor],
        target_critic: Tensor,
        batch: Batch,
        penalty: Tensor | None,
        noise: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Those of J_π and J_Q."""
        networks, settings = self.networks, self.settings
        actor, critic, _ = sections
        target = td_target(networks, actor, target_critic, batch, noise[0])
        if penalty is not None:
            target = target - penalty[:, None]
        critic_gradient, (j_q, q) = networks.critic.gradient(critic_loss, critic, networks, batch, target, has_aux=True)
        actor_gradient, (j_pi, (advantage, weights, log_density)) = networks.actor.gradient(
            actor_loss, actor, networks, critic, q, batch, noise[1:], settings, has_aux=True
        )
        clipped = (advantage >= settings.temperature * math.log(settings.max_weight)).to(q.dtype).mean()
        values = [q.mean(), j_q, j_pi, advantage.mean(), weights.mean(), clipped, -log_density.mean()]
        return [actor_gradient, critic_gradient], values
