"""Whether two runs that should be one and the same are: what they stand on, and every metric row by row (standard library only)."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import platform
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import record
from mopo_tui.manager.differences import Difference, differences
from mopo_tui.manager.groups import setting_key
from mopo_tui.manager.run import Run, number_of, text_of
from mopo_tui.manager.state import clean
from mopo_tui.manager.store import StoreError

if TYPE_CHECKING:
    from engine.config import TrainConfig
    from mopo_tui.manager.store import Store

# What a run's numbers depend on; of the machine, its processor and Python alone.
_DECIDES = ("configuration", "data", "environment", "constants", "versions", "code", "compute", "machine")
_MACHINE = ("cpu", "cpu_features", "python")
# A kept ensemble is the one that would be fitted; the threads stand in "compute".
_NO_MATTER = ("compute.reuse", "compute.threads", "name")
_CLOCK = "speed/"  # metrics that tell how fast it was, not what was learned
_SCORE = "eval/return"


@dataclass(frozen=True)
class Deviation:
    """Where a metric is not the same: its first such row, with both values."""

    metric: str
    step: float
    a: float
    b: float


@dataclass(frozen=True)
class Spread:
    """The evaluations that both runs have, against those of other seeds.

    Attributes:
        update: the policy updates after which both were last evaluated.
        a, b: returns there.
        seeds: how many other seeds were evaluated there; their mean and standard deviation, None below two.
    """

    update: float
    a: float
    b: float
    seeds: int
    mean: float | None
    std: float | None


@dataclass(frozen=True)
class Check:
    """How far run `b` repeats run `a`.

    Attributes:
        reasons: why they may differ, one line each; empty where they are expected to be identical.
        identical: whether every row that both have is the same, bit for bit; False where they share none.
        metrics, rows: how many were compared.
        last_step: the last of these rows.
        deviations: the first one of each metric that is not the same, the earliest first.
        missing: metrics of which one of them lacks a row, though it went on long enough.
        spread: None where no evaluation is shared.
    """

    a: str
    b: str
    reasons: tuple[str, ...]
    identical: bool
    metrics: int
    rows: int
    last_step: float
    deviations: tuple[Deviation, ...]
    missing: tuple[str, ...]
    spread: Spread | None

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def again(run: Run) -> TrainConfig:
    """The configuration with which `run` can be run again: its own, and its ensemble fitted anew.

    Raises:
        StoreError: it is no training run, or its configuration cannot be read.
    """
    from engine.config import ConfigError, TrainConfig, from_toml

    if run.problem or run.job != "train":
        raise StoreError(f"{run.id}: {run.problem or 'only training runs are run again'}")
    path = run.folder / record.CONFIG
    try:
        config = from_toml(TrainConfig, path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise StoreError(str(error)) from None
    extended = (record.read_json(run.folder / record.EXTENSION) or {}).get("epochs")
    if isinstance(extended, int):
        config = dataclasses.replace(config, policy=dataclasses.replace(config.policy, epochs=extended))
    return dataclasses.replace(config, compute=dataclasses.replace(config.compute, reuse=False))


def arithmetic(run: Run) -> dict[str, Any]:
    """How `run` multiplied matrices and whether it compiled, as environment.json has it, where this machine can do the same;
    otherwise the new run chooses for itself, and `check` says so."""
    environment = record.read_json(run.folder / record.ENVIRONMENT) or {}
    compute = environment.get("compute")
    if not isinstance(compute, Mapping) or environment.get("cpu") != _processor():
        return {}
    found: dict[str, Any] = {}
    if compute.get("gemm") in ("stock", "onednn"):
        found["gemm"] = compute["gemm"]
    compiles = any(map(shutil.which, ("c++", "g++", "clang++")))
    if compute.get("compiled") is False or (compute.get("compiled") is True and compiles):
        found["compiled"] = compute["compiled"]
    return found


def _processor() -> str:
    """This machine's processor, by the name that stands in environment.json."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def check(store: Store, a: Run, b: Run) -> Check:
    """How far `b` repeats `a`, as far as the shorter one went.

    Raises:
        StoreError: one of them cannot be read.
    """
    first, second = _rows(a), _rows(b)
    limit = min(_end(first), _end(second))
    deviations, missing, measured, rows, last = [], [], set(), 0, 0.0
    for key in sorted({*first, *second}):
        ours, theirs = first.get(key, {}), second.get(key, {})
        shared = sorted(ours.keys() & theirs.keys())
        # At the last step a row may be under way, or the longer run has no reason for it; before, both have every row.
        alone = [step for step in ours.keys() ^ theirs.keys() if step < limit]
        missing += [key[1]] if alone else []
        if shared:
            measured.add(key[1])
            rows, last = rows + len(shared), max(last, shared[-1])
        for step in shared:
            if not _same(ours[step], theirs[step]):
                deviations.append(Deviation(key[1], step, ours[step], theirs[step]))
                break
    deviations.sort(key=lambda found: (found.step, found.metric))
    return Check(
        a=a.id,
        b=b.id,
        reasons=tuple(_reasons(a, b)),
        identical=bool(rows) and not deviations and not missing,
        metrics=len(measured),
        rows=rows,
        last_step=last,
        deviations=tuple(deviations),
        missing=tuple(dict.fromkeys(missing)),
        spread=_spread(store, a, b),
    )


