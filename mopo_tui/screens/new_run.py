"""The form of a new run: task, algorithm, preset, seed; validated as typed by the same code as the command line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from engine.config import ALGORITHMS, DEFAULT_PRESET, MODEL_BASED, PRESETS, ConfigError, TrainConfig
from engine.tasks import all_tasks
from mopo_tui.actions import bindings
from mopo_tui.manager import LaunchError, Run, Store, StoreError
from mopo_tui.manager.datasets import dataset_status
from mopo_tui.widgets.choice import Choice
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.words import short_id, title_of

Resolve = Callable[[Mapping[str, Any]], TrainConfig]

ABOUT_ALGORITHM = {
    "mopo": "MOPO: SAC on model rollouts whose reward is penalised by λu",
    "mbpo": "MBPO: the same without the penalty (λ = 0)",
    "mb2po": "MB2PO: AWAC on the batch, then AWAC inside the penalised model",
    "sac": "SAC: model-free, on the batch as if it were a replay buffer",
    "awac": "AWAC: model-free, the batch's actions weighted by their advantage",
    "bc": "BC: the batch's actions by maximum likelihood",
}


class NewRunScreen(ModalScreen[Run | None]):
    """Enter starts the run and leaves with it; Esc leaves without."""

    BINDINGS = bindings("form")

    def __init__(self, store: Store, resolve: Resolve) -> None:
        super().__init__()
        self._store, self._resolve = store, resolve
        self._config: TrainConfig | None = None
        self._starting = False

    def compose(self) -> ComposeResult:
        tasks = tuple(all_tasks())
        with Vertical(id="form") as box:
            box.border_title = "New run"
            with Grid(id="fields"):
                yield Label("Task")
                yield Choice(tasks, tasks[0], id="task")
                yield Label("Algorithm")
                yield Choice(ALGORITHMS, ALGORITHMS[0], id="algorithm")
                yield Label("Preset")
                yield Choice(PRESETS, DEFAULT_PRESET, id="preset")
                yield Label("Seed")
                yield Input("0", id="seed", compact=True, max_length=10)
            yield Static(id="about-run", markup=False)
            yield Static(id="dataset-state", markup=False)
            yield Static(id="problem", markup=False)
            yield KeysLine()

    def on_mount(self) -> None:
        self.query_one("#task").focus()
        self._check()

    @on(Choice.Changed)
    @on(Input.Changed)
    def _check(self) -> None:
        """Resolve what the fields say, and show what it means or what is wrong."""
        values = {name: self.query_one(f"#{name}", Choice).value for name in ("task", "algorithm", "preset")}
        seed = self.query_one("#seed", Input).value.strip()
        try:
            number = int(seed)
        except ValueError:
            self._problem(f"seed {seed!r} is not a whole number" if seed else "a seed is needed: 0, 1, 2, …")
            return
        try:
            config = self._resolve({**values, "seed": number})
        except ConfigError as error:
            self._problem(str(error))
            return
        self._config = config
        self.query_one("#problem", Static).update("")
        epochs, updates = config.policy.epochs, config.policy.updates_per_epoch
        rollout = f"λ {config.rollout.coefficient:g}  h {config.rollout.length}  "
        about = (
            f"{ABOUT_ALGORITHM[config.algorithm]}\n"
            f"{rollout if config.algorithm in MODEL_BASED else ''}{epochs} epochs × {updates} updates, "
            f"{config.compute.threads} thread{'s' if config.compute.threads != 1 else ''}"
        )
        self.query_one("#about-run", Static).update(about)
        self._look_for_dataset(config)

    def _problem(self, text: str) -> None:
        self._config = None
        self.query_one("#problem", Static).update(text)

    @work(thread=True, exclusive=True, group="dataset")
    def _look_for_dataset(self, config: TrainConfig) -> None:
        data = dataset_status(config)
        text = f"data {data.id}: {'present' if data.present else 'built first'}"
        self.app.call_from_thread(self._show_dataset, config, text)

    def _show_dataset(self, config: TrainConfig, text: str) -> None:
        if self.is_mounted and config is self._config:
            self.query_one("#dataset-state", Static).update(text)

    def action_next_field(self) -> None:
        self.focus_next()

    def action_previous_field(self) -> None:
        self.focus_previous()

    def action_close(self) -> None:
        """Leave without starting anything."""
        if not self._starting:
            self.dismiss(None)

    def action_start(self) -> None:
        """Start the run, off the UI thread; a second Enter meanwhile does nothing."""
        if self._config is None or self._starting:
            return
        self._starting = True
        self.query_one("#problem", Static).update("")
        self.query_one("#dataset-state", Static).update("starting …")
        self._start(self._config)

    @work(thread=True)
    def _start(self, config: TrainConfig) -> None:
        try:
            run = self._store.create(config, command=("mopo-tui",))
            place = self._store.launch(run)
        except (StoreError, LaunchError, OSError, ValueError) as error:
            self.app.call_from_thread(self._failed, str(error))
        else:
            self.app.call_from_thread(self._started, run, place)

    def _failed(self, why: str) -> None:
        self._starting = False
        self.query_one("#dataset-state", Static).update("")
        self.query_one("#problem", Static).update(why)

    def _started(self, run: Run, place: int) -> None:
        what = f"queued as {short_id(run.id)}, place {place}" if place else f"started as {short_id(run.id)}"
        self.app.notify(f"{title_of(run)} {what}\n{run.folder}", title="Queued" if place else "Started")
        self.dismiss(run)
