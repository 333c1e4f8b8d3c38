"""What the form of a new run says, as typed, and what that comes to: what is wrong, at its field, or the runs (no Textual)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.config import (
    ConfigError,
    TrainConfig,
    checked,
    fields_of,
    flat,
    meaning,
    parse_setting,
)
from engine.presets import Value
from engine.tasks import UnknownName
from engine.used_keys import uses
from mopo_tui.manager import Run, StoreError
from mopo_tui.manager.datasets import check_source
from mopo_tui.manager.experiment import Description, Experiment, parse_seeds, parse_values, plan, read_config
from mopo_tui.manager.locations import LocationError
from mopo_tui.manager.making import checked_name, checked_tag
from mopo_tui.manager.new_run import absolute_source, resolve_run

# Fields of the form that stand for a configuration key each.
FIELDS = {
    "task": "task",
    "source": "dataset.source",
    "algorithm": "algorithm",
    "preset": "preset",
    "seeds": "seed",
    "device": "compute.device",
    "threads": "compute.threads",
}
_ORIGIN = "form"  # of what stands in the form, in a message; taken out of it again
_MOST_FOUND = 30
DEFAULTS = flat(TrainConfig())


@dataclass(frozen=True)
class Draft:
    """The texts of the form's fields; an empty one says nothing, and files, variables, preset and task count.

    Attributes:
        settings: by configuration key, one value or several with commas between: a sweep.
    """

    task: str = ""
    source: str = ""
    algorithm: str = ""
    preset: str = ""
    seeds: str = ""
    device: str = ""
    threads: str = ""
    name: str = ""
    tags: str = ""
    note: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Examined:
    """What a draft comes to.

    Attributes:
        problems: one line each, by the field's name or the setting's key, the upper ones first; "" for what no field says, such as
            a broken file.
        experiment: the runs; None where there is a problem.
        idle: the settings that change nothing, with the reason in one line.
        without: every key as it would be without the draft's settings; empty where even that cannot be told.
    """

    draft: Draft
    problems: Mapping[str, str]
    experiment: Experiment | None
    without: Mapping[str, Value]
    idle: Mapping[str, str] = field(default_factory=dict)


def examine(draft: Draft) -> Examined:
    """Everything that is wrong with a draft, or the runs that it stands for. Reads the person's files."""
    problems: dict[str, str] = {}
    said = _fields(draft, problems)
    seeds = _seeds(draft, problems)
    set_, swept = _settings(draft, problems)
    tags = tuple(draft.tags.replace(",", " ").split())
    for name, check in (("name", lambda: checked_name(draft.name, "name")), ("tags", lambda: _check_tags(tags))):
        try:
            check()
        except StoreError as error:
            problems[name] = str(error)
    without: Mapping[str, Value] = {}
    experiment = None
    try:
        without = flat(_resolved(said))
        if not problems:
            description = Description(
                seeds,
                swept,
                draft.name.strip() or None,
                tags,
                draft.note.strip(),
                origins={"seeds": _ORIGIN, **dict.fromkeys(swept, _ORIGIN)},
            )
            experiment = plan(description, [(_ORIGIN, {**said, **set_})], threads=_one_thread)
            for config in [planned.resolved.config for planned in experiment.runs]:
                check_source(config)
            for planned in experiment.runs:
                checked_name(planned.name, "name")
    except (ConfigError, UnknownName, LocationError, OSError) as error:
        where, what = _placed(str(error), draft)
        problems.setdefault(where, what)
    except StoreError as error:
        problems.setdefault("name", str(error))
    except ValueError as error:  # of its data
        problems.setdefault("source", str(error).partition(" (dataset.source")[0])
    order = (
        "task",
        "source",
        "algorithm",
        "preset",
        "seeds",
        *draft.settings,
    )  # as they stand in the form; the others follow
    told = {name: problems[name] for name in (*order, *problems) if name in problems}
    return Examined(draft, told, None if told else experiment, without, _idle({**set_, **swept}, experiment))


def _one_thread(_several: bool) -> int:
    """A run that nobody waits for takes one slot, as with `mopo run -b`."""
    return 1


def _resolved(said: Mapping[str, Any]) -> TrainConfig:
    return resolve_run([(_ORIGIN, said)], threads=1).config


def _fields(draft: Draft, problems: dict[str, str]) -> dict[str, Any]:
    """The keys that fields of their own say something about, those that are sound."""
    said: dict[str, Any] = {}
    for name, key in FIELDS.items():
        text = str(getattr(draft, name)).strip()
        if not text or name == "seeds":
            continue
        value = absolute_source(text) if name == "source" else text
        if name == "threads":
            value = parse_setting(f"{key}={text}")[1]
        try:
            said[key] = checked(TrainConfig, key, value, _ORIGIN)
        except ConfigError as error:
            problems[name] = _short(str(error), key)
    return said


def _seeds(draft: Draft, problems: dict[str, str]) -> tuple[int, ...]:
    text = draft.seeds.strip()
    if text:
        try:
            return parse_seeds(text)
        except ConfigError as error:
            problems["seeds"] = str(error).removeprefix("seeds ")
    return ()


