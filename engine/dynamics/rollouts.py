"""Branched rollouts in the model with the penalised reward, and the buffer that keeps the last rounds of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.agents.sac import Networks
from engine.compute import Compute
from engine.control import Diverged
from engine.dynamics.ensemble import Model
from engine.dynamics.termination import TERMINATIONS
from engine.dynamics.uncertainty import UNCERTAINTIES, histogram_counts

# Rows per call: these stay in the processor's cache through all layers.
CHUNK = 1000
# A next observation beyond this, or not finite, has left every simulator's range.
DIVERGED = 100.0
# torch.quantile takes 16 million values at most; evenly spaced ones stand for more.
QUANTILE_ROWS = 4_000_000


class ModelBuffer:
    """The transitions of the last `rounds` rollout rounds, packed rows, sampled uniformly over all of them."""

    def __init__(self, rounds: int, capacity: int, width: int, device: str) -> None:
        self._slots = torch.zeros(rounds, capacity, width, device=device)
        self._counts = [0] * rounds
        self._round = -1

    def begin_round(self) -> None:
        """Start a round in place of the oldest."""
        self._round = (self._round + 1) % len(self._counts)
        self._counts[self._round] = 0

    def add(self, rows: Tensor) -> None:
        start = self._counts[self._round]
        self._slots[self._round, start : start + len(rows)] = rows
        self._counts[self._round] += len(rows)

    def __len__(self) -> int:
        return sum(self._counts)

    def indices(self, uniform: Tensor) -> Tensor:
        """Flat row numbers for uniform draws in [0, 1), any shape."""
        ends = torch.tensor(self._counts, device=uniform.device).cumsum(0)
        index = (uniform.double() * int(ends[-1])).long()
        slot = torch.searchsorted(ends, index, right=True)
        starts = ends - torch.tensor(self._counts, device=uniform.device)
        return slot * self._slots.shape[1] + index - starts[slot]

    def gather(self, index: Tensor) -> Tensor:
        """The rows of `indices`, (n,) -> (n, width)."""
        return self._slots.flatten(0, 1).index_select(0, index)


@dataclass(frozen=True)
class Round:
    """Statistics of one rollout round: reward, penalty and u are those of the transitions kept."""

    transitions: int
    mean_reward: float
    mean_penalty: float
    mean_length: float
    terminal_fraction: float
    dropped_fraction: float
    u_mean: float
    u_p50: float
    u_p95: float
    u_counts: list[int]


class Roller:
    """Rolls a policy out in a fitted model.

    Args:
        networks: the agent's, for sampling actions from a flat actor.
        model: the fitted ensemble.
        termination, uncertainty: names in their tables.
        coefficient: λ of the penalty.
    """

    def __init__(
        self,
        networks: Networks,
        model: Model,
        termination: str,
        uncertainty: str,
        coefficient: float,
        compute: Compute,
    ) -> None:
        self._networks, self._model, self._coefficient = networks, model, coefficient
        self._terminal = TERMINATIONS[termination]
        self._u = UNCERTAINTIES[uncertainty]
        self._elites = torch.tensor(model.elites, device=compute.device)
        self._step = compute.compile(self._model_step)

    def uncertainty(self, observation: Tensor, action: Tensor) -> Tensor:
        """u(s, a) of given pairs, (batch,)."""
        chunks = zip(observation.split(CHUNK), action.split(CHUNK), strict=True)
        return torch.cat([self._u(*self._model.predict(s, a)) for s, a in chunks])

    def _model_step(
        self, actor: Tensor, observation: Tensor, action_noise: Tensor, noise: Tensor, member: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One penalised step for a chunk: packed rows, u, r before the penalty, and which rows a guard drops."""
        action, _ = self._networks.sample(actor, observation, action_noise)
        mean, log_variance = self._model.predict(observation, action)
        u = self._u(mean, log_variance)  # over all members
        rows = torch.arange(len(observation), device=observation.device)
        # Each row takes the sample of its own random elite.
        sample = mean[member, rows] + torch.exp(0.5 * log_variance[member, rows]) * noise
        reward, next_observation = sample[:, 0], sample[:, 1:]
        penalised = reward - self._coefficient * u
        terminal = self._terminal(next_observation)
        dropped = ~(torch.isfinite(sample).all(1) & torch.isfinite(u) & (next_observation.abs() < DIVERGED).all(1))
        packed = torch.cat(
            [observation, action, penalised[:, None], next_observation, terminal[:, None].to(sample.dtype)], dim=1
        )
        return packed, u, reward, dropped

    def _chunked_step(self, actor: Tensor, s: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """`_model_step` on any number of rows, in chunks of one compiled shape; the last is padded and cut."""
        parts = []
        for chunk in s.split(CHUNK):
            n = len(chunk)
            if n < CHUNK:
                chunk = torch.cat([chunk, chunk[:1].expand(CHUNK - n, -1)])
            # Drawn on the CPU, so that every device sees the same stream.
            action_noise = torch.randn(CHUNK, self._networks.action_dim, generator=generator).to(s.device)
            noise = torch.randn(CHUNK, s.shape[1] + 1, generator=generator).to(s.device)
            member = self._elites[torch.randint(len(self._elites), (CHUNK,), generator=generator).to(s.device)]
            parts.append(tuple(t[:n] for t in self._step(actor, chunk, action_noise, noise, member)))
        return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))

    def roll(
        self,
        actor: Tensor,
        starts: Tensor,
        length: int,
        buffer: ModelBuffer,
        generator: torch.Generator,
        stop_requested: Callable[[], None],
    ) -> Round:
        """One round: h = `length` steps from each start state into `buffer`.

        A terminal row is kept as the last of its rollout. A row that a divergence guard drops ends its rollout and is not kept:
        stored as terminal it would claim that the state's value is 0.

        Args:
            starts: (n, obs) states of the dataset.

        Raises:
            Diverged: the guards dropped every row.
        """
        buffer.begin_round()
        s, made, dropped_rows, terminal_rows = starts, 0, 0, 0
        us, rewards = [], []
        for _ in range(length):
            if len(s) == 0:
                break
            stop_requested()
            rows, u, reward, dropped = self._chunked_step(actor, s, generator)
            kept = ~dropped
            rows = rows[kept]
            buffer.add(rows)
            alive = rows[:, -1] == 0
            made += len(s)
            dropped_rows += int(dropped.sum())
            terminal_rows += int((~alive).sum())
            us.append(u[kept])
            rewards.append(reward[kept])
            s = rows[alive, -1 - starts.shape[1] : -1]
        u, reward = torch.cat(us), torch.cat(rewards)
        if len(u) == 0:
            raise Diverged(
                f"all {made} model steps of a rollout round left the range (not finite, or |s'| ≥ {DIVERGED:g})"
            )
        p50, p95 = (
            float(q)
            for q in torch.quantile(u[:: 1 + len(u) // QUANTILE_ROWS], torch.tensor([0.5, 0.95], device=u.device))
        )
        return Round(
            transitions=len(u),
            mean_reward=float(reward.mean()),
            mean_penalty=self._coefficient * float(u.mean()),
            mean_length=made / len(starts),
            terminal_fraction=terminal_rows / made,
            dropped_fraction=dropped_rows / made,
            u_mean=float(u.mean()),
            u_p50=p50,
            u_p95=p95,
            u_counts=list(histogram_counts(u)),
        )
