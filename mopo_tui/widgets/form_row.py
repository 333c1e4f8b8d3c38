"""One row of a form: fields with their labels, and below them what is wrong with one."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget
from textual.widgets import Input, Label, Static


class FormRow(Vertical):
    """Fields side by side; each is found by its id, and what is wrong with it stands under the row."""

    def __init__(self, *fields: tuple[str, Widget]) -> None:
        super().__init__(classes="form-row")
        self._fields = fields

    def compose(self) -> ComposeResult:
        with Horizontal():
            for label, field in self._fields:
                yield Label(label)
                yield field
        yield Static(classes="form-problem", markup=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The ids of its fields."""
        return tuple(field.id or "" for _, field in self._fields)

    def refuse(self, problem: str) -> None:
        """Say what is wrong; an empty text takes it away."""
        said = self.query_one(".form-problem", Static)
        said.update(problem)
        said.display = bool(problem)

    def on_mount(self) -> None:
        self.refuse("")


def text_field(name: str | None, hint: str = "") -> Input:
    """A field for a text, with what counts where nothing is typed."""
    return Input(placeholder=hint, id=name, compact=True, select_on_focus=False)