def _settings(draft: Draft, problems: dict[str, str]) -> tuple[dict[str, Any], dict[str, tuple[Any, ...]]]:
    """Keys with one value, and keys with several."""
    one: dict[str, Any] = {}
    several: dict[str, tuple[Any, ...]] = {}
    for key, text in draft.settings.items():
        if not text.strip():
            continue
        try:
            if isinstance(DEFAULTS[key], tuple) and not text.strip().startswith("["):
                raise ConfigError("a list in brackets, such as [200, 200]; several lists are a sweep")
            values = parse_values(text, key)
            for value in values:
                checked(TrainConfig, key, value, _ORIGIN)
        except ConfigError as error:
            problems[key] = _short(str(error), key)
        else:
            if len(values) > 1:
                several[key] = values
            else:
                one[key] = values[0]
    return one, several


def _check_tags(tags: Sequence[str]) -> None:
    for tag in tags:
        checked_tag(tag)


def _idle(keys: Iterable[str], experiment: Experiment | None) -> dict[str, str]:
    """The settings that none of the runs' algorithms reads."""
    if experiment is None:
        return {}
    algorithms = dict.fromkeys(planned.resolved.config.algorithm for planned in experiment.runs)
    do = "does" if len(algorithms) == 1 else "do"
    why = f"changes nothing: {' and '.join(algorithms)} {do} not use it"
    return {key: why for key in keys if not any(uses(algorithm, key) for algorithm in algorithms)}


def _short(message: str, key: str) -> str:
    """A message without what its field says already."""
    return message.removeprefix(f"{_ORIGIN}: ").removeprefix(f"{key}: ").removeprefix(f"{key} = ")


def _placed(message: str, draft: Draft) -> tuple[str, str]:
    """The field or setting that a message names first, and the message at it."""
    if message.startswith(("/", "MOPO_")):  # a file or a variable of the person's
        return "", message
    own = {key: key for key, text in draft.settings.items() if text.strip()}
    keys = {key: name for name, key in FIELDS.items() if key != "seed"} | own
    places = {key: re.search(rf"(?<![\w.]){re.escape(key)}(?![\w.])", message) for key in keys if "." in key}
    named = {key: place.start() for key, place in places.items() if place is not None}
    if not named:
        return "", message.removeprefix(f"{_ORIGIN}: ")
    key = min(named, key=lambda each: named[each])
    return keys[key], _short(message, key)


# --- finding a key ----------------------------------------------------------------------------------------------------------------


def setting_keys() -> list[str]:
    """The configuration keys without a field of their own, in order."""
    return [key for key in fields_of(TrainConfig) if key not in FIELDS.values()]


def found(text: str) -> list[str]:
    """Keys of which each word of `text` is a part, those whose name begins with it first, then those whose meaning has it; where
    there is none, those spelt nearly so."""
    words = text.lower().split()
    if not words:
        return []
    ranked = []
    for order, key in enumerate(setting_keys()):
        about, leaf = about_key(key).lower(), key.rsplit(".", 1)[-1]
        if all(word in key or word in about for word in words):
            rank = [leaf.startswith(words[0]), key.startswith(words[0]), all(word in key for word in words)]
            ranked.append((rank.index(True) if True in rank else len(rank), order, key))
    if ranked:
        return [key for _, _, key in sorted(ranked)][:_MOST_FOUND]
    leaves: dict[str, list[str]] = {}
    for key in setting_keys():
        leaves.setdefault(key.rsplit(".", 1)[-1], []).append(key)
    close = difflib.get_close_matches(text, setting_keys(), n=3)
    near = difflib.get_close_matches(text.rsplit(".", 1)[-1], leaves, n=3)
    return list(dict.fromkeys([*close, *(key for leaf in near for key in leaves[leaf])]))


def about_key(key: str) -> str:
    """What a key is for, with its range or its choices."""
    return meaning(fields_of(TrainConfig)[key])


def refused(key: str) -> str:
    """Why `key` cannot be set below the other fields; empty where it can."""
    own = next((name for name, known in FIELDS.items() if known == key), None)
    if own is not None:
        return f"{key} has a field of its own: {own}"
    try:
        checked(TrainConfig, key, None, _ORIGIN)
    except ConfigError as error:
        message = str(error).removeprefix(f"{_ORIGIN}: ")
        return message if message.startswith("unknown key") else ""
    return ""


def as_typed(value: Value) -> str:
    """A value as a person types it, and as it is read back as one value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(as_typed, value)) + "]"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, str) and (not value or value != value.strip() or re.search(r"[,\"'\\\[\]{}#=]", value)):
        return "'" + value + "'" if "'" not in value else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


# --- like another run -------------------------------------------------------------------------------------------------------------


def like(run: Run) -> Draft:
    """The form filled from a training run, threads aside: its settings are what a new run of its task, algorithm, preset and data
    would have otherwise.

    Raises:
        ConfigError: it is no training run, this version cannot read its configuration, or a file of the person's is broken.
    """
    config = read_config(run)
    said: dict[str, Any] = {"task": config.task, "algorithm": config.algorithm, "preset": config.preset}
    new, old = flat(_resolved(said)), flat(config)
    shown = {name: str(said[name]) for name in ("task", "algorithm", "preset")}
    for name in ("source", "device"):
        key = FIELDS[name]
        if old[key] != new[key]:
            said[key] = old[key]
            shown[name] = str(old[key])
    new = flat(_resolved(said))
    settings = {key: as_typed(old[key]) for key in setting_keys() if old[key] != new[key]}
    return Draft(**shown, seeds=str(config.seed), settings=settings)
