"""Everything that stands in one run folder about one run (standard library only)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine import record
from mopo_tui.manager.groups import setting_key
from mopo_tui.manager.run import Run, number_of, text_of
from mopo_tui.manager.settings import read_settings
from mopo_tui.manager.state import clean


@dataclass(frozen=True)
class Alert:
    """Something that a run said of itself; `t` in Unix seconds."""

    t: float
    stage: str
    message: str


@dataclass(frozen=True)
class File:
    """A file of the run folder, its path relative to it."""

    path: str
    bytes: int


@dataclass(frozen=True)
class Details:
    """A run with all that is recorded of it; what is not recorded yet is empty.

    Attributes:
        setting: what it shares with its other seeds.
        command: the command line that made it.
        config: by dotted key.
        environment: environment.json.
        attempts: rows of attempts.jsonl.
        stages: seconds by stage, of the last attempt.
        wall_s: seconds of all stages as the result says; None until there is one.
        ended: Unix seconds at which its last attempt ended; None while it goes on.
    """

    run: Run
    setting: str
    command: tuple[str, ...]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    attempts: tuple[Mapping[str, Any], ...]
    stages: Mapping[str, float]
    wall_s: float | None
    ended: float | None
    alerts: tuple[Alert, ...]
    files: tuple[File, ...]

    def to_json(self) -> dict[str, Any]:
        """One flat object: the fields of the run, and these."""
        own = {
            "setting": self.setting,
            "command": list(self.command),
            "config": dict(self.config),
            "environment": dict(self.environment),
            "attempts": [dict(row) for row in self.attempts],
            "stages": dict(self.stages),
            "wall_s": self.wall_s,
            "ended": self.ended,
            "alerts": [asdict(alert) for alert in self.alerts],
            "files": [asdict(file) for file in self.files],
        }
        return {**self.run.to_json(), **own}


def read_details(run: Run) -> Details:
    """What the folder of `run` holds; a torn or foreign one gives what can be read."""
    folder = run.folder
    about = record.read_json(folder / record.RUN) or {}
    command = about.get("command")
    events, _ = record.read_rows(folder / record.EVENTS)
    attempts, _ = record.read_rows(folder / record.ATTEMPTS)
    result = run.result or {}
    recorded = result.get("stages")
    ended = number_of(record.read_json(folder / record.EXIT) or {}, "t") if run.state.over else None
    stages = _seconds(recorded) if isinstance(recorded, dict) else _from_events(run, events, attempts, ended)
    return Details(
        run=run,
        setting=setting_key(folder),
        command=tuple(clean(str(word)) for word in command) if isinstance(command, list) else (),
        config=read_settings(folder),
        environment=record.read_json(folder / record.ENVIRONMENT) or {},
        attempts=tuple(attempts),
        stages=stages,
        wall_s=number_of(result, "wall_s"),
        ended=ended,
        alerts=tuple(
            Alert(number_of(row, "t") or 0.0, text_of(row, "stage"), text_of(row, "message"))
            for row in events
            if row.get("kind") == "alert"
        ),
        files=_files(folder),
    )


def _seconds(values: Mapping[str, Any]) -> dict[str, float]:
    return {clean(str(name)): seconds for name in values if (seconds := number_of(values, name)) is not None}


def _from_events(
    run: Run, events: list[dict[str, Any]], attempts: list[dict[str, Any]], ended: float | None
) -> dict[str, float]:
    """Seconds by stage of the last attempt, by when each began; the last one lasts until the summary's time."""
    begun = max((number_of(row, "t") or 0.0 for row in attempts if row.get("event") == "start"), default=0.0)
    marks = [(number_of(row, "t") or 0.0, text_of(row, "stage")) for row in events if row.get("kind") == "stage"]
    marks = [(t, stage) for t, stage in marks if t >= begun and stage]
    last = ended or number_of(run.summary, "t") or 0.0
    seconds: dict[str, float] = {}
    ends = [t for t, _ in marks[1:]] + [last]
    for (t, stage), until in zip(marks, ends, strict=False):
        seconds[stage] = seconds.get(stage, 0.0) + max(0.0, until - t)
    return seconds


def _files(folder: Path) -> tuple[File, ...]:
    """The files below the folder, links not followed; what vanishes meanwhile is not among them."""
    found = []
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            try:
                found.append(File(clean(str(path.relative_to(folder))), path.lstat().st_size))
            except OSError:
                continue
    return tuple(sorted(found, key=lambda file: file.path))
