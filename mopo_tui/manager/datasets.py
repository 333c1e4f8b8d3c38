"""Datasets on this machine: which there are, what their manifests say, which runs use them, and removing them."""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import d4rl_files, record
from engine.config import CONFIG_CLASSES, BehaviourConfig, Config, ConfigError, DatasetConfig, TrainConfig, from_toml
from engine.data_source import MINARI_ID, wanted
from engine.tasks import SOURCES, TASKS, UnknownName, task, task_of_source
from mopo_tui.manager import locations
from mopo_tui.manager.run import Run, number_of, text_of
from mopo_tui.manager.state import RunState
from mopo_tui.manager.store import StoreError

if TYPE_CHECKING:
    from mopo_tui.manager.store import Store

_MANIFEST = "dataset.json"
_DEPTH = 6  # folders of an id, at most: a link to a folder above would otherwise be followed without end
_OUR_KEY = "mopo_tui"  # in Minari's metadata of a dataset that this program wrote
_DOWNLOADED = ("", ".part", ".sha256")  # a download, what came of it so far, and the note that it was found right


class DatasetUnavailable(ValueError):
    """A dataset that is not there, or cannot be read or removed; one clear line."""


@dataclass(frozen=True)
class DatasetStatus:
    """A dataset: `present` with what its manifest says, or not yet, or no longer, to be opened.

    Attributes:
        id: the flat cache's name under datasets/, such as mopo/ant-angle/100k-v0 or d4rl/hopper-medium-v2.
        source: as a configuration names it: ours, d4rl:NAME, minari:ID, training:RUN_FOLDER, or a path.
        environment: Gymnasium id of the environment in which policies learnt from it are evaluated.
        size: transitions; 0 where it is not present.
        mean_return, best_return: of its complete episodes; None where it has none.
        written: Unix seconds; 0.0 where it is not known.
        bytes: of the flat cache on disk.
        minari_bytes: of our Minari copy of it; 0 without one.
        download: the file it was read from, under the data root; None where it is not there.
        download_bytes: of that file, or of the part of it that has come so far.
        problem: why it is not present, in a few words; empty where nothing is wrong with it, or nothing is there.
    """

    id: str
    folder: Path
    present: bool
    source: str = ""
    task: str = ""
    environment: str = ""
    fingerprint: str = ""
    size: int = 0
    episodes: int = 0
    mean_return: float | None = None
    best_return: float | None = None
    written: float = 0.0
    bytes: int = 0
    minari_bytes: int = 0
    download: Path | None = None
    download_bytes: int = 0
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON has it."""
        return {
            **asdict(self),
            "folder": str(self.folder),
            "download": None if self.download is None else str(self.download),
        }


# --- finding ----------------------------------------------------------------------------------------------------------------------


def dataset_status(config: TrainConfig | DatasetConfig) -> DatasetStatus:
    """The dataset that a run of `config` learns from, or makes."""
    identifier = wanted(task(config.task), config.dataset, config.environment).id
    return _status(identifier, locations.dataset_folder(identifier))


def check_source(config: Config) -> None:
    """Look whether a run of `config` can have its data, as far as that is known without reading a file or asking a server.

    Raises:
        DatasetUnavailable: a file, or another run's replay buffer, that is not there.
        ConfigError: a name that D4RL does not have, an id that none of Minari's can be, or data whose name says another robot.
    """
    if isinstance(config, BehaviourConfig):
        return
    chosen = task(config.task)
    source = wanted(chosen, config.dataset, config.environment)
    said, robot = f"dataset.source = {source.source!r}", ""
    match source.kind:
        case "d4rl":
            try:
                robot = d4rl_files.published(source.name).family
            except UnknownName as error:
                raise ConfigError(f"{said}: {error}", "dataset.source") from None
        case "minari":
            if not MINARI_ID.fullmatch(source.name):
                raise ConfigError(f"{said}: an id of Minari is (namespace/)name-v0, with its version", "dataset.source")
            with contextlib.suppress(UnknownName):  # its name says nothing
                robot = task_of_source(source.source).family
        case "file" | "training" if not os.path.lexists(source.name):
            raise DatasetUnavailable(f"{source.name}: no such file or folder ({said}){_misspelt(source.source)}")
    if robot and chosen.family and robot != chosen.family:
        raise ConfigError(f"{said} is data of {robot}; {chosen.name} is a task of {chosen.family}", "dataset.source")
    if chosen.own_reward and source.kind == "d4rl":
        raise ConfigError(f"{said} has {robot}'s own rewards, not those of {chosen.name}", "dataset.source")


def _misspelt(source: str) -> str:
    """What is meant by a path such as /here/d5rl:hopper-medium-v2, as the end of a message; empty where that is a path indeed."""
    found = re.search(r"(?:^|/)(\w+):(.+)$", source)
    close = difflib.get_close_matches(found[1], SOURCES, n=1) if found else []
    return f"; did you mean {close[0]}:{found[2]}?" if found and close else ""


def datasets() -> list[DatasetStatus]:
    """Every dataset of the flat cache, by id."""
    root = locations.dataset_folder("")
    return sorted((_status(str(f.relative_to(root)), f) for f in _folders(root)), key=lambda status: status.id)


def not_imported(present: Sequence[DatasetStatus]) -> list[DatasetStatus]:
    """The downloads from which none of the datasets `present` was read, whole ones and begun ones."""
    folder = _downloads()
    read = {_canonical(status.source) for status in present}
    here = {path.name.removesuffix(".part") for end in ("", ".part") for path in folder.glob(f"[!.]*.hdf5{end}")}
    found = []
    for file in sorted(d4rl_files.files().values(), key=lambda file: file.file):
        source, path = f"d4rl:{file.name}", folder / file.file
        if file.file not in here or source in read:
            continue
        identifier = f"d4rl/{file.name}"
        problem = "downloaded, not imported" if path.exists() else "downloaded in part"
        found.append(
            DatasetStatus(
                identifier,
                locations.dataset_folder(identifier),
                present=False,
                source=source,
                download=path,
                download_bytes=_download_bytes(path),
                problem=problem,
            )
        )
    return found


def find_dataset(reference: str, among: Sequence[DatasetStatus]) -> DatasetStatus:
    """The dataset that `reference` means: its id, its source, the name of a task that has one dataset, or a part of its id that no
    other has.

    Raises:
        DatasetUnavailable: none, or several.
    """
    path = os.path.abspath(os.path.expanduser(reference))
    tasks = {reference, *(t.name for t in TASKS.values() if reference in t.aliases)}
    for same in (
        [status for status in among if status.id == reference],
        [status for status in among if status.source in (_canonical(reference), path)],
        [status for status in among if status.task in tasks],
        [status for status in among if reference in status.id],
    ):
        if len(same) == 1:
            return same[0]
        if same:
            ids = ", ".join(status.id for status in same[:4]) + (", …" if len(same) > 4 else "")
            raise DatasetUnavailable(f"{len(same)} datasets go by {reference!r}: {ids}")
    raise DatasetUnavailable(f"no dataset {reference!r}; `mopo data ls` lists them")


def read_manifest(status: DatasetStatus) -> dict[str, Any]:
    """What dataset.json says.

    Raises:
        DatasetUnavailable: it is missing or torn.
    """
    manifest = record.read_json(status.folder / _MANIFEST)
    if manifest is None:
        raise DatasetUnavailable(f"{status.id}: {status.problem or f'{_MANIFEST} cannot be read'}")
    return manifest


def _folders(root: Path) -> Iterator[Path]:
    """The folders with a manifest. A folder under construction has a hidden name until it is whole."""
    for folder, names, files in os.walk(root, followlinks=True):
        if _MANIFEST in files:
            yield Path(folder)
        deep = len(Path(folder).relative_to(root).parts) >= _DEPTH
        names[:] = [] if deep or _MANIFEST in files else [name for name in names if not name.startswith(".")]


def _status(identifier: str, folder: Path) -> DatasetStatus:
    copy = minari_copy(identifier)
    minari_bytes = 0 if copy is None else record.bytes_of(copy)
    manifest = record.read_json(folder / _MANIFEST)
    if manifest is None:
        problem = f"{_MANIFEST} cannot be read" if folder.exists() else ""
        return DatasetStatus(
            identifier, folder, present=False, bytes=record.bytes_of(folder), minari_bytes=minari_bytes, problem=problem
        )
    about, report = manifest.get("source"), manifest.get("report")
    source = text_of(about, "name") if isinstance(about, dict) else ""
    returns = report if isinstance(report, dict) else {}
    download = _downloaded(source)
    return DatasetStatus(
        identifier,
        folder,
        present=True,
        source=source,
        task=text_of(manifest, "task"),
        environment=text_of(manifest, "environment"),
        fingerprint=text_of(manifest, "fingerprint"),
        size=int(number_of(manifest, "size") or 0),
        episodes=int(number_of(manifest, "episodes") or 0),
        mean_return=number_of(returns, "mean_return"),
        best_return=number_of(returns, "best_return"),
        written=number_of(manifest, "written") or 0.0,
        bytes=record.bytes_of(folder),
        minari_bytes=minari_bytes,
        download=download,
        download_bytes=0 if download is None else _download_bytes(download),
    )


# --- Minari's copies --------------------------------------------------------------------------------------------------------------


def minari_root() -> Path:
    """Minari's own folder of datasets; it need not exist."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    return Path(root) if root else Path.home() / ".minari" / "datasets"


