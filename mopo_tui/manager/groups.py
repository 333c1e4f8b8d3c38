"""Which runs are seeds of one setting, and which of those may share one mean (standard library only)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager.run import number_of
from mopo_tui.manager.settings import read_settings

_OWN = ("seed", "name")  # what tells the runs of one setting apart
_OWN_SECTION = "compute."  # where it was computed, not what
_LENGTH = 12


def setting_key(folder: Path) -> str:
    """12 hex digits that runs of one configuration share: SHA-256 over config.toml without seed, name and compute.*.

    Empty where the configuration cannot be read.
    """
    settings = shared_settings(read_settings(folder))
    return _digest(settings) if settings else ""


def group_key(folder: Path) -> str:
    """12 hex digits that runs share whose scores may be averaged: one setting, and the same data, environment, reference
    constants and library versions, as far as environment.json has them. Empty where the configuration cannot be read.
    """
    setting = setting_key(folder)
    origin = origin_of(record.read_json(folder / record.ENVIRONMENT) or {})
    return _digest({"setting": setting, **origin}) if setting else ""


def shared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The dotted keys that all seeds of a setting have in common."""
    return {key: value for key, value in settings.items() if key not in _OWN and not key.startswith(_OWN_SECTION)}


def origin_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's scores stand on besides its configuration, of environment.json: "fingerprint", "environment" (id and
    options), "references" (returns by name, and the scale) and "versions"; a part that is not recorded is empty."""
    dataset, world = environment.get("dataset"), environment.get("environment")
    references, versions = environment.get("references"), environment.get("versions")
    references = references if isinstance(references, Mapping) else {}
    constants: dict[str, Any] = {}
    for name, values in references.items():
        if name == "scale":
            constants[name] = values
        elif isinstance(values, Mapping) and (value := number_of(values, "return")) is not None:
            constants[str(name)] = value
    return {
        "fingerprint": str(dataset.get("fingerprint") or "") if isinstance(dataset, Mapping) else "",
        "environment": {key: world.get(key) for key in ("id", "options")} if isinstance(world, Mapping) else {},
        "references": constants,
        "versions": dict(versions) if isinstance(versions, Mapping) else {},
    }


def _digest(values: Mapping[str, Any]) -> str:
    text = record.dumps({key: values[key] for key in sorted(values)})
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:_LENGTH]
