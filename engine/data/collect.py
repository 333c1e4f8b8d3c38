"""Collected datasets: a ladder's stochastic policies rolled out in a task's environment, with the references measured beside them.

A collected replay is not a replay buffer, and says so: a replay buffer holds what an ever-changing policy did once, this holds what
the snapshots of such a run do, each for the share of training it stands for. `engine.data.training_replay` reads a real one.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import envs
from engine.control import Stopped
from engine.data import minari_io
from engine.data.behaviours import (
    Snapshot,
    allot,
    digest,
    environment_versions,
    expert,
    ladder,
    medium,
    reference,
    replayed,
    training_shares,
)
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, row_width, write
from engine.data.episodes import Share, Source, fill
from engine.data.locking import locked
from engine.data.report import report
from engine.evaluation import idle_actor, run_episodes, uniform_actor
from engine.tasks import Task, dataset_id

REFERENCE_EPISODES = {"random": 100, "do_nothing": 20}  # doing nothing varies by its start state alone
# A worker starts in about the time in which it collects so many transitions.
ROWS_PER_WORKER = 10_000
PROGRESS_SECONDS = 0.1

Stop = Callable[[], object]


def dataset_folder(data_root: Path, identifier: str) -> Path:
    """Where the flat cache of a dataset id lies under the data root."""
    return data_root / "datasets" / identifier


def open_dataset(task: Task, size: int, seed: int, data_root: Path) -> TransitionDataset | None:
    """The collected dataset if its flat cache is there, else None.

    Raises:
        DatasetError: it is there and damaged, or was collected by other policies than this version ships.
    """
    folder = dataset_folder(data_root, dataset_id(task, size, seed))
    if not folder.exists():
        return None
    dataset = TransitionDataset.open(folder)
    _check_ladder(dataset, task, folder, None)
    return dataset


def _check_ladder(dataset: TransitionDataset, task: Task, where: Path, ladder_folder: Path | None) -> None:
    """One id stands for one content: a dataset collected by other policies than today's is not taken for it."""
    if dataset.manifest.get("ladder") != _digest(policies_of(task, ladder_folder)[0]):
        raise DatasetError(
            f"{dataset.id} at {where} was collected by other behaviour policies than this version ships: "
            "move or delete it, and it is collected anew"
        )


def policies_of(task: Task, ladder_folder: Path | None = None) -> tuple[list[Snapshot], bool]:
    """The snapshots whose episodes make the task's own dataset, and whether the ladder reaches the return that it is to have.

    Of `task.collection`: "random" takes none; "medium" one, "expert" the best; "medium-expert" these two, or one where they are the
    same; "replay" all up to the first that is about as good as medium.

    Raises:
        DatasetError: no ladder ships for the task's behaviour, or it is damaged.
    """
    if task.collection == "random":
        return [], True
    if not task.behaviour:
        raise DatasetError(f"{task.name} names no behaviour whose policies could collect its data")
    snapshots = ladder(task.behaviour, ladder_folder)
    if task.collection == "expert":
        return [expert(snapshots, task)], True
    upto, reached = replayed(snapshots, task)
    middle, best = medium(snapshots, task), expert(snapshots, task)
    match task.collection:
        case "medium":
            return [middle], reached
        case "medium-expert":
            return [middle, *([best] if best.step != middle.step else [])], reached
        case _:
            return upto, reached


def _digest(snapshots: list[Snapshot]) -> str:
    return digest(snapshots) if snapshots else ""


def build_dataset(
    task: Task,
    size: int,
    seed: int,
    data_root: Path,
    progress: Callable[[int, int], object] | None = None,
    stop: Stop = lambda: False,
    *,
    workers: int = 1,
    ladder_folder: Path | None = None,
    waiting: Callable[[], object] = lambda: None,
) -> TransitionDataset:
    """The collected dataset of a task: opened if it is there, else rebuilt from its Minari dataset, else collected.

    The policies act stochastically. In a replay each of them fills a share of `size` in proportion to the training steps it stands
    for, in order of training: first the random policy for the training run's random steps, then each snapshot for the steps nearer
    to it than to its neighbours. Where there are a medium and an expert policy, each fills one half. Episodes are whole up to the
    time limit; the last of each share is cut, and a cut is a truncation, never a terminal. All randomness is keyed by (seed, task,
    step of the snapshot, episode), so the same arguments and versions give the same fingerprint, whatever the number of workers.

    Both products are written, each whole or not at all: the Minari dataset first, then the flat cache. Builders of one dataset
    queue at a lock beside it, and those who waited open what the first one built.

    Args:
        size: transitions.
        data_root: the folder that holds datasets/.
        progress: gets (transitions so far, size), ten times a second at most.
        stop: asked more often; returns true, or raises, to stop.
        workers: processes that run episodes; fewer for a small dataset.
        ladder_folder: a ladder in place of the one that ships.
        waiting: called once where another process builds it.

    Raises:
        DatasetError: no ladder, a damaged dataset in the way, the disk full or not writable.
        Stopped: `stop` asked for it; nothing is left behind.
    """
    identifier = dataset_id(task, size, seed)
    folder = dataset_folder(data_root, identifier)

    def poll() -> None:
        if stop():
            raise Stopped(143, "stopped on request")

    with locked(folder, poll, waiting):
        if folder.exists():
            dataset = TransitionDataset.open(folder)
            _check_ladder(dataset, task, folder, ladder_folder)
            minari_io.write(dataset, poll)
            return dataset
        stored = minari_io.read(identifier)
        if stored is not None:
            _check_ladder(stored, task, minari_io.location(identifier), ladder_folder)
            return write(stored, folder)
        snapshots, reached = policies_of(task, ladder_folder)
        _check_space(folder, size, task, _shares(task, snapshots, size))
        dataset = _collect(task, size, seed, identifier, snapshots, reached, progress, poll, workers)
        minari_io.write(dataset, poll)
        return write(dataset, folder)


