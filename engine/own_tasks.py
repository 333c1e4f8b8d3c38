"""A person's own tasks: a TOML file with one table per task, each of which works like a task that ships.

    [my-hopper]
    like = "hopper-medium"                      # a task whose entries count where this one has none
    dataset = "data/mine.hdf5"                  # or d4rl:NAME, minari:ID; a path is relative to this file
    environment = "my_package.envs:Slippery-v0" # a Gymnasium id; `module:Id` imports the module, from this file alone

Standard library and tomli only.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli

from engine.tasks import OURS, TASKS, TERMINATIONS, Task, UnknownName, nearest

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SCALARS = (bool, int, float, str)
_REFERENCES = ("min", "max", "origin")
_ROLLOUT = ("coefficient", "length")
# key: type, whether a task without `like` needs it
_KEYS: dict[str, tuple[type, bool]] = {
    "like": (str, False),
    "title": (str, False),
    "environment": (str, True),
    "environment_options": (dict, False),
    "observation_dim": (int, True),
    "action_dim": (int, True),
    "termination": (str, True),
    "dataset": (str, True),
    "references": (dict, False),
    "rollout": (dict, False),
    "survive_reward": (bool, False),
}
_WORDS = {str: "a text", int: "a whole number", dict: "a table", bool: "true or false", float: "a number"}


class OwnTasksError(UnknownName):
    """A file of own tasks that cannot be used; one clear line with file, task and key."""


def read_tasks(path: Path) -> dict[str, Task]:
    """The tasks of the file `path`, by name; none where there is no such file.

    Raises:
        OwnTasksError: unreadable, no TOML, an unknown or missing key, a value of the wrong type, a name that is taken.
    """
    try:
        table = tomli.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise OwnTasksError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomli.TOMLDecodeError) as error:
        raise OwnTasksError(f"{path}: not TOML: {error}") from None
    tasks: dict[str, Task] = {}
    for name, values in table.items():
        where = f"{path}: [{name}]"
        if not isinstance(values, Mapping):
            raise OwnTasksError(f"{path}: {name!r} is no table; a task begins with [{name}]")
        if not _NAME.fullmatch(name):
            raise OwnTasksError(f"{where}: a task's name is made of small letters, digits, '.', '_' and '-'")
        taken = next((t.name for t in TASKS.values() if name == t.name or name in t.aliases), None)
        if taken is not None:
            raise OwnTasksError(f"{where}: the name belongs to the task {taken} that ships; choose another")
        tasks[name] = _task(name, dict(values), path, where, tasks)
    return tasks


def _task(name: str, values: dict[str, Any], path: Path, where: str, before: Mapping[str, Task]) -> Task:
    for key, value in values.items():
        if key not in _KEYS:
            raise OwnTasksError(f"{where}: unknown key {key!r}{_did_you_mean(key, _KEYS)}")
        _of_type(value, _KEYS[key][0], f"{where}: {key}")
    like = values.pop("like", None)
    base: Task | None = None
    if like is not None:
        known = {**TASKS, **before}
        if like not in known:
            raise OwnTasksError(f"{where}: like: {nearest('task', like, list(known))}")
        base = known[like]
    missing = [key for key, (_, needed) in _KEYS.items() if needed and base is None and key not in values]
    if missing:
        raise OwnTasksError(f'{where}: {", ".join(missing)} missing (or like = "…", a task that has them)')
    termination = values.get("termination", base.termination if base else "")
    if termination not in TERMINATIONS:
        raise OwnTasksError(
            f"{where}: termination = {termination!r} is not one of {', '.join(TERMINATIONS)}"
            + _did_you_mean(termination, TERMINATIONS)
        )
    for key in ("observation_dim", "action_dim"):
        if values.get(key, 1) < 1:
            raise OwnTasksError(f"{where}: {key} = {values[key]} is not at least 1")
    other_environment = "environment" in values and (base is None or values["environment"] != base.environment)
    options = values.get("environment_options", {} if base is None or other_environment else base.environment_options)
    for key, value in options.items():
        if not isinstance(value, _SCALARS):
            raise OwnTasksError(f"{where}: environment_options.{key} is not a number, a text, or true or false")
    scale, origin = _references(values.get("references"), None if other_environment else base, where)
    rollout = _rollout(values.get("rollout"), base, where)
    return Task(
        name=name,
        title=values.get("title", f"{like or values['environment']} on {values.get('dataset', 'its data')}"),
        environment=values.get("environment", base.environment if base else ""),
        environment_options=options,
        family=base.family if base and not other_environment else "",
        observation_dim=values.get("observation_dim", base.observation_dim if base else 0),
        action_dim=values.get("action_dim", base.action_dim if base else 0),
        termination=termination,
        dataset=_dataset(values.get("dataset"), base, path, where),
        default_size=0,
        tuned_rollout=rollout,
        tuned_origin=f"{path}",
        score_scale=scale,
        scale_origin=origin,
        survive_reward=values.get("survive_reward", base.survive_reward if base else False),
        own=True,
        names_environment="environment" in values or "environment_options" in values,
    )


def _of_type(value: Any, kind: type, what: str) -> None:
    number = kind is float and isinstance(value, int)
    if not (isinstance(value, kind) or number) or (isinstance(value, bool) and kind is not bool):
        raise OwnTasksError(f"{what} = {value!r} is not {_WORDS[kind]}")


def _did_you_mean(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _references(table: Any, base: Task | None, where: str) -> tuple[tuple[float, float] | None, str]:
    """Returns that stand for 0 and 100, and where they come from."""
    if table is None:
        return (base.score_scale, base.scale_origin) if base else (None, "no references given: raw return")
    for key, value in table.items():
        if key not in _REFERENCES:
            raise OwnTasksError(f"{where}: unknown key references.{key}{_did_you_mean(key, _REFERENCES)}")
        _of_type(value, str if key == "origin" else float, f"{where}: references.{key}")
    if "min" not in table or "max" not in table or not table["min"] < table["max"]:
        raise OwnTasksError(f"{where}: references needs min and max, the returns for 0 and 100, min below max")
    return (float(table["min"]), float(table["max"])), str(table.get("origin", "the person's own file of tasks"))


def _rollout(table: Any, base: Task | None, where: str) -> tuple[float, int]:
    """(λ, h)"""
    coefficient, length = base.tuned_rollout if base else (1.0, 5)
    for key, value in (table or {}).items():
        if key not in _ROLLOUT:
            raise OwnTasksError(f"{where}: unknown key rollout.{key}{_did_you_mean(key, _ROLLOUT)}")
        _of_type(value, float if key == "coefficient" else int, f"{where}: rollout.{key}")
        if value < (0 if key == "coefficient" else 1):
            raise OwnTasksError(f"{where}: rollout.{key} = {value} is too small")
    table = table or {}
    return float(table.get("coefficient", coefficient)), int(table.get("length", length))


def _dataset(source: str | None, base: Task | None, path: Path, where: str) -> str:
    if source is None:
        if base is None or base.dataset == OURS:
            raise OwnTasksError(f"{where}: dataset missing: a path, d4rl:NAME or minari:ID")
        return base.dataset
    if source == OURS:
        raise OwnTasksError(f'{where}: dataset = "ours": only tasks that ship can be collected; give a path or an id')
    if source.startswith(("d4rl:", "minari:")):
        return source
    return str((path.parent / Path(source).expanduser()).absolute())
