"""Branched rollouts in the model with the penalised reward, and the buffer that keeps the last rounds of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from engine.agents.networks import Networks
from engine.compute import Compute
from engine.control import Diverged
from engine.dynamics.ensemble import Model
from engine.dynamics.termination import TERMINATIONS
from engine.dynamics.uncertainty import UNCERTAINTIES, histogram_counts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = TypeVar("Array", Tensor, NDArray[np.float64])

# Rows per call: these stay in the processor's cache through all layers.
CHUNK = 1000
# A next observation beyond this, or not finite, has left every simulator's range.
DIVERGED = 100.0
# torch.quantile takes 16 million values at most; evenly spaced ones stand for more.
QUANTILE_ROWS = 4_000_000


def penalised(reward: Array, u: Array, coefficient: float) -> Array:
    """r̃(s, a) = r̂(s, a) − λ u(s, a), the reward that MOPO optimises (Yu et al. 2020, algorithm 2); any shape."""
    return reward - coefficient * u


def rollout_length(epoch: int, length: int, initial_length: int, growth_epochs: int) -> int:
    """h of a policy epoch (from 1): linear from `initial_length` in the first to `length` after `growth_epochs` more, rounded.

    With `initial_length` 0 it is `length` throughout; with `growth_epochs` 0 from the second epoch on.
    """
    if initial_length == 0:
        return length
    share = min(1.0, (epoch - 1) / max(1, growth_epochs))
    return initial_length + round((length - initial_length) * share)


def data_range(rows: Tensor, observation_dim: int, action_dim: int) -> tuple[Tensor, Tensor]:
    """Lowest and highest (r, s') of packed rows (n, 2·obs + act + 2), each (1 + obs,): the `clip` of a Roller."""
    outcomes = rows[:, observation_dim + action_dim : -1]
    return outcomes.amin(0), outcomes.amax(0)


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

    def begin_after(self, rounds: int) -> None:
        """Let the next round take the place that it would have after so many others, which are not here."""
        self._round = (rounds - 1) % len(self._counts)

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
    cut_fraction: float
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
        clip: lowest and highest (r, s'), each (1 + obs,), to which samples are clipped before the penalty is taken off; None:
            they stay as drawn. The divergence guards and the termination look at the sample before the clip: after it no guard
            would see a diverged prediction, which would stay as a state at the edge of the data, and a robot that falls would
            stand again where the data hold no fall. A terminal row's s' is multiplied by 1 − d = 0 wherever it is used.
        limit: u beyond which a rollout is cut; infinite: nowhere.
    """

    def __init__(
        self,
        networks: Networks,
        model: Model,
        termination: str,
        uncertainty: str,
        coefficient: float,
        compute: Compute,
        clip: tuple[Tensor, Tensor] | None = None,
        limit: float = float("inf"),
    ) -> None:
        self._networks, self._model, self._clip = networks, model, clip
        self.limit = limit
        self.coefficient = coefficient
        self._terminal = TERMINATIONS[termination]
        self._u = UNCERTAINTIES[uncertainty]
        self._elites = torch.tensor(model.elites, device=compute.device)
        self._step = compute.compile(self._model_step)

    @property
    def observation_std(self) -> Tensor:
        """Standard deviation of each dimension of s over the batch (its train split), (obs,)."""
        return self._model.normaliser.std[: self._model.ensemble.observation_dim]

    def predict(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """What the model expects of given pairs: the elites' average mean of (r, s'), (batch, 1 + obs), and u, (batch,)."""
        expected, us = [], []
        for s, a in zip(observation.split(CHUNK), action.split(CHUNK), strict=True):
            mean, log_variance = self._model.predict(s, a)
            expected.append(mean[self._elites].mean(0))
            us.append(self._u(mean, log_variance))  # over all members
        return torch.cat(expected), torch.cat(us)

    def uncertainty(self, observation: Tensor, action: Tensor) -> Tensor:
        """u(s, a) of given pairs, (batch,)."""
        return self.predict(observation, action)[1]

    def _model_step(
        self, actor: Tensor, observation: Tensor, action_noise: Tensor, noise: Tensor, member: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One penalised step for a chunk: packed rows, u, r before the penalty, and which rows a guard drops."""
        return self._outcome(observation, self._networks.sample(actor, observation, action_noise)[0], noise, member)

    def _outcome(
        self, observation: Tensor, action: Tensor, noise: Tensor, member: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mean, log_variance = self._model.predict(observation, action)
        u = self._u(mean, log_variance)  # over all members
        rows = torch.arange(len(observation), device=observation.device)
        # Each row takes the sample of its own random elite.
        sample = mean[member, rows] + torch.exp(0.5 * log_variance[member, rows]) * noise
        terminal = self._terminal(sample[:, 1:])
        dropped = ~(torch.isfinite(sample).all(1) & torch.isfinite(u) & (sample[:, 1:].abs() < DIVERGED).all(1))
        if self._clip is not None:
            sample = sample.clamp(*self._clip)
        reward, next_observation = sample[:, 0], sample[:, 1:]
        packed = torch.cat(
            [
                observation,
                action,
                penalised(reward, u, self.coefficient)[:, None],
                next_observation,
                terminal[:, None].to(sample.dtype),
            ],
            dim=1,
        )
        return packed, u, reward, dropped

    def _draws(self, n: int, like: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Noise of the action, noise of the model and an elite for each of n rows, on the device of `like`."""
        # Drawn on the CPU, so that every device sees the same stream.
        action_noise = torch.randn(n, self._networks.noise_dim, generator=generator).to(like.device)
        noise = torch.randn(n, like.shape[1] + 1, generator=generator).to(like.device)
        member = self._elites[torch.randint(len(self._elites), (n,), generator=generator).to(like.device)]
        return action_noise, noise, member

    def _chunked_step(self, actor: Tensor, s: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """`_model_step` on any number of rows, in chunks of one compiled shape; the last is padded and cut."""
        parts = []
        for chunk in s.split(CHUNK):
            n = len(chunk)
            if n < CHUNK:
                chunk = torch.cat([chunk, chunk[:1].expand(CHUNK - n, -1)])
            parts.append(tuple(t[:n] for t in self._step(actor, chunk, *self._draws(CHUNK, s, generator))))
        return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))

    def evaluation_step(
        self, actor: Tensor, s: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A model step of the policy as it is evaluated, with `Networks.mode`; otherwise as rollouts take it, without their limit.

        Not compiled, so that a hundred rows cost no padded chunk; meant for a few thousand at most.

        Args:
            s: (n, obs).

        Returns:
            packed rows with the penalised reward, u, the reward before the penalty, and which rows a guard drops.
        """
        _, noise, member = self._draws(len(s), s, generator)
        return self._outcome(s, self._networks.mode(actor, s), noise, member)

    def roll(
        self,
        actor: Tensor,
        starts: Tensor,
        length: int,
        buffer: ModelBuffer,
        generator: torch.Generator,
        stop_requested: Callable[[], None],
        more: Callable[[int], Tensor] | None = None,
        transitions: int = 0,
    ) -> Round:
        """One round: h = `length` steps from each start state into `buffer`.

        A terminal row is kept as the last of its rollout. A row that a divergence guard drops, or whose u exceeds the limit, ends
        its rollout and is not kept: stored as terminal it would claim that the state's value is 0.

        Args:
            starts: (n, obs) states of the dataset.
            more: gives as many further ones; with it, rollouts are begun until exactly `transitions` are kept.

        Raises:
            Diverged: of a whole batch of rollouts nothing was kept.
        """
        buffer.begin_round()
        tally = Tally(self.coefficient)
        while True:
            before, s = tally.kept, starts
            tally.rollouts += len(s)
            for _ in range(length):
                if len(s) == 0:
                    break
                stop_requested()
                rows, u, reward, dropped = self._chunked_step(actor, s, generator)
                cut = ~dropped & (u > self.limit)
                kept = ~(dropped | cut)
                s = rows[kept & (rows[:, -1] == 0), -1 - starts.shape[1] : -1]
                if more is not None:
                    kept &= kept.cumsum(0) <= transitions - tally.kept
                buffer.add(rows[kept])
                tally.add(rows[kept], u[kept], reward[kept], len(rows), int(dropped.sum()), int(cut.sum()))
            if tally.kept == before:
                raise Diverged(
                    f"all {tally.made} model steps of a rollout round were dropped: they left the range (not finite, or "
                    f"|s'| ≥ {DIVERGED:g}), or u exceeded its limit ({self.limit:.3g})"
                )
            if more is None or tally.kept == transitions:
                return tally.round()
            # Never a few alone: all of them might be cut. A chunk costs the same however few of its rows count.
            starts = more(max(CHUNK, -(-(transitions - tally.kept) // length)))


class Tally:
    """Counts a round as it is made.

    Attributes:
        rollouts: begun so far; `made`: model steps, `kept`: transitions in the buffer.
    """

    def __init__(self, coefficient: float) -> None:
        self.rollouts = self.made = self.kept = 0
        self._coefficient = coefficient
        self._terminal = self._dropped = self._cut = 0
        self._us: list[Tensor] = []
        self._rewards: list[Tensor] = []

    def add(self, rows: Tensor, u: Tensor, reward: Tensor, made: int, dropped: int, cut: int) -> None:
        """One step of the rollouts: what was kept of it, and how many were made, dropped by guards, cut by the limit."""
        self.made, self.kept = self.made + made, self.kept + len(u)
        self._terminal += int((rows[:, -1] != 0).sum())
        self._dropped, self._cut = self._dropped + dropped, self._cut + cut
        self._us.append(u)
        self._rewards.append(reward)

    def round(self) -> Round:
        u, reward = torch.cat(self._us), torch.cat(self._rewards)
        p50, p95 = (
            float(q)
            for q in torch.quantile(u[:: 1 + len(u) // QUANTILE_ROWS], torch.tensor([0.5, 0.95], device=u.device))
        )
        return Round(
            transitions=len(u),
            mean_reward=float(reward.mean()),
            mean_penalty=self._coefficient * float(u.mean()),
            mean_length=self.made / self.rollouts,
            terminal_fraction=self._terminal / self.made,
            dropped_fraction=self._dropped / self.made,
            cut_fraction=self._cut / self.made,
            u_mean=float(u.mean()),
            u_p50=p50,
            u_p95=p95,
            u_counts=list(histogram_counts(u)),
        )
