"""The dataset as a Minari dataset, which others open with minari alone, and back; Minari's files, read without minari.

The arrays are float32 as in the flat cache, so the way there and back keeps every bit and with it the fingerprint. Our manifest
lies in Minari's metadata under the key "mopo_tui".
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

import engine.envs  # noqa: F401 — registers our environments, so that `environment_spec` finds them
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, row_width
from engine.data_source import MINARI_ID
from engine.record import read_json

OUR_KEY = "mopo_tui"
EPISODES_PER_POLL = 100
# Measured with episodes of 3 to 1000 steps: 15 to 19 kB of HDF5 for each episode beside its values.
HDF5_BYTES_PER_EPISODE, HDF5_MARGIN = 20_000, 1.1
NAMESPACE = "namespace_metadata.json"
_BUILDING = ".mopo-building-"


def location(dataset_id: str) -> Path:
    """The folder in which minari looks for `dataset_id`: under $MINARI_DATASETS_PATH or ~/.minari/datasets."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    return (Path(root) if root else Path.home() / ".minari" / "datasets") / dataset_id


def main_file(dataset_id: str) -> Path:
    """The HDF5 file of a Minari dataset."""
    return location(dataset_id) / "data" / "main_data.hdf5"


def read_metadata(dataset_id: str) -> dict[str, Any] | None:
    """The content of the dataset's metadata.json; None where there is no dataset of that id, or it cannot be read."""
    try:
        return read_json(location(dataset_id) / "data" / "metadata.json")
    except RecursionError:  # nested a thousand deep, which no writer of datasets does
        return None


def stored_fingerprint(dataset_id: str) -> str | None:
    """The fingerprint of the Minari dataset of that id; None where there is no such dataset.

    Raises:
        DatasetError: there is one that this program did not write.
    """
    manifest = _stored_manifest(dataset_id)
    return None if manifest is None else str(manifest["fingerprint"])


def _stored_manifest(dataset_id: str) -> dict[str, Any] | None:
    folder = location(dataset_id)
    if not folder.exists():
        return None
    manifest = (read_metadata(dataset_id) or {}).get(OUR_KEY)
    needed = {"fingerprint", "size", "episodes", "observation_dim", "action_dim"}
    if not isinstance(manifest, dict) or not needed <= manifest.keys():
        raise DatasetError(
            f"Minari has a dataset {dataset_id} that this program did not write, or that is damaged: "
            f"move or delete {folder} and build again"
        )
    return manifest


def environment_spec(env_id: str, options: Mapping[str, Any]) -> gymnasium.envs.registration.EnvSpec:
    """The spec of `env_id` with these keywords, in a form that JSON holds and that needs no registration when it is read again.

    legacy_contacts is no keyword of the environment's own and stands in our manifest alone.
    """
    spec = gymnasium.spec(env_id)
    entry = spec.entry_point
    if callable(entry):
        entry = f"{entry.__module__}:{getattr(entry, '__qualname__', '')}"
    keywords = {name: value for name, value in options.items() if name != "legacy_contacts"}
    return dataclasses.replace(spec, entry_point=entry, kwargs={**spec.kwargs, **keywords})


@contextmanager
def _minari_root(root: Path) -> Iterator[None]:
    """Minari takes its root from the environment at each call; there is no argument for it."""
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(root)
    try:
        yield
    finally:
        if before is None:
            del os.environ["MINARI_DATASETS_PATH"]
        else:
            os.environ["MINARI_DATASETS_PATH"] = before


def write(dataset: TransitionDataset, after_episodes: Callable[[], object] = lambda: None) -> Path:
    """Write `dataset` under its manifest's id, whole or not at all; leave what is already there with the same fingerprint.

    It is made in a hidden folder beside minari's datasets and moved into place by one rename.

    Args:
        after_episodes: called every hundred episodes; may raise to stop.

    Returns:
        The Minari dataset's folder.

    Raises:
        DatasetError: there is another dataset of that id, or the disk is full or not writable.
    """
    dataset_id = dataset.id
    folder = location(dataset_id)
    existing = stored_fingerprint(dataset_id)
    if existing == dataset.fingerprint:
        return folder
    if existing is not None:
        raise DatasetError(
            f"the Minari dataset {dataset_id} (sha256 {existing[:12]}…) is other data than the one to write "
            f"({dataset.fingerprint[:12]}…): move or delete {folder} and build again"
        )
    try:
        with temporary_root() as building:
            _reserve(dataset, building / "reserved")
            with _minari_root(building):
                _create(dataset, dataset_id, after_episodes)
            try:
                move_in(building, dataset_id)
            except OSError:  # a process with another data root may have put the same content there meanwhile
                if not folder.exists() or stored_fingerprint(dataset_id) != dataset.fingerprint:
                    raise
    except OSError as error:
        raise DatasetError(f"cannot write the Minari dataset {folder}: {error.strerror or error}") from None
    return folder


