"""The stage "dynamics": an ensemble fitted to the batch, or taken from a run that fitted the same.

It goes on where an earlier attempt of the run stopped, with the same numbers as if it had not.
"""

from __future__ import annotations

import contextlib
import math
from pathlib import Path
from typing import Any

import torch

from engine import checkpoint
from engine.algorithms.training import Training
from engine.artefacts import ensemble_folder, fit_key, keep_ensemble, kept_ensemble
from engine.checkpoint import MODEL, Saved
from engine.data.dataset import DatasetError
from engine.data.locking import locked
from engine.dynamics.ensemble import Ensemble, Model, Normaliser
from engine.dynamics.training import DynamicsEpoch, FitState, fit
from engine.plan import PLANNED_DYNAMICS_EPOCHS
from engine.record import CHECKPOINTS


def fit_dynamics(t: Training) -> Model:
    """The ensemble fitted to the batch: this run's own of an earlier attempt, one that another run fitted to the same data with the
    same settings and seed, or a new one. Whichever it is, the run records the same course of the fit."""
    own = t.folder / CHECKPOINTS / MODEL
    saved = checkpoint.load(own)
    if saved is None:
        t.progress.begin(
            "dynamics", f"an ensemble of {t.config.dynamics.members} networks for {len(t.rows)} transitions"
        )
        saved = shared_ensemble(t, own) if t.config.compute.reuse else fit_ensemble(t, own)
        t.keep_state("dynamics", len(saved.about["epochs"]), {})
    else:
        t.recorder.step = max(t.recorder.step, int(saved.about["step"]))
    about, tensors = saved.about, {name: tensor.to(t.compute.device) for name, tensor in saved.tensors.items()}
    elites = tuple(about["elites"])
    message = f"elites {list(elites)} after {len(about['epochs'])} epochs"
    if not t.is_past("dynamics"):
        t.recorder.event(
            "elites", message, elites=list(elites), val_loss=about["val_loss"], best_epoch=about["best_epoch"]
        )
    ensemble = Ensemble(t.task.observation_dim, t.task.action_dim, t.config.dynamics)
    scale = Normaliser(tensors["target_mean"], tensors["target_std"]) if "target_mean" in tensors else None
    return Model(ensemble, tensors["parameters"], Normaliser(tensors["mean"], tensors["std"]), elites, scale)


def shared_ensemble(t: Training, own: Path) -> Saved:
    """One that is kept for the same data, settings and seed, or a new one, which is kept; where nothing can be kept, a new one.

    A fit that an earlier attempt began goes on: another run's would be told on top of it.
    """
    key = fit_key(t.config, t.dataset)
    folder = ensemble_folder(t.data_root, key)
    with contextlib.ExitStack() as lock:
        try:
            waiting = "waiting for a run that fits the same ensemble"
            lock.enter_context(locked(folder, t.stop, lambda: t.recorder.event("ensemble", waiting)))
        except DatasetError as error:
            t.recorder.event("ensemble", f"{error}: it is not shared with other runs")
            return fit_ensemble(t, own)
        kept = kept_ensemble(folder)
        if kept is not None and t.under_way("dynamics") is None:
            retell_fit(t, kept)
            checkpoint.save(own, kept.tensors, {**kept.about, "step": t.recorder.step})
            return kept
        saved = fit_ensemble(t, own)
        if kept is None:
            try:
                keep_ensemble(folder, saved, key, t.recorder.folder.name)
            except OSError as error:
                t.recorder.event("ensemble", f"{folder}: {error.strerror or error}: it is not shared with other runs")
        return saved


def fit_ensemble(t: Training, own: Path) -> Saved:
    """Fit, with a checkpoint after each epoch; the result is the run's own in the file `own`."""
    settings, begun, earlier = t.config.dynamics, t.clock(), t.seconds.get("dynamics", 0.0)
    resumed, course = None, []
    if (begun_before := t.under_way("dynamics")) is not None:
        resumed = FitState(begun_before.tensors, begun_before.about["fit"])
        course = list(begun_before.about["course"])

    def on_epoch(epoch: DynamicsEpoch) -> None:
        course.append({"steps": epoch.steps, "train_loss": epoch.train_loss, "val_loss": epoch.val_loss})
        record_fit_epoch(t, len(course), course[-1], epoch.steps / epoch.seconds)
        t.seconds["dynamics"] = earlier + t.clock() - begun
        t.keep_state("dynamics", epoch.epoch, epoch.state.tensors, fit=epoch.state.about, course=course)

    def after_step(finished: int, share: float) -> None:
        t.stop()
        planned = planned_epochs or max(PLANNED_DYNAMICS_EPOCHS, finished + settings.patience)
        t.progress.update(min(1.0, (finished + share) / planned), f"epoch {finished + 1}/{math.ceil(planned)}")

    # A row whose s' is not known trains no model.
    known = t.config.dataset.next_observations == "shifted" or t.dataset.terminal_next_observations
    rows = t.rows if known else t.rows[t.rows[:, -1] == 0]
    if known and not t.dataset.terminal_next_observations and bool(rows[-1, -1]):
        rows = rows[:-1]  # the last row has no next one from which its s' could be shifted
    planned_epochs: float = settings.max_epochs
    if settings.steps:
        held_out = min(int(len(rows) * settings.holdout_fraction), settings.holdout_max)
        planned_epochs = settings.steps / max(1, (len(rows) - held_out) // settings.batch_size)
    sizes = (t.task.observation_dim, t.task.action_dim)
    model, val_loss, best_epoch = fit(rows, *sizes, settings, t.config.seed, t.compute, on_epoch, after_step, resumed)
    tensors = {"parameters": model.parameters, "mean": model.normaliser.mean, "std": model.normaliser.std}
    if model.target_scale is not None:
        tensors |= {"target_mean": model.target_scale.mean, "target_std": model.target_scale.std}
    about = {"elites": list(model.elites), "val_loss": val_loss, "best_epoch": best_epoch, "epochs": course}
    about["fitted_with"] = {**t.compute.record(), "torch": torch.__version__}
    t.seconds["dynamics"] = earlier + t.clock() - begun
    checkpoint.save(own, tensors, {**about, "step": t.recorder.step})
    return Saved(tensors, about)


def retell_fit(t: Training, saved: Saved) -> None:
    """Record the course of a fit that another run made, as if it had been made here."""
    t.recorder.event("ensemble", f"taken from {saved.about['fitted_by']}, which fitted it to the same data")
    for epoch, row in enumerate(saved.about["epochs"], start=1):
        t.stop()
        record_fit_epoch(t, epoch, row, None)


def record_fit_epoch(t: Training, epoch: int, row: dict[str, Any], rate: float | None) -> None:
    t.recorder.step += row["steps"]
    metrics = {f"dynamics/val_loss/{i}": loss for i, loss in enumerate(row["val_loss"])}
    metrics["dynamics/train_loss"] = row["train_loss"]
    if rate is not None:
        metrics["speed/dynamics_steps_per_s"] = rate
        t.recorder.summary(speed=rate, speed_unit="steps/s")
    t.recorder.metrics(metrics, epoch)
    t.watch.fit_epoch(epoch, row["val_loss"])
