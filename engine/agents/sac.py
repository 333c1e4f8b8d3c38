"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) with clipped double Q and automatic temperature.

Each loss is one function that can be held against the paper's equation; `SAC.update` does the three gradient steps and the
Polyak average in one compiled graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.agents.adam import adam_, bias_corrections, correction
from engine.agents.networks import Batch, Networks, glorot_uniform
from engine.compute import Compute
from engine.config import Sac
from engine.pessimism import PENALTY_METRIC, BellmanPenalty, critic_diversity, pessimistic_value

METRICS = (
    "policy/q",
    "policy/critic_loss",
    "policy/actor_loss",
    "policy/temperature",
    "policy/entropy",
)


def td_target(
    networks: Networks, actor: Tensor, target_critic: Tensor, alpha: Tensor, batch: Batch, noise: Tensor
) -> Tensor:
    """y = r + γ(1 − d)(min_j Q̄_j(s', a') − α log π(a'|s')), a' ~ π(·|s')    (eqs. 3 and 5); with α = 0 no entropy is backed up."""
    action, log_density = networks.sample(actor, batch.next_observation, noise)
    value = pessimistic_value(networks.q(target_critic, batch.next_observation, action)) - alpha * log_density
    return batch.reward + networks.settings.discount * (1 - batch.terminal) * value


def critic_loss(
    critic: Tensor, networks: Networks, batch: Batch, target: Tensor, diversity: float = 0.0
) -> tuple[Tensor, Tensor]:
    """J_Q = Σ_j ½ E[(Q_j(s, a) − y)²]    (eq. 5), plus `diversity` times EDAC's term; beside it the mean Q."""
    q = networks.q(critic, batch.observation, batch.action)
    loss = 0.5 * (q - target).square().mean(1).sum()
    if diversity:
        gradients = networks.action_gradients(critic, batch.observation, batch.action)
        loss = loss + diversity * critic_diversity(gradients)
    return loss, q.detach().mean()


def actor_loss(
    actor: Tensor, networks: Networks, critic: Tensor, alpha: Tensor, batch: Batch, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """J_π = E[α log π(a|s) − min_j Q_j(s, a)], a ~ π(·|s)    (eq. 9); beside it E[log π]."""
    action, log_density = networks.sample(actor, batch.observation, noise)
    q = pessimistic_value(networks.q(critic, batch.observation, action))
    return (alpha * log_density - q).mean(), log_density.detach().mean()


def temperature_loss(log_alpha: Tensor, log_density: Tensor, target_entropy: float) -> Tensor:
    """J(α) = −E[log α · (log π(a|s) + H̄)], the official code's form of eq. 18 (log α in place of α)."""
    return -(log_alpha * (log_density + target_entropy)).sum()


class SAC:
    """Twin soft critics, a tanh-Gaussian actor and a temperature in one flat vector [actor | critics | log α].

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
        settings: Sac,
        compute: Compute,
        generator: torch.Generator,
        penalty: BellmanPenalty | None = None,
    ) -> None:
        self.settings, self._penalty = settings, penalty
        self.metrics: tuple[str, ...] = METRICS if penalty is None else (*METRICS, PENALTY_METRIC)
        self.networks = Networks(observation_dim, action_dim, settings)
        self.compute = compute
        n_actor, n_critic = self.networks.actor.size, self.networks.critic.size
        actor = glorot_uniform(self.networks.actor, generator)
        critic = glorot_uniform(self.networks.critic, generator)
        log_alpha = torch.full((1,), settings.initial_log_temperature)
        self.parameters = torch.cat([actor, critic, log_alpha]).to(compute.device)
        self.target_critic = critic.clone().to(compute.device)
        self.m = torch.zeros_like(self.parameters)
        self.v = torch.zeros_like(self.parameters)
        self.updates = 0
        self._sections = (n_actor, n_critic, 1)
        self._corrections = bias_corrections(compute.device)
        self._lr = torch.tensor([settings.actor_lr, settings.critic_lr, settings.temperature_lr], device=compute.device)
        self._step = compute.compile(self._gradient_step)

    @property
    def actor(self) -> Tensor:
        """The actor's flat parameters, a view."""
        return self.parameters[: self._sections[0]]

    def anneal(self, finished: float) -> None:
        """Set the actor's step size for a run of which the share `finished` in [0, 1) is done."""
        if self.settings.actor_schedule == "cosine":
            self._lr[0] = self.settings.actor_lr * 0.5 * (1 + math.cos(math.pi * finished))

    def noise(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The standard normal draws of one update, on the CPU: (2, rows, act) for target and actor, then the penalty's."""
        draws = torch.randn(2, rows, self.networks.noise_dim, generator=generator)
        if self._penalty is None:
            return (draws,)
        return draws, *self._penalty.noise(rows, self.networks.noise_dim, generator)

    def update(self, rows: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
        """One gradient step of critics, actor and temperature.

        Args:
            rows: packed transitions (batch, 2·obs + act + 2).
            noise: as `noise` draws it.

        Returns:
            the values of `metrics` for this step, not synchronised with the host.
        """
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
        actor, critic, log_alpha = parameters.split(self._sections)
        alpha = log_alpha.exp()
        if settings.max_temperature:
            alpha = alpha.clamp(max=settings.max_temperature)

        backed_up = alpha if settings.entropy_backup else torch.zeros_like(alpha)
        target = td_target(networks, actor, target_critic, backed_up, batch, noise[0][0])
        if self._penalty is not None:
            s, a = batch.observation, batch.action
            penalty = self._penalty(networks, actor, target_critic, s, a, (noise[1], noise[2]))
            target = target - penalty
        critic_gradient, (j_q, q) = torch.func.grad_and_value(critic_loss, has_aux=True)(
            critic, networks, batch, target, settings.diversity
        )
        actor_gradient, (j_pi, log_density) = torch.func.grad_and_value(actor_loss, has_aux=True)(
            actor, networks, critic, alpha, batch, noise[0][1]
        )
        temperature_gradient = torch.func.grad(temperature_loss)(log_alpha, log_density, settings.target_entropy)

        gradient = torch.cat([actor_gradient, critic_gradient, temperature_gradient])
        rates = torch.cat([lr[i].expand(n) for i, n in enumerate(self._sections)])
        adam_(parameters, gradient, m, v, corrections, rates)
        new_critic = parameters[self._sections[0] : self._sections[0] + self._sections[1]]
        target_critic.lerp_(new_critic, settings.polyak)
        metrics = torch.stack([q, j_q, j_pi, alpha[0], -log_density])
        return metrics if self._penalty is None else torch.cat([metrics, penalty.mean()[None]])

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
