"""Advantage-weighted actor-critic (Nair et al. 2020, arXiv 2006.09359), as stage 1 of MB2PO uses it (Villaflor et al. 2020).

The policy only ever imitates actions of the batch, each the more, the better the critics find it. So no model of the behaviour
policy is needed, and no gradient goes through a sampled action: the policy may be a mixture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.agents.adam import adam_, bias_corrections, correction
from engine.agents.networks import Batch, Networks, before_tanh, glorot_uniform, mixture_log_density, sample_mixture
from engine.compute import Compute
from engine.config import Awac
from engine.pessimism import PENALTY_METRIC, BellmanPenalty, pessimistic_value

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
    actor: Tensor, networks: Networks, critic: Tensor, q: Tensor, batch: Batch, noise: Tensor, settings: Awac
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


def critic_loss(critic: Tensor, networks: Networks, batch: Batch, target: Tensor) -> tuple[Tensor, Tensor]:
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


class AWAC:
    """A mixture policy and clipped double critics in one flat vector [actor | critics].

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
        self.settings, self._penalty = settings, penalty
        self.metrics: tuple[str, ...] = METRICS if penalty is None else (*METRICS, PENALTY_METRIC)
        quantiles = settings.quantiles if settings.critic == "quantile" else 1
        self.networks = Networks(observation_dim, action_dim, settings, settings.components, quantiles)
        actor = glorot_uniform(self.networks.actor, generator)
        critic = glorot_uniform(self.networks.critic, generator)
        self.parameters = torch.cat([actor, critic]).to(compute.device)
        self.target_critic = critic.clone().to(compute.device)
        self.m, self.v = torch.zeros_like(self.parameters), torch.zeros_like(self.parameters)
        self.updates = 0
        self._sections = (self.networks.actor.size, self.networks.critic.size)
        self._corrections = bias_corrections(compute.device)
        self._lr = torch.tensor([settings.actor_lr, settings.critic_lr], device=compute.device)
        self._step = compute.compile(self._gradient_step)

    @property
    def actor(self) -> Tensor:
        """The actor's flat parameters, a view."""
        return self.parameters[: self._sections[0]]

    @property
    def critic(self) -> Tensor:
        """The critics' flat parameters, a view."""
        return self.parameters[self._sections[0] :]

    def anneal(self, finished: float) -> None:
        """AWAC's step sizes are constant."""

    def noise(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The standard normal draws of one update, on the CPU: (1 + samples, rows, act + 1), then the penalty's."""
        dim = self.networks.noise_dim
        draws = torch.randn(1 + self.settings.advantage_samples, rows, dim, generator=generator)
        return (draws,) if self._penalty is None else (draws, *self._penalty.noise(rows, dim, generator))

    def update(self, rows: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
        """One gradient step of critics and actor on packed transitions; the values of `metrics`."""
        corrections = correction(self._corrections, self.updates)
        self.updates += 1
        metrics: Tensor = self._step(
            self.parameters, self.target_critic, self.m, self.v, corrections, self._lr, rows, noise
        )
        return metrics

    def _gradient_step(
        self,
        parameters: Tensor,
        target_critic: Tensor,
        m: Tensor,
        v: Tensor,
        corrections: Tensor,
        lr: Tensor,
        rows: Tensor,
        noise: tuple[Tensor, ...],
    ) -> Tensor:
        networks, settings = self.networks, self.settings
        batch = Batch.of_rows(rows, networks.observation_dim, networks.action_dim)
        actor, critic = parameters.split(self._sections)

        target = td_target(networks, actor, target_critic, batch, noise[0][0])
        if self._penalty is not None:
            s, a = batch.observation, batch.action
            penalty = self._penalty(networks, actor, target_critic, s, a, (noise[1], noise[2]))
            target = target - penalty[:, None]
        critic_gradient, (j_q, q) = torch.func.grad_and_value(critic_loss, has_aux=True)(
            critic, networks, batch, target
        )
        actor_gradient, (j_pi, (advantage, weights, log_density)) = torch.func.grad_and_value(actor_loss, has_aux=True)(
            actor, networks, critic, q, batch, noise[0][1:], settings
        )

        gradient = torch.cat([actor_gradient, critic_gradient])
        rates = torch.cat([lr[i].expand(n) for i, n in enumerate(self._sections)])
        adam_(parameters, gradient, m, v, corrections, rates)
        target_critic.lerp_(parameters[self._sections[0] :], settings.polyak)
        clipped = (advantage >= settings.temperature * math.log(settings.max_weight)).to(q.dtype).mean()
        values = [q.mean(), j_q, j_pi, advantage.mean(), weights.mean(), clipped, -log_density.mean()]
        return torch.stack(values if self._penalty is None else [*values, penalty.mean()])

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs, as named tensors."""
        return {
            "parameters": self.parameters,
            "target_critic": self.target_critic,
            "m": self.m,
            "v": self.v,
            "updates": torch.tensor(self.updates),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name in ("parameters", "target_critic", "m", "v"):
            getattr(self, name).copy_(state[name])
        self.updates = int(state["updates"])
