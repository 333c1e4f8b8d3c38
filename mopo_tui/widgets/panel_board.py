"""The panels of the chosen run or row of seeds: as many as there is room for, the others one key away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.message import Message
from textual.widget import Widget

from mopo_tui.actions import bindings
from mopo_tui.manager import Run
from mopo_tui.widgets.board_state import BOARD, NOW, ONE, TABS, BoardState, Layout, after, layout_of, smoother
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.now_panel import NowPanel
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.panels import EVERY_PANEL, Options, Panel, choices, panel
from mopo_tui.widgets.seeds import Group

_LAYOUTS = ("-one", "-three", "-six-high", "-six-wide")


class Tabs(Widget):
    """The names of all panels with the keys that choose them; those on the screen are brighter. A click chooses one."""

    class Chosen(Message):
        """A name was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._marked: tuple[str, tuple[str, ...]] = ("", ())

    def show(self, chosen: str, shown: tuple[str, ...]) -> None:
        """Mark these."""
        if (chosen, shown) != self._marked:
            self._marked = (chosen, shown)
            self.refresh()

    def render(self) -> Text:
        """One row."""
        dark = self.app.current_theme.dark
        chosen, shown = self._marked
        text = Text(" ", no_wrap=True, overflow="ellipsis")
        for number, name in enumerate(BOARD, start=1):
            ink = colour("text" if name in shown else "muted", dark)
            text.append(f"{number} ", colour("sky" if name == chosen else "faint", dark))
            text.append(TABS[name], f"bold underline {ink}" if name == chosen else ink)
            text.append("  ")
        return text

    def on_click(self, event: events.Click) -> None:
        column = 1
        for name in BOARD:
            end = column + 2 + len(TABS[name])
            if column <= event.x < end:
                self.post_message(self.Chosen(name))
            column = end + 2


