"""Which runs somebody means, which are seeds of one setting, and which of those may share one mean (standard library only)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager.run import Run, number_of, read_run, text_of
from mopo_tui.manager.settings import read_settings
from mopo_tui.manager.store import RunNotFound, Store

_OWN = ("seed", "name")  # what tells the runs of one setting apart
_OWN_SECTION = "compute."  # where it was computed, not what
_LENGTH = 12


def setting_key(folder: Path) -> str:
    """12 hex digits that runs of one configuration share: SHA-256 over config.toml without seed, name and compute.*.

    Values that are this version's defaults are left out: a key that came later does not part older runs from newer ones. Empty
    where the configuration cannot be read.
    """
    settings = read_settings(folder)
    defaults = _defaults(settings)
    own = {key: value for key, value in settings.items() if key not in defaults or value != defaults[key]}
    return _digest(shared_settings(own)) if settings else ""


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


def with_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's dotted keys, and those that its version did not know yet with the defaults that stand for them."""
    return {**_defaults(settings), **settings} if settings else {}


def _defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults of the keys that a training run has, as TOML gives values back; empty for other runs."""
    if "algorithm" not in settings:
        return {}
    from engine.config import TrainConfig, flat

    return {key: list(value) if isinstance(value, tuple) else value for key, value in flat(TrainConfig()).items()}


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


def find_runs(store: Store, references: Iterable[str], *, all_seeds: bool = False, paths: bool = True) -> list[Run]:
    """The runs that `references` name, each once, in their order: a run as `Store.find` takes it, the path of a run folder
    anywhere, the name of a group (all its runs, by seed), or a setting's 12 digits or their beginning.

    Args:
        all_seeds: with each run, every other of its setting in the store.
        paths: whether a path is meant where a run folder lies there; else one is only a name, which may hold slashes.

    Raises:
        RunNotFound: nothing goes by one of them, or more than one thing does.
    """
    listed: _Listed | None = None  # the store, read once and only where it must be
    found: dict[Path, Run] = {}
    for reference in references:
        named: Sequence[Run]
        elsewhere = paths and (os.sep in reference or reference.startswith("~"))
        folder = Path(os.path.abspath(os.path.expanduser(reference))) if elsewhere else store.root
        if elsewhere and (folder / record.RUN).exists():
            named = [read_run(folder)]
        else:
            listed = listed or _Listed(store)
            try:
                named = _of_group(listed.runs(), reference) or [listed.find(reference)]
            except RunNotFound:
                if not elsewhere or any(run.name == reference for run in listed.runs()):
                    raise
                raise RunNotFound(f"{folder} is no run folder, and no run is called {reference!r}") from None
        for run in named:
            found.setdefault(run.folder, run)
    if all_seeds:
        wanted = {setting_key(run.folder) for run in found.values()} - {""}
        for run in _by_seed(run for run in (listed or store).runs() if setting_key(run.folder) in wanted):
            found.setdefault(run.folder, run)
    return list(found.values())


class _Listed(Store):
    """A store as it was at one moment: several references cost one look."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.root)
        self._runs = store.runs()

    def runs(self) -> list[Run]:
        return self._runs


def group_of(folder: Path) -> str:
    """The name of the group with which a run was started; empty for one started alone."""
    return text_of(record.read_json(folder / record.RUN) or {}, "group")


def _of_group(runs: Sequence[Run], reference: str) -> list[Run]:
    """The runs of the group or setting of that name; none where a run has this very id, or nothing goes by it."""
    if any(run.id == reference for run in runs):
        return []
    if group := [run for run in runs if group_of(run.folder) == reference]:
        return _by_seed(group)
    if not re.fullmatch(r"[0-9a-f]{6,12}", reference):
        return []
    keys = {run.id: setting_key(run.folder) for run in runs}
    settings = {key for key in keys.values() if key.startswith(reference)}
    if len(settings) > 1:
        raise RunNotFound(f"{len(settings)} settings begin with {reference!r}: {', '.join(sorted(settings))}")
    return _by_seed(run for run in runs if keys[run.id] in settings)


def _by_seed(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda run: (run.seed, run.created, run.id))


def _digest(values: Mapping[str, Any]) -> str:
    import hashlib

    text = record.dumps({key: values[key] for key in sorted(values)})
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:_LENGTH]
