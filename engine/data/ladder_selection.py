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
from engine.data.behaviours import FORMAT, LADDER, POLICIES, environment_versions, reaches, replay_end
from engine.data.dataset import DatasetError
from engine.evaluation import Episodes, deterministic, run_episodes, spread
from engine.policy import Policy
from engine.record import CHECKPOINTS, CONFIG, write_json
from engine.tasks import TASKS, Behaviour, Task, behaviour

EPISODES = 20
UP_TO_TARGET, AFTER_TARGET = 12, 3
# Candidates for the first snapshot that reaches the target are measured from the one whose training-time evaluation (few
# episodes) comes this near to it.
NEAR = 0.5
# The best snapshot is looked for among those with the best training-time evaluations.
EXPERT_CANDIDATES, MEDIUM_CANDIDATES, REFERENCE_CANDIDATES = 3, 4, 5
REFERENCE_EPISODES = 100  # deterministic


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


def is_reference(name: str) -> bool:
    """Whether the behaviour is a task's online reference policy, of which one snapshot is kept."""
    return any(t.reference == name for t in TASKS.values())


def _variant(of: Task | Behaviour) -> tuple[str, tuple[tuple[str, Any], ...]]:
    return of.environment, tuple(of.environment_options.items())


class _Measurements:
    """Float16 snapshots and what their episodes gave, each measured once."""

    def __init__(self, snapshots: Mapping[int, Policy], target: Path, trained: Behaviour) -> None:
        self._snapshots, self._target, self._behaviour = snapshots, target, trained
        self._done: dict[int, dict[str, Any]] = {}
        self._envs = {_variant(t): envs.make(t.environment, **t.environment_options) for t in _tasks_of(trained.name)}
        if not self._envs:
            self._envs[_variant(trained)] = envs.make(trained.environment, **trained.environment_options)

    def of(self, step: int) -> dict[str, Any]:
        """The entry of ladder.json for the snapshot at `step`; its float16 file lies in the target folder afterwards."""
        if step not in self._done:
            self._done[step] = self._measure(step)
        return self._done[step]

    def on_task(self, step: int, task: Task) -> dict[str, float]:
        """What the snapshot's stochastic episodes gave on the task's own reward."""
        entry = self.of(step)
        on_task: dict[str, float] = entry["tasks"].get(task.name, entry)
        return on_task

    def deterministic(self, step: int) -> dict[str, float]:
        """What the snapshot's mode gets in the environment that it was trained in."""
        env = self._envs[_variant(self._behaviour)]
        policy = Policy.load(self._target / self.of(step)["file"])
        stream = ("reference", self._behaviour.name, step)
        measured = run_episodes(env, deterministic(policy), REFERENCE_EPISODES, stream)
        summary = _summary(measured, measured.returns)
        summary["stderr"] = summary["return_std"] / summary["episodes"] ** 0.5
        print(f"{step:07d}, deterministic: return {summary['return']:.1f} ± {summary['stderr']:.1f}", flush=True)
        return summary

    def _measure(self, step: int) -> dict[str, Any]:
        name = f"{step:07d}.safetensors"
        trained = self._snapshots[step]
        path = self._target / name
        trained.save(path, dtype=np.float16)
        policy = Policy.load(path)
        by_variant = {
            variant: run_episodes(env, policy, EPISODES, ("ladder", self._behaviour.name, step))
            for variant, env in self._envs.items()
        }
        own = by_variant.get(_variant(self._behaviour))
        other = next(iter(by_variant.values()))
        on_behaviour = _summary(other, other.behaviour_returns) if own is None else _summary(own, own.returns)
        metadata = {**trained.metadata, "return": on_behaviour["return"], "return_std": on_behaviour["return_std"]}
        dataclasses.replace(policy, metadata=metadata).save(path, dtype=np.float16)
        tasks = {}
        for task in _tasks_of(self._behaviour.name):
            measured = by_variant[_variant(task)]
            if measured is not own:
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


def _best_evaluated(snapshots: Mapping[int, Policy], count: int) -> list[int]:
    """The steps of the `count` best evaluations during training."""
    return sorted(snapshots, key=lambda step: float(snapshots[step].metadata["return"]), reverse=True)[:count]


def _nearest_evaluated(snapshots: Mapping[int, Policy], value: float, count: int) -> list[int]:
    """The steps of the `count` evaluations during training that came nearest to `value`."""
    return sorted(snapshots, key=lambda step: abs(float(snapshots[step].metadata["return"]) - value))[:count]


def _targets(
    snapshots: Mapping[int, Policy], tasks: Sequence[Task], measurements: _Measurements
) -> tuple[int, set[int]]:
    """The first step by which every task's target is reached, the last where one is not; and those at which their replays end."""
    goal = min((t.target[1] for t in tasks), default=float("inf"))
    measured: list[int] = []
    left = list(tasks)
    for step, policy in snapshots.items():
        if policy.metadata["return"] < NEAR * goal:
            continue
        measured.append(step)
        left = [t for t in left if not reaches(t, measurements.on_task(step, t))]
        if not left:
            break
    else:
        return max(snapshots), set()
    return measured[-1], {measured[replay_end(t, [measurements.on_task(s, t) for s in measured])[0]] for t in tasks}


