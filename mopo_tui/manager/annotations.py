"""What a person says of a run: its name, its tags, a note. They stand in meta.json, which anybody may change at any time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine import record
from mopo_tui.manager import locks
from mopo_tui.manager.errors import StoreError
from mopo_tui.manager.making import checked_name, checked_tag
from mopo_tui.manager.run import Run, read_run, tags_of
from mopo_tui.manager.state import clean

LOCK = f"{record.CONTROL}/meta.lock"
LOCK_SECONDS = 5.0


def rename(run: Run, name: str) -> Run:
    """Call the run `name`; an empty one gives it back the name it was made with.

    Raises:
        StoreError: an unusable name, or meta.json cannot be changed.
    """
    name = checked_name(name, "name")
    return _edit(run, lambda meta: _put(meta, "name", name))


def write_note(run: Run, note: str) -> Run:
    """Put `note` in place of the run's note; an empty one takes it away. Line ends and other control characters become blanks.

    Raises:
        StoreError: meta.json cannot be changed.
    """
    note = clean(note).strip()
    return _edit(run, lambda meta: _put(meta, "note", note))


def change_tags(run: Run, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Run:
    """Give the run tags, and take some away; a tag that it has already, or has not, is no error.

    Raises:
        StoreError: an unusable tag, or meta.json cannot be changed.
    """
    added, removed = [checked_tag(tag) for tag in add], set(remove)

    def change(meta: dict[str, Any]) -> None:
        _put(meta, "tags", [tag for tag in dict.fromkeys([*tags_of(meta), *added]) if tag not in removed])

    return _edit(run, change)


def _put(meta: dict[str, Any], key: str, value: Any) -> None:
    """Set a key; an empty value takes it out."""
    meta.pop(key, None)
    if value:
        meta[key] = value


def _edit(run: Run, change: Callable[[dict[str, Any]], None]) -> Run:
    """Change meta.json, one editor after the other, so that none undoes what another has just written."""
    if run.problem:
        raise StoreError(f"{run.id}: {run.problem}")
    path = run.folder / record.META
    try:
        (run.folder / record.CONTROL).mkdir(exist_ok=True)
        with locks.locked(run.folder / LOCK, LOCK_SECONDS):
            meta = record.read_json(path)
            if meta is None and path.exists():
                raise StoreError(
                    f"{path} is no JSON object; mend it or delete it, and nothing else of the run is touched"
                )
            meta = meta or {}
            change(meta)
            record.write_json(path, meta)
    except locks.Busy:
        raise StoreError(f"{path}: another command has been changing it for {LOCK_SECONDS:g} s") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
    return read_run(run.folder)
