"""The dashboard: the list of runs, and of the chosen run or row of seeds its head and live panels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Static

from mopo_tui.actions import bindings
from mopo_tui.deeds import DEEDS, fitting_runs
from mopo_tui.manager import Run
from mopo_tui.manager.rows import title
from mopo_tui.manager.state import RunState
from mopo_tui.marks import LEAST_COMPARED, MOST_MARKED, Marks, comparable, kept, run_ids, toggled
from mopo_tui.poller import Arrangement
from mopo_tui.run_view import RunView
from mopo_tui.screens.deeds import DeedsScreen
from mopo_tui.widgets.board_state import BOARD, NOW, BoardState
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.palette import Stroke
from mopo_tui.widgets.panel_board import PanelBoard
from mopo_tui.widgets.prompt import Prompt
from mopo_tui.widgets.run_header import RunHeader
from mopo_tui.widgets.run_list import Entry, RunList, key_of
from mopo_tui.widgets.seeds import Group
from mopo_tui.widgets.top_line import TopLine
from mopo_tui.widgets.words import cut, title_of

_TOGETHER_SECONDS = 0.15  # within which the news of a row's seeds are drawn together
WIDE = 100  # columns from which list and panels stand side by side

WELCOME = """No runs yet.

Press  {dashboard.new}  to start one here, or in a shell:

  mopo run --task ant-angle --preset quick