@contextmanager
def temporary_root() -> Iterator[Path]:
    """A hidden folder beside minari's datasets, which is gone at the end.

    Raises:
        OSError: minari's root is not writable.
    """
    root = location("")
    _remove_abandoned(root)
    building = root / f"{_BUILDING}{socket.gethostname()}-{os.getpid()}"
    building.mkdir(parents=True, exist_ok=True)
    try:
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)


def move_in(building: Path, dataset_id: str) -> None:
    """Move a dataset from the temporary root `building` to its place by one rename, with the metadata of its namespaces."""
    root = location("")
    (root / dataset_id).parent.mkdir(parents=True, exist_ok=True)
    for parent in Path(dataset_id).parents:
        made = building / parent / NAMESPACE
        if made.exists() and not (root / parent / NAMESPACE).exists():
            shutil.copyfile(made, root / parent / NAMESPACE)
    os.rename(building / dataset_id, root / dataset_id)


def remove(dataset_id: str) -> None:
    """Delete a Minari dataset that this program wrote, and the namespaces that it leaves empty.

    Raises:
        DatasetError: there is none of that id, another program wrote it, or its folder is not writable.
    """
    folder = location(dataset_id)
    if not MINARI_ID.fullmatch(dataset_id) or not folder.exists():
        raise DatasetError(f"there is no Minari dataset {dataset_id!r} in {location('')}")
    if OUR_KEY not in (read_metadata(dataset_id) or {}):
        raise DatasetError(f"the Minari dataset {dataset_id} was not written by this program; delete {folder} yourself")
    try:
        with temporary_root() as leaving:  # renamed first: what is deleted half is nobody's dataset any more
            os.rename(folder, leaving / "removed")
        for parent in Path(dataset_id).parents[:-1]:
            _remove_empty_namespace(location(str(parent)))
    except OSError as error:
        raise DatasetError(f"cannot delete the Minari dataset {folder}: {error.strerror or error}") from None


def _remove_empty_namespace(folder: Path) -> None:
    """Remove a namespace's folder that holds nothing, or nothing but metadata that say nothing."""
    if any(path.name != NAMESPACE for path in folder.iterdir()):
        return
    metadata = folder / NAMESPACE
    if metadata.exists():
        if read_json(metadata) != {}:
            return
        metadata.unlink()
    folder.rmdir()


def _remove_abandoned(root: Path) -> None:
    """Remove what builders on this host left that were killed."""
    mine = f"{_BUILDING}{socket.gethostname()}-"
    for path in root.glob(f"{_BUILDING}*"):
        pid = path.name.removeprefix(mine)
        if pid.isdecimal() and not Path("/proc", pid).exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)


def expected_bytes(rows: int, observation_dim: int, action_dim: int, episodes: float) -> int:
    """What the HDF5 file of a dataset takes on the disk: many short episodes take several times their values."""
    values = rows * (observation_dim + action_dim + 2)  # s' is stored once, as the next s
    return int(HDF5_MARGIN * 4 * values + HDF5_BYTES_PER_EPISODE * episodes)


def _reserve(dataset: TransitionDataset, path: Path) -> None:
    """Take the disk space of the HDF5 file and give it back, so that a full disk or a quota is an OSError here.

    HDF5 itself, once a write has failed, fails again at closing every object and can end the process.
    """
    dims = dataset.observation_dim, dataset.action_dim
    expected = expected_bytes(len(dataset), *dims, len(dataset.episode_ends))
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, expected)
    finally:
        os.close(descriptor)
        path.unlink()


