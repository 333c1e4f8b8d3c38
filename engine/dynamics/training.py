"""Fitting the ensemble: bootstrap, holdout, early stopping per member, elites (official MOPO code's procedure)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.agents.adam import adam_, bias_corrections, correction
from engine.compute import Compute
from engine.config import Dynamics
from engine.control import Diverged
from engine.dynamics.ensemble import Ensemble, Model, Normaliser, targets_of
from engine.randomness import torch_generator


@dataclass(frozen=True)
class FitState:
    """Everything that goes on from one epoch to the next: flat vectors, and the epochs, steps and early stopping so far."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]


@dataclass(frozen=True)
class DynamicsEpoch:
    """What one epoch gave: losses, holdout MSE per member, which members improved, ensemble steps and seconds."""

    epoch: int
    steps: int
    train_loss: float
    val_loss: list[float]
    best_epoch: list[int]
    seconds: float
    state: FitState


class EarlyStopping:
    """Keeps each member's best snapshot; stops after more than `patience` epochs in which no member improved by `improvement`."""

    def __init__(self, members: int, patience: int, improvement: float) -> None:
        self.best = [float("inf")] * members
        self.best_epoch = [0] * members
        self._patience, self._improvement, self._stale = patience, improvement, 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of it."""
        return {"best": self.best, "best_epoch": self.best_epoch, "stale": self._stale}

    def load_state(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch, self._stale = list(state["best"]), list(state["best_epoch"]), int(state["stale"])

    def update(self, epoch: int, losses: list[float]) -> list[int]:
        """The members whose holdout MSE improved by more than the required share, which become the new best."""
        improved = [i for i, loss in enumerate(losses) if loss < self.best[i] * (1 - self._improvement)]
        for i in improved:
            self.best[i], self.best_epoch[i] = losses[i], epoch
        self._stale = 0 if improved else self._stale + 1
        return improved

    @property
    def stop(self) -> bool:
        return self._stale > self._patience


def split_holdout(size: int, settings: Dynamics, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Row numbers of the train split and of the holdout (a share of the rows, capped)."""
    holdout = min(int(size * settings.holdout_fraction), settings.holdout_max)
    order = torch.randperm(size, generator=generator)
    return order[holdout:], order[:holdout]


