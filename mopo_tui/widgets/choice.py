"""A field that holds one of a few values: ← and → change it, so that Enter stays free for the form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from mopo_tui.widgets.palette import colour


class Choice(Widget, can_focus=True):
    """Shows all its values in one row, the chosen one marked; only the chosen one where they do not fit."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "turn(-1)", "Change", key_display="← →", tooltip="the value before", priority=True),
        Binding("right,l,space", "turn(1)", "Change", show=False, tooltip="the next value", priority=True),
    ]

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
        text = Text(no_wrap=True)
        whole = sum(len(v) + 3 for v in self._values) <= self.size.width
        for i, value in enumerate(self._values):
            if i == self._at:
                style = f"bold {colour('sky' if self.has_focus else 'text', dark)}"
                text.append(f"‹{value}›", style)
            elif whole:
                text.append(f" {value} ", colour("faint", dark))
            else:
                continue
            text.append(" ")
        return text