class PanelBoard(Vertical):
    """Six panels of one group: pages of them where not all fit, one alone where it is zoomed.

    `show` gives it news; only what is on the screen is made and drawn.
    """

    BINDINGS = bindings("panels")

    class Changed(Message):
        """Another panel is chosen, others are on the screen, or one is shown in another way: `state` is what to remember."""

        def __init__(self, state: BoardState) -> None:
            super().__init__()
            self.state = state

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state = BoardState()
        self._zoomed = False
        self._layout_now: Layout = ONE
        self._group: Group | None = None
        self._log: tuple[Run | None, Sequence[str]] = (None, ())
        self._made: dict[str, Panel] = {}
        self._made_of: dict[str, object] = {}  # of what each panel was made last

    def compose(self) -> ComposeResult:
        yield Tabs(id="tabs")
        with Container(id="panels", classes=ONE.name):
            for name in EVERY_PANEL:
                yield Chart(id=name, classes="panel")
            yield NowPanel(id=NOW, classes="panel")

    def on_mount(self) -> None:
        self._place()

    # --- what is shown ------------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> BoardState:
        """What a person chose; set it to what was remembered."""
        return self._state

    @state.setter
    def state(self, state: BoardState) -> None:
        self._state = state
        if self.is_mounted:
            self._place()

    @property
    def shown(self) -> tuple[str, ...]:
        """The panels on the screen."""
        return (self._state.chosen,) if self._zoomed else self._layout_now.page(self._state.chosen)

    @property
    def zoomed(self) -> bool:
        """Whether one panel has all the room."""
        return self._zoomed

    @zoomed.setter
    def zoomed(self, zoomed: bool) -> None:
        if zoomed != self._zoomed:
            self._zoomed = zoomed
            self._place()

    def show(self, group: Group | None) -> None:
        """Show these runs, or nothing."""
        self._group = group
        self._make()

    def show_log(self, run: Run | None, lines: Sequence[str]) -> None:
        """The last lines of the log of the run that stands for the group."""
        self._log = (run, lines)
        self._make_now()

    def choose(self, name: str, *, focus: bool = True) -> None:
        """Bring a panel onto the screen, and the keys to it."""
        if name != self._state.chosen:
            self._state = replace(self._state, chosen=name)
            self._place()
            self.post_message(self.Changed(self._state))
        if focus:
            self.query_one(f"#{name}", Widget).focus()

    def _place(self) -> None:
        """Which panels are on the screen, in which layout."""
        shown, area = self.shown, self.query_one("#panels")
        all_there = len(shown) == len(BOARD)
        layout = ONE.name if self._zoomed else self._layout_now.name
        for each in _LAYOUTS:
            area.set_class(each == layout, each)
        for name in BOARD:
            self.query_one(f"#{name}").display = name in shown
        tabs = self.query_one(Tabs)
        tabs.display = not all_there
        tabs.show(self._state.chosen, shown)
        self._make()

    def on_resize(self, event: events.Resize) -> None:
        layout = layout_of(event.size.width, event.size.height)
        if layout != self._layout_now:
            self._layout_now = layout
            self._place()
            self.call_after_refresh(self._keep_focus)
            self.post_message(self.Changed(self._state))  # other panels may need what was not read until now
        else:
            self._make()

    def _keep_focus(self) -> None:
        """The focus stays on the chosen panel when the layout changes."""
        focused = self.screen.focused
        if focused is not None and focused.id in BOARD and focused.id != self._state.chosen:
            self.query_one(f"#{self._state.chosen}", Widget).focus()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if event.widget.id in BOARD:
            self.choose(event.widget.id, focus=False)

    def on_tabs_chosen(self, message: Tabs.Chosen) -> None:
        self.choose(message.name)

    # --- making panels ------------------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Make the panels on the screen whose runs or options are others than before."""
        group = self._group
        if group is None or not self.size.area:  # a board that is not on the screen is made when it comes there
            return
        of_group = (group.stroke, group.label, *((run.id, run.state, run.job, view) for run, view in group.members))
        for name in self.shown:
            if name == NOW:
                self._make_now()
                continue
            made_of = (of_group, self._state.of(name))
            if self._made_of.get(name) != made_of:
                self._made_of[name] = made_of
                self._show_panel(name, group)
        self.screen.refresh_bindings()

    def _show_panel(self, name: str, group: Group) -> None:
        options = self._state.of(name)
        made = self._made[name] = panel(name, [group], options)
        title, short = made.title, made.short or made.title
        for word in self._aside(name, made, options):
            title, short = f"{title}, {word}", f"{short}, {word}"
        number = BOARD.index(name) + 1
        self.query_one(f"#{name}", Chart).show(made.plot, f"{number} {title}", made.numbers, f"{number} {short}")

    def _aside(self, name: str, made: Panel, options: Options) -> list[str]:
        """What the title says of how the panel is shown."""
        there = self._views(name)
        place = [f"{self._view(name, there) + 1}/{len(there)}"] if len(there) > 2 else []
        smooth = [f"smoothed {options.smoothing:g}"] if options.smoothing and made.smooths else []
        return place + smooth

    def _make_now(self) -> None:
        if self._group is not None and self.is_mounted and NOW in self.shown:
            run, lines = self._log
            self.query_one(NowPanel).show(self._group, lines, run, f"{len(BOARD)} {TABS[NOW]}")

    # --- keys ---------------------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does something to the panel with the focus."""
        made = self._made.get(self._state.chosen)
        options = self._state.of(self._state.chosen)
        if action in ("axis", "log_scale", "smooth", "view") and (made is None or self._state.chosen == NOW):
            return False
        if made is None:
            return True
        match action:
            case "axis":
                return len(made.axes) > 1
            case "log_scale":
                return made.logs
            case "smooth":
                step = parameters[0] if parameters and isinstance(parameters[0], int) else 1
                return made.smooths and smoother(options.smoothing, step) != options.smoothing
            case "view":
                return len(self._views(self._state.chosen)) > 1
        return True

    def action_next_panel(self, step: int) -> None:
        """The focus to the next panel, or to the one before."""
        self.choose(after(BOARD, self._state.chosen, step))

    def action_axis(self) -> None:
        """The next x axis."""
        made, options = self._made[self._state.chosen], self._state.of(self._state.chosen)
        now = options.x if options.x in made.axes else made.axes[0]
        self._set(replace(options, x=after(made.axes, now, 1)))

    def action_log_scale(self) -> None:
        """y on the other kind of axis."""
        made, options = self._made[self._state.chosen], self._state.of(self._state.chosen)
        self._set(replace(options, log=not made.plot.y_log))

    def action_smooth(self, step: int) -> None:
        """Smoother lines, or rougher ones."""
        options = self._state.of(self._state.chosen)
        self._set(replace(options, smoothing=smoother(options.smoothing, step)))

    def action_view(self, step: int) -> None:
        """The next of what the panel can show, or the one before."""
        name = self._state.chosen
        there = self._views(name)
        self._set(replace(self._state.of(name), metric=there[(self._view(name, there) + step) % len(there)]))

    def _views(self, name: str) -> list[str]:
        """What the panel can show of these runs."""
        if self._group is None or name == NOW:
            return []
        return [metric for metric, _ in choices(name, [self._group])]

    def _view(self, name: str, there: Sequence[str]) -> int:
        """Which of them it shows."""
        made, wanted = self._made.get(name), self._state.of(name).metric
        if wanted in there:
            return there.index(wanted)
        return there.index(made.metric) if made is not None and made.metric in there else 0

    def _set(self, options: Options) -> None:
        self._state = self._state.with_options(self._state.chosen, options)
        self._make()
        self.post_message(self.Changed(self._state))
