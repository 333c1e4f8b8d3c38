"""What each key does, made from the table of actions."""

from __future__ import annotations

from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mopo_tui.actions import ACTIONS, TITLES
from mopo_tui.widgets.palette import STATES, colour


class HelpScreen(ModalScreen[None]):
    """All actions by place, and the meaning of the states' glyphs."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter", "dismiss", "Close")]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help") as box:
            box.border_title = "Keys"
            box.border_subtitle = "Esc closes"
            yield Static(self._table())

    def _table(self) -> Table:
        dark = self.app.current_theme.dark
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, width=9)
        table.add_column()
        for where in TITLES:
            table.add_row(Text(""), Text(TITLES[where], f"bold {colour('text', dark)}"))
            for action in ACTIONS:
                if action.where == where:
                    table.add_row(Text(action.shown, colour("sky", dark)), Text(action.help, colour("text", dark)))
        table.add_row(Text(""), Text("States", f"bold {colour('text', dark)}"))
        for state, (glyph, ink) in STATES.items():
            table.add_row(Text(glyph, colour(ink, dark)), Text(state, colour("text", dark)))
        return table
