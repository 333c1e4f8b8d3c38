"""Configuration keys with values of their own: found by a part of their name, listed, edited and taken out again."""

from __future__ import annotations

from collections.abc import Mapping

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.message import Message
from textual.widgets import Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from engine.presets import Value
from mopo_tui.actions import bindings
from mopo_tui.draft import about_key, as_typed, found, refused
from mopo_tui.widgets.form_row import text_field
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.words import cut

_VALUE = 12  # columns of a value in the list


class SettingRow(Vertical):
    """One key, its value as typed, and what it would be otherwise."""

    class Unwanted(Message):
        """The key is to be taken out."""

        def __init__(self, row: SettingRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self, key: str, text: str, otherwise: str) -> None:
        super().__init__(classes="setting-row")
        self.key = key
        self.field = text_field(None)  # made here: a row is asked for it while it comes and goes, too
        self.field.value = text
        self._default = Label(classes="setting-otherwise", markup=False)
        self._problem = Static(classes="form-problem", markup=False)
        self.show("", otherwise)

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label(self.key, classes="setting-key", markup=False)
            yield self.field
            yield self._default
            yield RemoveMark("x", classes="setting-remove", markup=False)
        about = f"{about_key(self.key)}; with commas: a sweep"
        yield Static(about, classes="setting-about", markup=False)
        yield self._problem

    def show(self, problem: str, otherwise: str, idle: str = "") -> None:
        """What is wrong with the value, what it would be without this row, and why it changes nothing, if so."""
        self._default.update(f"default {cut(otherwise, 11)}" if otherwise else "")
        self.field.placeholder = otherwise
        self._problem.update(problem or idle)
        self._problem.set_class(not problem, "-idle")
        self._problem.display = bool(problem or idle)

    @on(events.DescendantFocus)
    @on(events.DescendantBlur)
    def _show_about(self) -> None:
        self.query_one(".setting-about").display = self.field.has_focus


class RemoveMark(Label):
    """A click takes its row out."""

    def on_click(self, event: events.Click) -> None:
        event.stop()
        for row in self.ancestors:
            if isinstance(row, SettingRow):
                row.post_message(SettingRow.Unwanted(row))


