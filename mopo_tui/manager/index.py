"""What a listing needs of every run, kept between listings in two derived files of the store.

Those of a store that is only read lie in the user's cache folder. Both may be deleted at any time: a file that is missing, torn, or
of another version is made again from the run folders, and a store that cannot be written works without. Kept is only what cannot
change: the setting of each run, and all of a run that is over, as long as its small files are the ones it was read from. The state
of every other run is judged anew each time.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import record
from mopo_tui.manager.locations import REFERENCE
from mopo_tui.manager.run import Run, number_of, read_run, text_of
from mopo_tui.manager.state import QUEUED_MARK, STOP_REQUEST, RunState

if TYPE_CHECKING:
    from mopo_tui.manager.store import Store

INDEX, VALUES = ".index.json", ".index-values.json"
# What says how a folder is read: where one of these files is another, what was kept may be, too. The configuration's defaults
# are among them, since values that are defaults do not part settings.
_READERS = (
    "engine/config.py",
    *(f"mopo_tui/manager/{name}.py" for name in ("groups", "index", "run", "settings", "state")),
)
# A file that changed so shortly ago may change again without a new time or size: it is read again next time.
SETTLED_SECONDS = 2.0
_SETTING_FILES = (record.CONFIG, record.EXTENSION)
_RUN_FILES = (
    *(record.RUN, record.META, record.SUMMARY, record.PROCESS, record.EXIT, record.RESULT),
    *(QUEUED_MARK, STOP_REQUEST),
)
# A lost run may come back: another host's heartbeat may only have been late.
_FINAL = (RunState.FINISHED, RunState.STOPPED, RunState.FAILED)
_MOVING = (RunState.RUNNING, RunState.PAUSED)  # judged at every look: a process may end without leaving a file
_WHOLE_LOOKS = 20
_NO_STAMP = (0, 0)


@dataclass(frozen=True)
class Listed:
    """A run in a listing. `setting` is what it shares with its other seeds; empty where its configuration cannot be read."""

    run: Run
    setting: str


class Listing:
    """The runs of a store, looked at again and again: a look reads only what may have changed since the one before.

    A run that moves is read at every look. Any other is read when its folder or the control folder in it says that a file came,
    went or was replaced, which is how every program here writes; a file that a person changed in place is found by comparing all
    small files, which each look does for a twentieth of the runs.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._path = store.derived / INDEX
        self._kept = _load(self._path)
        self._seen: dict[str, _Seen] = {}
        self._listed: list[Listed] = []
        self._looks = 0
        self._times: list[int] = []

    def look(self) -> Sequence[Listed]:
        """Every run, newest first; folders that cannot be read stand among them with `problem` set. Never changed afterwards, and
        the same object as at the look before where no run is another."""
        begin, now = len(str(self._store.root)) + 1, time.time_ns()
        self._times = self._folder_times()
        seen: dict[str, _Seen] = {}
        changed = stale = False
        for number, path in enumerate(self._store.paths()):
            key = path[begin:]
            stamp = _stamp(path) if self._looks else _NO_STAMP  # who looks only once need not know it
            before = self._seen.get(key)
            if before is not None and before.rests and before.stamp == stamp and (number + self._looks) % _WHOLE_LOOKS:
                seen[key] = before
                continue
            listed, entry, settled = _listed(Path(path), self._kept.get(key))
            if before is not None and before.listed == listed:
                listed = before.listed
            changed |= before is None or before.listed is not listed
            rests = settled and listed.run.state not in _MOVING and 0 < max(stamp) < now - SETTLED_SECONDS * 1e9
            seen[key] = _Seen(listed, stamp, rests)
            stale |= self._keep(key, entry)
        gone = self._kept.keys() - seen.keys()
        for key in gone:
            del self._kept[key]
        if stale or gone:
            _save(self._path, self._kept)
        if changed or len(seen) != len(self._seen):
            found = [each.listed for each in seen.values()]
            self._listed = sorted(found, key=lambda listed: (listed.run.created, listed.run.id), reverse=True)
        self._seen = seen
        self._looks += 1
        return self._listed

    def stirred(self) -> bool:
        """Whether a run may have come or gone since the last look; costs one look at two folders."""
        return self._times != self._folder_times()

    def _folder_times(self) -> list[int]:
        return [_changed(str(folder)) for folder in (self._store.root, self._store.root / REFERENCE)]

    def _keep(self, key: str, entry: dict[str, Any] | None) -> bool:
        """Keep that of a run, or nothing; whether it is other than what was kept."""
        if entry is None:
            return self._kept.pop(key, None) is not None
        if self._kept.get(key) == entry:
            return False
        self._kept[key] = entry
        return True


