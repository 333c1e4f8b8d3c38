"""What the app remembers from one use to the next: theme, panels, and of each store the order and the chosen run (no Textual).

One small JSON file in the user's state folder, which may be deleted at any time. Several apps may be open at once: each writes what
changed in it over what stands there by then. A file that cannot be read is forgotten with a word; one of another version stays as
it is, and nothing is remembered beside it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager import locations, locks

FILE = "app.json"
_FORMAT = 1
_STORES = 50  # of which something is remembered: the ones used last
_LOCK_SECONDS = 1.0


class Memory:
    """What is remembered, and what changed since it was read.

    Attributes:
        problem: why nothing, or not all, could be read; one line, or empty.

    Args:
        file: where it is kept; None: nowhere, for as long as the app is open.
        store: the root of the open store.
    """

    def __init__(self, file: Path | None = None, store: Path | None = None) -> None:
        self.problem = ""
        self._file, self._store = file, str(store)
        self._changed: dict[str, Any] = {}
        self._changed_here: dict[str, Any] = {}  # of the open store
        self._lock = threading.Lock()
        self._values = self._read()

    @staticmethod
    def of(store: Path) -> Memory:
        """What is remembered of the last uses, in the user's state folder."""
        return Memory(locations.user_state() / FILE, store)

    def get(self, name: str) -> Any:
        """What is remembered by that name; None for nothing. Nothing in it is known to be sound."""
        return self._values.get(name)

    def get_here(self, name: str) -> Any:
        """The same of the open store."""
        return _table(_table(self._values, "stores"), self._store).get(name)

    def put(self, name: str, value: Any) -> None:
        """Remember it; kept by the next `save`."""
        with self._lock:
            if self._values.get(name) != value:
                self._values[name] = self._changed[name] = value

    def put_here(self, name: str, value: Any) -> None:
        """Remember it of the open store."""
        with self._lock:
            here = self._values.setdefault("stores", {}).setdefault(self._store, {})
            if here.get(name) != value:
                here[name] = self._changed_here[name] = value

    @property
    def unsaved(self) -> bool:
        """Whether something changed since the last `save`."""
        return bool(self._changed or self._changed_here)

    def save(self) -> None:
        """Write what changed. A state folder that cannot be written is no error, and no app waits long for another."""
        with self._lock:
            changed, here = self._changed, self._changed_here
            self._changed, self._changed_here = {}, {}
        if self._file is None or not (changed or here):
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with locks.locked(self._file.with_suffix(".lock"), _LOCK_SECONDS):
                values = _sound(record.read_json(self._file))
                if values is None:
                    return
                values |= changed
                stores = dict(_table(values, "stores"))
                if here:
                    stores[self._store] = {**_table(stores, self._store), **here, "used": time.time()}
                newest = sorted(stores, key=lambda root: _used(stores[root]), reverse=True)[:_STORES]
                record.write_json(self._file, {**values, "format": _FORMAT, "stores": {r: stores[r] for r in newest}})
        except OSError:
            return

    def _read(self) -> dict[str, Any]:
        if self._file is None or not os.path.lexists(self._file):
            return {}
        found = record.read_json(self._file)
        values = _sound(found)
        if found is None:
            self.problem = f"{self._file} cannot be read: the app begins as new"
        elif values is None:
            self.problem = f"{self._file} is of another version of mopo-tui and stays as it is: nothing is remembered"
        return values or {}


def _sound(found: dict[str, Any] | None) -> dict[str, Any] | None:
    """The values of a file; none where it holds none, and None where they are another version's."""
    if found is None or not found:
        return {}
    if found.get("format") != _FORMAT:
        return None
    stores = {root: values for root, values in _table(found, "stores").items() if isinstance(values, dict)}
    return {**found, "stores": stores}


def _table(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _used(values: Mapping[str, Any]) -> float:
    used = values.get("used")
    return float(used) if isinstance(used, (int, float)) else 0.0
