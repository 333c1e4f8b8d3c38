"""Where an agent's batches come from: the dataset alone, or the dataset and penalised model rollouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from engine.config import Rollout
from engine.dynamics.rollouts import ModelBuffer, Roller, Round, rollout_length

Generators = Callable[[int], torch.Generator]


class Batches(Protocol):
    """One epoch at a time: `begin`, then `draw` for all its updates, then `batch` for each."""

    def begin(self, epoch: int, actor: Tensor, generator: torch.Generator, stop: Callable[[], None]) -> Round | None:
        """Prepare an epoch; the statistics of the model rollouts where there are any."""

    def draw(self, updates: int, generator: torch.Generator) -> None:
        """Draw the rows of the epoch's batches."""

    def batch(self, i: int) -> Tensor:
        """Packed rows of the epoch's i-th batch, (batch, 2·obs + act + 2)."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint needs to make the same batches again."""

    def load_state(self, state: dict[str, Tensor], generators: Generators, stop: Callable[[], None]) -> None:
        """Go on from `state`; `generators` gives the stream of an epoch."""


class RealBatches:
    """Uniform draws from the dataset: what a model-free agent learns from."""

    def __init__(self, rows: Tensor, batch_size: int) -> None:
        self._rows, self._size = rows, batch_size

    def begin(self, epoch: int, actor: Tensor, generator: torch.Generator, stop: Callable[[], None]) -> None:
        del epoch, actor, generator, stop

    def draw(self, updates: int, generator: torch.Generator) -> None:
        self._index = torch.randint(len(self._rows), (updates, self._size), generator=generator).to(self._rows.device)

    def batch(self, i: int) -> Tensor:
        return self._rows.index_select(0, self._index[i])

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor], generators: Generators, stop: Callable[[], None]) -> None:
        del state, generators, stop


def real_rows(settings: Rollout, batch_size: int) -> int:
    """The first rows of a batch, which are the dataset's: 12 of 256 at 5 %, as the official code rounds."""
    return int(settings.real_fraction * batch_size)


class ModelBatches:
    """5 % real and 95 % model transitions (Yu et al. 2020, algorithm 2): h steps from random batch states with the current policy
    at each epoch's start, into a buffer of the last rounds.

    A checkpoint holds the policies of the rounds in the buffer, not their transitions: the same policies in the same model, with
    the same streams, make the same ones again.

    Args:
        rows: the dataset, packed.
        observation_dim: of the dataset.
    """

    def __init__(self, rows: Tensor, observation_dim: int, roller: Roller, settings: Rollout, batch_size: int) -> None:
        self._rows, self._observation_dim, self._roller, self._settings = rows, observation_dim, roller, settings
        self._real = real_rows(settings, batch_size)
        self._size = batch_size
        capacity = settings.transitions or settings.starts * settings.length
        self._buffer = ModelBuffer(settings.retain_rounds, capacity, rows.shape[1], str(rows.device))
        self._actors: dict[int, Tensor] = {}

    def begin(self, epoch: int, actor: Tensor, generator: torch.Generator, stop: Callable[[], None]) -> Round:
        s = self._settings

        def starts(n: int) -> Tensor:
            return self._rows[torch.randint(len(self._rows), (n,), generator=generator), : self._observation_dim]

        length = rollout_length(epoch, s.length, s.initial_length, s.growth_epochs)
        self._actors[epoch] = actor.detach().clone()
        self._actors.pop(epoch - s.retain_rounds, None)
        if not s.transitions:
            return self._roller.roll(actor, starts(s.starts), length, self._buffer, generator, stop)
        first = starts(-(-s.transitions // length))
        return self._roller.roll(actor, first, length, self._buffer, generator, stop, starts, s.transitions)

    def draw(self, updates: int, generator: torch.Generator) -> None:
        real = torch.randint(len(self._rows), (updates, self._real), generator=generator)
        self._real_index = real.to(self._rows.device)
        draws = torch.rand(updates, self._size - self._real, generator=generator)
        self._model_index = self._buffer.indices(draws.to(self._rows.device))

    def batch(self, i: int) -> Tensor:
        real = self._rows.index_select(0, self._real_index[i])
        return torch.cat([real, self._buffer.gather(self._model_index[i])])

    def state(self) -> dict[str, Tensor]:
        return {str(epoch): actor for epoch, actor in self._actors.items()}

    def load_state(self, state: dict[str, Tensor], generators: Generators, stop: Callable[[], None]) -> None:
        epochs = sorted(map(int, state))
        self._buffer.begin_after(epochs[0] - 1)  # which row a draw means depends on the place of each round
        for epoch in epochs:
            self.begin(epoch, state[str(epoch)].to(self._rows.device), generators(epoch), stop)