@dataclass(frozen=True)
class _Seen:
    """A run as a look found it. `stamp` is as `_stamp` says it, `rests` whether the run changes only when its files do."""

    listed: Listed
    stamp: tuple[int, int]
    rests: bool


def _stamp(path: str) -> tuple[int, int]:
    """When a file last came, went or was replaced in the run folder, and in the control folder in it."""
    return _changed(path), _changed(f"{path}/control")


def _changed(folder: str) -> int:
    """When the folder last changed, in ns since 1970; 0 where it is not there."""
    try:
        return os.stat(folder).st_mtime_ns
    except OSError:
        return 0


def listing(store: Store) -> Sequence[Listed]:
    """Every run of the store as it is now, newest first; folders that cannot be read stand among them with `problem` set."""
    return Listing(store).look()


def names(store: Store) -> list[tuple[str, str, str]]:
    """(id, name, group) of every sound run, newest first, without looking at states: for whoever completes a half-typed word."""
    kept = _load(store.derived / INDEX)
    found = []
    begin = len(str(store.root)) + 1
    for path in store.paths():
        folder, entry = Path(path), kept.get(path[begin:])
        values = entry if isinstance(entry, dict) else {}
        same = "run_files" in values and values["run_files"] == _signature(folder, _RUN_FILES)[0]
        run = _run_of(folder, values.get("run")) if same else None
        if run is not None:
            found.append((run.created, run.id, run.name, run.group))
            continue
        about, meta = (record.read_json(folder / name) or {} for name in (record.RUN, record.META))
        if about:
            name = text_of(meta, "name") or text_of(about, "name")
            found.append((number_of(about, "created") or 0.0, folder.name, name, text_of(about, "group")))
    return [(run_id, name, group) for _, run_id, name, group in sorted(found, reverse=True)]


def _listed(folder: Path, kept: Any) -> tuple[Listed, dict[str, Any] | None, bool]:
    """The run of one folder, out of the index where it holds, what to keep of it, and whether its files changed some time ago."""
    setting_signature, setting_settled = _signature(folder, _SETTING_FILES)
    run_signature, run_settled = _signature(folder, _RUN_FILES)
    settled = setting_settled and run_settled
    kept = kept if isinstance(kept, dict) else {}
    setting = kept.get("setting")
    if kept.get("setting_files") != setting_signature or not isinstance(setting, str):
        from mopo_tui.manager.groups import setting_key  # loads the whole configuration, which an index saves

        kept, setting = {}, setting_key(folder)
    run = _run_of(folder, kept.get("run")) if kept.get("run_files") == run_signature else None
    if run is not None:
        return Listed(run, setting), kept, settled
    run = read_run(folder)
    entry: dict[str, Any] | None = None
    if setting_settled and setting:
        entry = {"setting_files": setting_signature, "setting": setting}
        if run_settled and run.state in _FINAL:
            entry |= {"run_files": run_signature, "run": _kept(run)}
    return Listed(run, setting), entry, settled


def _signature(folder: Path, names: Iterable[str]) -> tuple[str, bool]:
    """Time, size and inode of these files, and whether none of them changed just now."""
    parts, newest, begin, stat = [], 0, f"{folder}/", os.stat
    for name in names:
        try:
            found = stat(begin + name)
        except OSError:
            parts.append("-")
            continue
        changed = found.st_mtime_ns
        parts.append(f"{changed}.{found.st_size}.{found.st_ino}")
        if changed > newest:
            newest = changed
    return " ".join(parts), newest < time.time_ns() - SETTLED_SECONDS * 1e9


# --- a run in the index -----------------------------------------------------------------------------------------------------------


def _text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


# By the annotation of a field of Run: whoever may write the store may write the index, so nothing in it is believed unseen.
_SOUND: dict[str, Callable[[Any], bool]] = {
    "str": _text,
    "int": _whole,
    "int | None": lambda value: value is None or _whole(value),
    "float": _finite,
    "float | None": lambda value: value is None or _finite(value),
    "tuple[str, ...]": lambda value: isinstance(value, (list, tuple)) and all(map(_text, value)),
    "dict[str, Any]": lambda value: isinstance(value, dict),
    "dict[str, Any] | None": lambda value: value is None or isinstance(value, dict),
    "RunState": lambda value: value in [state.value for state in _FINAL],
}
_FIELDS = {f.name: (_SOUND[str(f.type)], f) for f in fields(Run) if f.name not in ("folder", "id")}


