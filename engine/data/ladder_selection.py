"""Choose a ladder from a behaviour's training run: few snapshots for many, each measured as it ships."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine import envs
from engine.config import BehaviourConfig, from_toml
from engine.data.behaviours import FORMAT, LADDER, POLICIES, environment_versions, reaches
from engine.data.dataset import DatasetError
from engine.evaluation import Episodes, run_episodes, spread
from engine.policy import Policy
from engine.record import CHECKPOINTS, CONFIG, write_json
from engine.tasks import TASKS, Behaviour, Task, behaviour

EPISODES = 20
UP_TO_TARGET, AFTER_TARGET = 12, 6
# Candidates for the first snapshot that reaches the target are measured from the one whose training-time evaluation (few
# episodes) comes this near to it.
NEAR = 0.5


def geometric(steps: Sequence[int], first: int, last: int, count: int) -> list[int]:
    """About `count` of `steps`, spaced geometrically from `first` to `last`, both included; all of them where there are fewer.

    Near `first` the wanted spacing is finer than the steps there are, and several wanted steps fall on one; so more are asked for
    until `count` different ones are found.
    """
    inside = [s for s in steps if first <= s <= last]
    if len(inside) <= count:
        return inside
    asked = count
    while True:
        wanted = np.geomspace(first, last, asked)
        chosen = sorted({min(inside, key=lambda s: abs(s - w)) for w in wanted})
        if len(chosen) >= count:
            return chosen
        asked += 1


def _tasks_of(name: str) -> list[Task]:
    return [t for t in TASKS.values() if t.behaviour == name]


class _Measurements:
    """Float16 snapshots and what their stochastic episodes gave, each measured once."""

    def __init__(self, snapshots: Mapping[int, Policy], target: Path, trained: Behaviour) -> None:
        self._snapshots, self._target, self._behaviour = snapshots, target, trained
        self._done: dict[int, dict[str, Any]] = {}
        self._envs = {t.environment: envs.make(t.environment) for t in _tasks_of(trained.name)}
        if not self._envs:
            self._envs[trained.environment] = envs.make(trained.environment, **trained.environment_options)

    def of(self, step: int) -> dict[str, Any]:
        """The entry of ladder.json for the snapshot at `step`; its float16 file lies in the target folder afterwards."""
        if step not in self._done:
            self._done[step] = self._measure(step)
        return self._done[step]

    def _measure(self, step: int) -> dict[str, Any]:
        name = f"{step:07d}.safetensors"
        trained = self._snapshots[step]
        path = self._target / name
        trained.save(path, dtype=np.float16)
        policy = Policy.load(path)
        by_environment = {
            env_id: run_episodes(env, policy, EPISODES, ("ladder", self._behaviour.name, step))
            for env_id, env in self._envs.items()
        }
        own = next(iter(by_environment.values()))
        on_behaviour = _summary(own, own.behaviour_returns)
        metadata = {**trained.metadata, "return": on_behaviour["return"], "return_std": on_behaviour["return_std"]}
        dataclasses.replace(policy, metadata=metadata).save(path, dtype=np.float16)
        tasks = {}
        for task in _tasks_of(self._behaviour.name):
            measured = by_environment[task.environment]
            if task.environment != self._behaviour.environment:
                tasks[task.name] = _summary(measured, measured.returns)
                if task.survive_reward:
                    tasks[task.name]["progress"] = float(measured.progress.mean())
        print(f"{name}: return {on_behaviour['return']:.1f} ± {on_behaviour['return_std']:.1f}", end="")
        for task_name, values in tasks.items():
            print(f"; {task_name} {values['return']:.1f}, best {values['return_best']:.1f}", end="")
        print(flush=True)
        return {"file": name, "step": step, **on_behaviour, "tasks": tasks}


def _summary(measured: Episodes, returns: np.ndarray) -> dict[str, float]:
    return {**spread(returns), "length": float(measured.lengths.mean()), "episodes": len(returns)}


def _first_to_reach(snapshots: Mapping[int, Policy], tasks: Sequence[Task], measurements: _Measurements) -> int:
    """The first step whose snapshot ends every task's replay; the last step where none does."""
    goal = min((t.replay_until[1] for t in tasks), default=float("inf"))
    left = list(tasks)
    for step, policy in snapshots.items():
        if policy.metadata["return"] < NEAR * goal:
            continue
        entry = measurements.of(step)
        left = [t for t in left if not reaches(t, entry["tasks"].get(t.name, entry))]
        if not left:
            return step
    return max(snapshots)


