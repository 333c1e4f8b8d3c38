"""A field that holds one of a few values: ← and → change it, typing finds one, so that Enter stays free for the form."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from mopo_tui.actions import bindings
from mopo_tui.widgets.palette import colour

TYPING_SECONDS = 1.0  # between two letters of one word


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
        self._said = False
        self._typed, self._typed_at = "", 0.0
        self._placed: list[tuple[int, int]] = []  # the column at which each shown value begins, and its number

    @property
    def value(self) -> str:
        """The value that is shown as chosen."""
        return self._values[self._at]

    @property
    def said(self) -> str:
        """The value that a person chose; empty while nobody did."""
        return self.value if self._said else ""

    def say(self, value: str) -> None:
        """Choose a value; one that is none of its own changes nothing."""
        if value in self._values:
            self._at, self._said = self._values.index(value), True
            self.refresh()
            self.post_message(self.Changed(self))

    def follow(self, value: str) -> None:
        """Show what counts while nobody chose."""
        if not self._said and value in self._values and value != self.value:
            self._at = self._values.index(value)
            self.refresh()

    def on_key(self, event: events.Key) -> None:
        """Find the value that begins with what is typed, else one that has it."""
        if not event.is_printable or event.character is None:
            return
        event.stop()
        event.prevent_default()
        now = time.monotonic()
        word = (
            event.character.lower() if now - self._typed_at > TYPING_SECONDS else self._typed + event.character.lower()
        )
        self._typed, self._typed_at = word, now
        for fits in (str.startswith, str.__contains__):
            found = next((value for value in self._values if fits(value, word)), None)
            if found is not None:
                self.say(found)
                return

    def action_turn(self, step: int) -> None:
        self.say(self._values[(self._at + step) % len(self._values)])

    def on_click(self, event: events.Click) -> None:
        """Choose the value under the mouse, or beyond the last one the next."""
        self.focus()
        if event.button == 1:
            number = next((i for column, i in reversed(self._placed) if column <= event.x), self._at)
            if number != self._at:
                self.say(self._values[number])

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
        self._placed = []
        for i, value in shown:
            self._placed.append((text.cell_len, i))
            text.append(f"‹{value}›" if i == self._at else f" {value} ", chosen if i == self._at else faint)
            text.append(" ")
        text.append(" " * max(self.size.width - text.cell_len - len(tail), 0) + tail, faint)
        return text
