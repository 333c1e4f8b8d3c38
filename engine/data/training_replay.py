"""The replay buffer of a behaviour's own training run as a dataset: what a policy that was ever changing did, once.

A run keeps in its folder `checkpoints/`:

    checkpoint.safetensors      the last complete state; its "step" says how many rows are done
    replay.f32                  every transition so far in order, packed rows [s | a | r | s' | d] with the behaviour's reward
    task_rewards.f32            the reward of the task that the transitions are data for, one float32 each, where it is another
    snapshots/NNNNNNN.safetensors   a policy after each chunk, with its evaluation
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from engine import envs
from engine.config import BehaviourConfig, ConfigError, from_toml
from engine.data.behaviours import replay_end
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, row_width
from engine.policy import Policy
from engine.record import CHECKPOINTS, CONFIG, RUN, read_json
from engine.tasks import BEHAVIOURS, TASKS, Behaviour, Task

CHECKPOINT, REPLAY, TASK_REWARDS, SNAPSHOTS = "checkpoint.safetensors", "replay.f32", "task_rewards.f32", "snapshots"
BLOCK_ROWS = 1 << 16


def fed_with_another_reward(behaviour: Behaviour) -> Task | None:
    """The task that the behaviour's transitions are data for with another reward, which the task's environment tells beside it."""
    own = (behaviour.environment, dict(behaviour.environment_options))
    fed = (t for t in TASKS.values() if t.behaviour == behaviour.name)
    return next((t for t in fed if (t.environment, dict(t.environment_options)) != own), None)


def from_training(task: Task, run_folder: Path, size: int | None, poll: Callable[[], object]) -> TransitionDataset:
    """The replay buffer of a run that trained `task.behaviour`, on the task's reward; the run may still be going on.

    Episodes end at terminals, at the time limit and where the run's chunks end, which it begins with a fresh episode.

    Args:
        size: the first so many transitions; None: up to where the task's replay ends, all where the run has not come so far. With a
            ("mean", x) target that is the step of the medium policy as the run evaluated its snapshots, with ("best", x) the end of
            the first episode whose return on the task's reward is at least x.
        poll: called often; may raise to stop.

    Raises:
        DatasetError: the folder is no such run, it is damaged, it has too few transitions, or does not tell the task's reward.
    """
    config, run_id = _run(task, run_folder)
    folder = run_folder / CHECKPOINTS
    done = _steps_done(folder)
    if size is not None and size > done:
        raise DatasetError(f"--size {size:,}: run {run_id} has {done:,} transitions so far")
    evaluated = [m for m in _evaluations(folder) if m["step"] <= done]
    env = envs.make(task.environment, **task.environment_options)
    limit = env.spec.max_episode_steps if env.spec else None
    rows = _rows(folder, size or done, row_width(task.observation_dim, task.action_dim), poll)
    note = _relabel(task, env, folder, rows)
    env.close()
    ends = _episode_ends(rows, task.observation_dim, config.chunk, limit, folder / REPLAY)
    if size is None:
        keep, end = _until(task, evaluated, rows, ends)
        rows, ends = rows[:keep], ends[ends <= keep]
    else:
        end = f"the first {size:,} that it made"
    manifest: dict[str, Any] = {
        "environment": task.environment,
        "environment_options": dict(task.environment_options),
        "max_episode_steps": limit,
        "terminal_next_observations": True,
        "origin": "training",
        "behaviour": task.behaviour,
        "algorithm": "online SAC, its replay buffer",
        "run": run_id,
        "training_seed": config.seed,
        "description": (
            f"{task.title}. The replay buffer of an online SAC run of this project ({run_id}, {task.behaviour}, seed "
            f"{config.seed}) in the order in which it was filled: {end}. The first {config.random_steps:,} actions were uniform."
        ),
        "notes": [note] if note else [],
        "versions": evaluated[-1]["versions"] if evaluated else {},
    }
    return in_memory(rows, ends, task.observation_dim, task.action_dim, manifest)


def _run(task: Task, run_folder: Path) -> tuple[BehaviourConfig, str]:
    """The run's configuration and id, once it is clear that its data is the task's."""
    run = read_json(run_folder / RUN)
    if run is None:
        raise DatasetError(f"{run_folder} is no run folder: {RUN} is missing or unreadable")
    if run.get("job") != "behaviour":
        raise DatasetError(
            f"{run_folder} is a run of another kind; `mopo data train-behaviour` makes those with a replay"
        )
    path = run_folder / CONFIG
    try:
        config = from_toml(BehaviourConfig, path.read_text(encoding="utf-8"), str(path))
    except (ConfigError, OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from None
    if task.collection != "replay":
        raise DatasetError(f"{task.name} is not made of a training's replay; {_replay_tasks(config.behaviour)}")
    if config.behaviour != task.behaviour:
        raise DatasetError(
            f"{run_folder} trained {config.behaviour!r}, and the data of {task.name} is that of {task.behaviour!r}; "
            f"{_replay_tasks(config.behaviour)}"
        )
    return config, str(run.get("id") or run_folder.name)


def _replay_tasks(behaviour: str) -> str:
    names = [t.name for t in TASKS.values() if t.behaviour == behaviour and t.collection == "replay"]
    return f"a run of {behaviour!r} gives {' and '.join(names) or 'no task its data'}"


def _steps_done(folder: Path) -> int:
    """Environment steps at the last checkpoint: the rows before it are final."""
    from safetensors import SafetensorError, safe_open

    path = folder / CHECKPOINT
    if not path.exists():
        raise DatasetError(f"{path} is missing: the run has not come to its first checkpoint")
    try:
        with safe_open(path, framework="numpy") as f:
            done = int(f.get_tensor("step"))
    except (SafetensorError, OSError, ValueError) as error:
        raise DatasetError(f"{path} is damaged: {error}") from None
    if done < 1:
        raise DatasetError(f"{path} is damaged: it says step {done}")
    return done


def _mapped(path: Path, count: int, width: int) -> NDArray[np.float32]:
    """The first `count` rows of a file of float32 rows, read from disk as they are used."""
    try:
        there = path.stat().st_size
        if there % (4 * width) or there < 4 * width * count:
            raise DatasetError(f"{path} has {there:,} bytes, which are not {count:,} or more rows of {width} numbers")
        return np.memmap(path, dtype="<f4", mode="r", shape=(count, width))
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from None


def _rows(folder: Path, count: int, width: int, poll: Callable[[], object]) -> NDArray[np.float32]:
    mapped = _mapped(folder / REPLAY, count, width)
    rows = np.empty((count, width), dtype=np.float32)
    for start in range(0, count, BLOCK_ROWS):
        block = mapped[start : start + BLOCK_ROWS]
        sound = np.isfinite(block).all(axis=1) & block.any(axis=1)
        if not sound.all():
            raise DatasetError(
                f"{folder / REPLAY}: row {start + int(sound.argmin()):,} is empty or not finite: it is damaged"
            )
        rows[start : start + len(block)] = block
        poll()
    return rows


def _relabel(task: Task, env: gymnasium.Env[Any, Any], folder: Path, rows: NDArray[np.float32]) -> str | None:
    """Put the task's reward into `rows`, in place; returns how in one line, or None where it is the behaviour's own."""
    trained = BEHAVIOURS[task.behaviour]
    if (task.environment, dict(task.environment_options)) == (trained.environment, dict(trained.environment_options)):
        return None
    rewards = rows[:, task.observation_dim + task.action_dim]
    fed, kept = fed_with_another_reward(trained), folder / TASK_REWARDS
    usual = fed is not None and dict(fed.environment_options) == dict(task.environment_options)
    if usual and kept.exists():
        rewards[:] = _mapped(kept, len(rows), 1)[:, 0]
        return f"rewards: those of {task.environment}, in which the run stepped beside its own reward"
    if env.has_wrapper_attr("height_reward"):
        next_observations = rows[:, task.observation_dim + task.action_dim + 1 : -1].astype(np.float64)
        rewards += env.get_wrapper_attr("height_reward")(next_observations)
        return "rewards: the run's, and the weight times the torso's height above its start, from the next observations"
    if usual:
        raise DatasetError(
            f"{kept} is missing: the run was begun by a version that did not keep {task.name}'s reward, which its rows "
            f"do not tell; train {task.behaviour!r} anew"
        )
    raise DatasetError(
        f"the run kept the reward of {task.name} in its usual form only, and its rows do not tell another"
    )


def _episode_ends(
    rows: NDArray[np.float32], observation_dim: int, chunk: int, limit: int | None, path: Path
) -> NDArray[np.int64]:
    """The row after each episode's last, (episodes,); the last episode may be cut.

    Raises:
        DatasetError: an episode is longer than the time limit: these rows are no such replay.
    """
    following = np.ones(len(rows), dtype=np.bool_)  # whether the next row goes on where this one ends
    following[:-1] = (rows[:-1, -1 - observation_dim : -1] == rows[1:, :observation_dim]).all(axis=1)
    following[chunk - 1 :: chunk] = False
    following[-1] = False
    ends: NDArray[np.int64] = np.flatnonzero(~following | (rows[:, -1] > 0)) + 1
    longest = int(np.diff(ends, prepend=0).max())
    if limit is not None and longest > limit:
        raise DatasetError(
            f"{path} is damaged: {longest:,} rows follow each other, and an episode has at most {limit:,}"
        )
    return ends


def _until(
    task: Task, evaluated: Sequence[Mapping[str, Any]], rows: NDArray[np.float32], ends: NDArray[np.int64]
) -> tuple[int, str]:
    """How many of the run's rows the task's replay has, and why so many."""
    statistic, value = task.target
    everything = f"all {len(rows):,} up to its last checkpoint"
    if statistic == "best":
        starts = np.concatenate([[0], ends[:-1]])
        rewards = rows[:, task.observation_dim + task.action_dim].astype(np.float64)
        reached = np.flatnonzero(np.add.reduceat(rewards, starts) >= value)
        if not len(reached):
            return len(rows), f"{everything} (no episode has a return of {value:g} on this task's reward)"
        keep = int(ends[reached[0]])
        return keep, f"its first {keep:,}, up to the first episode with a return of {value:g} on this task's reward"
    index, found = replay_end(task, evaluated) if evaluated else (0, False)
    if not found:
        return len(rows), f"{everything} (no snapshot has a mean return of {value:g})"
    keep, mean = evaluated[index]["step"], evaluated[index]["return"]
    return (
        keep,
        f"its first {keep:,}, up to its medium policy with mean return {mean:.0f} (from the literature: {value:g})",
    )


def _evaluations(folder: Path) -> list[dict[str, Any]]:
    """Of each snapshot that the run kept, in order: its "step", its mean "return" and the "versions" of the libraries."""
    try:
        told = [Policy.load(path).metadata for path in (folder / SNAPSHOTS).glob("[0-9]*.safetensors")]
        return sorted(
            ({"step": int(m["step"]), "return": float(m["return"]), "versions": dict(m["versions"])} for m in told),
            key=lambda m: m["step"],
        )
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder / SNAPSHOTS}: a snapshot is damaged ({error})") from None
