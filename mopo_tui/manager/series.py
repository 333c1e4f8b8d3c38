"""What a run measured, as columns: an incremental reader of one run folder's rows."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engine import record
from mopo_tui.manager.settings import read_settings

Floats = npt.NDArray[np.float64]
_COLUMNS = 5  # step, update, epoch, t, value


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


@dataclass
class _Column:
    """The rows of one metric as they grow; `steps` repeats the first entry of each row for bisection."""

    steps: list[float] = field(default_factory=list)
    rows: list[tuple[float, float, float, float, float]] = field(default_factory=list)
    series: Series | None = None

    def put(self, row: tuple[float, float, float, float, float]) -> None:
        self.series = None
        step = row[0]
        if not self.steps or step > self.steps[-1]:
            self.steps.append(step)
            self.rows.append(row)
            return
        # A resumed run measures some steps again: the later row replaces the earlier one.
        at = bisect.bisect_left(self.steps, step)
        if at < len(self.steps) and self.steps[at] == step:
            self.rows[at] = row
        else:
            self.steps.insert(at, step)
            self.rows.insert(at, row)


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
        self._offsets: dict[str, int] = {}
        self._environment_stamp: tuple[int, int] | None = None

    def refresh(self) -> bool:
        """Read what was added since the last time; True if anything was."""
        changed = self._read_environment()
        if not self.config:
            self.config = read_settings(self.folder)
            changed |= bool(self.config)
        if rows := self._new_rows(record.METRICS):
            self._take_metrics(rows)
            changed = True
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
            return Series(*(np.empty(0) for _ in range(_COLUMNS)))
        if column.series is None:
            table = np.asarray(column.rows, dtype=np.float64)
            column.series = Series(*np.ascontiguousarray(table.T))
        return column.series

    def histogram(self, name: str) -> npt.NDArray[np.int64] | None:
        """The newest counts of that name, shape (162,): underflow, 160 bins between `record.histogram_edges()`, overflow."""
        return self._histograms.get(name)

    # --- reading ------------------------------------------------------------------------------------------------------------------

    def _new_rows(self, name: str) -> list[dict[str, Any]]:
        path = self.folder / name
        try:
            size = path.stat().st_size
        except OSError:
            return []
        offset = self._offsets.get(name, 0)
        if size < offset:  # the file was replaced by a shorter one: another run's, or a copy cut short
            self._forget(name)
            offset = 0
        if size == offset:
            return []
        rows, self._offsets[name] = record.read_rows(path, offset)
        return rows

    def _forget(self, name: str) -> None:
        if name == record.METRICS:
            self._columns.clear()
        elif name == record.HISTOGRAMS:
            self._histograms.clear()
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

    def _take_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            values = row.get("m")
            step = _float(row.get("step"))
            if not isinstance(values, dict) or np.isnan(step):
                continue
            head = (step, _float(row.get("update")), _float(row.get("epoch")), _float(row.get("t")))
            for name, value in values.items():
                try:
                    number = record.number(value)
                except (TypeError, ValueError):
                    continue
                self._columns.setdefault(name, _Column()).put((*head, number))

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

    def _take_events(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self.events.append(row)
            elites = row.get("elites")
            if row.get("kind") == "elites" and isinstance(elites, list):
                self.elites = tuple(e for e in elites if isinstance(e, int))


def _float(value: Any) -> float:
    try:
        return record.number(value)
    except (TypeError, ValueError):
        return float("nan")
