"""Collected datasets: a ladder's stochastic policies rolled out in a task's environment, with the references measured beside them.

This is not a replay buffer, and says so: a replay buffer holds what an ever-changing policy did once, this holds what the
snapshots of such a run do, each for the share of training it stands for.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from engine import envs
from engine.control import Stopped
from engine.data import minari_io
from engine.data.behaviours import Snapshot, allot, digest, environment_versions, ladder, training_shares, up_to_target
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, row_width, write
from engine.data.replay import pack
from engine.evaluation import POLL_STEPS, Actor, idle_actor, run_episodes, uniform_actor
from engine.randomness import key, numpy_generator
from engine.tasks import Task, dataset_id

REFERENCE_EPISODES = {"random": 100, "do_nothing": 20}  # doing nothing varies by its start state alone
LOCK_POLL_SECONDS = 0.2

Stop = Callable[[], object]


def dataset_folder(data_root: Path, identifier: str) -> Path:
    """Where the flat cache of a dataset id lies under the data root."""
    return data_root / "datasets" / identifier


def open_dataset(task: Task, size: int, seed: int, data_root: Path) -> TransitionDataset | None:
    """The collected dataset if its flat cache is there, else None.

    Raises:
        DatasetError: it is there and damaged.
    """
    folder = dataset_folder(data_root, dataset_id(task.name, size, seed))
    if not folder.exists():
        return None
    dataset = TransitionDataset.open(folder)
    _check_ladder(dataset, task, folder, None)
    return dataset


def _check_ladder(dataset: TransitionDataset, task: Task, where: Path, ladder_folder: Path | None) -> None:
    """One id stands for one content: a dataset collected by other policies than today's is not taken for it."""
    snapshots, _ = up_to_target(ladder(task.behaviour, ladder_folder), task)
    if dataset.manifest["ladder"] != digest(snapshots):
        raise DatasetError(
            f"{dataset.id} at {where} was collected by other behaviour policies than this version ships: "
            "move or delete it, and it is collected anew"
        )


def build_dataset(
    task: Task,
    size: int,
    seed: int,
    data_root: Path,
    progress: Callable[[int, int], object] | None = None,
    stop: Stop = lambda: False,
    *,
    ladder_folder: Path | None = None,
) -> TransitionDataset:
    """The collected dataset of a task: opened if it is there, else rebuilt from its Minari dataset, else collected.

    Each policy of the task's ladder, up to the first that reaches `task.replay_until`, fills a share of `size` in proportion to the
    training steps it stands for, in order of training: first the random policy for the training run's random steps, then each
    snapshot for the steps nearer to it than to its neighbours. Episodes are whole up to the time limit; the last of each
    share is cut, and a cut is a truncation, never a terminal. All randomness is keyed by (seed, task, step of the snapshot,
    episode), so the same arguments and versions give the same fingerprint.

    Both products are written, each whole or not at all: the Minari dataset first, then the flat cache. Builders of one dataset
    queue at a lock beside it, and those who waited open what the first one built.

    Args:
        size: transitions.
        data_root: the folder that holds datasets/.
        progress: gets (transitions so far, size) about every hundred steps.
        stop: asked as often; returns true, or raises, to stop.
        ladder_folder: a ladder in place of the one that ships.

    Raises:
        DatasetError: no ladder, a damaged dataset in the way, the disk full or not writable.
        Stopped: `stop` asked for it; nothing is left behind.
    """
    identifier = dataset_id(task.name, size, seed)
    folder = dataset_folder(data_root, identifier)

    def poll() -> None:
        if stop():
            raise Stopped(143, "stopped on request")

    with _locked(folder, poll):
        if folder.exists():
            dataset = TransitionDataset.open(folder)
            _check_ladder(dataset, task, folder, ladder_folder)
            minari_io.write(dataset, poll)
            return dataset
        stored = minari_io.read(identifier)
        if stored is not None:
            _check_ladder(stored, task, minari_io.location(identifier), ladder_folder)
            return write(stored, folder)
        _check_space(folder, size, task)
        dataset = _collect(task, size, seed, identifier, progress or (lambda _done, _size: None), poll, ladder_folder)
        minari_io.write(dataset, poll)
        return write(dataset, folder)


