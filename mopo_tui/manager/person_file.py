"""A person's configuration file: made with every key explained, edited one key at a time, comments and all else left as they are,
and checked whole."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from engine.config import ConfigError, TrainConfig, fields_of, flatten, meaning, parse_setting, resolve, to_toml
from engine.record import write_atomically
from mopo_tui.manager import locations
from mopo_tui.manager.new_run import BESIDES, EXPERIMENT, with_line

PATHS = ("paths.runs", "paths.data")
# What is wrong with the tables of a file that are not about runs: the app knows its own.
Check = Callable[[Mapping[str, Any], str], Sequence[ConfigError]]


def set_key(file: Path, setting: str, check: Check) -> tuple[str, Any]:
    """Put "key=value" into `file`, which is made if it is missing; returns key and value.

    Args:
        check: of what is not about runs.

    Raises:
        ConfigError: the file is no TOML or cannot be written, or would not be a valid configuration; it stays as it was.
    """
    key, value = parse_setting(setting)

    def change(document: tomlkit.TOMLDocument) -> None:
        table, leaf = _table(document, file, key, create=True)
        table[leaf] = value

    _edit(file, change, check)
    return key, value


def unset_key(file: Path, key: str) -> None:
    """Take `key` out of `file`.

    Raises:
        ConfigError: it is not there, or as `set_key`.
    """

    def change(document: tomlkit.TOMLDocument) -> None:
        table, leaf = _table(document, file, key, create=False)
        if leaf not in table:
            raise ConfigError(f"{file}: {key} is not set there")
        del table[leaf]

    _edit(file, change, lambda *_: ())


def _table(document: tomlkit.TOMLDocument, file: Path, key: str, *, create: bool) -> tuple[Any, str]:
    """The table of the document in which the last part of a dotted key stands, and that part."""
    *sections, leaf = key.split(".")
    table: Any = document
    for section in sections:
        if section not in table:
            if not create:
                raise ConfigError(f"{file}: {key} is not set there")
            table[section] = tomlkit.table()
        table = table[section]
        if not isinstance(table, dict):
            raise ConfigError(f"{file}: {section} is a value there, not a table")
    return table, leaf


def _run_values(file: Path, table: Mapping[str, Any]) -> dict[str, Any]:
    """What a parsed file says of runs, by dotted key: without places, an experiment, and the command after a run's end.

    Raises:
        ConfigError: a place that is no path.
    """
    values = flatten({key: value for key, value in table.items() if key not in BESIDES})
    for key in PATHS:
        if key in values and not isinstance(values.pop(key), str):
            raise ConfigError(f"{key} is not a path in quotes", key, origin=str(file))
    return values


# --- a new file -------------------------------------------------------------------------------------------------------------------


def make_file(file: Path, more: str = "") -> None:
    """Write a configuration file in which every key stands with its meaning, all of them commented out: it changes nothing yet.

    Args:
        more: what stands below the keys of runs.

    Raises:
        ConfigError: there is one already, or it cannot be written.
    """
    if os.path.lexists(file):
        raise ConfigError(f"{file} exists already; `mopo config set KEY VALUE` changes it")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, template() + more)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None


def template() -> str:
    """Every key with its default, its meaning and its range, commented out."""
    lines = [
        "# Configuration of mopo-tui. A line counts once its # is gone. What is said on the command line or in a MOPO_* variable",
        "# counts more; `mopo config show` tells each value with its origin. Task and preset change some of these defaults.",
        "",
    ]
    fields, section = fields_of(TrainConfig), ""
    for written in to_toml(TrainConfig()).splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", written):
            section = f"{header[1]}."
            lines.append(written)
        elif written:
            field = fields[section + written.split(" ", 1)[0]]
            lines += [f"# {meaning(field)}", f"# {written}"]
        else:
            lines.append("")
    places = [
        "",
        "[paths]",
        "# run store; the folder of this file counts",
        '# runs = "runs"',
        "# datasets and kept ensembles",
    ]
    return "\n".join([*lines, *places, '# data = "data"', ""])


# --- checking ---------------------------------------------------------------------------------------------------------------------


def problems_of(file: Path, check: Check) -> list[str]:
    """Everything that is wrong with a configuration file, one line each, with the line in the file where one key is to blame; an
    experiment in it is planned, run by run.

    Args:
        check: of what is not about runs.

    Raises:
        ConfigError: it cannot be read at all.
    """
    from mopo_tui.manager.experiment import Description, plan

    try:
        table = locations.read_toml(file)
    except locations.LocationError as error:
        raise ConfigError(str(error)) from None
    found: list[ConfigError] = []
    values = flatten({key: value for key, value in table.items() if key not in BESIDES})
    for key in [key for key in values if key in PATHS]:
        try:
            _run_values(file, {key: values.pop(key)})
        except ConfigError as error:
            found.append(error)
    while True:  # each round finds one wrong key, and leaves it out of the next
        try:
            resolve([(str(file), values)])
            break
        except ConfigError as error:
            found.append(error)
            wrong = next((key for key in error.keys if key in values), None)
            if wrong is None:
                break
            del values[wrong]
    if not found and EXPERIMENT in table:
        try:
            plan(Description(), [], file)
        except ConfigError as error:
            found.append(error)
    found += check(table, str(file))
    return [str(with_line(error) if error.origin == str(file) else error) for error in found]


def _edit(file: Path, change: Callable[[tomlkit.TOMLDocument], None], check: Check) -> None:
    try:
        document = tomlkit.parse(file.read_text(encoding="utf-8")) if file.exists() else tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"{file}: cannot be read as TOML: {error}") from None
    change(document)
    table = document.unwrap()
    resolve([(str(file), _run_values(file, table))])
    for problem in check(table, str(file)):
        raise problem
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, tomlkit.dumps(document))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
