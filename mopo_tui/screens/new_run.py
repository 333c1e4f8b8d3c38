"""The form of new runs: what to train, on what, how; checked as typed by the same code as the command line, planned and started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from rich.table import Table
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Static
from textual.worker import get_current_worker

from engine.config import ALGORITHMS, DEFAULT_PRESET, PRESETS
from engine.presets import Value
from engine.tasks import TASKS, UnknownName, all_tasks
from mopo_tui.actions import bindings
from mopo_tui.draft import FIELDS, Draft, Examined, as_typed, examine, like
from mopo_tui.launching import Begun, begin
from mopo_tui.manager import LaunchError, Run, Store
from mopo_tui.outlook import Outlook, names, outlook, outlook_in_words, runs_in_words
from mopo_tui.widgets.choice import Choice
from mopo_tui.widgets.form_row import FormRow, text_field
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.settings_field import SettingsField
from mopo_tui.widgets.words import short_id

if TYPE_CHECKING:
    from textual.binding import BindingType

CHOICES = ("task", "algorithm", "preset")
TEXTS = ("source", "seeds", "device", "threads", "name", "tags", "note")
_WORD = 24  # of a name, at which a line may break
_TITLE = 10  # columns for what a line is about
LABELS = {"": "what the line below says", "source": "data"}
TYPING_SECONDS = 0.05  # after the last key, before what is typed is examined
AGAIN_SECONDS = 5.0  # between two looks at data and queue, which others change


class NewRunScreen(ModalScreen[Run | None]):
    """Enter starts the runs and leaves with the first one; Esc leaves without.

    Args:
        same_as: the run from which the form is filled.
    """

    BINDINGS: ClassVar[list[BindingType]] = bindings("form")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (72, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-high")]  # noqa: RUF012

    @dataclass
    class Seen(Message):
        """What the fields say has been examined, and what it will mean is known where it can be done.

        Attributes:
            refused: whether it was asked to start.
        """

        examined: Examined
        ahead: Outlook | None
        refused: bool = False

    @dataclass
    class Filled(Message):
        """What another run was made from."""

        draft: Draft

    @dataclass
    class Failed(Message):
        """Nothing was started; `leave`: the form cannot be filled, and nothing will be."""

        why: str
        leave: bool = False

    @dataclass
    class Started(Message):
        """The runs are there."""

        begun: Begun

    def __init__(self, store: Store, same_as: Run | None = None) -> None:
        super().__init__()
        self._store, self._same_as = store, same_as
        self._examined: Examined | None = None
        self._without: Mapping[str, Value] = {}
        self._typing: Timer | None = None
        self._starting = False
        self._failed: Draft | None = None  # what could not be started: the reason stands until something else is typed

    def compose(self) -> ComposeResult:
        tasks = tuple(self._tasks())
        with Vertical(id="form") as box:
            box.border_title = "New run"
            with VerticalScroll(id="fields", can_focus=False):
                yield FormRow(("Task", Choice(tasks, tasks[0], id="task")))
                yield FormRow(("Data", text_field("source")))
                yield FormRow(("Algorithm", Choice(ALGORITHMS, ALGORITHMS[0], id="algorithm")))
                yield FormRow(("Preset", Choice(PRESETS, DEFAULT_PRESET, id="preset")))
                yield FormRow(("Seeds", text_field("seeds")))
                yield SettingsField(id="settings")
                yield FormRow(("Device", text_field("device")), ("Threads", text_field("threads")))
                yield FormRow(("Name", text_field("name")), ("Tags", text_field("tags", "words to find it by")))
                yield FormRow(("Note", text_field("note", "one line for yourself")))
            yield Static(id="ahead")
            yield Static(id="problem", markup=False)
            yield KeysLine()

    def _tasks(self) -> Iterable[str]:
        """The names of all tasks; where the person's own file of them is broken, of those that ship."""
        try:
            return all_tasks()
        except UnknownName as error:
            self.app.notify(str(error), title="Your own tasks", severity="error", markup=False)
            return TASKS

    def on_mount(self) -> None:
        self.query_one("#ahead").border_title = " What Enter starts "
        self.query_one("#problem").display = False
        self.set_interval(AGAIN_SECONDS, self._ask)
        if self._same_as is None:
            self.query_one("#task").focus()
            self._ask()
        else:
            self.query_one("#form", Vertical).border_title = f"New run like {short_id(self._same_as.id)}, but …"
            self.query_one(SettingsField).search.focus()
            self._fill(self._same_as)

    # --- what the fields say ----------------------------------------------------------------------

    @property
    def draft(self) -> Draft:
        """The texts of all fields."""
        chosen = {name: self.query_one(f"#{name}", Choice).said for name in CHOICES}
        typed = {name: self.query_one(f"#{name}", Input).value for name in TEXTS}
        return Draft(**chosen, **typed, settings=self.query_one(SettingsField).texts)

    @on(Choice.Changed)
    @on(Input.Changed)
    @on(SettingsField.Changed)
    def _changed(self) -> None:
        if self._typing is not None:
            self._typing.stop()
        self._typing = self.set_timer(TYPING_SECONDS, self._ask)

    def _ask(self) -> None:
        if not self._starting:
            self._examine(self.draft)

    @work(thread=True, exclusive=True, group="examine")
    def _examine(self, draft: Draft) -> None:
        seen = self._look(draft)
        if not get_current_worker().is_cancelled:
            self.post_message(seen)

    def _look(self, draft: Draft) -> Seen:
        """Off the UI thread: what a draft comes to."""
        examined = examine(draft)
        try:
            ahead = None if examined.experiment is None else outlook(self._store, examined.experiment)
        except (OSError, ValueError) as error:
            return self.Seen(Examined(draft, {"": str(error)}, None, examined.without), None)
        return self.Seen(examined, ahead)

    @work(thread=True)
    def _fill(self, run: Run) -> None:
        try:
            draft = like(run)
        except (OSError, ValueError) as error:
            self.post_message(self.Failed(str(error), leave=True))
        else:
            self.post_message(self.Filled(draft))

    @on(Filled)
    async def _show_draft(self, message: Filled) -> None:
        for name in CHOICES:
            self.query_one(f"#{name}", Choice).say(getattr(message.draft, name))
        for name in TEXTS:
            self.query_one(f"#{name}", Input).value = getattr(message.draft, name)
        await self.query_one(SettingsField).fill(message.draft.settings)
        self._ask()

    # --- what they mean ---------------------------------------------------------------------------

    @on(Seen)
    def _show(self, message: Seen) -> None:
        """Show it, unless something else is typed by now: that is being examined then."""
        if message.refused:
            self._starting = False
        if message.examined.draft == self.draft != self._failed and not self._starting:
            self._show_examined(message.examined, message.ahead)
            if message.refused:
                self._go_to(next(iter(message.examined.problems)))

    def _show_examined(self, examined: Examined, ahead: Outlook | None) -> None:
        self._examined = examined
        problems = examined.problems
        without = self._without = examined.without or self._without
        for name in CHOICES:
            if FIELDS[name] in without:
                self.query_one(f"#{name}", Choice).follow(str(without[FIELDS[name]]))
        for name, more in (
            ("source", "d4rl:NAME, minari:ID, a path"),
            ("seeds", "several: 0-4 or 0,2,7"),
            ("device", "cuda, cuda:1"),
            ("threads", "each takes a slot"),
        ):
            if FIELDS[name] in without:
                value = as_typed(without[FIELDS[name]])
                self.query_one(f"#{name}", Input).placeholder = f"{value}; {more}"
        for row in self.query(FormRow):
            row.refuse("; ".join(problems[name] for name in row.names if name in problems))
        self.query_one(SettingsField).show(problems, without, examined.idle)
        self._say(problems.get("", ""))
        if examined.experiment is None:
            where = ", ".join(LABELS.get(name, name) for name in problems)
            self._show_ahead([("", f"Nothing yet. Put right first: {where}.")])
        elif ahead is not None:
            called = names(examined.experiment)
            self.query_one("#name", Input).placeholder = called[0] if len(called) == 1 else "of all; each adds its own"
            self._show_ahead(runs_in_words(examined.experiment, self._two_lines) + outlook_in_words(ahead, len(called)))

    @property
    def _two_lines(self) -> int:
        """Characters that surely fit two lines of what is ahead."""
        return 2 * (self.query_one("#ahead").size.width - _TITLE - 1) - _WORD

    def _show_ahead(self, lines: list[tuple[str, str]]) -> None:
        dark = self.app.current_theme.dark
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=_TITLE, no_wrap=True, style=colour("muted", dark))
        table.add_column(ratio=1)
        for title, text in lines:
            table.add_row(Text(title), Text(text, colour("text", dark)))
        self.query_one("#ahead", Static).update(table)

    def _say(self, problem: str) -> None:
        said = self.query_one("#problem", Static)
        said.update(problem)
        said.display = bool(problem)

    # --- actions ----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether a key is the form's now, or that of the settings."""
        if not self.is_mounted:
            return True
        settings = self.query_one(SettingsField)
        match action:
            case "start":
                return not (settings.searching or settings.row is not None)
            case "next_field" | "previous_field" | "close":
                return not settings.searching
        return True

    def action_next_field(self) -> None:
        self.focus_next()

    def action_previous_field(self) -> None:
        self.focus_previous()

    def action_close(self) -> None:
        """Leave without starting anything."""
        if not self._starting:
            self.dismiss(None)

    def action_start(self) -> None:
        """Start the runs, off the UI thread; a second Enter meanwhile does nothing."""
        draft, seen = self.draft, self._examined
        if self._starting:
            return
        if seen is not None and seen.draft == draft and seen.problems:
            self._go_to(next(iter(seen.problems)))
            return
        self._starting, self._failed = True, None
        self._say("")
        self._show_ahead([("", "starting …")])
        self._start(draft)

    def _go_to(self, name: str) -> None:
        """Focus the field or the setting of that name."""
        for row in self.query_one(SettingsField).rows:
            if row.key == name:
                row.field.focus()
        if name in FIELDS or name in TEXTS:
            self.query_one(f"#{name}").focus()

    @work(thread=True)
    def _start(self, draft: Draft) -> None:
        seen = self._look(draft)
        if seen.examined.experiment is None:
            self.post_message(self.Seen(seen.examined, None, refused=True))
            return
        try:
            begun = begin(self._store, seen.examined.experiment)
        except (LaunchError, OSError, ValueError) as error:
            self.post_message(self.Failed(str(error)))
        else:
            self.post_message(self.Started(begun))

    @on(Failed)
    def _say_failed(self, message: Failed) -> None:
        self._starting = False
        if message.leave:
            self.app.notify(message.why, title="No such form", severity="error", markup=False)
            self.dismiss(None)
            return
        self._failed = self.draft
        self._show_ahead([("", "Nothing is started. Enter tries again.")])
        self._say(message.why)

    @on(Started)
    def _leave(self, message: Started) -> None:
        self.app.notify(message.begun.text, title=message.begun.title, markup=False)
        self.dismiss(message.begun.runs[0])