@contextmanager
def _locked(folder: Path, poll: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of the dataset `folder`, a file beside it; the system frees it when its holder dies."""
    path = folder.with_name(f".{folder.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise DatasetError(f"cannot write below {folder.parent}: {error.strerror}") from None
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EINTR):
                    raise DatasetError(f"cannot lock {path}: {error.strerror}") from None
            poll()
            time.sleep(LOCK_POLL_SECONDS)
        yield
    finally:
        os.close(descriptor)


def _check_space(folder: Path, size: int, task: Task) -> None:
    """Minutes of collecting are not to end at a disk that was full or read-only before."""
    need = 4 * size * row_width(task.observation_dim, task.action_dim)
    places = {"the flat cache": folder.parent, "Minari": _existing(minari_io.location(folder.name))}
    free = {name: shutil.disk_usage(place).free for name, place in places.items()}
    for name, there in free.items():
        if not os.access(places[name], os.W_OK):
            raise DatasetError(f"cannot write the dataset for {name}: {places[name]} is not writable")
        if there < need:
            raise DatasetError(
                f"the disk of {name} ({places[name]}) has {there / 1e6:.0f} MB free; {need / 1e6:.0f} MB are needed"
            )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


@dataclass(frozen=True)
class _Share:
    """The rows one policy fills."""

    step: int
    actor: Actor
    rows: int


def _shares(snapshots: list[Snapshot], size: int, action_dim: int) -> list[_Share]:
    rows = allot(size, training_shares(snapshots))
    actors: list[tuple[int, Actor]] = [(0, uniform_actor(action_dim)), *((s.step, s.policy()) for s in snapshots)]
    return [_Share(step, actor, n) for (step, actor), n in zip(actors, rows, strict=True) if n]


def _collect(
    task: Task,
    size: int,
    seed: int,
    identifier: str,
    progress: Callable[[int, int], object],
    poll: Callable[[], None],
    ladder_folder: Path | None,
) -> TransitionDataset:
    snapshots, reached = up_to_target(ladder(task.behaviour, ladder_folder), task)
    shares = _shares(snapshots, size, task.action_dim)
    env = envs.make(task.environment)
    assert env.spec is not None
    rows = np.empty((size, row_width(task.observation_dim, task.action_dim)), dtype=np.float32)
    ends: list[int] = []
    policies = []

    def tick(done: int) -> None:
        poll()
        progress(done, size)

    for share in shares:
        before, first_row = len(ends), ends[-1] if ends else 0
        _fill(env, rows, first_row, first_row + share.rows, ends, share.actor, (seed, task.name, share.step), tick)
        policies.append({"step": share.step, "rows": share.rows, "episodes": len(ends) - before})
    progress(size, size)
    manifest: dict[str, Any] = {
        "id": identifier,
        "task": task.name,
        "environment": task.environment,
        "max_episode_steps": env.spec.max_episode_steps,
        "origin": "collected",
        "behaviour": task.behaviour,
        "algorithm": "online SAC, snapshots of one run",
        "seed": seed,
        "description": _description(task, snapshots, reached),
        "ladder": digest(snapshots),
        "reached_target": reached,
        "policies": policies,
        "versions": environment_versions(),
    }
    dataset = in_memory(rows, np.array(ends, dtype=np.int64), task.observation_dim, task.action_dim, manifest)
    dataset.manifest["references"] = _references(task, env, dataset, poll)
    dataset.manifest["report"] = report(dataset)
    env.close()
    return dataset


def _fill(
    env: gymnasium.Env[Any, Any],
    rows: NDArray[np.float32],
    start: int,
    end: int,
    ends: list[int],
    actor: Actor,
    stream: tuple[object, ...],
    tick: Callable[[int], None],
) -> None:
    """Fill rows[start:end] with episodes of one actor and append each episode's end to `ends`."""
    at, episode = start, 0
    while at < end:
        rng = numpy_generator(*stream, episode, "actions")
        observation, _ = env.reset(seed=key(*stream, episode) % 2**31)
        done = False
        while not done and at < end:
            action = actor(observation, rng)
            next_observation, reward, terminated, truncated, _ = env.step(action)
            rows[at] = pack(observation, action, float(reward), next_observation, terminated)
            observation, done = next_observation, terminated or truncated
            at += 1
            if at % POLL_STEPS == 0:
                tick(at)
        ends.append(at)
        episode += 1


def _description(task: Task, snapshots: list[Snapshot], reached: bool) -> str:
    statistic, value = task.replay_until
    until = (
        f"the first whose {statistic} return on this task's reward is at least {value:g}"
        if reached
        else f"the last there is (none has a {statistic} return of {value:g} on this task's reward)"
    )
    return (
        f"{task.title}. Regenerated from snapshots of this project's own online SAC, not the original replay buffer: "
        f"{len(snapshots)} snapshots up to step {snapshots[-1].step:,}, {until}, and the random policy act stochastically in "
        f"{task.environment}, each for the share of training it stands for. Episodes run to their own end or the time limit; "
        "the last of each policy is cut and marked as truncated."
    )


def _references(
    task: Task, env: gymnasium.Env[Any, Any], dataset: TransitionDataset, poll: Callable[[], None]
) -> dict[str, Any]:
    """Raw returns against which a run is read; fewer episodes for a small dataset, and the count beside each.

    The episodes are keyed by the task alone: a smaller dataset has the first of a larger one's. Batch figures are of complete
    episodes and absent where the batch has none.
    """
    fewer = max(5, len(dataset) // 1000)
    out: dict[str, Any] = {}
    for name, actor in (("random", uniform_actor(task.action_dim)), ("do_nothing", idle_actor(task.action_dim))):
        episodes = min(REFERENCE_EPISODES[name], fewer)
        measured = run_episodes(env, actor, episodes, (task.name, "reference", name), lambda _: poll())
        out[name] = _reference(measured.returns) | {"length": float(measured.lengths.mean())}
        if task.survive_reward:
            out[name]["progress"] = float(measured.progress.mean())
    returns = dataset.episode_returns[dataset.complete_episodes]
    if len(returns):
        out["batch_mean"] = _reference(returns)
        out["batch_best"] = {"return": float(returns.max())}
    scale = task.score_scale
    out["scale"] = None if scale is None else {"min": scale[0], "max": scale[1], "origin": task.scale_origin}
    return out


def _reference(returns: NDArray[np.float64]) -> dict[str, Any]:
    std = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return {"return": float(returns.mean()), "stderr": std / len(returns) ** 0.5, "episodes": len(returns)}


def report(dataset: TransitionDataset) -> dict[str, Any]:
    """Numbers that describe a dataset. Returns are of complete episodes, and None where there are none."""
    complete = dataset.complete_episodes
    returns = dataset.episode_returns[complete]
    terminal = int(dataset.terminals.sum())

    def span(columns: NDArray[np.float32]) -> dict[str, list[float]]:
        return {
            "min": columns.min(axis=0).astype(float).tolist(),
            "max": columns.max(axis=0).astype(float).tolist(),
            "mean": columns.mean(axis=0, dtype=np.float64).tolist(),
            "std": columns.std(axis=0, dtype=np.float64).tolist(),
        }

    return {
        "size": len(dataset),
        "episodes": len(complete),
        "complete_episodes": len(returns),
        "mean_return": float(returns.mean()) if len(returns) else None,
        "std_return": float(returns.std()) if len(returns) else None,
        "min_return": float(returns.min()) if len(returns) else None,
        "best_return": float(returns.max()) if len(returns) else None,
        "mean_length": float(dataset.episode_lengths.mean()),
        "terminal_fraction": terminal / len(dataset),
        "terminal_episodes": terminal,
        "reward": {k: v[0] for k, v in span(dataset.rewards[:, None]).items()},
        "observations": span(dataset.observations),
        "actions": span(dataset.actions),
    }
