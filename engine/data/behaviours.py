"""Ladders: the snapshots of a behaviour's training that make data, shipped as float16 policies with their measured returns.

A ladder is a folder `policies/<behaviour>/` of NNNNNNN.safetensors (N: the environment steps of training so far) and a ladder.json,
which holds what was measured of each snapshot as shipped, how the behaviour was trained and its return over training.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.dataset import DatasetError
from engine.policy import Policy
from engine.record import read_json
from engine.tasks import Task

POLICIES = Path(__file__).parent / "policies"
LADDER = "ladder.json"
FORMAT = 1


@dataclass(frozen=True)
class Snapshot:
    """One policy of a ladder.

    Attributes:
        step: environment steps of training when it was taken.
        path: its file.
        random_steps: how many of the first training steps took uniform actions.
        measured: of the shipped float16 policy's stochastic episodes on the behaviour's own reward: "return", "return_std",
            "return_best", "length", "episodes".
        tasks: the same episodes on each task's reward, by task name, where the reward is another.
    """

    step: int
    path: Path
    random_steps: int
    measured: dict[str, float]
    tasks: dict[str, dict[str, float]]

    def on_task(self, task: Task) -> dict[str, float]:
        """What was measured on the task's own reward."""
        return self.tasks.get(task.name, self.measured)

    def policy(self) -> Policy:
        """The weights, float32 again.

        Raises:
            DatasetError: the file is missing or damaged.
        """
        return load_policy(self.path)


def load_policy(path: Path) -> Policy:
    """A behaviour's policy.

    Raises:
        DatasetError: the file is missing or damaged.
    """
    try:
        return Policy.load(path)
    except (ValueError, OSError) as error:
        raise DatasetError(f"behaviour policy: {error}") from None


def ladder(behaviour: str, folder: Path | None = None) -> list[Snapshot]:
    """The snapshots of a behaviour in the order of training.

    Args:
        behaviour: a name of engine.tasks.BEHAVIOURS.
        folder: where the ladder is, if not among those that ship.

    Raises:
        DatasetError: there is none, or its ladder.json is damaged.
    """
    folder = folder or POLICIES / behaviour
    about = read_json(folder / LADDER)
    if about is None:
        raise DatasetError(
            f"no behaviour policies for {behaviour!r}: {folder / LADDER} is missing or unreadable; "
            f"`mopo data train-behaviour {behaviour}` trains them"
        )
    try:
        random_steps = int(about["trained"]["random_steps"])
        snapshots = [
            Snapshot(
                step=int(entry["step"]),
                path=folder / entry["file"],
                random_steps=random_steps,
                measured={k: float(entry[k]) for k in ("return", "return_std", "return_best", "length", "episodes")},
                tasks={name: {k: float(v) for k, v in measured.items()} for name, measured in entry["tasks"].items()},
            )
            for entry in about["snapshots"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DatasetError(f"{folder / LADDER} is no ladder: {error!r}") from None
    if not snapshots:
        raise DatasetError(f"{folder / LADDER} lists no snapshots")
    return sorted(snapshots, key=lambda s: s.step)


def reaches(task: Task, on_task: Mapping[str, float]) -> bool:
    """Whether a policy with these returns on the task's reward has the return that `task.target` names."""
    statistic, value = task.target
    return on_task["return_best" if statistic == "best" else "return"] >= value


def replay_end(task: Task, on_task: Sequence[Mapping[str, float]]) -> tuple[int, bool]:
    """Which policy ends the task's replay, and whether one reaches the target.

    For a "best" target it is the first that reaches it, the last where none does. For a "mean" target it is the one nearest to it,
    of those up to the first that reaches it.

    Args:
        on_task: what was measured of the policies on the task's own reward, in order of training.
    """
    first = next((i for i, measured in enumerate(on_task) if reaches(task, measured)), None)
    last = len(on_task) - 1 if first is None else first
    if task.target[0] == "best":
        return last, first is not None
    nearest = min(range(last + 1), key=lambda i: (abs(on_task[i]["return"] - task.target[1]), -i))
    return nearest, first is not None


def replayed(snapshots: Sequence[Snapshot], task: Task) -> tuple[list[Snapshot], bool]:
    """The snapshots up to the one that ends the task's replay, and whether the ladder reaches the task's target."""
    index, reached = replay_end(task, [snapshot.on_task(task) for snapshot in snapshots])
    return list(snapshots[: index + 1]), reached


def medium(snapshots: Sequence[Snapshot], task: Task) -> Snapshot:
    """The snapshot whose mean return on the task's reward is nearest to the target, early or late: SAC passes a return more than
    once."""
    return min(snapshots, key=lambda snapshot: abs(snapshot.on_task(task)["return"] - task.target[1]))


def expert(snapshots: Sequence[Snapshot], task: Task) -> Snapshot:
    """The snapshot with the highest mean return on the task's reward."""
    return max(snapshots, key=lambda snapshot: snapshot.on_task(task)["return"])


def reference(behaviour: str, folder: Path | None = None) -> dict[str, Any] | None:
    """What was measured of the policy of an online reference: "return", "stderr", "episodes" and more; None where none ships.

    Raises:
        DatasetError: its ladder.json is damaged.
    """
    path = (folder or POLICIES / behaviour) / LADDER
    if not path.exists():
        return None
    try:
        measured: dict[str, Any] = (read_json(path) or {})["measured"]
        numbers = {"return": float(measured["return"]), "stderr": float(measured["stderr"])}
        return {**measured, **numbers, "episodes": int(measured["episodes"])}
    except (KeyError, TypeError, ValueError):
        raise DatasetError(f"{path} does not tell the return of the reference policy {behaviour!r}") from None


def training_shares(snapshots: Sequence[Snapshot]) -> list[float]:
    """How many training steps the random policy and then each snapshot stand for, (1 + snapshots,).

    The random policy stands for the run's first `random_steps`, which took uniform actions. After them each snapshot stands for the
    steps nearer to it than to its neighbours; the last one's end with it, as a replay buffer taken then would.
    """
    steps = [s.step for s in snapshots]
    first = min(snapshots[0].random_steps, steps[-1])
    middles = [(a + b) / 2 for a, b in itertools.pairwise(steps)]
    edges = [0.0, float(first), *(max(m, float(first)) for m in middles), float(steps[-1])]
    return [b - a for a, b in itertools.pairwise(edges)]


def allot(size: int, shares: Sequence[float]) -> list[int]:
    """`size` rows divided in proportion to `shares`, summing to `size` exactly (cumulative rounding)."""
    total, done, counts, so_far = sum(shares), 0.0, [], 0
    for share in shares:
        done += share
        until = round(size * done / total)
        counts.append(until - so_far)
        so_far = until
    return counts


def digest(snapshots: Sequence[Snapshot]) -> str:
    """SHA-256 (hex) over the steps and weights of these snapshots."""
    sha = hashlib.sha256()
    for snapshot in snapshots:
        sha.update(f"{snapshot.step}\n".encode())
        try:
            sha.update(snapshot.path.read_bytes())
        except OSError as error:
            raise DatasetError(f"behaviour policy {snapshot.path}: {error.strerror}") from None
    return sha.hexdigest()


def environment_versions() -> dict[str, str]:
    """Versions of what decides how an environment behaves."""
    from importlib.metadata import version

    return {name: version(name) for name in ("gymnasium", "mujoco", "numpy")}


def main() -> None:
    """`python -m engine.data.behaviours <folder of snapshots> <behaviour>`: choose, measure and write a ladder."""
    from engine.data.ladder_selection import main as select

    select()


if __name__ == "__main__":
    main()
