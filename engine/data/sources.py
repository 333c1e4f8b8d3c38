"""Making the data of a run ready, wherever it comes from: opened, collected, or fetched and read once into a flat cache."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engine import envs
from engine.config import Environment
from engine.d4rl_files import published
from engine.data import collect, d4rl, minari_fetch, minari_import, minari_io
from engine.data.check import looks_like
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, write
from engine.data.locking import locked
from engine.data.report import report
from engine.data.training_replay import from_training
from engine.data_source import Wanted
from engine.randomness import numpy_generator
from engine.tasks import OURS, TASKS, Task, UnknownName

Progress = Callable[[int, int], object]
DOWNLOADS = "downloads"


def open_ready(w: Wanted, data_root: Path) -> TransitionDataset | None:
    """The dataset if its flat cache is there and still what the source holds, else None. Milliseconds.

    Raises:
        DatasetError: it is there and damaged, or does not fit the task.
    """
    if w.kind == OURS:
        ours = collect.open_dataset(w.task, w.settings.size, w.settings.seed, data_root)
        return None if ours is None else _of_task(ours, w.task)
    folder = collect.dataset_folder(data_root, w.id)
    if not folder.exists():
        return None
    dataset = TransitionDataset.open(folder)
    manifest, stamp = dataset.manifest, _stamp(w)
    if stamp and stamp != manifest["source"].get("stamp"):
        return None
    fitted(dataset, w.task)
    env_id, options = evaluation_environment(w.task, manifest["source"], w.environment)
    if (env_id, dict(options)) != (manifest["environment"], manifest["environment_options"]):
        return None  # an own task that was changed since: its references are of another environment
    return dataset


def prepare(
    w: Wanted,
    data_root: Path,
    progress: Progress,
    poll: Callable[[], object],
    workers: int = 1,
    waiting: Callable[[], object] = lambda: None,
) -> TransitionDataset:
    """The dataset, ready to learn from: opened, collected, or fetched and read.

    Args:
        progress: gets (done, total), in transitions, or in bytes while a file is downloaded.
        poll: called often; may raise to stop.
        workers: processes that collect.
        waiting: called once where another process makes this dataset ready.

    Raises:
        DatasetError: one clear line on what is wrong with the source, or with where it is to be written.
        Stopped: `poll` asked for it; nothing half-written is left behind.
    """
    if w.kind == OURS:
        size, seed = w.settings.size, w.settings.seed
        ours = collect.build_dataset(w.task, size, seed, data_root, progress, poll, workers=workers, waiting=waiting)
        return _of_task(ours, w.task)
    folder = collect.dataset_folder(data_root, w.id)
    with locked(folder, poll, waiting):
        ready = open_ready(w, data_root)
        if ready is not None:
            return ready
        dataset = _described(_read(w, data_root, progress, poll), w, poll)
        shutil.rmtree(folder, ignore_errors=True)  # of a source that has changed since
        return fitted(write(dataset, folder), w.task)


def _of_task(dataset: TransitionDataset, task: Task) -> TransitionDataset:
    """Our own dataset is of the task's environment, whatever a manifest says: it may have come as anybody's Minari dataset."""
    dataset.manifest.update(environment=task.environment, environment_options=dict(task.environment_options))
    return dataset


def _read(w: Wanted, data_root: Path, progress: Progress, poll: Callable[[], object]) -> TransitionDataset:
    """The source's transitions, as they are told there."""
    size = w.settings.size
    match w.kind:
        case "d4rl":
            try:
                file = published(w.name)
            except UnknownName as error:
                raise DatasetError(str(error)) from None
            if w.task.own_reward:
                raise DatasetError(f"d4rl:{w.name} has {file.family}'s own rewards, not those of {w.task.name}")
            _fits_family(w, file.family)
            path = d4rl.download(file, data_root / DOWNLOADS / "d4rl", progress, poll)
            dataset = d4rl.read(path, poll, file.family)
        case "minari":
            if not minari_import.is_local(w.name):
                minari_fetch.fetch(w.name, progress, poll)
            dataset = minari_import.read(w.name, poll)
            about = dataset.manifest
            theirs = (about["environment"], {**w.task.environment_options, **about["environment_options"]})
            if w.task.own_reward and theirs != (w.task.environment, dict(w.task.environment_options)):
                raise DatasetError(f"minari:{w.name} is of {theirs[0]} {theirs[1] or ''}, not of {w.task.name}")
        case "training":
            return from_training(w.task, Path(w.name), size or None, poll)
        case _:
            stranger = w.task.environment if w.task.own and not w.task.family else None
            dataset = d4rl.read(Path(w.name), poll, w.task.family or None, environment=stranger)
            dataset.manifest["origin"] = "file"
    return chosen_episodes(dataset, size, w.settings.seed) if size else dataset


def _fits_family(w: Wanted, family: str) -> None:
    """Before a gigabyte is downloaded."""
    if w.task.family and family != w.task.family:
        raise DatasetError(f"{w.source} is data of {family}; {w.task.name} needs {w.task.family}")


def chosen_episodes(dataset: TransitionDataset, size: int, seed: int) -> TransitionDataset:
    """`size` transitions of whole episodes drawn at random, in their order in the data; the last one drawn is cut.

    Raises:
        DatasetError: there are fewer.
    """
    if size > len(dataset):
        raise DatasetError(
            f"--size {size:,}: the data has {len(dataset):,} transitions; leave the size out to take all"
        )
    order = numpy_generator(seed, "choice of episodes", dataset.fingerprint).permutation(len(dataset.episode_ends))
    lengths, starts = dataset.episode_lengths, dataset.episode_starts
    until = np.cumsum(lengths[order])
    count = int(np.searchsorted(until, size)) + 1
    taken = {int(i): int(lengths[i]) for i in order[:count]}
    taken[int(order[count - 1])] -= int(until[count - 1]) - size
    picked = sorted(taken)
    rows = np.concatenate([dataset.rows[starts[i] : starts[i] + taken[i]] for i in picked])
    ends = np.cumsum([taken[i] for i in picked], dtype=np.int64)
    note = f"{size:,} of {len(dataset):,} transitions: {count:,} episodes drawn with seed {seed}"
    manifest = {**dataset.manifest, "notes": [*dataset.manifest["notes"], note]}
    return in_memory(rows, ends, dataset.observation_dim, dataset.action_dim, manifest)