def _create(dataset: TransitionDataset, dataset_id: str, after_episodes: Callable[[], object]) -> None:
    import minari
    from gymnasium.spaces import Box
    from minari.data_collector import EpisodeBuffer

    manifest = dataset.manifest
    lengths, starts = dataset.episode_lengths, dataset.episode_starts

    def episodes() -> Iterator[Any]:
        for i, (start, end) in enumerate(zip(starts, dataset.episode_ends, strict=True)):
            terminations = dataset.terminals[start:end] > 0
            truncations = np.zeros(lengths[i], dtype=bool)
            truncations[-1] = not terminations[-1]
            yield EpisodeBuffer(
                observations=np.concatenate(
                    [dataset.observations[start:end], dataset.next_observations[end - 1 : end]]
                ),
                actions=np.ascontiguousarray(dataset.actions[start:end]),
                rewards=np.ascontiguousarray(dataset.rewards[start:end]),
                terminations=terminations,
                truncations=truncations,
                infos={},  # None would break the repr of minari's EpisodeData
            )
            if (i + 1) % EPISODES_PER_POLL == 0:
                after_episodes()

    with warnings.catch_warnings():
        # Minari asks for an author, an e-mail address and a link, which a dataset made on somebody's own machine has not.
        warnings.simplefilter("ignore", UserWarning)
        created = minari.create_dataset_from_buffers(
            dataset_id,
            [],
            observation_space=Box(-np.inf, np.inf, (dataset.observation_dim,), np.float32),
            action_space=Box(-1.0, 1.0, (dataset.action_dim,), np.float32),
            algorithm_name=manifest["algorithm"],
            description=manifest["description"],
        )
    # The environment's spec and the reference scores are added here because minari, given them, makes the environment again, twice.
    spec = environment_spec(manifest["environment"], manifest.get("environment_options") or {})
    metadata = {"env_spec": spec.to_json(), OUR_KEY: manifest}
    metadata["requirements"] = [f"{name}=={manifest['versions'][name]}" for name in ("gymnasium", "mujoco")]
    scale = manifest["references"]["scale"]
    if scale is not None:
        metadata |= {"ref_min_score": scale["min"], "ref_max_score": scale["max"]}
    created.storage.update_metadata(metadata)
    created.storage.update_episodes(episodes())


def read(dataset_id: str, poll: Callable[[], object] = lambda: None) -> TransitionDataset | None:
    """The Minari dataset of that id, in memory and with the manifest it was written with; None where there is none.

    Raises:
        DatasetError: it is not ours, damaged, or its content is not what was written.
    """
    manifest = _stored_manifest(dataset_id)
    if manifest is None:
        return None
    rows, ends, observation_dim, action_dim = read_rows(dataset_id, manifest["episodes"], manifest["size"], poll)
    if (observation_dim, action_dim) != (manifest["observation_dim"], manifest["action_dim"]):
        raise DatasetError(
            f"the Minari dataset {location(dataset_id)} has other dimensions than its manifest names; delete it and build again"
        )
    recorded = TransitionDataset(rows, ends, observation_dim, action_dim, manifest)
    recorded.verify()
    return in_memory(rows, ends, observation_dim, action_dim, manifest)


def read_rows(
    dataset_id: str, episodes: int, steps: int, poll: Callable[[], object]
) -> tuple[NDArray[np.float32], NDArray[np.int64], int, int]:
    """The transitions of a Minari dataset: s' is the following observation, d its terminations.

    The file is read with HDF5's own calls, a third of the time that minari needs for short episodes, and may come from a
    stranger: nothing is read that lies outside it. Episodes without steps are left out.

    Args:
        episodes, steps: how many there are, as the metadata say.
        poll: called every hundred episodes; may raise to stop.

    Returns:
        rows (steps, 2·obs + act + 2), episode ends, and the dimensions of observations and actions.

    Raises:
        DatasetError: no such file, damaged, not finite, or not of flat observations and actions in Minari's layout.
    """
    import h5py

    path = main_file(dataset_id)
    try:
        with h5py.File(path, "r", locking=False) as file:
            return _rows(file, episodes, steps, poll)
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise DatasetError(f"{path}: no such file") from None
    except MemoryError:
        raise DatasetError(f"{path}: {steps:,} steps do not fit into memory") from None
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: damaged or cut short ({' '.join(str(error).split())})") from None


