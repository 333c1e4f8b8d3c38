"""Making and starting the runs of the form: all of them, or none (no Textual)."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from engine import record
from mopo_tui.manager import Run, Store
from mopo_tui.manager.experiment import Experiment
from mopo_tui.manager.new_run import finish_command
from mopo_tui.widgets.words import short_id, title_of

COMMAND = ("mopo-tui",)


@dataclass(frozen=True)
class Begun:
    """What was started, and how a toast says it."""

    runs: tuple[Run, ...]
    title: str
    text: str


def begin(store: Store, experiment: Experiment) -> Begun:
    """Make the runs of an experiment and start them, or let them wait in the queue, as `mopo run -b` does.

    Raises:
        StoreError, ConfigError, DatasetUnavailable, LaunchError, OSError: one line; nothing is left of the runs then.
    """
    finish = finish_command(None)  # what would be wrong with it is said before anything is made
    made = store.create_all(experiment, COMMAND)
    try:
        if len(made) == 1:
            return _one(made[0], store.launch(made[0], on_finish=finish))
        store.enqueue(made, on_finish=finish)
    except BaseException:
        _undo(store, made)
        raise
    store.advance()
    text = f"{len(made)} runs in group {experiment.group}; as many begin now as there are slots"
    return Begun(tuple(made), "Started", text)


def _one(run: Run, place: int) -> Begun:
    how = f"queued as {short_id(run.id)}, place {place}" if place else f"started as {short_id(run.id)}"
    return Begun((run,), "Queued" if place else "Started", f"{title_of(run)} {how}\n{run.folder}")


def _undo(store: Store, made: Sequence[Run]) -> None:
    """Remove the runs that nobody has begun."""
    claimed = {job.run_id for job in store.queue.claimed()}
    for run in made:
        if store.queue.take_out(run.id) or (run.id not in claimed and not (run.folder / record.PROCESS).exists()):
            shutil.rmtree(run.folder, ignore_errors=True)
