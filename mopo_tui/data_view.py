"""The datasets as the Data screen lists them, read off the UI thread (no Textual)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.plan import collecting_seconds
from engine.tasks import Task, dataset_id
from mopo_tui.manager import Run, RunState
from mopo_tui.manager.datasets import DatasetStatus, DatasetUnavailable, datasets, ids_of, not_imported, read_manifest
from mopo_tui.manager.new_dataset import not_built, to_build

Section = Literal["making", "failed", "here", "downloads", "missing"]
SECTIONS: dict[Section, str] = {
    "making": "Being made",
    "failed": "Not made",
    "here": "Here",
    "downloads": "Downloaded",
    "missing": "Not built yet",
}


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
        id: of the dataset; of one that is not built yet the one that `b` would build.
        status: None where nothing of it is on disk.
        run_id: the run that makes it, or failed to.
        task: of one that is not built yet.
        seconds: what building that would take.
    """

    section: Section
    id: str
    status: DatasetStatus | None = None
    run_id: str = ""
    task: Task | None = None
    seconds: float = 0.0

    @property
    def key(self) -> tuple[str, str]:
        """What stays the same while the row changes."""
        return self.section, self.id


class DataReader:
    """Lists them again and again; remembers which dataset a run makes, which never changes."""

    def __init__(self) -> None:
        self._makes: dict[str, str] = {}
        self._missing: dict[str, Entry] = {}

    def look(self, runs: Sequence[Run]) -> tuple[Entry, ...]:
        """Every row, section by section.

        Args:
            runs: all of the store, newest first.
        """
        present = datasets()
        there = {status.id for status in present if status.present}
        making: list[Entry] = []
        failed: list[Entry] = []
        seen: set[str] = set()
        for run in runs:
            if run.job != "dataset" and not (run.stage == "data" and not run.state.over):
                continue
            made = self._made_by(run)
            if not made or made in seen:
                continue
            seen.add(made)
            if not run.state.over:
                making.append(Entry("making", made, run_id=run.id))
            elif run.state in (RunState.FAILED, RunState.LOST, RunState.STOPPED) and made not in there:
                failed.append(Entry("failed", made, run_id=run.id))
        at_work = {entry.id for entry in making}
        here = [Entry("here", status.id, status) for status in present if status.id not in at_work or status.present]
        waiting = [Entry("downloads", s.id, s) for s in not_imported(present) if s.id not in at_work]
        missing = [self._missing_one(task) for task in not_built(present)]
        return (*making, *failed, *here, *waiting, *missing)

    def _made_by(self, run: Run) -> str:
        if run.id not in self._makes:
            self._makes[run.id] = min(ids_of(run), default="")
        return self._makes[run.id]

    def _missing_one(self, task: Task) -> Entry:
        if task.name not in self._missing:
            config = to_build(task.name)
            identifier = dataset_id(task, config.dataset.size, config.dataset.seed)
            self._missing[task.name] = Entry("missing", identifier, task=task, seconds=collecting_seconds(config))
        return self._missing[task.name]


@dataclass(frozen=True)
class Page:
    """What there is to read of one dataset: its manifest, or why there is none."""

    id: str
    status: DatasetStatus
    manifest: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read_page(status: DatasetStatus) -> Page:
    """The page of a dataset."""
    try:
        return Page(status.id, status, read_manifest(status))
    except DatasetUnavailable as error:
        return Page(status.id, status, problem=str(error))
