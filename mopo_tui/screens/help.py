"""What each key does, made from the table of actions: first what counts where the person is, then the rest."""

from __future__ import annotations

import textwrap
from collections.abc import Collection

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from mopo_tui.actions import ACTIONS, PLACES, bindings
from mopo_tui.keys import keys_of
from mopo_tui.widgets.palette import STATES, colour

_COLUMN, _GAP, _AROUND = (
    72,
    4,
    7,
)  # cells: of a column of keys, between two, and of the box with its scroll bar around them
_MOST = 3  # columns


class HelpScreen(ModalScreen[None]):
    """All actions by place, and the meaning of the states' glyphs.

    Args:
        here: the places whose keys count where help was asked for, in this order.
    """

    BINDINGS = bindings("help")

    def __init__(self, here: Collection[str] = ()) -> None:
        super().__init__()
        self._here = [place for place in here if place in PLACES]

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="help"):
            yield Static(id="help-keys")

    def on_mount(self) -> None:
        box, keys = self.query_one("#help"), keys_of(self.app)
        box.border_title = "Keys"
        box.border_subtitle = (
            f"{keys.shown('help.up')} {keys.shown('help.down')} scroll  {keys.shown('help.close')} close"
        )

    def on_resize(self) -> None:
        """As many columns as there is room for."""
        width = self.size.width
        columns = max(1, min(_MOST, (width - _AROUND + _GAP) // (_COLUMN + _GAP)))
        room = min(_COLUMN, width - _AROUND)
        self.query_one("#help").styles.width = columns * room + (columns - 1) * _GAP + _AROUND
        self.query_one("#help-keys", Static).update(self._table(columns, room))

    def _table(self, columns: int, room: int) -> Table:
        sections = self._sections(room)
        whole = sum(len(section) + 1 for section in sections)
        parts: list[list[Text]] = [[]]
        for section in sections:
            # A section stands whole; it begins the next column where more of it would be below the middle than above.
            if len(parts) < columns and parts[-1] and len(parts[-1]) + len(section) / 2 > whole / columns:
                parts.append([])
            parts[-1] += [*([Text()] if parts[-1] else []), *section]
        table = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        for _ in parts:
            table.add_column(width=room)
        table.add_row(*(Text("\n").join(part) for part in parts))
        return table

    def _sections(self, room: int) -> list[list[Text]]:
        """The lines of each place, and of the states."""
        dark, keys = self.app.current_theme.dark, keys_of(self.app)
        shown = {action.id: keys.all_shown(action) for action in ACTIONS}
        left = max(map(len, shown.values()))

        def heading(words: str) -> Text:
            return Text(words, f"bold {colour('text', dark)}")

        def lines(key: str, ink: str, words: str) -> list[Text]:
            first, *more = textwrap.wrap(words, room - left - 2)
            line = Text(key.ljust(left + 2), colour(ink, dark)).append(first, colour("text", dark))
            return [line, *(Text(" " * (left + 2) + rest, colour("text", dark)) for rest in more)]

        sections = []
        for place in [*self._here, *(place for place in PLACES if place not in self._here)]:
            found = [lines(shown[a.id], "sky", a.help) for a in ACTIONS if a.where == place]
            sections.append([heading(PLACES[place].title), *(line for each in found for line in each)])
        states = [lines(glyph, ink, state)[0] for state, (glyph, ink) in STATES.items()]
        return [*sections, [heading("States"), *states]]

    def action_scroll(self, direction: int) -> None:
        """A line down, or up."""
        self.query_one(VerticalScroll).scroll_relative(y=direction, animate=False)

    def action_close(self) -> None:
        """Back to where help was asked for."""
        self.dismiss()
