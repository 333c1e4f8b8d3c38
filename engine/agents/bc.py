"""Behaviour cloning: maximum likelihood of the batch's actions under the tanh-Gaussian policy that SAC uses."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.agents.adam import adam_, bias_corrections, correction
from engine.agents.networks import Batch, Networks, Parameters, glorot_uniform
from engine.compute import Compute
from engine.config import Bc, Sac


def bc_loss(actor: Parameters, networks: Networks, batch: Batch) -> Tensor:
    """J(π) = −E[log π(a|s)] over the batch."""
    return -networks.log_density(actor, batch.observation, batch.action).mean()


class BC:
    """The cloned policy, one flat vector.

    Args:
        policy: hidden sizes and the clip of log σ.
    """

    metrics: tuple[str, ...] = ("policy/bc_loss",)

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        settings: Bc,
        policy: Sac,
        compute: Compute,
        generator: torch.Generator,
    ) -> None:
        self.settings = policy
        self.networks = Networks(observation_dim, action_dim, policy)
        self.parameters = glorot_uniform(self.networks.actor, generator).to(compute.device)
        self.m, self.v = torch.zeros_like(self.parameters), torch.zeros_like(self.parameters)
        self.updates = 0
        self._corrections = bias_corrections(compute.device)
        self._lr = torch.tensor(settings.lr, device=compute.device)
        self._step = compute.compile(self._gradient_step)

    @property
    def actor(self) -> Tensor:
        """The actor's flat parameters."""
        return self.parameters

    def anneal(self, finished: float) -> None:
        """BC's step size is constant."""

    def noise(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """BC samples nothing."""
        del rows, generator
        return ()

    def update(self, rows: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
        """One gradient step on packed transitions; the loss, (1,)."""
        del noise
        corrections = correction(self._corrections, self.updates)
        self.updates += 1
        loss: Tensor = self._step(self.parameters, self.m, self.v, corrections, self._lr, rows)
        return loss

    def loss(self, actor: Parameters, batch: Batch) -> Tensor:
        """What is minimised over the actor's parameters."""
        return bc_loss(actor, self.networks, batch)

    def _gradient_step(
        self, actor: Tensor, m: Tensor, v: Tensor, corrections: Tensor, lr: Tensor, rows: Tensor
    ) -> Tensor:
        batch = Batch.of_rows(rows, self.networks.observation_dim, self.networks.action_dim)
        loss: Tensor
        gradient, loss = self.networks.actor.gradient(self.loss, actor, batch)
        adam_(actor, gradient, m, v, corrections, lr)
        return loss[None]

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs, as named tensors."""
        return {"parameters": self.parameters, "m": self.m, "v": self.v, "updates": torch.tensor(self.updates)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        for name in ("parameters", "m", "v"):
            getattr(self, name).copy_(state[name])
        self.updates = int(state["updates"])
