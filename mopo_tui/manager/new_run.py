"""From what a person says to a resolved training configuration: the layers of the command line, variables and files."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from engine.config import (
    BehaviourConfig,
    Config,
    ConfigError,
    Resolved,
    TrainConfig,
    fields_of,
    flatten,
    resolve,
)
from engine.tasks import OWN_TASKS_VARIABLE
from mopo_tui.manager import locations

Layer = tuple[str, Mapping[str, Any]]
C = TypeVar("C", bound=Config)

_SHORT = {"MOPO_THREADS": "compute.threads", "MOPO_DEVICE": "compute.device", "MOPO_SIZE": "dataset.size"}
_NOT_KEYS = (
    locations.RUNS_VARIABLE,
    locations.DATA_VARIABLE,
    locations.MIRROR_VARIABLE,
    OWN_TASKS_VARIABLE,
)


def resolve_run(command_line: Sequence[Layer], config_file: Path | None = None) -> Resolved:
    """A training configuration from, in rising precedence: defaults, task, preset, the user's file, ./mopo.toml, `config_file`,
    MOPO_* variables, and the layers of the command line, of which a later one wins. `compute.threads` comes out resolved.

    Raises:
        ConfigError: one line that names the origin of what is wrong.
    """
    try:
        files = list(reversed(locations.configuration_files()))
        if config_file is not None:
            files.append(config_file)
        layers: list[Layer] = [(str(path), _values(path)) for path in files]
    except locations.LocationError as error:
        raise ConfigError(str(error)) from None
    resolved = resolve([*layers, *variables(os.environ), *command_line])
    if resolved.config.compute.threads:
        return resolved
    origin = f"{resolved.origins['compute.threads']}: 0, for this machine of {cores()} cores"
    return Resolved(with_threads(resolved.config), {**resolved.origins, "compute.threads": origin})


def _values(path: Path) -> dict[str, Any]:
    """A configuration file's keys of a run, without those of places."""
    return {key: value for key, value in flatten(locations.read_toml(path)).items() if not key.startswith("paths.")}


def variables(environment: Mapping[str, str]) -> list[Layer]:
    """One layer per MOPO_* variable: MOPO_SEED, MOPO_THREADS, MOPO_ROLLOUT_COEFFICIENT, …

    Raises:
        ConfigError: a variable that stands for no key.
    """
    from engine.config import parse_setting

    known = {"MOPO_" + key.upper().replace(".", "_"): key for key in fields_of(TrainConfig)} | _SHORT
    layers: list[Layer] = []
    for name in sorted(environment):
        if not name.startswith("MOPO_") or name in _NOT_KEYS:
            continue
        if name not in known:
            close = difflib.get_close_matches(name, [*known, *_NOT_KEYS], n=1)
            raise ConfigError(f"unknown variable {name}" + (f"; did you mean {close[0]}?" if close else ""))
        key, value = parse_setting(f"{known[name]}={environment[name]}")
        layers.append((name, {key: value}))
    return layers


def cores() -> int:
    """The processor cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def with_threads(config: C) -> C:
    """`config` with `compute.threads` 0 resolved: two threads where there are two cores; one for a behaviour, whose updates are
    too small to share."""
    if config.compute.threads:
        return config
    threads = 1 if isinstance(config, BehaviourConfig) else min(cores(), 2)
    return dataclasses.replace(config, compute=dataclasses.replace(config.compute, threads=threads))
