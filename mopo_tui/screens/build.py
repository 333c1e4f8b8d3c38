"""The form of a dataset to collect: task and size, with what it will take."""

from __future__ import annotations

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from engine.config import ConfigError, DatasetConfig
from engine.plan import collecting_seconds
from engine.tasks import TASKS
from mopo_tui.actions import bindings
from mopo_tui.manager.datasets import DatasetStatus, dataset_status
from mopo_tui.manager.new_dataset import to_build
from mopo_tui.widgets.choice import Choice
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.words import duration


class BuildScreen(ModalScreen[DatasetConfig | None]):
    """Enter leaves with what to build; Esc without."""

    BINDINGS = bindings("build")

    def __init__(self, task: str) -> None:
        super().__init__()
        self._first = task if task in TASKS else next(iter(TASKS))
        self._config: DatasetConfig | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="build") as box:
            box.border_title = "Build a dataset"
            with Grid(id="build-fields"):
                yield Label("Task")
                yield Choice(tuple(TASKS), self._first, id="build-task")
                yield Label("Size")
                yield Input(id="build-size", compact=True, max_length=10)
            yield Static(id="build-about", markup=False)
            yield Static(id="build-problem", markup=False)
            yield KeysLine()

    def on_mount(self) -> None:
        self.query_one("#build-task").focus()
        self._check()

    @on(Choice.Changed)
    @on(Input.Changed)
    def _check(self) -> None:
        """Say what the fields mean, or what is wrong with them."""
        task = TASKS[self.query_one(Choice).value]
        field = self.query_one(Input)
        field.placeholder = f"{task.default_size:,} transitions"
        typed = field.value.strip().replace(",", "").replace("_", "")
        self._config = None
        if typed and not (typed.isdecimal() and int(typed)):
            self._say("", f"size {typed!r} is not a whole number above 0")
            return
        try:
            config = to_build(task.name, int(typed) if typed else None)
        except ConfigError as error:
            self._say("", str(error))
            return
        self._say(f"{task.title}\nabout {duration(collecting_seconds(config))} on two idle cores\n ", "")
        self._look_whether_there(config)

    def _say(self, about: str, problem: str) -> None:
        self.query_one("#build-about", Static).update(about)
        self.query_one("#build-problem", Static).update(problem)

    @work(thread=True, exclusive=True, group="there")
    def _look_whether_there(self, config: DatasetConfig) -> None:
        self.app.call_from_thread(self._found, config, dataset_status(config))

    def _found(self, config: DatasetConfig, status: DatasetStatus) -> None:
        if not self.is_mounted or self.query_one(Choice).value != config.task:
            return
        if status.present:
            self._say("", f"{status.id} is here already, {status.size:,} transitions: remove it first, or another size")
            return
        self._config = config
        takes = f"about {duration(collecting_seconds(config))} on two idle cores"
        self._say(f"{TASKS[config.task].title}\n{takes}\nbecomes {status.id}", "")

    def action_next_field(self) -> None:
        self.focus_next()

    def action_previous_field(self) -> None:
        self.focus_previous()

    def action_start(self) -> None:
        """Leave with what the fields say, once that is known to be missing."""
        if self._config is not None:
            self.dismiss(self._config)

    def action_close(self) -> None:
        """Leave without building anything."""
        self.dismiss(None)
