"""The rows of a listing: the seeds of one setting are one row, with mean and spread over them (standard library only)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mopo_tui.manager.groups import shared_settings
from mopo_tui.manager.index import Listed, Values
from mopo_tui.manager.run import Run
from mopo_tui.manager.state import RunState, clean

_SHARED = 4  # characters that names must share to be called by them
_TOLD_KEYS = ("preset", "rollout.coefficient", "rollout.length", "rollout.uncertainty")  # before all other keys
# Of a row whose runs are in several states, the first of these is told: what moves, what went wrong, what is done.
_TOLD_FIRST = (
    RunState.RUNNING,
    RunState.PAUSED,
    RunState.QUEUED,
    RunState.LOST,
    RunState.FAILED,
    RunState.UNREADABLE,
    RunState.STOPPED,
    RunState.FINISHED,
)


@dataclass(frozen=True)
class Spread:
    """A mean over seeds. `std` is the sample standard deviation, None below two; `unit` is "%" for normalized scores."""

    mean: float
    std: float | None
    n: int
    unit: str = ""


@dataclass(frozen=True)
class Row:
    """Runs of one setting, newest first; one run where it stands alone.

    Attributes:
        total: runs of the setting in the whole store, also those that a filter left out.
    """

    runs: tuple[Run, ...]
    setting: str = ""
    total: int = 1

    @property
    def newest(self) -> Run:
        return self.runs[0]

    @property
    def finished(self) -> int:
        return sum(run.state is RunState.FINISHED for run in self.runs)

    @property
    def finished_seeds(self) -> int:
        """Seeds of which a run is finished: one that was run twice counts once, as it does in the mean."""
        return len({run.seed for run in self.runs if run.state is RunState.FINISHED})

    @property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @property
    def states(self) -> list[tuple[RunState, int]]:
        """How many runs are in each state, what matters most first."""
        counts = Counter(run.state for run in self.runs)
        return sorted(counts.items(), key=lambda item: _TOLD_FIRST.index(item[0]))

    @property
    def progress(self) -> float:
        return sum(run.progress for run in self.runs) / len(self.runs)

    @property
    def eta_s(self) -> float | None:
        """Of the run that takes longest, as far as runs tell."""
        return max((run.eta_s for run in self.runs if run.eta_s is not None), default=None)

    def last(self) -> Spread | None:
        """The last score, or the last return where the task has no scale."""
        return self._either("score_last", "return_last")

    def best(self) -> Spread | None:
        """The best score so far, or the best return."""
        return self._either("score_best", "return_best")

    def _either(self, score: str, raw: str) -> Spread | None:
        return self.spread(lambda run: getattr(run, score), "%") or self.spread(lambda run: getattr(run, raw))

    def spread(self, value: Callable[[Run], Any], unit: str = "") -> Spread | None:
        """Mean and spread over the seeds that have a value. Of runs that repeat a seed the newest counts: a repetition tells
        nothing about other seeds."""
        by_seed: dict[int, float] = {}
        for run in self.runs:
            found = value(run)
            if isinstance(found, (int, float)) and math.isfinite(found):
                by_seed.setdefault(run.seed, float(found))
        values = list(by_seed.values())
        if not values:
            return None
        mean = math.fsum(values) / len(values)
        if len(values) < 2:
            return Spread(mean, None, 1, unit)
        variance = math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1)
        return Spread(mean, math.sqrt(variance), len(values), unit)


def rows_of(chosen: Iterable[Listed], every: Sequence[Listed], *, opened: bool) -> list[Row]:
    """The rows of the runs `chosen`, in the order of their first ones.

    Args:
        every: all runs of the store, of which `chosen` are some.
        opened: one row per run.
    """
    totals = Counter(listed.setting for listed in every)
    groups: dict[str, list[Listed]] = {}
    for listed in chosen:
        alone = opened or not listed.setting or listed.run.problem
        groups.setdefault(listed.run.id if alone else listed.setting, []).append(listed)
    return [
        Row(
            tuple(sorted((listed.run for listed in group), key=lambda run: (run.created, run.id), reverse=True)),
            group[0].setting,
            totals[group[0].setting] if group[0].setting else 1,
        )
        for group in groups.values()
    ]


def title(row: Row) -> str:
    """What the runs of a row are called: their common name, without the seed that a name by default ends in."""
    names = [run.name for run in row.runs]
    if len(names) == 1:
        return names[0]
    if (stem := _stem(row)) is not None:
        return stem
    common = names[0]
    while not all(name.startswith(common) for name in names):
        common = common[:-1]
    common = common.rstrip(" -_.")
    return f"{common}…" if len(common) >= _SHARED else names[0]


def _stem(row: Row) -> str | None:
    """The name of a row's runs without their seeds; None where they have no such name in common."""
    stems = {run.name.removesuffix(f"-s{run.seed}") for run in row.runs}
    return stems.pop() if len(stems) == 1 else None


def differences(rows: Sequence[Row], values: Values) -> dict[str, dict[str, str]]:
    """Where rows of different settings are called the same but for the seed: by the id of a row's newest run, the values of the few
    keys that tell their settings apart. A preset stands for all that it changes."""
    called: dict[str, list[Row]] = {}
    for row in rows:
        called.setdefault(_stem(row) or title(row), []).append(row)
    found: dict[str, dict[str, str]] = {}
    for same in called.values():
        if len({row.setting for row in same}) < 2:
            continue
        settings = [shared_settings(values.settings(row.newest)) for row in same]
        keys = _telling_apart(settings)
        for row, each in zip(same, settings, strict=True):
            found[row.newest.id] = {key: written(each[key]) for key in keys if key in each}
    return found


def _telling_apart(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys by which settings differ, as few as tell all of them apart; keys that some do not know come last."""
    known = list(dict.fromkeys([*_TOLD_KEYS, *(key for each in settings for key in each)]))
    known.sort(key=lambda key: not all(key in each for each in settings))
    classes: list[tuple[str, ...]] = [()] * len(settings)
    chosen = []
    for key in known:
        finer = [(*c, repr(each.get(key))) for c, each in zip(classes, settings, strict=True)]
        if len(set(finer)) > len(set(classes)):
            chosen.append(key)
            classes = finer
    return chosen


def written(value: Any) -> str:
    """A recorded value as a person writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(map(written, value))
    return f"{value:g}" if isinstance(value, float) else clean(str(value))
