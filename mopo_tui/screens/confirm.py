"""A question before something that cannot be taken back; the default is No."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from mopo_tui.actions import bindings
from mopo_tui.keys import keys_of


class ConfirmScreen(ModalScreen[bool]):
    """True only for an explicit yes."""

    BINDINGS = bindings("confirm")

    def __init__(self, question: str, about: str, yes: str) -> None:
        super().__init__()
        self._question, self._about, self._yes = question, about, yes

    def compose(self) -> ComposeResult:
        keys = keys_of(self.app)
        with Vertical(id="dialog"):
            yield Static(self._question, id="question", markup=False)
            yield Static(keys.said(self._about), id="about-question", markup=False)
            with Horizontal(id="buttons"):
                yield Button(f"No ({keys.shown('confirm.no')})", id="no", compact=True)
                yield Button(f"{self._yes} ({keys.shown('confirm.yes')})", id="yes", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """Leave with that answer."""
        self.dismiss(yes)

    def action_other(self) -> None:
        """Go to the other answer."""
        self.focus_next()