def _reasons(a: Run, b: Run) -> list[str]:
    from mopo_tui.manager.differences import shown

    found = differences(a, b)
    reasons = []
    for part in _DECIDES:
        rows: Sequence[Difference] = found[part]
        if part == "machine":
            rows = [row for row in rows if row.key in _MACHINE]
        elif part == "configuration":
            rows = [row for row in rows if row.key not in _NO_MATTER]
        elif part == "data":
            rows = [row for row in rows if row.key == "fingerprint"]
        reasons += [f"{part}: {row.key} {' | '.join(shown(value) for value in row.values)}" for row in rows]
    for run in (a, b):
        environment = record.read_json(run.folder / record.ENVIRONMENT) or {}
        if "versions" not in environment:
            reasons.append(f"{run.id}: no {record.ENVIRONMENT} says on what its numbers stand")
        if str(environment.get("git_commit")).endswith("+"):
            reasons.append(f"code: {run.id} ran from a checkout that was changed after its commit")
        if environment.get("earlier"):
            reasons.append(f"machine: {run.id} had attempts with other hosts, versions or commits")
    return reasons


def _rows(run: Run) -> dict[tuple[str, str], dict[float, float]]:
    """(stage, metric) → step → value, without what the clock decides; the last row of a step counts."""
    found: dict[tuple[str, str], dict[float, float]] = {}
    for row in record.read_rows(run.folder / record.METRICS)[0]:
        values, step = row.get("m"), number_of(row, "step")
        if not isinstance(values, Mapping) or step is None:
            continue
        for name, value in values.items():
            if not name.startswith(_CLOCK):
                with contextlib.suppress(TypeError, ValueError, OverflowError):
                    found.setdefault((text_of(row, "stage"), clean(name)), {})[step] = record.number(value)
    return found


def _end(rows: Mapping[tuple[str, str], Mapping[float, float]]) -> float:
    return max((max(values) for values in rows.values()), default=0.0)


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def _returns(run: Run) -> dict[float, float]:
    """The returns of a run's evaluations during training, by policy updates."""
    found: dict[float, float] = {}
    for row in record.read_rows(run.folder / record.METRICS)[0]:
        values, update = row.get("m"), number_of(row, "update")
        if not isinstance(values, Mapping) or update is None or row.get("stage") == "evaluation":
            continue
        if (value := number_of(values, _SCORE)) is not None:
            found[update] = value
    return found


def _spread(store: Store, a: Run, b: Run) -> Spread | None:
    """Both runs' returns where both were last evaluated, and those of the setting's other seeds there."""
    ours, theirs = _returns(a), _returns(b)
    if not (shared := ours.keys() & theirs.keys()):
        return None
    update, setting = max(shared), setting_key(a.folder)
    others = []
    for run in store.runs() if setting else ():
        if run.problem or run.id in (a.id, b.id) or run.seed == a.seed or setting_key(run.folder) != setting:
            continue
        if (value := _returns(run).get(update)) is not None:
            others.append(value)
    known = len(others) > 1
    return Spread(
        update=update,
        a=ours[update],
        b=theirs[update],
        seeds=len(others),
        mean=statistics.mean(others) if known else None,
        std=statistics.stdev(others) if known else None,
    )
