"""The last complete state of a training run: one safetensors file with JSON about it in its header, replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from engine.control import CheckpointError
from engine.record import CHECKPOINTS, write_atomically

STATE, MODEL = "state.safetensors", "model.safetensors"
_KEY = "mopo"


@dataclass(frozen=True)
class Saved:
    """Named tensors, and what else is to be known of them (JSON)."""

    tensors: dict[str, Tensor]
    about: dict[str, Any]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with `prefix`/, without it."""
        return {k.removeprefix(f"{prefix}/"): v for k, v in self.tensors.items() if k.startswith(f"{prefix}/")}


def save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Replace `path` whole; a kill or a full disk leaves the file that was there.

    Raises:
        OSError: the disk is full or not writable.
    """
    from safetensors.torch import save as encoded

    data = encoded({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, {_KEY: json.dumps(about)})
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.tmp"):  # of an attempt that was killed while writing
        left.unlink(missing_ok=True)
    write_atomically(path, data)


def told(folder: Path) -> str:
    """How far the last complete state in a run folder goes, in words."""
    try:
        saved = load(folder / CHECKPOINTS / STATE)
    except CheckpointError:
        return "the checkpoint is damaged"
    if saved is None:
        return "there is no checkpoint yet"
    return f"the last good checkpoint: stage {saved.about.get('stage')}, epoch {saved.about.get('epoch')}"


def load(path: Path) -> Saved | None:
    """What `save` wrote; None where there is no such file.

    Raises:
        CheckpointError: the file is torn or another one.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as f:
            about = json.loads((f.metadata() or {})[_KEY])
            # Copies: the file is mapped, and may be replaced while its tensors are in use.
            return Saved({name: f.get_tensor(name).clone() for name in f.keys()}, about)  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise CheckpointError(f"{path}: damaged, or no checkpoint of this program ({error})") from None
