"""What a run measured, as columns: an incremental reader of one run folder's rows.

Parsed columns of large runs are kept in the user's cache folder, so that opening such a run again reads them instead of its
JSON. That folder may be deleted at any time; what lies in it counts only where the run's own file is still the one it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from engine import record
from mopo_tui.manager import locations
from mopo_tui.manager.settings import read_settings

Floats = npt.NDArray[np.float64]
_HEAD = ("step", "update", "epoch", "t")
_LINES = 100  # parsed at once: few enough to stay in the processor's cache
_KEPT_FROM = 2_000_000  # bytes of rows from which on columns are kept
_KEPT_DAYS = 30
_CHECKED = 4096  # bytes at the beginning, and before the end of what was read, by which a file is known again
_FORMAT = 2
_FINAL = (
    "evaluation"  # the stage whose rows score the final policy, at the step of the last evaluation: no part of a curve
)
_ROUNDS = 256  # histograms that are kept of one name


@dataclass(frozen=True)
class Series:
    """One metric over a run; five arrays of one length, sorted by step, one row per step.

    Attributes:
        step: gradient steps of the whole run.
        update: gradient steps of policy stages; NaN in rows that have none.
        epoch: inside the row's stage.
        t: Unix seconds.
        value: in the metric's unit; may be NaN or infinite where the engine measured that.
    """

    step: Floats
    update: Floats
    epoch: Floats
    t: Floats
    value: Floats

    def __len__(self) -> int:
        return len(self.step)


class _Column:
    """The rows of one metric as they grow, sorted by step; arrays handed out stay as they are."""

    def __init__(self, head: Floats, value: Floats) -> None:
        self._head, self._value = head, value  # (4, room) and (room,), of which `_count` rows are taken
        self._count = len(value)
        self._series: Series | None = None

    def append(self, head: Floats, value: Floats) -> None:
        """More rows, (4, n) and (n,), in the order of writing: of rows of one step the last one stays."""
        self._series = None
        step = head[0]
        last = self._head[0, self._count - 1] if self._count else -np.inf
        if len(step) and step[0] > last and (step[1:] > step[:-1]).all():
            end = self._count + len(value)
            if end > len(self._value):  # doubled, so that all rows together are copied but once or twice
                room = max(end, 2 * self._count)
                head_room, value_room = np.empty((len(_HEAD), room)), np.empty(room)
                head_room[:, : self._count] = self._head[:, : self._count]
                value_room[: self._count] = self._value[: self._count]
                self._head, self._value = head_room, value_room
            self._head[:, self._count : end], self._value[self._count : end] = head, value
            self._count = end
            return
        # A resumed run measures some steps again.
        heads = np.concatenate([self._head[:, : self._count], head], axis=1)
        values = np.concatenate([self._value[: self._count], value])
        order = np.argsort(heads[0], kind="stable")
        steps = heads[0, order]
        kept = order[np.append(steps[1:] != steps[:-1], True)]
        self._head, self._value, self._count = np.ascontiguousarray(heads[:, kept]), values[kept], len(kept)

    def series(self) -> Series:
        if self._series is None:
            step, update, epoch, t = self._head[:, : self._count]
            self._series = Series(step, update, epoch, t, self._value[: self._count])
        return self._series


class _Rounds:
    """The histograms of one name over a run. Where there are too many, each two neighbours become one: counts add."""

    def __init__(self) -> None:
        self._steps: list[float] = []
        self._updates: list[float] = []
        self._counts: list[npt.NDArray[np.int64]] = []

    def append(self, step: float, update: float, counts: npt.NDArray[np.int64]) -> None:
        """One more, of shape (162,); a resumed run measures some steps again, and then its last word counts."""
        while self._steps and self._steps[-1] >= step:
            del self._steps[-1], self._updates[-1], self._counts[-1]
        self._steps.append(step)
        self._updates.append(update)
        self._counts.append(counts)
        if len(self._steps) > _ROUNDS:
            even = len(self._steps) // 2 * 2
            pairs = zip(self._counts[0:even:2], self._counts[1:even:2], strict=True)
            self._counts = [a + b for a, b in pairs] + self._counts[even:]
            self._steps = self._steps[1:even:2] + self._steps[even:]
            self._updates = self._updates[1:even:2] + self._updates[even:]

    def arrays(self) -> tuple[Floats, npt.NDArray[np.int64]]:
        counts = np.array(self._counts, dtype=np.int64).reshape(-1, record.HISTOGRAM_BINS + 2)
        return np.array(self._updates, dtype=np.float64), counts


class RunReader:
    """Reads the rows of one run folder as they come, each byte once.

    Attributes:
        elites: member indices of the ensemble, as the last "elites" event says; empty before it.
        events: every event so far, in the order of writing.
        environment: environment.json; empty until the engine has written it.
        references: its "references" part: returns of random and do-nothing policies, of the batch, and the score's scale.
        config: the run's configuration by dotted key; empty where config.toml cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.elites: tuple[int, ...] = ()
        self.events: list[dict[str, Any]] = []
        self.environment: dict[str, Any] = {}
        self.references: dict[str, Any] = {}
        self.config: dict[str, Any] = read_settings(folder)
        self._columns: dict[str, _Column] = {}
        self._histograms: dict[str, npt.NDArray[np.int64]] = {}
        self._rounds: dict[str, _Rounds] = {}
        self._offsets: dict[str, int] = {}
        self._kept_to = 0  # bytes of metrics.jsonl whose columns are kept in the cache
        self._environment_stamp: tuple[int, int] | None = None

    def refresh(self) -> bool:
        """Read what was added since the last time; True if anything was."""
        changed = self._read_environment()
        if not self.config:
            self.config = read_settings(self.folder)
            changed |= bool(self.config)
        changed |= self._read_metrics()
        if rows := self._new_rows(record.HISTOGRAMS):
            self._take_histograms(rows)
            changed = True
        if rows := self._new_rows(record.EVENTS):
            self._take_events(rows)
            changed = True
        return changed

    def names(self) -> list[str]:
        """The metrics measured so far, sorted."""
        return sorted(self._columns)

    def series(self, name: str) -> Series:
        """The metric's rows so far; empty for one that is not measured (yet). Treat the arrays as read-only."""
        column = self._columns.get(name)
        if column is None:
            return Series(*(np.empty(0) for _ in range(len(_HEAD) + 1)))
        return column.series()

    def histogram(self, name: str) -> npt.NDArray[np.int64] | None:
        """The newest counts of that name, shape (162,): underflow, 160 bins between `record.histogram_edges()`, overflow."""
        return self._histograms.get(name)

    def histograms(self, name: str) -> tuple[Floats, npt.NDArray[np.int64]]:
        """All counts of that name: the update at which each was taken, rising, (n,), NaN where it is not known, and the counts
        (n, 162). Of a long run some hundred are left, each the sum of several, with the update of the last of them."""
        return self._rounds.get(name, _Rounds()).arrays()

    # --- reading ------------------------------------------------------------------------------------------------------------------

    def _new(self, name: str) -> int | None:
        """The byte from which on a file of rows has more; None where it has none."""
        try:
            size = (self.folder / name).stat().st_size
        except OSError:
            return None
        offset = self._offsets.get(name, 0)
        if size < offset:  # the file was replaced by a shorter one: another run's, or a copy cut short
            self._forget(name)
            offset = self._offsets[name] = 0
        return None if size == offset else offset

    def _new_rows(self, name: str) -> list[dict[str, Any]]:
        offset = self._new(name)
        if offset is None:
            return []
        rows, self._offsets[name] = record.read_rows(self.folder / name, offset)
        return rows

    def _read_metrics(self) -> bool:
        offset = self._new(record.METRICS)
        if offset is None:
            return False
        path = self.folder / record.METRICS
        changed = False
        if offset == 0 and (kept := _kept(path)) is not None:
            offset, self._columns = kept
            self._kept_to = offset
            changed = True
        try:
            with open(path, "rb") as f:
                f.seek(offset)
                data = f.read()
        except OSError:
            return changed
        whole = data[: data.rfind(b"\n") + 1]
        self._offsets[record.METRICS] = end = offset + len(whole)
        for name, (head, value) in _columns(whole).items():
            if name not in self._columns:
                self._columns[name] = _Column(np.empty((len(_HEAD), 0)), np.empty(0))
            self._columns[name].append(head, value)
            changed = True
        # Written anew when a quarter more has come: following a run costs in proportion to what is new.
        if end - self._kept_to > max(_KEPT_FROM, self._kept_to // 4):
            _keep(path, end, {name: column.series() for name, column in self._columns.items()})
            self._kept_to = end
        return changed

    def _forget(self, name: str) -> None:
        if name == record.METRICS:
            self._columns = {}
            self._kept_to = 0
        elif name == record.HISTOGRAMS:
            self._histograms.clear()
            self._rounds.clear()
        else:
            self.events.clear()
            self.elites = ()

    def _read_environment(self) -> bool:
        path = self.folder / record.ENVIRONMENT
        try:
            status = path.stat()
        except OSError:
            return False
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp == self._environment_stamp:
            return False
        self._environment_stamp = stamp
        self.environment = record.read_json(path) or {}
        references = self.environment.get("references")
        self.references = references if isinstance(references, dict) else {}
        return True

    def _take_histograms(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            counts = row.get("counts")
            for name, values in counts.items() if isinstance(counts, dict) else ():
                try:
                    array = np.asarray(values, dtype=np.int64)
                except (TypeError, ValueError, OverflowError):
                    continue
                if array.shape == (record.HISTOGRAM_BINS + 2,):
                    self._histograms[name] = array
                    step = _float(row.get("step"))
                    self._rounds.setdefault(name, _Rounds()).append(step, _float(row.get("update")), array)

    def _take_events(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self.events.append(row)
            elites = row.get("elites")
            if row.get("kind") == "elites" and isinstance(elites, list):
                self.elites = tuple(e for e in elites if isinstance(e, int))


def over_seeds(curves: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats, Floats, Floats]:
    """Curves (x, y), each x rising, as x, mean, lowest and highest, where all of them have values; between two points of a curve
    lies a straight line."""
    begin, end = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    every = np.unique(np.concatenate([x for x, _ in curves]))
    shared = every[(every >= begin) & (every <= end)]
    values = np.stack([np.interp(shared, x, y) for x, y in curves])
    return shared, values.mean(0), values.min(0), values.max(0)


# --- parsing ----------------------------------------------------------------------------------------------------------------------


def _columns(data: bytes) -> dict[str, tuple[Floats, Floats]]:
    """Whole lines of metrics.jsonl as a head (4, n) and values (n,) for each metric, in the order of writing."""
    # Rows that measure the same metrics become one table; the rows' numbers bring those of several tables into order again.
    tables: dict[tuple[str, ...], list[tuple[Floats, Floats]]] = {}
    lines = data.split(b"\n")
    for at in range(0, len(lines), _LINES):
        for names, rows in _parsed(lines[at : at + _LINES], at).items():
            tables.setdefault(names, []).append(rows)
    parts: dict[str, list[tuple[Floats, Floats]]] = {}
    for names, chunks in tables.items():
        heads = np.ascontiguousarray(np.concatenate([head for head, _ in chunks]).T)
        values = np.ascontiguousarray(np.concatenate([value for _, value in chunks]).T)
        for name, column in zip(names, values, strict=True):
            parts.setdefault(name, []).append((heads, column))
    found = {}
    for name, tables_of in parts.items():
        head, value = tables_of[0]
        if len(tables_of) > 1:
            head = np.concatenate([part for part, _ in tables_of], axis=1)
            value = np.concatenate([part for _, part in tables_of])
            order = np.argsort(head[-1])
            head, value = head[:, order], value[order]
        found[name] = (head[:-1], value)
    return found


def _parsed(lines: Sequence[bytes], first: int) -> dict[tuple[str, ...], tuple[Floats, Floats]]:
    """For each set of metrics that rows have, their heads with the lines' numbers, (n, 5), and their values, (n, metrics)."""
    text = b",".join(line for line in lines if line)
    try:
        rows = orjson.loads(b"[" + text + b"]")
        if len(rows) != sum(map(bool, lines)) or b"null" in text:
            raise ValueError
        numbers = [number for number, line in enumerate(lines, first) if line]
        grouped: dict[tuple[str, ...], tuple[list[Any], list[Any]]] = {}
        for number, row in zip(numbers, rows, strict=True):
            values = row["m"]
            if row.get("stage") == _FINAL:
                continue
            heads, table = grouped.setdefault(tuple(values), ([], []))
            heads.append([row["step"], row.get("update"), row.get("epoch"), row.get("t"), number])
            table.append(list(values.values()))
        found = {names: (np.array(heads, float), np.array(table, float)) for names, (heads, table) in grouped.items()}
        if any(np.isnan(heads[:, 0]).any() or table.ndim != 2 for heads, table in found.values()):
            raise ValueError
        return found
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return _parsed_one_by_one(lines, first)


def _parsed_one_by_one(lines: Sequence[bytes], first: int) -> dict[tuple[str, ...], tuple[Floats, Floats]]:
    """The same where something among `lines` is torn or no number: what is of use counts."""
    grouped: dict[tuple[str, ...], tuple[list[Any], list[Any]]] = {}
    for number, line in enumerate(lines, first):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        values = row.get("m") if isinstance(row, dict) else None
        if not isinstance(values, dict) or row.get("stage") == _FINAL or np.isnan(step := _float(row.get("step"))):
            continue
        usable = {name: found for name, value in values.items() if (found := _number(value)) is not None}
        if usable:
            heads, table = grouped.setdefault(tuple(usable), ([], []))
            heads.append([step, *(_float(row.get(name)) for name in _HEAD[1:]), number])
            table.append(list(usable.values()))
    return {names: (np.array(heads), np.array(table)) for names, (heads, table) in grouped.items()}


def _number(value: Any) -> float | None:
    try:
        return record.number(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _float(value: Any) -> float:
    found = _number(value)
    return float("nan") if found is None else found


# --- columns kept in the user's cache ---------------------------------------------------------------------------------------------


def _place(path: Path) -> Path:
    name = hashlib.sha256(os.path.abspath(path).encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return locations.user_cache() / "columns" / f"{name}.npz"


def _mark(path: Path, end: int) -> str:
    """What a file begins with and what stands before byte `end`, as a digest; empty where it cannot be read, or is shorter."""
    try:
        with open(path, "rb") as f:
            begins = f.read(min(_CHECKED, end))
            f.seek(max(0, end - _CHECKED))
            ends = f.read(min(_CHECKED, end))
            return hashlib.sha256(begins + ends).hexdigest() if f.tell() == end else ""
    except OSError:
        return ""


def _kept(path: Path) -> tuple[int, dict[str, _Column]] | None:
    """The columns kept of `path`, and the byte up to which they go; None where there are none that fit."""
    place = _place(path)
    try:
        if not place.exists():
            return None
        with np.load(place, allow_pickle=False) as arrays:
            about = json.loads(bytes(arrays["about"]))
            if about["format"] != _FORMAT or not (mark := _mark(path, about["end"])) or about["mark"] != mark:
                return None
            columns = {}
            for i, names in enumerate(about["names"]):
                head, values = arrays[f"head{i}"], arrays[f"values{i}"]
                if head.shape != (len(_HEAD), values.shape[1]) or head.dtype != float or values.dtype != float:
                    return None
                columns.update({name: _Column(head, value) for name, value in zip(names, values, strict=True)})
        os.utime(place)
        return int(about["end"]), columns
    except Exception:  # whatever is wrong with a cache, the run's own file has everything
        return None


def _keep(path: Path, end: int, columns: Mapping[str, Series]) -> None:
    """Keep `columns`, read up to byte `end`; where that cannot be done, the next reading parses again."""
    groups: dict[bytes, list[str]] = {}  # metrics that were measured at the same steps share their heads
    for name, series in columns.items():
        key = hashlib.sha256(b"".join(getattr(series, part).tobytes() for part in _HEAD)).digest()
        groups.setdefault(key, []).append(name)
    about = {"format": _FORMAT, "end": end, "mark": _mark(path, end), "names": list(groups.values())}
    arrays = {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)}
    for i, names in enumerate(groups.values()):
        arrays[f"head{i}"] = np.stack([getattr(columns[names[0]], part) for part in _HEAD])
        arrays[f"values{i}"] = np.stack([columns[name].value for name in names])
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]
    place = _place(path)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Not forced onto the disk: what a power cut tears has no sound checksum, and is parsed again.
            temporary.write_bytes(data.getbuffer())
            temporary.replace(place)
        finally:
            temporary.unlink(missing_ok=True)
        _tidy(place.parent)


def _tidy(folder: Path) -> None:
    """Remove what nobody has opened for a month."""
    oldest = time.time() - _KEPT_DAYS * 86_400
    for file in folder.glob("*.npz"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < oldest:
                file.unlink()
