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
from engine.tasks import OURS, OWN_TASKS_VARIABLE, SOURCES
from engine.used_keys import uses
from mopo_tui.manager import locations, on_finish
from mopo_tui.manager.identity import cores
from mopo_tui.manager.on_finish import FINISH_VARIABLES

Layer = tuple[str, Mapping[str, Any]]
C = TypeVar("C", bound=Config)
# What a configuration file may hold besides the settings of a run: a whole experiment; the command that follows a run's end; the
# keys of the app.
EXPERIMENT, ON_FINISH = "experiment", "on_finish"
BESIDES = (EXPERIMENT, ON_FINISH, locations.KEYS)

_SHORT = {"MOPO_THREADS": "compute.threads", "MOPO_DEVICE": "compute.device", "MOPO_SIZE": "dataset.size"}
_NOT_KEYS = (
    locations.RUNS_VARIABLE,
    locations.DATA_VARIABLE,
    locations.MIRROR_VARIABLE,
    OWN_TASKS_VARIABLE,
    *FINISH_VARIABLES,
)


def resolve_run(
    command_line: Sequence[Layer],
    config_file: Path | None = None,
    *,
    like: Layer | None = None,
    threads: int | None = None,
) -> Resolved:
    """A training configuration from, in rising precedence: defaults, task, preset, the user's file, ./mopo.toml, `config_file`,
    MOPO_* variables, `like`, and the layers of the command line, of which a later one wins.

    Args:
        like: another run's configuration, as `experiment.like_layer` has it.
        threads: what `compute.threads` = 0 stands for; None: two threads where there are two cores.

    Raises:
        ConfigError: one line that names the origin of what is wrong.
    """
    files = file_layers(config_file)
    layers = files + variables(os.environ) + ([like] if like else []) + list(command_line)
    try:
        resolved = resolve(layers)
    except ConfigError as error:
        raise with_line(error) if error.origin in dict(files) else error from None
    if resolved.config.compute.threads:
        return resolved
    why = f"for this machine of {cores()} cores" if threads is None else "one slot each"
    origin = f"{resolved.origins['compute.threads']}: 0, {why}"
    return Resolved(with_threads(resolved.config, threads), {**resolved.origins, "compute.threads": origin})


def file_layers(config_file: Path | None = None) -> list[Layer]:
    """One layer per configuration file that counts, the weaker one first, without places, experiments and what runs at a run's end.

    Raises:
        ConfigError: a file that cannot be read, or a table in a file where it does not belong.
    """
    try:
        files = list(reversed(locations.configuration_files()))
        if config_file is not None:
            files.append(config_file)
        return [(str(path), _values(path, named=path is config_file)) for path in files]
    except locations.LocationError as error:
        raise ConfigError(str(error)) from None


def _values(path: Path, *, named: bool) -> dict[str, Any]:
    """A configuration file's keys of a run.

    Args:
        named: whether a person named this file on the command line.
    """
    table = locations.read_toml(path)
    if EXPERIMENT in table and not named:
        why = f"[{EXPERIMENT}] counts only in a file that is named: mopo run --config {path.name}"
        raise with_line(ConfigError(why, EXPERIMENT, origin=str(path)))
    if ON_FINISH in table and path != locations.user_config():
        why = f"{ON_FINISH} counts only in your own file {locations.user_config()} and on the command line"
        raise with_line(ConfigError(why, ON_FINISH, origin=str(path)))
    values = flatten({key: value for key, value in table.items() if key not in BESIDES})
    return {key: value for key, value in values.items() if not key.startswith("paths.")}


def with_line(error: ConfigError) -> ConfigError:
    """An error whose origin is a TOML file, with the line of its key; as it is where the file has no such line."""
    try:
        return error.in_file(Path(error.origin).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):  # gone since it was read
        return error


def ignored(runs: Sequence[Resolved]) -> list[str]:
    """One line for each setting that somebody gave for these very runs and that none of their algorithms reads.

    What stands in ./mopo.toml or the person's own file is meant for all runs, and what another run had is not theirs.
    """
    general = (
        "default",
        "task ",
        "preset ",
        "algorithm ",
        "all of ",
        "like ",
        *map(str, locations.configuration_files()),
    )
    lines = []
    for key in runs[0].origins:
        given = [run.origins[key] for run in runs if not run.origins[key].startswith(general)]
        algorithms = dict.fromkeys(run.config.algorithm for run in runs)
        if given and not any(uses(algorithm, key) for algorithm in algorithms):
            do = "does" if len(algorithms) == 1 else "do"
            lines.append(f"{key} ({given[0]}) changes nothing: {' and '.join(algorithms)} {do} not use it")
    return lines


def finish_command(given: str | None) -> tuple[str, ...]:
    """The command that follows a run's end: `given` on the command line, else `on_finish` of the person's own file, else none.

    Raises:
        ConfigError: it cannot be run.
    """
    origin, command = "--on-finish", given
    try:
        own = locations.user_config()
        if command is None and own.is_file():
            origin, command = f"{own}: {ON_FINISH}", locations.read_toml(own).get(ON_FINISH)
    except locations.LocationError as error:
        raise ConfigError(str(error)) from None
    if command is None:
        return ()
    if not isinstance(command, str):
        raise ConfigError(f"{origin} = {command!r} is not a command in quotes")
    try:
        return on_finish.parse(command)
    except on_finish.OnFinishError as error:
        raise ConfigError(f"{origin} = {command!r}: {error}") from None


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


def with_threads(config: C, threads: int | None = None) -> C:
    """`config` with `compute.threads` 0 resolved: `threads`, or two where there are two cores; one for a behaviour, whose updates
    are too small to share."""
    if config.compute.threads:
        return config
    threads = 1 if isinstance(config, BehaviourConfig) else threads or min(cores(), 2)
    return dataclasses.replace(config, compute=dataclasses.replace(config.compute, threads=threads))


def absolute_source(source: str) -> str:
    """A source of data as it means the same in every folder: a path from here made absolute."""
    if source == OURS or source.partition(":")[0] in SOURCES:
        return source
    return os.path.abspath(Path(source).expanduser())
