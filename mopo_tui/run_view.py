"""What the panels know of one run: columns read off the UI thread, never changed afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mopo_tui.manager.scores import normalized_score
from mopo_tui.manager.series import RunReader, Series
from mopo_tui.manager.state import clean
from mopo_tui.widgets.scale import Floats

LOSS = "dynamics/val_loss/"


@dataclass(frozen=True, eq=False)
class RunView:
    """One run's columns at one moment.

    Attributes:
        losses: by member.
        series: every metric that was measured.
        histograms: newest counts (162,) of u, by name ("rollout", "data").
        rounds: updates (n,) and counts (n, 162) of all of them, by name.
        best_epochs: by member, as the ensemble's fit told at its end; empty before it.
        stages: name and gradient step of each stage's beginning, in that order.
        entered: stage and Unix seconds of every beginning of one, a resumed run's too, in the order of writing.
        alerts: stage and message of each, in the order of writing.
        gate: what MB2PO's gate said, each a line.
        config: the configuration by dotted key.
        problem: why the columns could not be read; empty where they could.
    """

    run_id: str
    losses: Mapping[int, Series] = field(default_factory=dict)
    series: Mapping[str, Series] = field(default_factory=dict)
    histograms: Mapping[str, Floats] = field(default_factory=dict)
    rounds: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    best_epochs: Mapping[int, float] = field(default_factory=dict)
    stages: tuple[tuple[str, float], ...] = ()
    entered: tuple[tuple[str, float], ...] = ()
    alerts: tuple[tuple[str, str], ...] = ()
    gate: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    elites: tuple[int, ...] = ()
    references: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    def last(self, name: str) -> float | None:
        """The newest finite value of a series."""
        if name not in self.series:
            return None
        values = np.asarray(self.series[name].value, dtype=np.float64)
        values = values[np.isfinite(values)]
        return float(values[-1]) if values.size else None

    @property
    def started(self) -> float:
        """Unix seconds of the first row; NaN before there is one."""
        return min((float(series.t[0]) for series in self.series.values() if len(series)), default=float("nan"))

    def normalized(self, value: float) -> float | None:
        """The score of a return on the scale recorded with the run, in %; None where it has none."""
        return normalized_score(value, {"references": self.references})

    def reference(self, name: str) -> float | None:
        """The raw return of a reference ("random", "do_nothing", "batch_mean", "batch_best")."""
        entry = self.references.get(name)
        value = entry.get("return") if isinstance(entry, Mapping) else None
        try:
            return None if value is None or not np.isfinite(float(value)) else float(value)
        except (TypeError, ValueError):
            return None


def read_view(run_id: str, reader: RunReader) -> RunView:
    """The columns that the panels need, out of what the reader has."""
    names = reader.names()
    losses = {}
    for name in names:
        member = name.removeprefix(LOSS)
        if member != name and member.isdigit():
            losses[int(member)] = reader.series(name)
    histograms, rounds = {}, {}
    for name in ("rollout", "data"):
        counts = reader.histogram(name)
        if counts is not None:
            histograms[name] = np.asarray(counts, dtype=np.float64)
            updates, every = reader.histograms(name)
            rounds[name] = updates, np.asarray(every, dtype=np.float64)
    return RunView(
        run_id=run_id,
        losses=dict(sorted(losses.items())),
        series={name: reader.series(name) for name in names},
        histograms=histograms,
        rounds=rounds,
        best_epochs=_best_epochs(reader.events),
        stages=_stages(reader.events),
        entered=_entered(reader.events),
        alerts=tuple(_said(reader.events, "alert")),
        gate=tuple(message for _, message in _said(reader.events, "gate")),
        config=reader.config,
        elites=tuple(reader.elites),
        references=dict(reader.references or {}),
    )


def _best_epochs(events: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """Of the newest event about the elites."""
    for row in reversed(list(events)):
        epochs = row.get("best_epoch")
        if row.get("kind") == "elites" and isinstance(epochs, list):
            return {member: float(epoch) for member, epoch in enumerate(epochs) if isinstance(epoch, (int, float))}
    return {}


def _stages(events: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, float], ...]:
    """Each stage once, where it began first: a resumed run enters one again."""
    found: dict[str, float] = {}
    for row in events:
        name, step = row.get("stage"), row.get("step")
        if row.get("kind") == "stage" and isinstance(name, str) and isinstance(step, (int, float)):
            found.setdefault(name, float(step))
    return tuple(found.items())


def _entered(events: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, float], ...]:
    found = []
    for row in events:
        name, t = row.get("stage"), row.get("t")
        if row.get("kind") == "stage" and isinstance(name, str) and isinstance(t, (int, float)):
            found.append((clean(name), float(t)))
    return tuple(found)


def _said(events: Iterable[Mapping[str, Any]], kind: str) -> list[tuple[str, str]]:
    """Stage and message of the events of one kind."""
    return [
        (clean(str(row.get("stage", ""))), clean(str(row.get("message", ""))))
        for row in events
        if row.get("kind") == kind
    ]


class Readers:
    """The readers of the runs opened last; each goes on where it stopped."""

    def __init__(self, most: int = 8) -> None:
        self._least = self._most = most
        self._readers: dict[str, RunReader] = {}

    def hold(self, count: int) -> None:
        """Keep at least so many open: those that are watched together."""
        self._most = max(self._least, count)

    def refresh(self, run_id: str, folder: Path) -> RunView | None:
        """The run's view where anything is new since the last call, or at the first; else None."""
        reader = self._readers.pop(run_id, None)
        first = reader is None
        if reader is None:
            reader = RunReader(folder)
        self._readers[run_id] = reader
        while len(self._readers) > self._most:
            self._readers.pop(next(iter(self._readers)))
        try:
            changed = reader.refresh()
            return read_view(run_id, reader) if changed or first else None
        except (OSError, ValueError, TypeError, KeyError) as error:
            self._readers.pop(run_id)
            return RunView(run_id, problem=f"cannot be read: {error}")

    def again(self, run_id: str) -> RunView | None:
        """The view as it was read last, without reading; None where the run is not open."""
        return read_view(run_id, self._readers[run_id]) if run_id in self._readers else None
