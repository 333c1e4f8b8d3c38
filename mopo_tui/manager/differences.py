"""In what runs differ: configuration keys, and of two runs everything else that was recorded with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine import record
from engine.used_keys import uses
from mopo_tui.manager.groups import origin_of, with_defaults
from mopo_tui.manager.run import Run
from mopo_tui.manager.settings import read_settings
from mopo_tui.manager.state import clean

_PARTS = {
    "data": ("dataset", ("id", "origin", "source", "size", "episodes", "seed", "fingerprint", "ladder")),
    "environment": ("environment", ("id", "options")),
    "versions": ("versions", ()),
    "compute": ("compute", ()),
}
_MACHINE = ("host", "platform", "cpu", "cores", "python")


@dataclass(frozen=True)
class Difference:
    """A configuration key on which the runs do not agree, with the value of each (None: it does not know or use the key)."""

    key: str
    values: tuple[Any, ...]


def differences(a: Run, b: Run) -> dict[str, tuple[Difference, ...]]:
    """In what two runs differ, by part: "configuration", "data", "environment", "constants" (what a score is read against),
    "versions", "code" (the commit), "compute" and "machine"; a part in which they agree is empty."""
    found = {"configuration": tuple(differing([with_defaults(read_settings(run.folder)) for run in (a, b)]))}
    environments = [record.read_json(run.folder / record.ENVIRONMENT) or {} for run in (a, b)]
    for part, (name, keys) in _PARTS.items():
        recorded = [each.get(name) for each in environments]
        tables = [table if isinstance(table, Mapping) else {} for table in recorded]
        found[part] = tuple(
            differing([{key: value for key, value in table.items() if not keys or key in keys} for table in tables])
        )
        if part == "environment":
            found["constants"] = tuple(differing([origin_of(each)["references"] for each in environments]))
    found["code"] = tuple(differing([{"commit": each.get("git_commit")} for each in environments]))
    found["machine"] = tuple(differing([{key: each.get(key) for key in _MACHINE} for each in environments]))
    return found


def differing(settings: Sequence[Mapping[str, Any]]) -> list[Difference]:
    """The keys on which those that use them do not agree: that another algorithm has other keys is no difference of its own."""
    keys = dict.fromkeys(key for each in settings for key in each)
    rows = [Difference(key, tuple(used(each, key) for each in settings)) for key in keys]
    return [row for row in rows if _disagree(row, settings)]


def _disagree(row: Difference, settings: Sequence[Mapping[str, Any]]) -> bool:
    found = [value for value, each in zip(row.values, settings, strict=True) if _uses(each, row.key)]
    return any(value != found[0] for value in found)


def used(settings: Mapping[str, Any], key: str) -> Any:
    """The value of a key; None where the run does not know it, or its algorithm does not read it."""
    return settings.get(key) if _uses(settings, key) else None


def _uses(settings: Mapping[str, Any], key: str) -> bool:
    return uses(str(settings.get("algorithm", "")), key)


def shown(value: Any) -> str:
    """A configuration's value in a table: a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(shown(v) for v in value) + "]"
    if isinstance(value, Mapping):
        return " ".join(f"{clean(str(k))}={shown(v)}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else clean(str(value))
