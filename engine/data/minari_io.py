"""The dataset as a Minari dataset, which others open with minari alone, and back.

The arrays are float32 as in the flat cache, so the way there and back keeps every bit and with it the fingerprint. Our manifest
lies in Minari's metadata under the key "mopo_tui".
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import engine.envs  # noqa: F401 — registers our environments, so that `environment_spec` finds them
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, row_width

OUR_KEY = "mopo_tui"
EPISODES_PER_POLL = 100
# Measured with episodes of 3 to 1000 steps: 15 to 19 kB of HDF5 for each episode beside its values.
HDF5_BYTES_PER_EPISODE, HDF5_MARGIN = 20_000, 1.1
_BUILDING = ".mopo-building-"


def location(dataset_id: str) -> Path:
    """The folder in which minari looks for `dataset_id`: under $MINARI_DATASETS_PATH or ~/.minari/datasets."""
    root = os.environ.get("MINARI_DATASETS_PATH")
    return (Path(root) if root else Path.home() / ".minari" / "datasets") / dataset_id


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
    from minari.dataset.minari_storage import MinariStorage

    try:
        manifest: dict[str, Any] = MinariStorage.read_raw_metadata(folder / "data")[OUR_KEY]
        str(manifest["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DatasetError(
            f"Minari has a dataset {dataset_id} that this program did not write, or that is damaged: "
            f"move or delete {folder} and build again"
        ) from None
    return manifest


def environment_spec(env_id: str) -> gymnasium.envs.registration.EnvSpec:
    """The spec of `env_id` in a form that JSON holds and that needs no registration when it is read again."""
    spec = gymnasium.spec(env_id)
    entry = spec.entry_point
    if callable(entry):
        spec = dataclasses.replace(spec, entry_point=f"{entry.__module__}:{getattr(entry, '__qualname__', '')}")
    return spec


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
    root = location("")
    existing = stored_fingerprint(dataset_id)
    if existing == dataset.fingerprint:
        return folder
    if existing is not None:
        raise DatasetError(
            f"the Minari dataset {dataset_id} (sha256 {existing[:12]}…) is other data than the one to write "
            f"({dataset.fingerprint[:12]}…): move or delete {folder} and build again"
        )
    building = root / f"{_BUILDING}{socket.gethostname()}-{os.getpid()}"
    try:
        _remove_abandoned(root)
        building.mkdir(parents=True, exist_ok=True)
        try:
            _reserve(dataset, building / "reserved")
            with _minari_root(building):
                _create(dataset, dataset_id, after_episodes)
            folder.parent.mkdir(parents=True, exist_ok=True)
            for parent in Path(dataset_id).parents:
                made = building / parent / "namespace_metadata.json"
                if made.exists() and not (root / parent / made.name).exists():
                    shutil.copyfile(made, root / parent / made.name)
            _move(building / dataset_id, folder, dataset)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise DatasetError(f"cannot write the Minari dataset {folder}: {error.strerror or error}") from None
    return folder


def _move(made: Path, folder: Path, dataset: TransitionDataset) -> None:
    """Rename into place; a process with another data root may have put the same content there meanwhile."""
    try:
        os.rename(made, folder)
    except OSError:
        if not folder.exists() or stored_fingerprint(dataset.id) != dataset.fingerprint:
            raise


def _remove_abandoned(root: Path) -> None:
    """Remove what builders on this host left that were killed."""
    mine = f"{_BUILDING}{socket.gethostname()}-"
    for path in root.glob(f"{_BUILDING}*"):
        pid = path.name.removeprefix(mine)
        if pid.isdecimal() and not Path("/proc", pid).exists() and Path("/proc/self").exists():
            shutil.rmtree(path, ignore_errors=True)


def _reserve(dataset: TransitionDataset, path: Path) -> None:
    """Take the disk space of the HDF5 file and give it back, so that a full disk or a quota is an OSError here.

    HDF5 itself, once a write has failed, fails again at closing every object and can end the process.
    """
    values = dataset.rows.size - len(dataset) * dataset.observation_dim  # s' is stored once, as the next s
    expected = HDF5_MARGIN * 4 * values + HDF5_BYTES_PER_EPISODE * len(dataset.episode_ends)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, int(expected))
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
    metadata = {"env_spec": environment_spec(manifest["environment"]).to_json(), OUR_KEY: manifest}
    metadata["requirements"] = [f"{name}=={manifest['versions'][name]}" for name in ("gymnasium", "mujoco")]
    scale = manifest["references"]["scale"]
    if scale is not None:
        metadata |= {"ref_min_score": scale["min"], "ref_max_score": scale["max"]}
    created.storage.update_metadata(metadata)
    created.storage.update_episodes(episodes())


def read(dataset_id: str) -> TransitionDataset | None:
    """The Minari dataset of that id, in memory and with the manifest it was written with; None where there is none.

    Raises:
        DatasetError: it is not ours, damaged, or its content is not what was written.
    """
    manifest = _stored_manifest(dataset_id)
    if manifest is None:
        return None
    import minari

    try:
        stored = minari.load_dataset(dataset_id)
        observation_dim, action_dim, size = manifest["observation_dim"], manifest["action_dim"], manifest["size"]
        if stored.total_steps != size:
            raise ValueError(f"{stored.total_steps:,} steps, not {size:,}")
        rows = np.empty((size, row_width(observation_dim, action_dim)), dtype=np.float32)
        ends, at = [], 0
        for episode in stored.iterate_episodes():
            length = len(episode.rewards)
            block = rows[at : at + length]
            block[:, :observation_dim] = episode.observations[:-1]
            block[:, observation_dim : observation_dim + action_dim] = episode.actions
            block[:, observation_dim + action_dim] = episode.rewards
            block[:, observation_dim + action_dim + 1 : -1] = episode.observations[1:]
            block[:, -1] = episode.terminations
            at += length
            ends.append(at)
    except (OSError, RuntimeError, ValueError, KeyError, AssertionError) as error:
        raise DatasetError(f"the Minari dataset {location(dataset_id)} cannot be read: {error}") from None
    recorded = TransitionDataset(rows, np.array(ends, dtype=np.int64), observation_dim, action_dim, manifest)
    recorded.verify()
    return in_memory(rows, recorded.episode_ends, observation_dim, action_dim, manifest)
