"""One line at the bottom in which a person types an answer; what is wrong with it stands above it."""

from __future__ import annotations

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from mopo_tui.actions import bindings
from mopo_tui.keys import keys_of, written


class Prompt(Vertical):
    """Hidden until `ask`. Enter posts `Answered` and leaves it open until `close` or `refuse`; Esc closes it."""

    BINDINGS = bindings("prompt")

    class Answered(Message):
        """What was typed, for the question that `ask` named."""

        def __init__(self, about: str, text: str) -> None:
            super().__init__()
            self.about, self.text = about, text

    class Left(Message):
        """The prompt is closed; the focus should go elsewhere."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.about = ""

    def compose(self) -> ComposeResult:
        yield Static(id="prompt-problem", markup=False)
        with Horizontal():
            yield Static(id="prompt-label", markup=False)
            yield Input(id="prompt-input", compact=True, select_on_focus=False)
            keys = keys_of(self.app)
            take, leave = written("enter", plain=keys.plain), keys.shown("prompt.leave")
            yield Static(f"{take} take  {leave} leave", id="prompt-keys", markup=False)

    def on_mount(self) -> None:
        self.display = False

    @property
    def is_open(self) -> bool:
        """Whether it waits for an answer."""
        return bool(self.about)

    def ask(self, about: str, label: str, value: str = "", hint: str = "") -> None:
        """Open with that label and a first answer; `hint` stands where nothing is typed."""
        self.about = about
        self.refuse("")
        self.query_one("#prompt-label", Static).update(Text(label))
        field = self.query_one(Input)
        field.placeholder = hint
        field.value = value
        field.cursor_position = len(value)
        self.display = True
        field.focus()

    def refuse(self, problem: str) -> None:
        """Say what is wrong with the answer; an empty text takes it away."""
        said = self.query_one("#prompt-problem", Static)
        said.update(Text(problem, overflow="ellipsis", no_wrap=True))
        said.display = bool(problem)

    def close(self) -> None:
        """Take it away."""
        if self.is_open:
            self.about = ""
            self.display = False
            self.post_message(self.Left())

    def action_leave(self) -> None:
        self.close()

    @on(Input.Submitted)
    def _answer(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Answered(self.about, event.value.strip()))

    @on(Input.Changed)
    def _forget_problem(self, event: Input.Changed) -> None:
        event.stop()
        self.refuse("")
