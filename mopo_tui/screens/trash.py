"""The runs in the trash: Enter brings one back."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from mopo_tui.actions import bindings
from mopo_tui.deeds import called
from mopo_tui.manager import Run
from mopo_tui.widgets.keys_line import KeysLine


class TrashScreen(ModalScreen[Run | None]):
    """Leaves with the run to bring back, or None.

    Args:
        read: lists the runs in the trash; called off the UI thread.
    """

    BINDINGS = bindings("trash")

    def __init__(self, read: Callable[[], Sequence[Run]]) -> None:
        super().__init__()
        self._read = read
        self._runs: tuple[Run, ...] = ()

    def compose(self) -> ComposeResult:
        with Vertical(id="trash") as box:
            box.border_title = "Trash"
            yield OptionList(id="trash-runs", markup=False)
            yield Static("reading …", id="trash-empty", markup=False)
            yield KeysLine()

    def on_mount(self) -> None:
        self.query_one(OptionList).display = False
        self._list()

    @work(thread=True)
    def _list(self) -> None:
        try:
            runs, problem = tuple(self._read()), ""
        except OSError as error:
            runs, problem = (), f"cannot be read: {error.strerror}"
        self.app.call_from_thread(self._show, runs, problem)

    def _show(self, runs: tuple[Run, ...], problem: str) -> None:
        self._runs = runs
        words = self.query_one("#trash-empty", Static)
        words.update(problem or "The trash is empty.")
        words.display = not runs
        listed = self.query_one(OptionList)
        listed.display = bool(runs)
        listed.add_options(
            Option(f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(run.created))}  {called(run)}") for run in runs
        )
        if runs:
            listed.highlighted = 0
            listed.focus()

    @on(OptionList.OptionSelected)
    def action_restore(self) -> None:
        """Leave with the run under the cursor."""
        at = self.query_one(OptionList).highlighted
        if at is not None:
            self.dismiss(self._runs[at])

    def action_close(self) -> None:
        """Leave everything where it is."""
        self.dismiss(None)
