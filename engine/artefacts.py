"""Fitted ensembles that later runs take instead of fitting them again.

An artefact is a folder `<data root>/ensembles/<key>/` with model.safetensors (parameters, normaliser, elites, the course of the
fit) and fit.json (what it was fitted to, for those who list it). The key is a hash over everything that decides the fit: the
dataset's fingerprint, the dynamics settings, the seed and `DYNAMICS_VERSION`. So a sweep over λ fits the dynamics once, and MOPO
and MBPO of one seed share them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from engine import checkpoint
from engine.checkpoint import Saved
from engine.config import TrainConfig
from engine.control import CheckpointError
from engine.data.dataset import TransitionDataset
from engine.record import write_json

# To be raised whenever the same settings fit another ensemble; a test on the fit's output says when.
DYNAMICS_VERSION = 1
ENSEMBLES, FIT = "ensembles", "fit.json"


def fit_key(config: TrainConfig, dataset: TransitionDataset) -> dict[str, Any]:
    """Everything that decides which ensemble is fitted."""
    return {
        "version": DYNAMICS_VERSION,
        "fingerprint": dataset.fingerprint,
        "terminal_next_observations": dataset.terminal_next_observations,
        "next_observations": config.dataset.next_observations,
        "dynamics": dataclasses.asdict(config.dynamics),
        "seed": config.seed,
    }


def ensemble_folder(data_root: Path, key: dict[str, Any]) -> Path:
    """Where the ensemble of that key lies, whether or not it is there."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    return data_root / ENSEMBLES / digest[:16]


def kept_ensemble(folder: Path) -> Saved | None:
    """The ensemble kept in `folder`; None where there is none, or where it is damaged: it is then fitted anew."""
    try:
        return checkpoint.load(folder / checkpoint.MODEL)
    except CheckpointError:
        return None


def keep_ensemble(folder: Path, saved: Saved, key: dict[str, Any], run: str) -> None:
    """Keep a fitted ensemble for later runs. The caller holds the folder's lock."""
    about = {
        "key": key,
        "t": time.time(),
        "val_loss": saved.about["val_loss"],
        "fitted_with": saved.about["fitted_with"],
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / FIT, {**about, "fitted_by": run})
    checkpoint.save(folder / checkpoint.MODEL, saved.tensors, {**saved.about, "fitted_by": run})