def _check_space(folder: Path, size: int, task: Task, shares: list[tuple[Snapshot | None, Share]]) -> None:
    """Minutes of collecting are not to end at a disk that was full or read-only before."""
    dims = task.observation_dim, task.action_dim
    needs = {
        folder.parent: ("the flat cache", 4 * size * row_width(*dims)),
        _existing(minari_io.location(folder.name)): (
            "Minari",
            minari_io.expected_bytes(size, *dims, _expected_episodes(task, shares)),
        ),
    }
    wanted: dict[int, int] = {}  # by the disk: both may lie on one
    for place, (name, need) in needs.items():
        if not os.access(place, os.W_OK):
            raise DatasetError(f"cannot write the dataset for {name}: {place} is not writable")
        disk = place.stat().st_dev
        wanted[disk] = wanted.get(disk, 0) + need
        free = shutil.disk_usage(place).free
        if free < wanted[disk]:
            raise DatasetError(
                f"the disk of {name} ({place}) has {free / 1e6:.0f} MB free; {wanted[disk] / 1e6:.0f} MB are needed"
            )


def _expected_episodes(task: Task, shares: list[tuple[Snapshot | None, Share]]) -> float:
    """About how many episodes the policies will need; how long the random policy's are is tried."""

    def length(snapshot: Snapshot | None) -> float:
        if snapshot is not None:
            return snapshot.measured["length"]
        env = envs.make(task.environment, **task.environment_options)
        tries = 1 if task.termination == "never" else 10
        tried = run_episodes(env, uniform_actor(task.action_dim), tries, (task.name, "length"), lambda _: None)
        env.close()
        return float(tried.lengths.mean())

    return sum(share.rows / length(snapshot) for snapshot, share in shares)


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def _shares(task: Task, snapshots: list[Snapshot], size: int) -> list[tuple[Snapshot | None, Share]]:
    """Who fills how many rows, in their order; the random policy has no snapshot. Policies without a row are left out."""
    who: list[Snapshot | None] = [*snapshots]
    parts = [1.0] * len(snapshots)
    if task.collection in ("random", "replay"):
        who.insert(0, None)
        parts = training_shares(snapshots) if snapshots else [1.0]
    rows = allot(size, parts)
    return [
        (snapshot, Share(0, None, n) if snapshot is None else Share(snapshot.step, snapshot.path, n))
        for snapshot, n in zip(who, rows, strict=True)
        if n
    ]


