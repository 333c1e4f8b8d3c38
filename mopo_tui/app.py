"""`mopo-tui`: the app. Owns the store, the poller and what is read so far; screens show it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from textual import on, work
from textual.app import App, SystemCommand
from textual.binding import Binding
from textual.filter import LineFilter
from textual.screen import Screen
from textual.theme import Theme
from textual.timer import Timer

from mopo_tui.actions import bindings
from mopo_tui.deeds import called, carry_out
from mopo_tui.keys import BY_ID, Keys, written
from mopo_tui.machine import Load
from mopo_tui.manager import Run, Store, StoreError, trash
from mopo_tui.manager.queue import Queue, QueueError
from mopo_tui.memory import Memory
from mopo_tui.poller import (
    ArrangeFailed,
    Arrangement,
    LogChanged,
    MachineChanged,
    Overview,
    Poller,
    QueueChanged,
    ReadFailed,
    RunsChanged,
    ViewChanged,
)
from mopo_tui.run_view import RunView
from mopo_tui.screens.base import RunsScreen
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.screens.help import HelpScreen
from mopo_tui.slow_line import PacedApp
from mopo_tui.widgets.ascii_only import AsciiOnly
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.glyphs import look_of
from mopo_tui.widgets.palette import Colours
from mopo_tui.widgets.panel_board import PanelBoard
from mopo_tui.widgets.words import place_of

_VIEWS_KEPT = 20
_TOLD = 4  # runs, or problems, that a toast names
_SAVE_SECONDS = 1.0  # within which what is to be remembered is written together
_LONG = 12.0  # seconds for which a toast stands that must be read

DARK = Theme(
    name="mopo-dark",
    dark=True,
    primary="#56b4e9",
    secondary="#8b949e",
    accent="#e69f00",
    foreground="#d6dbe0",
    background="#12161b",
    surface="#181d23",
    panel="#222931",
    success="#2bb58c",
    warning="#e69f00",
    error="#e8703a",
    variables={"border": "#38414b", "border-blurred": "#38414b"},
)
LIGHT = Theme(
    name="mopo-light",
    dark=False,
    primary="#1f7fb8",
    secondary="#5f6872",
    accent="#a86f00",
    foreground="#24292f",
    background="#fbfbfa",
    surface="#f2f3f3",
    panel="#e6e8ea",
    success="#00795a",
    warning="#a86f00",
    error="#bd4a00",
    variables={"border": "#c3c8cd", "border-blurred": "#c3c8cd"},
)


class MopoApp(PacedApp):
    """The terminal app on one store.

    Args:
        store: whose runs are shown.
        run: the id of the run to open on.
        keys: what a person's configuration makes of the keys.
        memory: what is remembered of the last use.
    """

    TITLE = "mopo-tui"
    CSS_PATH = "app.tcss"
    BINDINGS = bindings("everywhere")

    def __init__(
        self, store: Store, run: str | None = None, keys: Keys | None = None, memory: Memory | None = None
    ) -> None:
        super().__init__()
        self.plain = [AsciiOnly()] if look_of(os.environ).kind == "ascii" else []
        self.keys = keys or Keys()
        self.memory = memory or Memory()
        self._saving: Timer | None = None
        self.set_keymap(self.keys.keymap)
        self.store = store
        self.host = os.uname().nodename
        self.place = place_of(store.root) + (" (only to look at)" if store.read_only else "")
        self.overview = Overview()
        self.looked = False  # whether the store has been read at all
        self.load = Load()
        self.views: dict[str, RunView] = {}
        self.colours = Colours()
        self._watched = 0  # runs that the uppermost screen shows
        self.poller = Poller(self, store)
        self._open_on = run

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs of the store, newest first."""
        return self.overview.runs

    def on_mount(self) -> None:
        self.register_theme(DARK)
        self.register_theme(LIGHT)
        self.theme = LIGHT.name if self.memory.get("theme") == LIGHT.name else DARK.name
        self.theme_changed_signal.subscribe(self, self._take_theme)
        self.push_screen(Dashboard(self._open_on))
        if isinstance(order := self.memory.get_here("order"), str):
            self.poller.arrange(Arrangement(sort=order.lstrip("-"), reverse=order.startswith("-")))
        self.poller.start()
        if self.memory.problem:
            self.notify(self.memory.problem, title="Forgotten", severity="warning", timeout=_LONG, markup=False)
        if self.keys.problems:
            said = "\n".join(map(str, self.keys.problems[:_TOLD])).replace(f"{Path.home()}{os.sep}", f"~{os.sep}")
            more = len(self.keys.problems) - _TOLD
            said += f"\nand {more} more: mopo config validate" if more > 0 else ""
            self.notify(said, title="Keys", severity="warning", timeout=_LONG, markup=False)

    def on_unmount(self) -> None:
        self.poller.end()
        self.memory.save()

    # --- what is remembered -----------------------------------------------------------------------

    def remember(self, name: str, value: Any) -> None:
        """Keep it for the next use of the app."""
        self.memory.put(name, value)
        self._save_soon()

    def remember_here(self, name: str, value: Any) -> None:
        """Keep it for the next use of this store."""
        self.memory.put_here(name, value)
        self._save_soon()

    def _save_soon(self) -> None:
        if self.memory.unsaved and self._saving is None:
            self._saving = self.set_timer(_SAVE_SECONDS, self._save)

    @work(thread=True)
    def _save(self) -> None:
        self._saving = None
        self.memory.save()

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *self.plain]

    # --- what the poller says ---------------------------------------------------------------------

    @on(RunsChanged)
    def _take_runs(self, message: RunsChanged) -> None:
        self.overview, self.looked = message.overview, True
        how = self.overview.arrangement
        self.remember_here("order", f"{'-' if how.reverse else ''}{how.sort}")
        for screen in self._screens():
            screen.show_runs(self.runs)
        self.watch_shown()

    @on(ViewChanged)
    def _take_view(self, message: ViewChanged) -> None:
        view = message.view
        self.views.pop(view.run_id, None)
        self.views[view.run_id] = view
        while len(self.views) > max(_VIEWS_KEPT, self._watched):
            self.views.pop(next(iter(self.views)))
        for screen in self._screens():
            screen.show_view(view)

    @on(LogChanged)
    def _take_log(self, message: LogChanged) -> None:
        for screen in self._screens():
            screen.show_log(message.run_id, message.lines)

    @on(QueueChanged)
    def _take_queue(self, message: QueueChanged) -> None:
        for screen in self._screens():
            screen.show_queue(message.view)

    @on(MachineChanged)
    def _take_load(self, message: MachineChanged) -> None:
        if message.load.words() != self.load.words():
            self.load = message.load
            for screen in self._screens():
                screen.show_load()

    @on(ArrangeFailed)
    def _say_no_arrangement(self, message: ArrangeFailed) -> None:
        for screen in self._screens():
            screen.show_wrong_arrangement(message.reason)

    @on(ReadFailed)
    def _say_unread(self, message: ReadFailed) -> None:
        self.notify(message.reason, title="The store cannot be read", severity="error")

    def _screens(self) -> list[RunsScreen]:
        return [screen for screen in self.screen_stack if isinstance(screen, RunsScreen) and screen.is_mounted]

    def watch_shown(self) -> None:
        """Tell the poller which runs the uppermost screen shows."""
        screens = self._screens()
        if screens:
            watched = screens[-1].watched()
            self._watched = len(watched)
            self.poller.watch(watched)
            self.poller.watch_log(screens[-1].watched_log(), brief=screens[-1].log_is_brief)
            self.poller.watch_queue(screens[-1].watches_queue())

    # --- what screens ask for ---------------------------------------------------------------------

    @work(thread=True)
    def carry_out(
        self, runs: Sequence[Run], do: Callable[[Store, Run], str], title: str, fits: Sequence[str] = ()
    ) -> None:
        """Do it with each of the runs, off the UI thread; a toast says what happened."""
        outcome = carry_out(self.store, runs, do, fits)
        for said, over, severity in (
            (outcome.done, title, "information"),
            (outcome.failed, f"{title}: not done", "error"),
        ):
            if said:
                text = self.keys.said("\n".join(said[:_TOLD])) + (
                    f"\nand {len(said) - _TOLD} more" if len(said) > _TOLD else ""
                )
                self.call_from_thread(self.notify, text, title=over, severity=severity, markup=False)
        self.poller.look()

    @work(thread=True, exclusive=True, group="queue")
    def change_queue(self, do: Callable[[Queue], None]) -> None:
        """Change the queue, off the UI thread; the screen shows it, a toast only what went wrong."""
        try:
            do(self.store.queue)
        except (QueueError, OSError) as error:
            self.call_from_thread(self.notify, str(error), title="Queue: not done", severity="error", markup=False)
        self.poller.look()

    @work(thread=True)
    def bring_back(self, run: Run) -> None:
        """Move a run out of the trash; a toast says so."""
        try:
            trash.restore(self.store, run)
        except (StoreError, OSError) as error:
            self.call_from_thread(self.notify, str(error), title="Restored: not done", severity="error", markup=False)
        else:
            self.call_from_thread(self.notify, f"{called(run)} is back", title="Restored", markup=False)
        self.poller.look()

    def get_key_display(self, binding: Binding) -> str:
        """How a key stands in the footer."""
        return written(binding.key, plain=self.keys.plain)

    def action_help(self) -> None:
        """What each key does."""
        active = sorted(self.screen.active_bindings.values(), key=lambda each: each.node is not self.screen)
        here = dict.fromkeys((each.binding.id or "").partition(".")[0] for each in active)
        self.push_screen(HelpScreen(here))

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette: the actions that are valid here, and the theme."""
        offered: set[str] = set()
        for active in screen.active_bindings.values():
            action = BY_ID.get(active.binding.id or "")
            # What moves about in a list needs no name.
            here = isinstance(active.node, (App, Screen, PanelBoard, Chart)) and active.enabled
            if action is None or not here or action.id in offered or action.name == "command_palette":
                continue
            offered.add(action.id)
            run = partial(self.run_action, action.name, active.node)
            yield SystemCommand(action.label, f"{action.help} ({self.keys.shown(action.id)})", run)
        other = LIGHT if self.current_theme.dark else DARK
        yield SystemCommand(
            f"{'Light' if other is LIGHT else 'Dark'} theme",
            "change the colours",
            lambda: setattr(self, "theme", other.name),
        )

    def _take_theme(self, theme: Theme) -> None:
        self.remember("theme", theme.name)
        for screen in self._screens():
            screen.show_runs(self.runs)
