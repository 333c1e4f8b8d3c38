"""A field that holds one of a few values: ← and → change it, so that Enter stays free for the form."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from mopo_tui.actions import bindings
from mopo_tui.widgets.palette import colour


class Choice(Widget, can_focus=True):
    """Shows its values in one row, the chosen one marked; where not all fit, those after it and its number."""

    BINDINGS = bindings("choice")

    class Changed(Message):
        """Another value is chosen."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

        @property
        def control(self) -> Choice:
            """The field."""
            return self.choice

    def __init__(self, values: Sequence[str], value: str, id: str) -> None:
        super().__init__(id=id)
        self._values = tuple(values)
        self._at = self._values.index(value)

    @property
    def value(self) -> str:
        """The chosen value."""
        return self._values[self._at]

    def action_turn(self, step: int) -> None:
        self._at = (self._at + step) % len(self._values)
        self.refresh()
        self.post_message(self.Changed(self))

    def on_click(self, event: events.Click) -> None:
        self.focus()
        if event.button == 1:
            self.action_turn(1)

    def render(self) -> Text:
        """One row."""
        dark = self.app.current_theme.dark
        chosen, faint = f"bold {colour('sky' if self.has_focus else 'text', dark)}", colour("faint", dark)
        if sum(len(v) + 3 for v in self._values) <= self.size.width:
            shown, tail = list(enumerate(self._values)), ""
        else:
            tail = f" {self._at + 1}/{len(self._values)}"
            shown, left = [], self.size.width - len(tail)
            for i in range(self._at, len(self._values)):
                left -= len(self._values[i]) + 3
                if left < 0 and shown:
                    break
                shown.append((i, self._values[i]))
        text = Text(no_wrap=True)
        for i, value in shown:
            text.append(f"‹{value}›" if i == self._at else f" {value} ", chosen if i == self._at else faint)
            text.append(" ")
        text.append(" " * max(self.size.width - text.cell_len - len(tail), 0) + tail, faint)
        return text
