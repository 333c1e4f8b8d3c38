"""What a run leaves behind: its policy, and the environment in which that is scored.

Nothing here runs what a run folder says: policies are arrays in safetensors, the rest is JSON, and a Gymnasium id with a colon,
which imports a module, counts only where the person's own file of tasks names it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from engine.policy import Policy
from engine.record import CHECKPOINTS, ENVIRONMENT, RUN, read_json
from engine.tasks import Task, UnknownName, all_tasks, task

WHICH = ("final", "best")
_SCALARS = (bool, int, float, str)


@dataclass(frozen=True)
class World:
    """An environment by its Gymnasium id and the keywords of `engine.envs.make`."""

    id: str
    options: Mapping[str, Any] = field(default_factory=dict)


def load(path: str | os.PathLike[str], which: str = "final") -> Policy:
    """See `engine.load_policy`."""
    path = Path(path).expanduser()
    if which not in WHICH:
        raise ValueError(f"which = {which!r} is neither {WHICH[0]!r} nor {WHICH[1]!r}")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if path.is_dir():
        path = _file_of(path, which)
    try:
        policy = Policy.load(path)
    except AttributeError as error:  # a header whose JSON is no object
        raise ValueError(f"{path}: not a policy file ({error})") from error
    fault = _fault(policy)
    if fault:
        raise ValueError(f"{path}: not a policy file ({fault})")
    return policy


def _file_of(folder: Path, which: str) -> Path:
    if not (folder / RUN).is_file():
        raise FileNotFoundError(f"{folder}: not a run folder, there is no {RUN}")
    file = folder / CHECKPOINTS / f"{which}.safetensors"
    if file.is_file():
        return file
    other = next(name for name in WHICH if name != which)
    if (folder / CHECKPOINTS / f"{other}.safetensors").is_file():
        raise FileNotFoundError(f"{folder}: no {which} policy yet, but there is the {other} one")
    if any((folder / CHECKPOINTS / "snapshots").glob("*.safetensors")):
        raise FileNotFoundError(
            f"{folder}: a behaviour run has no {which} policy, only those in {CHECKPOINTS}/snapshots"
        )
    raise FileNotFoundError(f"{folder}: no policy yet")


def _fault(policy: Policy) -> str:
    """What keeps the arrays from being a policy's; empty where nothing does."""
    layers = list(zip(policy.weights, policy.biases, strict=True))
    if not layers or any(w.ndim != 2 or b.shape != w.shape[1:] or not w.size for w, b in layers):
        return "its layers are no matrices with a bias each"
    outputs, k = len(policy.biases[-1]), policy.components
    heads = outputs - (k if k > 1 else 0)
    if any(a.shape[1] != b.shape[0] for a, b in pairwise(policy.weights)) or k < 1 or heads <= 0 or heads % (2 * k):
        return "its layers do not fit together"
    if not all(np.isfinite(array).all() for layer in layers for array in layer):
        return "some of its weights are not finite"
    return ""


def sizes(policy: Policy) -> tuple[int, int]:
    """How many observations it takes, and how many actions it gives."""
    return policy.weights[0].shape[0], policy.action_dim


def recorded_world(folder: Path) -> World:
    """The environment that a run's scores were measured in.

    Raises:
        FileNotFoundError: the run has not recorded one.
        ValueError: what it recorded is no environment, or would import a module that the person's tasks do not name.
    """
    recorded = (read_json(folder / ENVIRONMENT) or {}).get("environment")
    if recorded is None:
        raise FileNotFoundError(f"{folder}: the run has recorded no environment ({ENVIRONMENT})")
    options = recorded.get("options", {}) if isinstance(recorded, Mapping) else None
    if not isinstance(recorded, Mapping) or not isinstance(recorded.get("id"), str) or not isinstance(options, Mapping):
        raise ValueError(f"{folder / ENVIRONMENT}: its environment is no id with options")
    world = World(recorded["id"], options)
    if not all(isinstance(value, _SCALARS) for value in options.values()):
        raise ValueError(
            f"{folder / ENVIRONMENT}: an option of its environment is not a number, a text, or true or false"
        )
    own = task_of(folder)
    trusted = () if own is None or not own.own else (own.environment, *own.environment_options.values())
    for text in _importing((world.id, *options.values())):
        if text not in trusted:
            raise ValueError(
                f"{folder / ENVIRONMENT}: {text!r} could import a module, and no task of yours names it: not used"
            )
    return world


def named_world(environment: str, of: World) -> World:
    """The environment that a person names: with the run's options where it is the run's own.

    Raises:
        ValueError: it would import a module that the person's tasks do not name.
    """
    if environment == of.id:
        return of
    if not _importing((environment,)):
        return World(environment)
    own = next((entry for entry in all_tasks().values() if entry.own and entry.environment == environment), None)
    if own is None:
        raise ValueError(f"{environment!r} imports a module: only the environment of a task of your own may")
    return World(environment, own.environment_options)


def task_of(folder: Path) -> Task | None:
    """The task that the run was trained on; None where this installation does not know it."""
    try:
        return task(str((read_json(folder / RUN) or {}).get("task")))
    except UnknownName:
        return None


def _importing(values: Iterable[Any]) -> list[str]:
    """The texts among `values` that Gymnasium could take for "module:id"."""
    return [value for value in values if isinstance(value, str) and ":" in value]
