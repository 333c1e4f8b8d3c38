"""In which line of a TOML text each key stands: for errors that name it (standard library and tomli only)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import tomli


def lines_of(text: str) -> dict[str, int]:
    """The line in which each dotted key and each table of a TOML text begins; tomli tells none.

    Tomli reads each statement: one that is no TOML by itself goes on in the next line.

    Args:
        text: TOML as a whole.
    """
    lines: dict[str, int] = {}
    table, statement, start = "", "", 1
    for number, line in enumerate(text.split("\n"), 1):
        start = start if statement else number
        statement += f"{line}\n"
        try:
            said = list(_paths(tomli.loads(statement)))
        except tomli.TOMLDecodeError:
            continue
        header = statement.lstrip().startswith("[")
        for path in said:
            lines.setdefault(path if header else table + path, start)
        table, statement = f"{said[-1]}." if header else table, ""
    return lines


def _paths(table: Mapping[str, Any]) -> Iterator[str]:
    """Every dotted key of a parsed table, and the tables on the way to it before it."""
    for key, value in table.items():
        yield key
        if isinstance(value, Mapping):
            yield from (f"{key}.{path}" for path in _paths(value))
