"""The fields of a configuration class: what each means, its range, and a value held against it (standard library and tomli only).

The classes themselves stand in `engine.config`, and what no field alone tells.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from engine.presets import Value
from engine.toml_lines import lines_of

MAXIMUM_WHOLE = 2**63 - 1  # TOML's whole numbers have 64 bits, and so have torch's


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one clear line, which begins with the origin where there is one.

    Attributes:
        message: without the origin.
        keys: the dotted keys that it is about, the likeliest culprit first.
        origin: of the first key's value: a file, an option, a variable.
    """

    def __init__(self, message: str, *keys: str, origin: str = "") -> None:
        super().__init__(f"{origin}: {message}" if origin else message)
        self.message, self.keys, self.origin = message, keys, origin

    def in_file(self, text: str) -> ConfigError:
        """The same error with the line of its key, where its origin is a TOML file with that `text`."""
        lines = lines_of(text)
        line = next((lines[key] for key in self.keys if key in lines), None)
        return self if line is None else ConfigError(self.message, *self.keys, origin=f"{self.origin}:{line}")


def option(
    default: Any,
    about: str,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | None = None,
    above: float | None = None,
) -> Any:
    """A field with its help text and range, of which `above` is a lower bound that the value itself is not."""
    metadata = {"about": about, "minimum": minimum, "maximum": maximum, "choices": choices, "above": above}
    if isinstance(default, (list, tuple)):
        return field(default=tuple(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@functools.cache
def _types_of(cls: type) -> Mapping[str, Any]:
    return typing.get_type_hints(cls)


def types_of(cls: type) -> Mapping[str, Any]:
    """The types of a configuration class's fields: costly, and asked for at every key."""
    return _types_of(cls)


def fields_of(cls: type) -> Mapping[str, dataclasses.Field[Any]]:
    """Every dotted key of a configuration class with its field, in order."""
    return _fields_of(cls)


@functools.cache
def _fields_of(cls: type) -> Mapping[str, dataclasses.Field[Any]]:
    found: dict[str, dataclasses.Field[Any]] = {}
    hints = types_of(cls)
    for f in dataclasses.fields(cls):
        if dataclasses.is_dataclass(hints[f.name]):
            section = typing.cast(type, hints[f.name])
            found.update({f"{f.name}.{k}": v for k, v in fields_of(section).items()})
        else:
            found[f.name] = f
    return found


def meaning(field: dataclasses.Field[Any]) -> str:
    """What a key is for, with its range."""
    low, above, high, choices = (field.metadata[name] for name in ("minimum", "above", "maximum", "choices"))
    words = str(field.metadata["about"])
    if choices and not all(choice in words for choice in choices):
        words += f" ({', '.join(choices)})"
    limits = (("at least", low), ("more than", above), ("at most", high))
    bounds = [f"{word} {limit:g}" for word, limit in limits if limit is not None]
    return "; ".join([words, *bounds])


def _hint(cls: type, key: str) -> Any:
    *sections, leaf = key.split(".")
    for section in sections:
        cls = types_of(cls)[section]
    return types_of(cls)[leaf]


def checked(cls: type, key: str, value: Any, origin: str) -> Value:
    """`value` as the type of `key`, or ConfigError naming key, origin and what is wanted: "ORIGIN: KEY = VALUE is not ..."."""
    known = fields_of(cls)
    if key not in known:
        close = difflib.get_close_matches(key, list(known), n=1) or difflib.get_close_matches(
            key.rsplit(".", 1)[-1], [k.rsplit(".", 1)[-1] for k in known], n=1
        )
        if close and close[0] not in known:
            close = [k for k in known if k.rsplit(".", 1)[-1] == close[0]]
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"unknown key {key!r}{hint}", key, origin=origin)
    hint, limits = _hint(cls, key), known[key].metadata

    def bad(wanted: str) -> ConfigError:
        shown = list(value) if isinstance(value, tuple) else value
        return ConfigError(f"{key} = {shown!r} is not {wanted}", key, origin=origin)

    def one(v: Any, kind: type) -> Any:
        if kind is float and isinstance(v, (int, float)) and not isinstance(v, bool):
            try:
                v = float(v)
            except OverflowError:  # a whole number of more than 308 digits
                v = math.inf
            if not math.isfinite(v):
                raise bad("a finite number")
        elif kind is int and isinstance(v, float) and v.is_integer():
            v = int(v)
        if kind is int and isinstance(v, int) and abs(v) > MAXIMUM_WHOLE:
            raise bad("a whole number of 64 bits")
        if isinstance(v, bool) is not (kind is bool) or not isinstance(v, kind):
            raise bad({int: "a whole number", float: "a number", str: "a text", bool: "true or false"}[kind])
        low, above, high = limits["minimum"], limits["above"], limits["maximum"]
        if low is not None and v < low:
            raise bad(f"at least {low:g}{each}")
        if above is not None and v <= above:
            raise bad(f"more than {above:g}{each}")
        if high is not None and v > high:
            raise bad(f"at most {high:g}{each}")
        return v

    each = " in each entry" if typing.get_origin(hint) is tuple else ""
    if each:
        if not isinstance(value, (list, tuple)) or not value:
            raise bad("a list of numbers, one at least")
        return tuple(one(v, typing.get_args(hint)[0]) for v in value)
    choices = limits["choices"]
    if (
        choices and isinstance(value, bool) and str(value).lower() in choices
    ):  # TOML reads the word true as a truth value
        value = str(value).lower()
    found: Value = one(value, hint)
    if choices is not None and found not in choices:
        close = difflib.get_close_matches(str(found), choices, n=1)
        raise bad(f"one of {', '.join(choices)}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    return found
