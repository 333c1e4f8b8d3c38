"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) with clipped double Q and automatic temperature.

Each loss is one function that can be held against the paper's equation; one update takes a step on all three in one compiled graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.agents.learner import Learner
from engine.agents.networks import Batch, Networks, Parameters
from engine.compute import Compute
from engine.config import Sac
from engine.pessimism import BellmanPenalty, critic_diversity, pessimistic_value

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
    critic: Parameters, networks: Networks, batch: Batch, target: Tensor, diversity: float = 0.0
) -> tuple[Tensor, Tensor]:
    """J_Q = Σ_j ½ E[(Q_j(s, a) − y)²]    (eq. 5), plus `diversity` times EDAC's term; beside it the mean Q."""
    q = networks.q(critic, batch.observation, batch.action)
    loss = 0.5 * (q - target).square().mean(1).sum()
    if diversity:
        gradients = networks.action_gradients(critic, batch.observation, batch.action)
        loss = loss + diversity * critic_diversity(gradients)
    return loss, q.detach().mean()


def actor_loss(
    actor: Parameters, networks: Networks, critic: Tensor, alpha: Tensor, batch: Batch, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """J_π = E[α log π(a|s) − min_j Q_j(s, a)], a ~ π(·|s)    (eq. 9); beside it E[log π]."""
    action, log_density = networks.sample(actor, batch.observation, noise)
    q = pessimistic_value(networks.q(critic, batch.observation, action))
    return (alpha * log_density - q).mean(), log_density.detach().mean()


def temperature_loss(log_alpha: Tensor, log_density: Tensor, target_entropy: float) -> Tensor:
    """J(α) = −E[log α · (log π(a|s) + H̄)], the official code's form of eq. 18 (log α in place of α)."""
    return -(log_alpha * (log_density + target_entropy)).sum()


class SAC(Learner):
    """Twin soft critics, a tanh-Gaussian actor and the logarithm of the temperature.

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
        self.settings = settings
        networks = Networks(observation_dim, action_dim, settings)
        log_alpha = torch.full((1,), settings.initial_log_temperature)
        rates = (settings.actor_lr, settings.critic_lr, settings.temperature_lr)
        super().__init__(networks, log_alpha, rates, settings.polyak, METRICS, compute, generator, penalty)

    def anneal(self, finished: float) -> None:
        """Set the actor's step size for a run of which the share `finished` in [0, 1) is done."""
        if self.settings.actor_schedule == "cosine":
            self._rates[: self._sections[0]] = self.settings.actor_lr * 0.5 * (1 + math.cos(math.pi * finished))

    def draws(self) -> int:
        """One for the target and one for the actor."""
        return 2

    def gradients(
        self,
        sections: tuple[Tensor, Tensor, Tensor],
        target_critic: Tensor,
        batch: Batch,
        penalty: Tensor | None,
        noise: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Those of J_π, J_Q and J(α)."""
        networks, settings = self.networks, self.settings
        actor, critic, log_alpha = sections
        alpha = log_alpha.exp()
        if settings.max_temperature:
            alpha = alpha.clamp(max=settings.max_temperature)
        backed_up = alpha if settings.entropy_backup else torch.zeros_like(alpha)
        target = td_target(networks, actor, target_critic, backed_up, batch, noise[0])
        if penalty is not None:
            target = target - penalty
        critic_gradient, (j_q, q) = networks.critic.gradient(
            critic_loss, critic, networks, batch, target, settings.diversity, has_aux=True
        )
        actor_gradient, (j_pi, log_density) = networks.actor.gradient(
            actor_loss, actor, networks, critic, alpha, batch, noise[1], has_aux=True
        )
        temperature_gradient = torch.func.grad(temperature_loss)(log_alpha, log_density, settings.target_entropy)
        return [actor_gradient, critic_gradient, temperature_gradient], [q, j_q, j_pi, alpha[0], -log_density]
