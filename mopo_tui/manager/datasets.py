"""Which collected datasets are at hand, read from their manifests."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import record
from engine.config import DatasetConfig, TrainConfig
from engine.data_source import wanted
from engine.tasks import task
from mopo_tui.manager import locations
from mopo_tui.manager.run import number_of, text_of

_MANIFEST = "dataset.json"


@dataclass(frozen=True)
class DatasetStatus:
    """A collected dataset: `present` with what its manifest says, or still to be built.

    Attributes:
        id: its Minari id, such as mopo/ant-angle/100k-v0.
        size: transitions; 0 where it is not present.
        bytes: of the flat cache on disk.
    """

    id: str
    folder: Path
    present: bool
    fingerprint: str = ""
    size: int = 0
    episodes: int = 0
    bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "folder": str(self.folder)}


def dataset_status(config: TrainConfig | DatasetConfig) -> DatasetStatus:
    """The dataset that a run of `config` learns from, or makes."""
    identifier = wanted(task(config.task), config.dataset, config.environment).id
    return _status(identifier, locations.dataset_folder(identifier))


def datasets() -> list[DatasetStatus]:
    """Every dataset of the flat cache, by id."""
    root = locations.dataset_folder("")
    found = (path.parent for path in root.rglob(_MANIFEST)) if root.is_dir() else ()
    # A folder under construction has a hidden name until it is whole.
    whole = (folder for folder in found if not any(part.startswith(".") for part in folder.relative_to(root).parts))
    return sorted((_status(str(folder.relative_to(root)), folder) for folder in whole), key=lambda status: status.id)


def _status(name: str, folder: Path) -> DatasetStatus:
    manifest = record.read_json(folder / _MANIFEST)
    if manifest is None:
        return DatasetStatus(name, folder, present=False)
    return DatasetStatus(
        name,
        folder,
        present=True,
        fingerprint=text_of(manifest, "fingerprint"),
        size=int(number_of(manifest, "size") or 0),
        episodes=int(number_of(manifest, "episodes") or 0),
        bytes=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
    )