def _collect(
    task: Task,
    size: int,
    seed: int,
    identifier: str,
    snapshots: list[Snapshot],
    reached: bool,
    progress: Callable[[int, int], object] | None,
    poll: Callable[[], None],
    workers: int,
) -> TransitionDataset:
    env = envs.make(task.environment, **task.environment_options)
    limit = env.spec.max_episode_steps if env.spec else None
    env.close()
    options = dict(task.environment_options)
    shares = _shares(task, snapshots, size)
    rows = np.empty((size, row_width(task.observation_dim, task.action_dim)), dtype=np.float32)
    told = 0.0

    def tell(filled: int) -> None:
        nonlocal told
        if progress is not None and (filled == size or time.monotonic() - told >= PROGRESS_SECONDS):
            told = time.monotonic()
            progress(filled, size)

    source = Source(task.environment, options, limit, (seed, task.name))
    workers = max(1, min(workers, size // ROWS_PER_WORKER))
    ends = fill(rows, task.action_dim, source, [share for _, share in shares], poll, tell, workers)
    tell(size)
    manifest: dict[str, Any] = {
        "id": identifier,
        "task": task.name,
        "environment": task.environment,
        "environment_options": options,
        "max_episode_steps": limit,
        "terminal_next_observations": True,
        "origin": "collected",
        "behaviour": task.behaviour if snapshots else "",
        "algorithm": "online SAC, snapshots of one run" if snapshots else "uniform actions",
        "seed": seed,
        "description": _description(task, snapshots, reached),
        "notes": [],
        "ladder": _digest(snapshots),
        "reached_target": reached,
        "policies": [
            {
                "step": share.step,
                "rows": share.rows,
                "episodes": len(until),
                "return": None if snapshot is None else snapshot.on_task(task)["return"],
            }
            for (snapshot, share), until in zip(shares, ends, strict=True)
        ],
        "versions": environment_versions(),
    }
    all_ends = np.array([end for until in ends for end in until], dtype=np.int64)
    dataset = in_memory(rows, all_ends, task.observation_dim, task.action_dim, manifest)
    dataset.manifest["references"] = references(task, task.environment, options, dataset, poll)
    dataset.manifest["report"] = report(dataset)
    return dataset


def _description(task: Task, snapshots: list[Snapshot], reached: bool) -> str:
    """What the data is and is not, for a person who has nothing but the dataset."""
    ends = "Episodes run to their own end or the time limit; the last of each policy is cut and marked as truncated."
    if not snapshots:
        return f"{task.title}. Uniformly random actions in {task.environment}. {ends}"
    statistic, value = task.target
    target = f"the {statistic} return from the literature that it stands for is {value:g}"
    if not reached:
        target += ", which no snapshot reaches"
    origin = "Regenerated from snapshots of this project's own online SAC"
    acting = f"stochastically in {task.environment}"
    match task.collection:
        case "replay":
            return (
                f"{task.title}. {origin}, not the original replay buffer: {len(snapshots)} snapshots up to "
                f"{_told(snapshots[-1], task)} ({target}), and the random policy act {acting}, each for the share of training it "
                f"stands for. {ends}"
            )
        case "medium":
            who = f"the medium policy, {_told(snapshots[0], task)} ({target}), acts {acting}"
        case "expert":
            who = f"the best policy of the run, {_told(snapshots[0], task)} ({_full_marks(task)}), acts {acting}"
        case _ if len(snapshots) == 1:
            who = f"one policy, the medium and the best, {_told(snapshots[0], task)} ({target}), acts {acting}"
        case _:
            who = (
                f"the medium policy, {_told(snapshots[0], task)} ({target}), and then for as many transitions the best one, "
                f"{_told(snapshots[1], task)} ({_full_marks(task)}), act {acting}"
            )
    return f"{task.title}. {origin}, not the original data: {who}. {ends}"


def _told(snapshot: Snapshot, task: Task) -> str:
    measured = snapshot.on_task(task)
    return (
        f"the one at step {snapshot.step:,} with mean return {measured['return']:.0f} and best return "
        f"{measured['return_best']:.0f} on this task's reward"
    )


def _full_marks(task: Task) -> str:
    scale = task.scale
    return (
        "the task has no scale" if scale is None else f"100 on the task's scale is {scale['max']:g}, {scale['origin']}"
    )


def references(
    task: Task,
    env_id: str,
    env_options: Mapping[str, Any],
    dataset: TransitionDataset,
    poll: Callable[[], object],
) -> dict[str, Any]:
    """Raw returns against which a run is read; fewer episodes for a small dataset, and the count beside each.

    "random" and "do_nothing" are measured here, in the environment `env_id` made with `env_options`. "batch_mean" and "batch_best"
    are of the dataset's complete episodes, and absent where it has none. "reference" is what was measured of the task's online
    reference policy, absent where none ships or where this is not the task's own environment. "scale" is the score's, or None.

    The episodes are keyed by the task alone: a smaller dataset has the first of a larger one's.

    Args:
        poll: called often; may raise to stop.
    """
    fewer = max(5, len(dataset) // 1000)
    out: dict[str, Any] = {}
    env = envs.make(env_id, **env_options)
    for name, actor in (("random", uniform_actor(task.action_dim)), ("do_nothing", idle_actor(task.action_dim))):
        episodes = min(REFERENCE_EPISODES[name], fewer)
        measured = run_episodes(env, actor, episodes, (task.name, "reference", name), lambda _: poll())
        out[name] = _reference(measured.returns) | {"length": float(measured.lengths.mean())}
        if task.survive_reward:
            out[name]["progress"] = float(measured.progress.mean())
    env.close()
    returns = dataset.episode_returns[dataset.complete_episodes]
    if len(returns):
        out["batch_mean"] = _reference(returns)
        out["batch_best"] = {"return": float(returns.max())}
    if task.reference and (env_id, dict(env_options)) == (task.environment, dict(task.environment_options)):
        shipped = reference(task.reference)
        if shipped is not None:
            out["reference"] = {k: shipped[k] for k in ("return", "stderr", "episodes")}
    out["scale"] = task.scale
    return out


def _reference(returns: NDArray[np.float64]) -> dict[str, Any]:
    std = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return {"return": float(returns.mean()), "stderr": std / len(returns) ** 0.5, "episodes": len(returns)}