def _rows(
    file: Any, episodes: int, steps: int, poll: Callable[[], object]
) -> tuple[NDArray[np.float32], NDArray[np.int64], int, int]:
    from h5py import h5g

    rows = np.empty((0, 0), dtype=np.float32)
    ends: list[int] = []
    at = observation_dim = action_dim = 0
    for i in range(episodes):
        if i % EPISODES_PER_POLL == 0:
            poll()
        where = f"episode_{i}"
        _check_link(file.id, where, where)
        group = h5g.open(file.id, where.encode())
        rewards = _array(group, where, "rewards")
        length = len(rewards)
        if length == 0:
            continue
        if at + length > steps:
            raise DatasetError(f"there are more steps in it than the {steps:,} that its metadata tell of")
        actions = _array(group, where, "actions", length)
        observations = _array(group, where, "observations", length + 1)
        if not ends:
            observation_dim, action_dim = observations.shape[1], actions.shape[1]
            rows = np.empty((steps, row_width(observation_dim, action_dim)), dtype=np.float32)
        if (observations.shape[1], actions.shape[1]) != (observation_dim, action_dim):
            raise DatasetError(f"{where} has other dimensions than the episodes before")
        block = rows[at : at + length]
        block[:, :observation_dim] = observations[:-1]
        block[:, observation_dim : observation_dim + action_dim] = actions
        block[:, observation_dim + action_dim] = rewards
        block[:, observation_dim + action_dim + 1 : -1] = observations[1:]
        block[:, -1] = _array(group, where, "terminations", length)
        at += length
        ends.append(at)
    if at != steps or not ends:
        raise DatasetError(f"there are {at:,} steps in its {episodes:,} episodes; its metadata tell of {steps:,}")
    if not ((rows[:, -1] == 0) | (rows[:, -1] == 1)).all():
        raise DatasetError("terminations have values other than 0 and 1")
    return rows, np.array(ends, dtype=np.int64), observation_dim, action_dim


def _check_link(group: Any, name: str, what: str) -> None:
    """A soft or external link may lead anywhere on this machine."""
    from h5py import h5l

    try:
        kind = group.links.get_info(name.encode()).type
    except (KeyError, RuntimeError):
        raise DatasetError(f"there is no {what}, or it cannot be found in the file") from None
    if kind != h5l.TYPE_HARD:
        raise DatasetError(f"{what} is a link to somewhere else, which is not followed")


def _array(group: Any, where: str, name: str, length: int | None = None) -> NDArray[Any]:
    """An episode's array, whose numbers must lie in the file itself: float32, or bool where it is stored as such.

    Args:
        length: how many rows it must have.
    """
    from h5py import h5d, h5s, h5t

    _check_link(group, name, f"{where}/{name}")
    try:
        array = h5d.open(group, name.encode())
    except (KeyError, TypeError, ValueError):
        raise DatasetError(f"{where}/{name} is no array") from None
    properties = array.get_create_plist()
    if properties.get_layout() == h5d.VIRTUAL or properties.get_external_count():
        raise DatasetError(f"{where}/{name} lies in another file, which is not followed")
    kind, shape = array.get_type().get_class(), array.shape
    if kind not in (h5t.FLOAT, h5t.INTEGER, h5t.ENUM):
        raise DatasetError(f"{where}/{name} holds no numbers")
    flat = name in ("observations", "actions")
    if shape is None or len(shape) != 1 + flat or (flat and shape[1] < 1):
        raise DatasetError(f"{where}/{name} has shape {shape}, not {'(steps, numbers)' if flat else '(steps,)'}")
    if length is not None and shape[0] != length:
        raise DatasetError(f"{where}/{name} has {shape[0]:,} rows where {length:,} belong")
    out = np.empty(shape, dtype=np.bool_ if kind == h5t.ENUM else np.float32)
    array.read(h5s.ALL, h5s.ALL, out, _memory_type(out.dtype))  # HDF5 converts while it reads
    if out.dtype != np.bool_ and not np.isfinite(out).all():
        step = int(np.isfinite(out).reshape(len(out), -1).all(axis=1).argmin())
        raise DatasetError(f"{where}/{name} is not finite (NaN or beyond float32), first in step {step}")
    return out


@cache
def _memory_type(dtype: np.dtype[Any]) -> Any:
    from h5py import h5t

    return h5t.py_create(dtype)