def _described(dataset: TransitionDataset, w: Wanted, poll: Callable[[], object]) -> TransitionDataset:
    """`dataset` with everything that a manifest holds: environment, references, report, where it comes from."""
    fits(dataset, w.task, w.source)
    likeness = looks_like(dataset)
    if w.task.own_reward and likeness.environment not in (None, w.task.environment):
        raise DatasetError(f"{w.source}: its rewards are those of {likeness.environment}, not of {w.task.name}")
    manifest: dict[str, Any] = {
        **dataset.manifest,
        "id": w.id,
        "task": w.task.name,
        "seed": w.settings.seed,
        # What the source says of its environment, from which the one for evaluations follows.
        "source": {
            "name": w.source,
            "stamp": _stamp(w),
            "environment": dataset.manifest["environment"],
            "environment_options": dict(dataset.manifest["environment_options"]),
        },
        "reached_target": True,
    }
    env_id, options = evaluation_environment(w.task, manifest["source"], w.environment)
    manifest |= {"environment": env_id, "environment_options": dict(options)}
    try:
        env = envs.make(env_id, **options)
    except Exception as error:  # what Gymnasium, or a person's own module, raises for an id is its own affair
        raise DatasetError(f"environment {env_id}: {type(error).__name__}: {error}") from None
    limit = env.spec.max_episode_steps if env.spec else None
    spaces = (env.observation_space.shape, env.action_space.shape)
    env.close()
    if spaces != ((dataset.observation_dim,), (dataset.action_dim,)):
        raise DatasetError(
            f"environment {env_id} has observations {spaces[0]} and actions {spaces[1]}, "
            f"the data {dataset.observation_dim} and {dataset.action_dim}"
        )
    # A file that does not tell s' of the row at the time limit has episodes that end before it.
    told = manifest.get("max_episode_steps")
    manifest["max_episode_steps"] = min(limit, told) if limit and told else limit or told
    made = in_memory(dataset.rows, dataset.episode_ends, dataset.observation_dim, dataset.action_dim, manifest)
    made.manifest["references"] = collect.references(w.task, env_id, options, made, poll)
    made.manifest["report"] = report(made)
    return made


def evaluation_environment(task: Task, told: Mapping[str, Any], settings: Environment) -> tuple[str, Mapping[str, Any]]:
    """Id and keywords of the environment in which policies learnt from this data are evaluated.

    What the configuration says comes first; then the task's own environment where its reward is its own or a person named one for
    it; then the data's, and the task's where the data do not tell.

    Args:
        told: "environment" and "environment_options" as the data's source has them.
    """
    options: Mapping[str, Any]
    if settings.id:
        env_id, options = settings.id, {}
    elif task.names_environment or task.own_reward or not told["environment"]:
        env_id, options = task.environment, task.environment_options
    else:
        env_id, options = str(told["environment"]), told["environment_options"]
    harmless(env_id, options, task)
    if settings.legacy_contacts != "auto":
        options = {**options, "legacy_contacts": settings.legacy_contacts == "on"}
    return env_id, options


def harmless(env_id: str, options: Mapping[str, Any], task: Task) -> None:
    """Raise DatasetError where an id, or an option that may be one, imports a module that the person's own task does not name."""
    if task.own and env_id == task.environment:
        return
    for text in (env_id, *options.values()):
        if isinstance(text, str) and ":" in text:
            raise DatasetError(f"environment {text!r}: `module:Id` stands in a file of own tasks only")


def fits(dataset: TransitionDataset, task: Task, source: str) -> None:
    """Raise DatasetError where the data is another environment's."""
    has, needs = (dataset.observation_dim, dataset.action_dim), (task.observation_dim, task.action_dim)
    if has != needs:
        raise DatasetError(
            f"{source} has {has[0]} observations and {has[1]} actions, {task.name} needs {needs[0]} and {needs[1]}: "
            "the data is another environment's"
        )
    seen = looks_like(dataset).name
    known = {t.family for t in TASKS.values()}
    if task.family and seen in known and seen != task.family:
        raise DatasetError(f"{source} looks like data of {seen}; {task.name} needs {task.family}")


def fitted(dataset: TransitionDataset, task: Task) -> TransitionDataset:
    """The opened cache with the task's scale: tasks of one robot share a cache.

    Raises:
        DatasetError: it was read for another robot's task.
    """
    fits(dataset, task, dataset.id)
    harmless(dataset.manifest["environment"], dataset.manifest["environment_options"], task)
    dataset.manifest["references"]["scale"] = task.scale
    return dataset


def _stamp(w: Wanted) -> dict[str, int]:
    """What tells that a source has changed: size and time of its file; nothing for what a checksum fixes, or what is gone."""
    match w.kind:
        case "file":
            path = Path(w.name)
        case "minari":
            path = minari_io.main_file(w.name)
        case "training":
            path = Path(w.name) / "checkpoints" / "checkpoint.safetensors"
        case _:
            return {}
    try:
        status = path.stat()
    except OSError:
        return {}
    return {"bytes": status.st_size, "mtime_ns": status.st_mtime_ns}