def _snapshots(source: Path) -> dict[int, Policy]:
    """The policies NNNNNNN.safetensors of a folder, by step in order."""
    try:
        found = {int(path.stem): Policy.load(path) for path in sorted(source.glob("[0-9]*.safetensors"))}
        for policy in found.values():
            float(policy.metadata["return"]), float(policy.metadata["return_std"]), policy.metadata["versions"]
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{source}: a snapshot is damaged or lacks what training writes into it ({error})") from None
    if not found:
        raise DatasetError(f"{source}: no snapshots NNNNNNN.safetensors")
    return found


def select_ladder(source: Path, behaviour_name: str, target: Path, random_steps: int) -> list[dict[str, Any]]:
    """Write the ladder of `behaviour_name` to `target` from the snapshots of a training run in the folder `source`.

    The first snapshot that reaches the target of every task fed by this behaviour is found by measuring candidates in order. Up to
    it 12 snapshots are taken, geometrically spaced in steps, and up to 6 after it. Each is converted to float16, read back, and
    measured over 20 stochastic episodes in the tasks' environments. `target` is replaced whole.

    Returns:
        ladder.json's snapshots.

    Raises:
        DatasetError: `source` holds no snapshots, or others.
    """
    trained = behaviour(behaviour_name)
    snapshots = _snapshots(source)
    steps = list(snapshots)
    building = target.with_name(f".{target.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    measurements = _Measurements(snapshots, building, trained)
    medium = _first_to_reach(snapshots, _tasks_of(behaviour_name), measurements)
    chosen = geometric(steps, steps[0], medium, UP_TO_TARGET)
    if medium != steps[-1]:
        chosen += geometric(steps, medium, steps[-1], AFTER_TARGET + 1)[1:]
    entries = [measurements.of(step) for step in chosen]
    kept = {entry["file"] for entry in entries}
    for path in building.glob("*.safetensors"):
        if path.name not in kept:
            path.unlink()
    last = Policy.load(building / entries[-1]["file"])
    write_json(
        building / LADDER,
        {
            "format": FORMAT,
            "behaviour": behaviour_name,
            "environment": trained.environment,
            "environment_options": dict(trained.environment_options),
            "trained": {
                "by": "online SAC of this project (engine.algorithms.online_sac), one update per environment step",
                "steps": steps[-1],
                "seed": last.metadata["seed"],
                "random_steps": random_steps,
                "hidden": [len(bias) for bias in last.biases[:-1]],
                "versions": last.metadata["versions"],
            },
            "measured": {
                "episodes": EPISODES,
                "actions": "sampled",
                "weights": "float16",
                "versions": environment_versions(),
            },
            "snapshots": entries,
            "curve": [
                {"step": step, "return": policy.metadata["return"], "return_std": policy.metadata["return_std"]}
                for step, policy in snapshots.items()
            ],
        },
    )
    old = target.with_name(f".{target.name}.old")
    if target.exists():
        target.rename(old)
    building.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return entries


def _run_config(source: Path) -> BehaviourConfig:
    """The configuration of the run folder `source`; the default one where it is a bare folder of snapshots."""
    path = source / CONFIG
    return (
        from_toml(BehaviourConfig, path.read_text(encoding="utf-8"), str(path)) if path.exists() else BehaviourConfig()
    )


def main() -> None:
    """The command `python -m engine.data.behaviours <folder of snapshots> <behaviour>`."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.behaviours", description=__doc__)
    parser.add_argument("source", type=Path, help="folder of NNNNNNN.safetensors, or a run that trained a behaviour")
    parser.add_argument("behaviour", help="name of the behaviour table")
    parser.add_argument("--target", type=Path, help="where to write the ladder (default: the shipped one)")
    parser.add_argument(
        "--random-steps",
        type=int,
        help="uniform actions at the run's start (default: what the run's configuration says)",
    )
    arguments = parser.parse_args()
    try:
        source, target = arguments.source, arguments.target or POLICIES / arguments.behaviour
        random_steps = arguments.random_steps
        if random_steps is None:
            random_steps = _run_config(source).random_steps
        if (source / CHECKPOINTS / "snapshots").is_dir():
            source = source / CHECKPOINTS / "snapshots"
        entries = select_ladder(source, arguments.behaviour, target, random_steps)
    except ValueError as error:
        sys.exit(f"error: {error}")
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{len(entries)} snapshots, {size / 1e6:.1f} MB, in {target}")
