"""Editing a person's configuration file: one key at a time, everything else in it, comments too, left as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from engine.config import ConfigError, flatten, parse_setting, resolve
from engine.record import write_atomically

PATHS = ("paths.runs", "paths.data")


def set_key(file: Path, setting: str) -> tuple[str, Any]:
    """Put "key=value" into `file`, which is made if it is missing; returns key and value.

    Raises:
        ConfigError: the file is no TOML or cannot be written, or would not be a valid configuration; it stays as it was.
    """
    key, value = parse_setting(setting)

    def change(document: tomlkit.TOMLDocument) -> None:
        table, leaf = _table(document, file, key, create=True)
        table[leaf] = value

    _edit(file, change)
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

    _edit(file, change)


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


def _edit(file: Path, change: Callable[[tomlkit.TOMLDocument], None]) -> None:
    try:
        document = tomlkit.parse(file.read_text(encoding="utf-8")) if file.exists() else tomlkit.document()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ConfigError(f"{file}: cannot be read as TOML: {error}") from None
    change(document)
    values = flatten(document.unwrap())
    for key in PATHS:
        if key in values and not isinstance(values.pop(key), str):
            raise ConfigError(f"{file}: {key} is not a path in quotes")
    resolve([(str(file), values)])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, tomlkit.dumps(document))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None