class SettingsField(Vertical):
    """A field that searches keys, and below it the chosen ones."""

    BINDINGS = bindings("settings")

    class Changed(Message):
        """A key came, went, or has another value."""

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._values: Mapping[str, Value] = {}

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Label("Settings")
            yield text_field("setting-search", "part of a key's name: coefficient, length, lr, epochs …")
        yield OptionList(id="setting-matches", compact=True)
        yield Static(id="setting-help", markup=False)
        yield Vertical(id="setting-rows")

    def on_mount(self) -> None:
        self._matches.can_focus = False
        self._show_matches()

    @property
    def search(self) -> Input:
        """The field that searches."""
        return self.query_one("#setting-search", Input)

    @property
    def _matches(self) -> OptionList:
        return self.query_one("#setting-matches", OptionList)

    @property
    def rows(self) -> list[SettingRow]:
        """The chosen keys, in the order in which they were chosen."""
        return list(self.query(SettingRow))

    @property
    def texts(self) -> dict[str, str]:
        """What is typed, by key."""
        return {row.key: row.field.value.strip() for row in self.rows}

    @property
    def row(self) -> SettingRow | None:
        """The one whose value has the focus."""
        return next((row for row in self.rows if row.field.has_focus), None)

    @property
    def searching(self) -> bool:
        """Whether a part of a name is being typed: Enter, Esc, ↑ and ↓ belong to the keys that are found."""
        try:
            return self.search.has_focus and bool(self.search.value.strip())
        except NoMatches:
            return False

    # --- showing ----------------------------------------------------------------------------------

    async def fill(self, texts: Mapping[str, str]) -> None:
        """These keys with these texts, in place of what is there."""
        rows = self.query_one("#setting-rows")
        await rows.remove_children()
        await rows.mount(*(SettingRow(key, text, "") for key, text in texts.items()))

    def show(self, problems: Mapping[str, str], values: Mapping[str, Value], idle: Mapping[str, str]) -> None:
        """What is wrong, by key, what every key would be otherwise, and which change nothing."""
        self._values = values
        for row in self.rows:
            row.show(problems.get(row.key, ""), self._otherwise(row.key), idle.get(row.key, ""))
        if self.searching:
            self._show_help()

    def _otherwise(self, key: str) -> str:
        return as_typed(self._values[key]) if key in self._values else ""

    @on(Input.Changed, "#setting-search")
    def _search(self, event: Input.Changed) -> None:
        event.stop()
        self._show_matches()
        self.screen.refresh_bindings()

    @on(Input.Changed, ".setting-row Input")
    def _value_changed(self, event: Input.Changed) -> None:
        event.stop()
        self.post_message(self.Changed())

    def _show_matches(self) -> None:
        text = self.search.value.strip()
        matches = self._matches
        matches.clear_options()
        keys = [] if "=" in text else found(text)
        wide = max(map(len, keys), default=0)
        matches.add_options([Option(self._line(each, wide), id=each) for each in keys])
        matches.display = bool(keys)
        if keys:
            matches.highlighted = 0
        self._show_help()
        self.screen.set_class(bool(text), "-searching")
        if text:
            self.call_after_refresh(self._into_view)

    def _into_view(self) -> None:
        self.query_one("#setting-help").scroll_visible(animate=False)
        self.search.scroll_visible(animate=False)

    def _line(self, key: str, wide: int) -> Text:
        dark = self.app.current_theme.dark
        text = Text(key.ljust(wide + 1), no_wrap=True, overflow="ellipsis")
        text.append(f" {cut(self._otherwise(key), _VALUE):<{_VALUE}} ", colour("text", dark))
        text.append(about_key(key), colour("muted", dark))
        text.truncate(max(self.search.size.width - 1, 20), overflow="ellipsis")
        return text

    def _show_help(self) -> None:
        """All about the key under the cursor, or why there is none."""
        typed = self.search.value.strip()
        key, equals, _ = typed.partition("=")
        wrong = ""
        if equals:
            wrong = refused(key.strip())
            text = wrong or f"⏎ takes {key.strip()}: {about_key(key.strip())}"
        elif (chosen := self._chosen) is not None:
            value = self._otherwise(chosen)
            text = f"{chosen}{f' = {value}' if value else ''}: {about_key(chosen)}"
        else:
            wrong = text = f"no key is called or about {typed!r}" if typed else ""
        said = self.query_one("#setting-help", Static)
        said.set_class(bool(wrong), "-wrong")
        said.update(text)
        said.display = bool(text)

    @property
    def _chosen(self) -> str | None:
        at = self._matches.highlighted
        return None if at is None or not self._matches.option_count else self._matches.get_option_at_index(at).id

    # --- actions ----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether a key is valid now."""
        if not self.is_mounted:
            return False
        match action:
            case "pick" | "clear":
                return self.searching
            case "take":
                return self.searching or self.row is not None
            case "remove":
                return self.row is not None
        return True

    async def action_take(self) -> None:
        """Take the key that is found, or be done with a value."""
        if not self.searching:
            self.search.focus()
            return
        key, equals, text = self.search.value.strip().partition("=")
        if equals:
            if not refused(key.strip()):
                await self._choose(key.strip(), text.strip())
        elif self._chosen is not None:
            await self._choose(self._chosen)

    @on(OptionList.OptionSelected)
    async def _clicked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            await self._choose(event.option_id)

    async def _choose(self, key: str, text: str = "") -> None:
        """A row for that key, with the focus on its value; the one that is there already, if it is."""
        self.search.value = ""
        row = next((row for row in self.rows if row.key == key), None)
        if row is None:
            row = SettingRow(key, text, self._otherwise(key))
            await self.query_one("#setting-rows").mount(row)
        elif text:
            row.field.value = text
        row.field.focus()
        row.scroll_visible(animate=False)
        self.post_message(self.Changed())

    def action_pick(self, step: int) -> None:
        """The next key that is found, or the one before."""
        matches = self._matches
        if matches.option_count:
            matches.highlighted = ((matches.highlighted or 0) + step) % matches.option_count
            self._show_help()

    def action_clear(self) -> None:
        """Leave the search."""
        self.search.value = ""

    async def action_remove(self) -> None:
        """Take out the key whose value has the focus."""
        if self.row is not None:
            await self._remove(self.row)

    @on(SettingRow.Unwanted)
    async def _unwanted(self, message: SettingRow.Unwanted) -> None:
        message.stop()
        await self._remove(message.row)

    async def _remove(self, row: SettingRow) -> None:
        at = self.rows.index(row)
        await row.remove()
        rows = self.rows
        (rows[min(at, len(rows) - 1)].field if rows else self.search).focus()
        self.post_message(self.Changed())