A run goes on when you leave this app.
Finished runs to look at:  mopo demo"""


class Dashboard(DeedsScreen):
    """List left, panels right; one at a time where the terminal is narrow."""

    BINDINGS = bindings("dashboard")
    log_is_brief = True
    HORIZONTAL_BREAKPOINTS = [  # noqa: RUF012
        (0, "-narrow"),
        (WIDE, "-wide"),
        (160, "-very-wide"),
    ]

    def __init__(self, start_with: str | None = None) -> None:
        super().__init__()
        self._start_with = start_with
        self._came_back = start_with is not None
        self._redraw: Timer | None = None
        self.marked: Marks = ()
        self._asked_for: Arrangement | None = None

    def compose(self) -> ComposeResult:
        said = self.mopo.keys.said
        yield TopLine(id="top")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield RunList(id="runs")
                yield Static(said("No run fits the filter. Press {dashboard.filter} to change it."), id="none-fits")
                yield Static(said(WELCOME), id="welcome")
            with Vertical(id="right"):
                yield RunHeader(id="header")
                yield PanelBoard(id="board")
        yield Prompt(id="prompt")
        yield KeysLine()

    @property
    def board(self) -> PanelBoard:
        """The panels."""
        return self.query_one(PanelBoard)

    def on_mount(self) -> None:
        self.query_one("#left").border_title = "Runs"
        self.runs.focus()
        if isinstance(kept := self.mopo.memory.get("board"), Mapping):
            self.board.state = BoardState.from_json(kept)
        self.show_runs(self.mopo.runs)

    def watched(self) -> tuple[str, ...]:
        entry = self.runs.entry if self.is_mounted else None
        return tuple(run.id for run in _shown_of(entry)) if entry is not None else ()

    def watched_log(self) -> Run | None:
        """The log of the run that stands for the row, while the panel that shows its end is on the screen."""
        return self.runs.chosen if self.is_mounted and NOW in self.board.shown else None

    # --- showing ----------------------------------------------------------------------------------

    def show_runs(self, runs: Sequence[Run]) -> None:
        there = {run.id for run in runs}
        overview = self.mopo.overview
        self.marked = kept(self.marked, runs, {key_of(row): row.runs for row in overview.rows})
        self.runs.show(overview.rows, run_ids(self.marked), overview.told)
        self._show_arrangement()
        self.set_class(bool(runs) and not overview.rows, "-none-fits")
        self.set_class(not runs and self.mopo.looked, "-empty")
        if not runs:
            self.remove_class("-panels")
        if self._start_with in there and self._start_with is not None:
            if self.runs.choose(self._start_with):
                self.action_open()
            self._start_with = None
        elif runs and not self._came_back:
            self._come_back()
        self._came_back = self._came_back or bool(runs)
        self._show_top(runs)
        self._show_chosen()
        self.refresh_bindings()

    def _come_back(self) -> None:
        """To the run, or the row, under the cursor when the store was last looked at, and to a panel that was zoomed."""
        run_id = self.mopo.memory.get_here("run")
        if isinstance(run_id, str):
            self.runs.choose(run_id, whole=self.mopo.memory.get_here("row") is True)
        if self.mopo.memory.get("zoomed") is True:
            self.action_zoom()

    def _show_arrangement(self) -> None:
        """Filter and order stand on the list's edge, and the prompt that asked for them has its answer."""
        overview = self.mopo.overview
        how, said = overview.arrangement, []
        if how.filter:
            count = sum(len(row.runs) for row in overview.rows)
            said.append(f"{count} of {len(overview.runs)}: {how.filter}")
        if how.sort:
            said.append(f"by {'-' if how.reverse else ''}{how.sort}")
        left = self.query_one("#left")
        left.border_subtitle = Text(cut("  ".join(said), max(left.size.width - 4, 12))) if said else None
        if how == self._asked_for:
            self._asked_for = None
            self.query_one(Prompt).close()

    def show_wrong_arrangement(self, reason: str) -> None:
        self._asked_for = None
        _, _, what = reason.splitlines()[0].partition(": ")
        self.query_one(Prompt).refuse(what)

    def show_view(self, view: RunView) -> None:
        """A run alone is drawn at once; of a row the seeds' news are drawn together, a moment later."""
        entry = self.runs.entry
        if entry is None or all(run.id != view.run_id for run in _shown_of(entry)):
            return
        if len(_shown_of(entry)) == 1:
            self._show_panels()
        elif self._redraw is None:
            self._redraw = self.set_timer(_TOGETHER_SECONDS, self._show_panels)

    def show_log(self, run_id: str, lines: Sequence[str]) -> None:
        run = self.runs.chosen
        if run is not None and run.id == run_id:
            self.board.show_log(run, lines)

    def show_load(self) -> None:
        self._show_top(self.mopo.runs)

    def _show_top(self, runs: Sequence[Run]) -> None:
        entry = self.runs.entry
        alone = ""
        if entry is not None and self.board.zoomed:
            alone = (
                title_of(entry.lead) if len(entry.row.runs) == 1 else f"{title(entry.row)}, {len(entry.row.runs)} runs"
            )
        self.query_one(TopLine).show(self.mopo.host, self.mopo.place, runs, self.mopo.load, alone)

    def on_resize(self) -> None:
        if self.query(RunList):  # a screen gets its size before what stands deeper in it
            self._show_top(self.mopo.runs)
            self.call_after_refresh(self.refresh_bindings)  # some keys are valid where there is room alone

    def _show_chosen(self) -> None:
        entry = self.runs.entry
        if entry is None:
            self.query_one(RunHeader).show(None)
            return
        self.query_one(RunHeader).show(entry.lead, entry.row, self._stroke(entry).ink)
        self._show_panels()

    def _stroke(self, entry: Entry) -> Stroke:
        key = entry.lead.id if len(entry.row.runs) == 1 else entry.key
        return self.mopo.colours.of([key])[key]

    def _show_panels(self) -> None:
        self._redraw = None
        entry = self.runs.entry
        if entry is not None:
            members = [(run, self.mopo.views.get(run.id)) for run in _shown_of(entry)]
            self.board.show(Group(members, title(entry.row), self._stroke(entry)))

    @on(RunList.Chosen)
    def _choose(self) -> None:
        if self.runs.chosen is not None:
            self.mopo.remember_here("run", self.runs.chosen.id)
            self.mopo.remember_here("row", len(self.runs.selected) > 1)
        self.board.show_log(None, ())
        self.mopo.watch_shown()
        self._show_chosen()
        self.refresh_bindings()

    # --- actions ----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Whether a key is valid now; the footer shows those that are."""
        if not self.is_mounted:
            return True
        run = self.runs.chosen
        in_panels = not self.runs.has_focus
        match action:
            case "back":
                return run is not None and (in_panels or self.board.zoomed)
            case "mark":
                return any(comparable(each) for each in self.runs.selected)
            case "new" | "restore" | "queue" | "data":
                return not self.mopo.store.read_only
            case "like":
                return run is not None and run.job == "train" and not run.problem and not self.mopo.store.read_only
            case "compare":
                return len(self.marked) >= LEAST_COMPARED
            case "filter" | "sort":
                return bool(self.mopo.runs)
            case name if name in DEEDS:
                return bool(fitting_runs(name, self.mopo.store, self.runs.selected))
            case "tag" | "note" | "rename":
                return bool(self.own_runs())
            case "zoom":
                return run is not None and (in_panels or not self.has_class("-narrow"))
            case "play":
                return run is not None and run.job == "train" and not run.problem
            case "log" | "panel":
                return run is not None
        return True

    def action_filter(self) -> None:
        """Ask which runs to list."""
        how = self.mopo.overview.arrangement
        self.ask("filter", "filter ", how.filter, "score>80 and (algorithm=mopo or tag=baseline); empty: all runs")

    def action_sort(self) -> None:
        """Ask by what to order the rows."""
        how = self.mopo.overview.arrangement
        now = f"{'-' if how.reverse else ''}{how.sort}"
        self.ask("sort", "sort by ", now, "score, eta, rollout.length, policy/q, -score; empty: newest first")

    @on(Prompt.Answered)
    def _take_answer(self, message: Prompt.Answered) -> None:
        if message.about not in ("filter", "sort"):
            self.annotate(message.about, message.text)
            return
        how = self.mopo.overview.arrangement
        if message.about == "filter":
            wanted = dataclasses.replace(how, filter=message.text)
        else:
            wanted = dataclasses.replace(how, sort=message.text.lstrip("-"), reverse=message.text.startswith("-"))
        if wanted == how:
            self.query_one(Prompt).close()
            return
        self._asked_for = wanted
        self.mopo.poller.arrange(wanted)

    @on(Prompt.Left)
    def _leave_prompt(self) -> None:
        self.remove_class("-asking")
        self.runs.focus()

    @on(RunList.Opened)
    def action_open(self) -> None:
        """Go to the panels."""
        self.action_panel(BOARD.index(self.board.state.chosen) + 1)

    def action_panel(self, number: int) -> None:
        """Go to a panel, from 1 on."""
        self.add_class("-panels")
        self.board.choose(BOARD[number - 1])
        self.refresh_bindings()

    def action_back(self) -> None:
        """One layer out: from a zoomed panel to all panels, from the panels to the list."""
        if self.board.zoomed:
            self._zoom(False)
        else:
            self.remove_class("-panels")
            self.runs.focus()
        self.refresh_bindings()

    def action_zoom(self) -> None:
        """The chosen panel alone on the screen, or all of them again."""
        self.action_open()
        self._zoom(not self.board.zoomed)

    def _zoom(self, zoomed: bool) -> None:
        self.mopo.remember("zoomed", zoomed)
        self.set_class(zoomed, "-zoomed")
        self.board.zoomed = zoomed
        self._show_top(self.mopo.runs)
        self.mopo.watch_shown()
        self.refresh_bindings()

    def on_descendant_focus(self) -> None:
        """Where the list gets the focus nothing is zoomed any more."""
        if self.board.zoomed and self.runs.has_focus:
            self._zoom(False)
        self.refresh_bindings()

    @on(PanelBoard.Changed)
    def _take_board(self, message: PanelBoard.Changed) -> None:
        self.mopo.remember("board", message.state.to_json())
        self.mopo.watch_shown()

    def action_mark(self) -> None:
        """Mark the chosen run, or all of a row, or unmark it."""
        entry = self.runs.entry
        if entry is None:
            return
        marks = toggled(self.marked, entry.key, self.runs.selected, whole=not entry.under)
        if marks is None:
            already = f"{MOST_MARKED} are marked already: {{dashboard.compare}} compares them, {{dashboard.mark}} unmarks one."
            self.notify(self.mopo.keys.said(already), severity="warning")
            return
        self.marked = marks
        self.runs.show(self.mopo.overview.rows, run_ids(marks))
        self.refresh_bindings()

    def action_compare(self) -> None:
        """What is marked, side by side."""
        from mopo_tui.screens.compare import CompareScreen

        self.app.push_screen(CompareScreen(self.marked))

    def action_new(self) -> None:
        """The form of new runs."""
        self._open_form(None)

    def action_like(self) -> None:
        """The form, filled from the chosen run."""
        self._open_form(self.runs.chosen)

    def _open_form(self, same_as: Run | None) -> None:
        from mopo_tui.screens.new_run import NewRunScreen

        def started(run: Run | None) -> None:
            if run is not None:
                self._start_with = run.id
                self.mopo.poller.look()

        self.app.push_screen(NewRunScreen(self.mopo.store, same_as), started)

    def action_log(self) -> None:
        """What the chosen run says."""
        from mopo_tui.screens.log import LogScreen

        run = self.runs.chosen
        if run is not None:
            self.app.push_screen(LogScreen(run), lambda _: self.mopo.watch_shown())

    def action_queue(self) -> None:
        """What waits."""
        from mopo_tui.screens.queue import QueueScreen

        self.app.push_screen(QueueScreen(), lambda _: self.mopo.watch_shown())

    def action_play(self) -> None:
        """The chosen run's policy at work."""
        from mopo_tui.screens.play import PlayScreen

        run = self.runs.chosen
        if run is not None:
            self.app.push_screen(PlayScreen(run), lambda _: self.mopo.watch_shown())

    def action_data(self) -> None:
        """The datasets."""
        from mopo_tui.screens.data import DataScreen

        self.app.push_screen(DataScreen(), lambda _: self.mopo.watch_shown())


def _shown_of(entry: Entry) -> tuple[Run, ...]:
    """The runs that panels show of an entry, by seed. Of runs that repeat a seed that is the newest one that was started: a
    repetition tells nothing about other seeds."""
    by_seed: dict[int, Run] = {}
    for run in sorted(entry.row.runs, key=lambda run: run.state is RunState.QUEUED):
        by_seed.setdefault(run.seed, run)
    return tuple(by_seed[seed] for seed in sorted(by_seed))
