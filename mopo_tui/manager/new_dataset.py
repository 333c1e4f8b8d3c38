"""From what a person says to a run that makes a dataset: collecting a task's own, and fetching a published one."""

from __future__ import annotations

from typing import Any

from engine.config import DatasetConfig, make
from engine.tasks import OURS, TASKS, Task, task, task_of_source
from mopo_tui.manager.datasets import DatasetStatus, DatasetUnavailable, dataset_status

FETCHED = ("d4rl", "minari")


def to_build(
    task_name: str, size: int | None = None, *, seed: int = 0, threads: int = 0, angle: float | None = None
) -> DatasetConfig:
    """A run that collects a task's own dataset; of the task's own number of transitions where no size is given.

    Raises:
        UnknownName: no such task.
        ConfigError: a size, seed or angle that is none.
    """
    chosen = task(task_name)
    values: dict[str, Any] = {
        "task": chosen.name,
        "dataset.source": OURS,
        "dataset.size": size or chosen.default_size,
        "dataset.seed": seed,
        "compute.threads": threads,
    }
    if angle is not None:
        values["environment.angle"] = angle
    return make(DatasetConfig, values, "command line")


def to_fetch(source: str, task_name: str | None = None) -> DatasetConfig:
    """A run that downloads a published dataset and reads it, for the task that its name says where none is given.

    Raises:
        DatasetUnavailable: `source` is neither d4rl:NAME nor minari:ID.
        UnknownName: no such task, or the name says none.
        ConfigError: a name that D4RL does not have.
    """
    kind, _, what = source.partition(":")
    if kind not in FETCHED or not what:
        raise DatasetUnavailable(f"{source!r} is neither d4rl:NAME nor minari:ID; a file is read by `mopo data import`")
    chosen = task_of_source(source) if task_name is None else task(task_name)
    values = {"task": chosen.name, "dataset.source": source, "compute.threads": 1}
    return make(DatasetConfig, values, "command line")


def not_built(present: list[DatasetStatus]) -> list[Task]:
    """The tasks that ship for which there is no dataset at all, of whatever source and size."""
    covered = {status.task for status in present if status.present}
    return [each for each in TASKS.values() if each.name not in covered]


__all__ = ["FETCHED", "dataset_status", "not_built", "to_build", "to_fetch"]
