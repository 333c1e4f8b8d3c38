"""One run as it is at one moment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager.state import RunState, clean, judge


@dataclass(frozen=True)
class Run:
    """A snapshot of one run folder; read the folder again (`Store.run`) for the next.

    Attributes:
        job: "train", "dataset" or "behaviour"; `kind` is "train" or "data".
        name: what a person called it, or else what it does ("ant-angle-mopo-s0").
        group: a name that runs launched together share; empty for most.
        tags, note: a person's own, which they may change at any time.
        owner: login name of who made it.
        task: the behaviour's name for a behaviour run.
        created: Unix seconds.
        reason: why it failed or is lost; one line.
        problem: what is wrong with the folder itself; one line, empty for a sound one.
        progress: of the whole run, 0 to 1.
        score_last, score_best: normalized scores in %, None where the task has no scale or nothing is evaluated yet.
        return_last, return_best: undiscounted returns in the real environment.
    """

    folder: Path
    id: str
    kind: str = ""
    job: str = ""
    name: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    owner: str = ""
    task: str = ""
    algorithm: str = ""
    preset: str = ""
    seed: int = 0
    created: float = 0.0
    state: RunState = RunState.UNREADABLE
    reason: str = ""
    returncode: int | None = None
    problem: str = ""
    stage: str = ""
    progress: float = 0.0
    eta_s: float | None = None
    score_last: float | None = None
    score_best: float | None = None
    return_last: float | None = None
    return_best: float | None = None
    attempt: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON has it."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**values, "folder": str(self.folder), "state": self.state.value}


def read_run(folder: Path) -> Run:
    """The run in `folder`; a folder that is no run, or a torn one, comes back with `problem` set."""
    about = record.read_json(folder / record.RUN)
    if about is None:
        there = (folder / record.RUN).exists()
        problem = f"{record.RUN} is no JSON object" if there else _what_is_left(folder)
        return Run(folder, folder.name, created=_modified(folder), problem=problem)
    if about.get("format") != record.FORMAT:
        problem = f"run folder format {about.get('format')!r}; this version reads format {record.FORMAT}"
        return Run(folder, folder.name, created=_modified(folder), problem=problem)
    if not (folder / record.CONFIG).is_file():
        return Run(folder, folder.name, created=_modified(folder), problem=f"no {record.CONFIG}: deleted in part")
    verdict = judge(folder)
    summary = record.read_json(folder / record.SUMMARY) or {}
    meta = record.read_json(folder / record.META) or {}
    finished = verdict.state is RunState.FINISHED
    process = record.read_json(folder / record.PROCESS) or {}
    run = Run(
        folder=folder,
        id=folder.name,
        kind=text_of(about, "kind"),
        job=text_of(about, "job"),
        name=text_of(meta, "name") or text_of(about, "name"),
        group=text_of(about, "group"),
        tags=tags_of(meta),
        note=text_of(meta, "note"),
        owner=text_of(about, "owner"),
        task=text_of(about, "task"),
        algorithm=text_of(about, "algorithm"),
        preset=text_of(about, "preset"),
        seed=int(number_of(about, "seed") or 0),
        created=number_of(about, "created") or _modified(folder),
        state=verdict.state,
        reason=verdict.reason,
        returncode=verdict.returncode,
        problem=verdict.reason if verdict.state is RunState.UNREADABLE else "",
        stage=text_of(summary, "stage"),
        progress=1.0 if finished else min(1.0, max(0.0, number_of(summary, "progress") or 0.0)),
        eta_s=None if verdict.state.over else number_of(summary, "eta_s"),
        score_last=number_of(summary, "score_last"),
        score_best=number_of(summary, "score_best"),
        return_last=number_of(summary, "return_last"),
        return_best=number_of(summary, "return_best"),
        attempt=int(number_of(process, "attempt") or 0),
        summary=summary,
        result=record.read_json(folder / record.RESULT) if finished else None,
    )
    return dataclasses.replace(run, name=run.name or default_name(run.task, run.algorithm or run.job, run.seed))


def default_name(task: str, what: str, seed: int) -> str:
    """What a run is called that nobody named."""
    return f"{task}-{what}-s{seed}"


def number_of(values: Mapping[str, Any], key: str) -> float | None:
    """A recorded finite number, or None where there is none."""
    try:
        value = record.number(values.get(key))
    except (TypeError, ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def text_of(values: Mapping[str, Any], key: str) -> str:
    """A recorded text without control characters, or an empty one."""
    value = values.get(key)
    return clean(value) if isinstance(value, str) else ""


def tags_of(meta: Mapping[str, Any]) -> tuple[str, ...]:
    """The tags of a meta.json, each once, in order."""
    values = meta.get("tags")
    found = (clean(value) for value in values if isinstance(value, str)) if isinstance(values, list) else ()
    return tuple(dict.fromkeys(tag for tag in found if tag))


def _what_is_left(folder: Path) -> str:
    """Why a folder without run.json is none to read: it never was a run, or what made it one is gone."""
    left = (record.CONFIG, record.SUMMARY, record.METRICS, record.CHECKPOINTS, record.CONSOLE)
    if any((folder / name).exists() for name in left):
        return f"no {record.RUN}: deleted in part"
    return f"no {record.RUN}: not a run folder"


def _modified(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0