def _kept(run: Run) -> dict[str, Any]:
    """What the index keeps of a run: every field that is not as for a run of which nothing is known."""
    values = run.to_json()
    return {name: values[name] for name, (_, f) in _FIELDS.items() if values[name] not in (f.default, {})}


def _run_of(folder: Path, values: Any) -> Run | None:
    """The run that the index keeps; None where what stands there is none."""
    if not isinstance(values, dict):
        return None
    for name, value in values.items():
        field = _FIELDS.get(name)
        if field is None or not field[0](value):
            return None
    known = {
        **values,
        "tags": tuple(values.get("tags", ())),
        "state": RunState(values.get("state", RunState.UNREADABLE)),
    }
    return Run(folder=folder, id=folder.name, **known)


# --- settings and last values, for filters and orders ----------------------------------------------------------------------------


class Values:
    """The configuration and the last value of each metric, by run, read where somebody asks for them.

    Rows that were read once are not read again: metrics.jsonl only grows. `save` keeps what was read for the next listing.
    """

    def __init__(self, store: Store) -> None:
        self._root = store.root
        self._path = store.derived / VALUES
        self._kept = _load(self._path)
        self._changed = False

    def settings(self, run: Run) -> Mapping[str, Any]:
        """The run's configuration by dotted key; empty where it cannot be read."""
        entry = self._entry(run)
        signature, settled = _signature(run.folder, _SETTING_FILES)
        known = entry.get("settings")
        if entry.get("setting_files") == signature and isinstance(known, dict):
            return known
        from mopo_tui.manager.settings import read_settings

        settings = read_settings(run.folder)
        if settled:
            entry.update(setting_files=signature, settings=settings)
            self._changed = True
        return settings

    def last(self, run: Run) -> Mapping[str, Any]:
        """The value of each metric in the last row that has it."""
        entry = self._entry(run)
        path = run.folder / record.METRICS
        try:
            found = path.stat()
        except OSError:
            return {}
        known = entry.get("metrics")
        offset, values = 0, dict[str, Any]()
        if isinstance(known, dict) and known.get("inode") == found.st_ino and isinstance(known.get("last"), dict):
            offset = known["offset"] if _whole(known.get("offset")) and 0 <= known["offset"] <= found.st_size else 0
            values = dict(known["last"]) if offset else values
        if offset == found.st_size:
            return values
        rows, end = record.read_rows(path, offset)
        for row in rows:
            measured = row.get("m")
            if isinstance(measured, dict):
                values.update({str(name): number_of(measured, name) for name in measured})
        if end != offset:
            entry["metrics"] = {"inode": found.st_ino, "offset": end, "last": values}
            self._changed = True
        return values

    def save(self) -> None:
        """Keep what was read; runs that are gone are forgotten."""
        if self._changed:
            _save(self._path, {key: entry for key, entry in self._kept.items() if (self._root / key).is_dir()})
            self._changed = False

    def _entry(self, run: Run) -> dict[str, Any]:
        key = str(run.folder.relative_to(self._root))
        entry = self._kept.get(key)
        if not isinstance(entry, dict):
            entry = self._kept[key] = {}
        return entry


# --- the files --------------------------------------------------------------------------------------------------------------------


def _load(path: Path) -> dict[str, Any]:
    """The entries of a derived file by folder; none where it is missing, torn or of another version."""
    whole = record.read_json(path) or {}
    entries = whole.get("runs")
    return entries if whole.get("version") == _version() and isinstance(entries, dict) else {}


@functools.cache
def _version() -> str:
    """The size and time of every file that says how a folder is read."""
    return _signature(Path(__file__).parents[2], _READERS)[0]


def _save(path: Path, entries: Mapping[str, Any]) -> None:
    text = json.dumps({"version": _version(), "runs": entries}, ensure_ascii=False, separators=(",", ":"))
    with contextlib.suppress(OSError, UnicodeEncodeError):  # a store of somebody else, a full disk: it works without
        record.write_atomically(path, text)
