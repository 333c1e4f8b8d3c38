"""What SAC and AWAC share: one flat vector of parameters, target critics, and the step that moves them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from engine.agents.adam import adam_, bias_corrections, correction
from engine.agents.networks import Batch, Networks, glorot_uniform
from engine.compute import Compute
from engine.pessimism import BellmanPenalty

PENALTY_METRIC = "policy/bellman_penalty"


class Learner(ABC):
    """Actor, critics and what else is learnt in one flat vector [actor | critics | rest], updated in one compiled graph: the
    gradients that a subclass gives, one Adam step, the Polyak average of the critics.

    Args:
        networks: actor and critics, whose initial weights `generator` draws.
        rest: initial values of further parameters, (n,); may be empty.
        rates: Adam's step sizes of actor, critics and rest.
        polyak: τ of the target critics.
        metrics: names of the values that `gradients` gives.
        penalty: comes off the targets of model rows, where there is one.
    """

    def __init__(
        self,
        networks: Networks,
        rest: Tensor,
        rates: Sequence[float],
        polyak: float,
        metrics: tuple[str, ...],
        compute: Compute,
        generator: torch.Generator,
        penalty: BellmanPenalty | None,
    ) -> None:
        self.networks, self._polyak, self.penalty = networks, polyak, penalty
        self.metrics: tuple[str, ...] = metrics if penalty is None else (*metrics, PENALTY_METRIC)
        actor = glorot_uniform(networks.actor, generator)
        critic = glorot_uniform(networks.critic, generator)
        self.parameters = torch.cat([actor, critic, rest]).to(compute.device)
        self.target_critic = critic.clone().to(compute.device)
        self.m, self.v = torch.zeros_like(self.parameters), torch.zeros_like(self.parameters)
        self.updates = 0
        self._sections = (networks.actor.size, networks.critic.size, len(rest))
        self._corrections = bias_corrections(compute.device)
        self._rates = torch.cat([torch.full((n,), rate) for n, rate in zip(self._sections, rates, strict=True)]).to(
            compute.device
        )
        self._step = compute.compile(self._gradient_step)

    @abstractmethod
    def gradients(
        self,
        sections: tuple[Tensor, Tensor, Tensor],
        target_critic: Tensor,
        batch: Batch,
        penalty: Tensor | None,
        noise: Tensor,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The gradients of actor, critics and rest, and the values of the metrics.

        Args:
            sections: actor, critics and rest.
            penalty: what comes off the targets, (batch,).
            noise: the agent's own draws.
        """

    @abstractmethod
    def draws(self) -> int:
        """Standard normal draws that one update takes for each row, `networks.noise_dim` numbers each."""

    @property
    def actor(self) -> Tensor:
        """The actor's flat parameters, a view."""
        return self.parameters[: self._sections[0]]

    @property
    def critic(self) -> Tensor:
        """The critics' flat parameters, a view."""
        return self.parameters[self._sections[0] :][: self._sections[1]]

    def anneal(self, finished: float) -> None:
        """Set the step sizes for a run of which the share `finished` in [0, 1) is done."""
        del finished  # constant, unless an agent says otherwise

    def noise(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The standard normal draws of one update, on the CPU: (`draws`, rows, `networks.noise_dim`), then the penalty's."""
        dim = self.networks.noise_dim
        own = torch.randn(self.draws(), rows, dim, generator=generator)
        return (own,) if self.penalty is None else (own, *self.penalty.noise(rows, dim, generator))

    def update(self, rows: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
        """One gradient step.

        Args:
            rows: packed transitions (batch, 2·obs + act + 2).
            noise: as `noise` draws it.

        Returns:
            the values of `metrics` for this step, not synchronised with the host.
        """
        corrections = correction(self._corrections, self.updates)
        self.updates += 1
        metrics: Tensor = self._step(
            self.parameters, self.target_critic, self.m, self.v, corrections, self._rates, rows, noise
        )
        return metrics

    def _gradient_step(
        self,
        parameters: Tensor,
        target_critic: Tensor,
        m: Tensor,
        v: Tensor,
        corrections: Tensor,
        rates: Tensor,
        rows: Tensor,
        noise: tuple[Tensor, ...],
    ) -> Tensor:
        networks, penalty = self.networks, None
        batch = Batch.of_rows(rows, networks.observation_dim, networks.action_dim)
        actor, critic, rest = parameters.split(self._sections)
        if self.penalty is not None:
            draws = (noise[1], noise[2])
            penalty = self.penalty(networks, actor, target_critic, batch.observation, batch.action, draws)
        gradients, metrics = self.gradients((actor, critic, rest), target_critic, batch, penalty, noise[0])
        adam_(parameters, torch.cat(gradients), m, v, corrections, rates)
        target_critic.lerp_(parameters[self._sections[0] :][: self._sections[1]], self._polyak)
        return torch.stack(metrics if penalty is None else [*metrics, penalty.mean()])

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
