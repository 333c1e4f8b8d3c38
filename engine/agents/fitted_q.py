"""Fitted Q evaluation (Le et al. 2019): what a given policy is worth, by the batch alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.agents.adam import adam_, bias_corrections, correction
from engine.agents.networks import Batch, Networks, Parameters, glorot_uniform
from engine.compute import Compute


def fitted_q(
    networks: Networks,
    actor: Tensor,
    rows: Tensor,
    lr: float,
    polyak: float,
    batch_size: int,
    updates: int,
    compute: Compute,
    generator: torch.Generator,
    stop_requested: Callable[[], None],
) -> Tensor:
    """The critics of `networks`, flat, after `updates` gradient steps on Σ_j ½ E[(Q_j(s, a) − r − γ(1 − d) Q̄_j(s', mode π(s')))²].

    Each critic learns from its own target, so none is pessimistic; the mean over them is the estimate. Nothing keeps Q honest where
    the policy leaves the batch.

    Args:
        actor: flat parameters of the policy, which stays as it is.
        rows: the dataset, packed (n, 2·obs + act + 2).
    """
    critic = glorot_uniform(networks.critic, generator).to(compute.device)
    target_critic = critic.clone()
    m, v = torch.zeros_like(critic), torch.zeros_like(critic)
    corrections, step_size = bias_corrections(compute.device), torch.tensor(lr, device=compute.device)

    def loss(critic: Parameters, batch: Batch, target: Tensor) -> Tensor:
        return 0.5 * (networks.q(critic, batch.observation, batch.action) - target).square().mean(1).sum()

    def gradient_step(
        critic: Tensor, target_critic: Tensor, m: Tensor, v: Tensor, correction: Tensor, lr: Tensor, rows: Tensor
    ) -> None:
        batch = Batch.of_rows(rows, networks.observation_dim, networks.action_dim)
        value = networks.q(target_critic, batch.next_observation, networks.mode(actor, batch.next_observation))
        target = batch.reward + networks.settings.discount * (1 - batch.terminal) * value
        adam_(critic, networks.critic.gradient(loss, critic, batch, target)[0], m, v, correction, lr)
        target_critic.lerp_(critic, polyak)

    step = compute.compile(gradient_step)
    for i in range(updates):
        stop_requested()
        index = torch.randint(len(rows), (batch_size,), generator=generator).to(rows.device)
        step(critic, target_critic, m, v, correction(corrections, i), step_size, rows.index_select(0, index))
    return critic