def minari_copy(identifier: str) -> Path | None:
    """The folder of the Minari dataset of that id, if this program wrote it; None where there is none, or another's."""
    folder = minari_root() / identifier
    metadata = record.read_json(folder / "data" / "metadata.json") if identifier.startswith("mopo/") else None
    return folder if metadata is not None and _OUR_KEY in metadata else None


# --- downloads --------------------------------------------------------------------------------------------------------------------


def _downloads() -> Path:
    return locations.data_root() / "downloads" / "d4rl"


def _canonical(source: str) -> str:
    """The same source under the newer spelling of its name."""
    return d4rl_files.canonical(source) if source.startswith("d4rl:") else source


def _downloaded(source: str) -> Path | None:
    """The downloaded file of a source; None where there is none."""
    kind, _, name = source.partition(":")
    file = d4rl_files.files().get(d4rl_files.canonical(name)) if kind == "d4rl" else None
    path = _downloads() / file.file if file else None
    return path if path is not None and path.exists() else None


def _download_bytes(path: Path) -> int:
    return sum(record.bytes_of(path.with_name(path.name + suffix)) for suffix in _DOWNLOADED)


# --- removing ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """Something on disk that goes with a dataset.

    Attributes:
        what: "flat cache", "Minari copy" or "download".
        path: its folder or file.
        root: the folder below which it lies.
    """

    what: str
    path: Path
    root: Path
    bytes: int


def parts_of(status: DatasetStatus, *, minari: bool = True, download: bool = False) -> list[Part]:
    """What there is to remove of a dataset.

    Raises:
        DatasetUnavailable: a part is a link to somewhere else: what lies there is not removed.
    """
    parts = []
    if status.folder.exists():
        parts.append(Part("flat cache", status.folder, locations.dataset_folder(""), status.bytes))
    copy = minari_copy(status.id) if minari else None
    if copy is not None:
        parts.append(Part("Minari copy", copy, minari_root(), status.minari_bytes))
    if download and status.download is not None:
        parts.append(Part("download", status.download, _downloads(), status.download_bytes))
    for part in parts:
        real = part.path.resolve()
        if real != part.root.resolve() / part.path.relative_to(part.root):
            raise DatasetUnavailable(f"{status.id}: {part.path} is a link to {real}: remove it by hand")
    return parts


def users_of(status: DatasetStatus, store: Store) -> list[Run]:
    """The running runs of a store that learn from this dataset or make it, by what they record and by their configuration."""
    active = [run for run in store.runs() if not run.state.over and run.state is not RunState.QUEUED]
    return [run for run in active if status.id in ids_of(run)]


def not_in_use(status: DatasetStatus, store: Store) -> None:
    """Raise StoreError where a running run learns from this dataset or makes it."""
    if users := users_of(status, store):
        raise StoreError(f"{status.id} is in use by {users[0].id}, which is {users[0].state.value}: stop it first")


def ids_of(run: Run) -> set[str]:
    """The ids of the datasets that a run names; none where its data lie under another root than ours."""
    paths = (record.read_json(run.folder / record.RUN) or {}).get("paths")
    root = text_of(paths, "data") if isinstance(paths, dict) else ""
    if root and Path(root).resolve() != locations.data_root().resolve():
        return set()
    recorded = (record.read_json(run.folder / record.ENVIRONMENT) or {}).get("dataset")
    names = {text_of(recorded, "id")} if isinstance(recorded, dict) else set()
    with contextlib.suppress(OSError, ValueError):  # a configuration of another version, or of a task that is gone
        text = (run.folder / record.CONFIG).read_text(encoding="utf-8")
        config = from_toml(CONFIG_CLASSES[run.job], text, record.CONFIG) if run.job in CONFIG_CLASSES else None
        if isinstance(config, TrainConfig | DatasetConfig):
            names.add(wanted(task(config.task), config.dataset, config.environment).id)
    return names


def remove(status: DatasetStatus, parts: Sequence[Part]) -> None:
    """Delete these parts of a dataset. A folder first gets a hidden name, so that nobody meets it half deleted.

    Raises:
        StoreError: another process is making the dataset ready.
        DatasetUnavailable: something cannot be deleted.
    """
    going: list[Path] = []
    try:
        with contextlib.ExitStack() as locks:
            # Builders of a dataset queue at its flat cache's lock, those who fetch a file at the file's.
            for target in {part.path if part.what == "download" else status.folder for part in parts}:
                locks.enter_context(_locked(target))
            for part in parts:
                if part.what == "download":
                    for suffix in _DOWNLOADED:
                        part.path.with_name(part.path.name + suffix).unlink(missing_ok=True)
                    continue
                hidden = part.path.with_name(f".{part.path.name}.removed")
                shutil.rmtree(hidden, ignore_errors=True)  # of a removal that was killed
                os.rename(part.path, hidden)
                going.append(hidden)
        for hidden in going:
            shutil.rmtree(hidden)
    except OSError as error:
        raise DatasetUnavailable(f"cannot remove {error.filename}: {error.strerror}") from None


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold the lock that builders of `target` queue at, and remove it at the end; never waits."""
    path = target.with_name(f".{target.name}.lock")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{target} is being made ready by another process: stop it, or wait for it") from None
        yield
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)
