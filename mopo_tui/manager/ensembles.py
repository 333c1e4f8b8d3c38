"""Fitted ensembles that are kept for later runs: which there are, and removing them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager import locations
from mopo_tui.manager.run import number_of, text_of
from mopo_tui.manager.store import StoreError

ENSEMBLES, _FIT = "ensembles", "fit.json"


@dataclass(frozen=True)
class KeptEnsemble:
    """An ensemble under the data root.

    Attributes:
        key: its folder's name, the hash of what decides the fit.
        dataset: the fingerprint of the data it was fitted to.
        seed: of the fit.
        val_loss: holdout MSE of each member.
        fitted_by: id of the run that fitted it.
        t: when, Unix seconds.
    """

    key: str
    folder: Path
    dataset: str
    seed: int
    dynamics: dict[str, Any]
    val_loss: tuple[float, ...]
    fitted_by: str
    t: float
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}


def kept_ensembles() -> list[KeptEnsemble]:
    """Every kept ensemble, the newest first; a folder that cannot be read has empty entries."""
    root = locations.data_root() / ENSEMBLES
    folders = [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
    return sorted(map(_read, folders), key=lambda kept: kept.t, reverse=True)


def _read(folder: Path) -> KeptEnsemble:
    about = record.read_json(folder / _FIT) or {}
    key = about.get("key")
    key = key if isinstance(key, Mapping) else {}
    losses = about.get("val_loss")
    dynamics = key.get("dynamics")
    return KeptEnsemble(
        key=folder.name,
        folder=folder,
        dataset=text_of(key, "fingerprint"),
        seed=int(number_of(key, "seed") or 0),
        dynamics=dict(dynamics) if isinstance(dynamics, Mapping) else {},
        val_loss=tuple(float(v) for v in losses if isinstance(v, int | float)) if isinstance(losses, list) else (),
        fitted_by=text_of(about, "fitted_by"),
        t=number_of(about, "t") or 0.0,
        bytes=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
    )


def find_ensemble(reference: str, among: list[KeptEnsemble]) -> KeptEnsemble:
    """The one whose key begins with `reference`.

    Raises:
        StoreError: none does, or several.
    """
    found = [kept for kept in among if kept.key.startswith(reference)] if reference else []
    if len(found) != 1:
        what = "no kept ensemble has" if not found else f"{len(found)} kept ensembles have"
        raise StoreError(f"{what} a key beginning with {reference!r}; `mopo models ls` lists them")
    return found[0]


def remove_ensemble(kept: KeptEnsemble) -> None:
    """Delete it; runs that took it have their own copy.

    Raises:
        StoreError: the folder cannot be deleted.
    """
    try:
        shutil.rmtree(kept.folder)
        kept.folder.with_name(f".{kept.folder.name}.lock").unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{kept.folder}: cannot be removed: {error.strerror}") from None