def _ladder_steps(snapshots: Mapping[int, Policy], tasks: Sequence[Task], measurements: _Measurements) -> list[int]:
    """Which snapshots a ladder keeps: some up to the tasks' target, and few after it with the best."""
    steps = list(snapshots)
    reached, wanted = _targets(snapshots, tasks, measurements)
    wanted.add(reached)
    until = min(wanted)
    chosen = {*wanted, *geometric(steps, steps[0], until, UP_TO_TARGET - len(wanted) + 1)}
    after = set(geometric(steps, reached, steps[-1], AFTER_TARGET + 1)[1:]) if reached != steps[-1] else set()
    if after:
        later = {step: policy for step, policy in snapshots.items() if step > reached}
        candidates = {*after, *_best_evaluated(later, EXPERT_CANDIDATES)}
        best = max(candidates, key=lambda step: float(measurements.of(step)["return"]))
        kept = {best}
        for task in tasks:
            if task.target[0] == "mean":  # training may come by the medium return again, and nearer
                nearest = {*chosen, *candidates, *_nearest_evaluated(later, task.target[1], MEDIUM_CANDIDATES)}
                kept.add(min(nearest, key=lambda s: abs(measurements.on_task(s, task)["return"] - task.target[1])))
        kept -= chosen
        others = sorted(after - kept, key=lambda step: min(abs(step - k) for k in kept), reverse=True)
        after = kept | set(others[: max(0, AFTER_TARGET - len(kept))])
    return sorted(chosen | after)


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


def _says_the_same(old: Path, new: Path) -> bool:
    """Whether the file `old` is there with the weights and the measured return of `new`."""
    try:
        a, b = Policy.load(old), Policy.load(new)
    except (ValueError, OSError):
        return False
    weights = zip((*a.weights, *a.biases), (*b.weights, *b.biases), strict=False)
    return (
        len(a.weights) == len(b.weights)
        and all(np.array_equal(x, y) for x, y in weights)
        and all(a.metadata.get(k) == b.metadata[k] for k in ("step", "return", "return_std"))
    )


def select_ladder(source: Path, behaviour_name: str, target: Path, random_steps: int) -> list[dict[str, Any]]:
    """Write the ladder of `behaviour_name` to `target` from the snapshots of a training run in the folder `source`.

    The first snapshot that reaches the target of every task fed by this behaviour is found by measuring candidates in order. Up to
    it 12 snapshots are taken, geometrically spaced in steps, and up to 3 after it, among them the best and any that is nearer to
    medium. Each is converted to
    float16, read back, and measured over 20 stochastic episodes in the tasks' environments.

    Of an online reference the snapshot with the best deterministic return is kept alone; its 100 deterministic episodes stand under
    "measured".

    `target` is replaced whole; a policy that it has already keeps its file, and with it the datasets made by it their digest.

    Returns:
        ladder.json's snapshots.

    Raises:
        DatasetError: `source` holds no snapshots, or others.
    """
    trained = behaviour(behaviour_name)
    snapshots = _snapshots(source)
    building = target.with_name(f".{target.name}.building")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    measurements = _Measurements(snapshots, building, trained)
    measured: dict[str, Any] = {"episodes": EPISODES, "actions": "sampled"}
    if is_reference(behaviour_name):
        modes = {step: measurements.deterministic(step) for step in _best_evaluated(snapshots, REFERENCE_CANDIDATES)}
        best = max(modes, key=lambda step: modes[step]["return"])
        chosen, measured = [best], {**modes[best], "actions": "deterministic"}
    else:
        chosen = _ladder_steps(snapshots, _tasks_of(behaviour_name), measurements)
    entries = [measurements.of(step) for step in chosen]
    kept = {entry["file"] for entry in entries}
    for path in building.glob("*.safetensors"):
        if path.name not in kept:
            path.unlink()
        elif _says_the_same(target / path.name, path):
            shutil.copyfile(target / path.name, path)
    last = snapshots[max(snapshots)]
    write_json(
        building / LADDER,
        {
            "format": FORMAT,
            "behaviour": behaviour_name,
            "environment": trained.environment,
            "environment_options": dict(trained.environment_options),
            "trained": {
                "by": "online SAC of this project (engine.algorithms.online_sac), one update per environment step",
                "steps": max(snapshots),
                "seed": last.metadata["seed"],
                "random_steps": random_steps,
                "hidden": [len(bias) for bias in last.biases[:-1]],
                "versions": last.metadata["versions"],
            },
            "measured": {**measured, "weights": "float16", "versions": environment_versions()},
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