def holdout_losses(ensemble: Ensemble, parameters: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of each member's mean on the holdout, over rows and the 1 + obs targets, shape (members,)."""
    mean, _ = ensemble.forward(parameters, inputs)
    return (mean - targets).square().mean((1, 2))


def pick_elites(losses: list[float], elites: int) -> tuple[int, ...]:
    """The members with the lowest holdout MSE, best first."""
    return tuple(sorted(range(len(losses)), key=lambda i: losses[i])[:elites])


def fit(
    rows: Tensor,
    observation_dim: int,
    action_dim: int,
    settings: Dynamics,
    seed: int,
    compute: Compute,
    on_epoch: Callable[[DynamicsEpoch], None],
    after_step: Callable[[int, float], None],
    resumed: FitState | None = None,
) -> tuple[Model, list[float], list[int]]:
    """Fit an ensemble to packed rows; returns it with the holdout MSE of each member as restored and the epoch it is of.

    Args:
        rows: (n, 2·obs + act + 2); the last column, the terminal flag, is not modelled.
        on_epoch: told of each epoch.
        after_step: called after each gradient step with the finished epochs and the share of the next one; may raise to stop.
        resumed: the state of an epoch of the same fit, to go on from.

    With `settings.steps` it takes exactly so many gradient steps, the last epoch being cut; else early stopping and `max_epochs`
    decide. Every member draws its own n_train rows with replacement once and reshuffles them each epoch. An epoch takes whole
    batches only: the remainder is another one after each reshuffle, and a fixed shape is compiled once.

    Raises:
        ValueError: too few rows for a batch and a holdout.
        Diverged: a loss became NaN or infinite; the message names epoch and member.
    """
    ensemble = Ensemble(observation_dim, action_dim, settings)
    generator = torch_generator(seed, "dynamics", "init")
    train, holdout = split_holdout(len(rows), settings, generator)
    if len(train) < settings.batch_size or len(holdout) == 0:
        raise ValueError(f"{len(rows)} rows are too few: training needs {settings.batch_size} and a holdout")
    normaliser = Normaliser.fit(rows[train, : observation_dim + action_dim])
    bootstrap = train[torch.randint(len(train), (settings.members, len(train)), generator=generator)]
    holdout_inputs, holdout_targets = targets_of(rows[holdout], observation_dim, action_dim)
    holdout_inputs = normaliser(holdout_inputs)
    target_scale = None
    if settings.normalise_targets:
        target_scale = Normaliser.fit(targets_of(rows[train], observation_dim, action_dim)[1])
        holdout_targets = target_scale(holdout_targets)

    parameters = ensemble.initial_parameters(generator).to(rows.device)
    m, v, best = torch.zeros_like(parameters), torch.zeros_like(parameters), parameters.clone()
    corrections, lr = bias_corrections(rows.device), torch.tensor(settings.lr, device=rows.device)

    def gradient_step(p: Tensor, m: Tensor, v: Tensor, correction: Tensor, lr: Tensor, batch: Tensor) -> Tensor:
        inputs, targets = targets_of(batch, observation_dim, action_dim)
        if target_scale is not None:
            targets = target_scale(targets)
        loss: Tensor
        gradient, loss = ensemble.layout.gradient(ensemble.loss, p, normaliser(inputs), targets)
        adam_(p, gradient, m, v, correction, lr)
        return loss

    step_function = compute.compile(gradient_step)
    stopping = EarlyStopping(settings.members, settings.patience, settings.improvement)
    batches, width = len(train) // settings.batch_size, rows.shape[1]
    epoch, steps = 0, 0
    if resumed is not None:
        for name, tensor in (("parameters", parameters), ("m", m), ("v", v), ("best", best)):
            tensor.copy_(resumed.tensors[name])
        epoch, steps = int(resumed.about["epoch"]), int(resumed.about["steps"])
        stopping.load_state(resumed.about["stopping"])

    def going_on() -> bool:
        if settings.steps:
            return steps < settings.steps
        return not stopping.stop and (settings.max_epochs == 0 or epoch < settings.max_epochs)

    while going_on():
        start = time.perf_counter()
        generator = torch_generator(seed, "dynamics", epoch)
        shuffle = torch.rand(bootstrap.shape, generator=generator).argsort(1)
        index = bootstrap.gather(1, shuffle)[:, : batches * settings.batch_size]
        index = index.view(settings.members, batches, settings.batch_size).to(rows.device)
        total = torch.zeros((), device=rows.device)
        left = min(batches, settings.steps - steps) if settings.steps else batches
        for b in range(left):
            batch = rows.index_select(0, index[:, b].reshape(-1)).view(settings.members, settings.batch_size, width)
            total += step_function(parameters, m, v, correction(corrections, steps), lr, batch)
            steps += 1
            after_step(epoch, (b + 1) / left)
        losses = holdout_losses(ensemble, parameters, holdout_inputs, holdout_targets).tolist()
        train_loss = float(total) / left / settings.members
        bad = [i for i, loss in enumerate(losses) if not loss < float("inf")]
        if bad or not abs(train_loss) < float("inf"):
            raise Diverged(f"the ensemble diverged in dynamics epoch {epoch + 1} (members {bad or 'unknown'})")
        epoch += 1
        improved = stopping.update(epoch, losses)
        for now, kept in zip(ensemble.member_views(parameters), ensemble.member_views(best), strict=True):
            kept[improved] = now[improved]
        seconds = time.perf_counter() - start
        state = FitState(
            {"parameters": parameters, "m": m, "v": v, "best": best},
            {"epoch": epoch, "steps": steps, "stopping": stopping.state()},
        )
        on_epoch(DynamicsEpoch(epoch, left, train_loss, losses, list(stopping.best_epoch), seconds, state))

    # The log-variance bounds belong to all members at once, so no member's best epoch can claim them: the last ones stay.
    for name in ("max_log_variance", "min_log_variance"):
        ensemble.layout.views(best)[name].copy_(ensemble.layout.views(parameters)[name])
    final = holdout_losses(ensemble, best, holdout_inputs, holdout_targets).tolist()
    elites = pick_elites(final, settings.elites)
    return Model(ensemble, best, normaliser, elites, target_scale), final, stopping.best_epoch
