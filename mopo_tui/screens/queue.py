"""The queue: what computes, what waits and in which order; its order and the host's slots are changed here."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from mopo_tui.actions import bindings
from mopo_tui.keys import keys_of
from mopo_tui.manager import Run
from mopo_tui.manager.jobs import Job
from mopo_tui.manager.queue import MOST_SLOTS, Queue
from mopo_tui.manager.state import clean
from mopo_tui.poller import QueueView
from mopo_tui.screens.base import RunsScreen
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.words import cut, default_named, duration, short_id, title_of

TIME_SECONDS = 10.0  # after which how long a run waits is written anew


class QueueScreen(RunsScreen):
    """Runs that wait, first to start on top."""

    BINDINGS = bindings("queue")
    now = staticmethod(time.time)

    def __init__(self) -> None:
        super().__init__()
        self._view: QueueView | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="queue-box") as box:
            box.border_title = "Queue"
            yield Static(id="queue-head")
            yield Static(id="at-work")
            yield OptionList(id="waiting")
        yield KeysLine()

    def on_mount(self) -> None:
        self._list.focus()
        self.call_after_refresh(self.mopo.watch_shown)
        self.set_interval(TIME_SECONDS, self._again)

    @property
    def _list(self) -> OptionList:
        return self.query_one("#waiting", OptionList)

    def watches_queue(self) -> bool:
        return True

    def show_queue(self, view: QueueView) -> None:
        chosen = self._chosen()
        self._view = view
        self.query_one("#queue-box").border_subtitle = Text(
            f"{view.used} of {view.slots} slot{'s' if view.slots != 1 else ''} of {cut(self.mopo.host, 24)} taken"
        )
        heads = f"     {'id':<4}  {'run':<{self._name_width}}  {'takes':<8}  waits, or done"
        self.query_one("#queue-head", Static).update(Text(heads, colour("muted", self._dark), no_wrap=True))
        lines = [self._line("▶", job) for job in view.at_work]
        nothing = "" if view.waiting else "Nothing waits. Runs that find no free slot wait here until there is one."
        if view.waiting and not view.slots:
            nothing = f"This host has no slot: nothing starts until {keys_of(self.app).shown('queue.more_slots')} gives it one."
        words = Text("\n").join([*lines, *([Text(f" {nothing}", colour("muted", self._dark))] if nothing else [])])
        at_work = self.query_one("#at-work", Static)
        at_work.update(words)
        at_work.display = bool(words.plain)
        listed = self._list
        listed.set_options(Option(self._line(str(i), job)) for i, job in enumerate(view.waiting, start=1))
        if view.waiting:
            ids = [job.run_id for job in view.waiting]
            listed.highlighted = ids.index(chosen) if chosen in ids else 0
        self.refresh_bindings()

    @property
    def _dark(self) -> bool:
        return self.app.current_theme.dark

    def _line(self, place: str, job: Job) -> Text:
        run = next((run for run in self.mopo.runs if run.id == job.run_id), None)
        name = title_of(run) if run is not None else clean(job.run_id)
        needs = job.device if job.on_gpu else f"{job.slots} slot{'s' if job.slots != 1 else ''}"
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{place:>3}  ", colour("sky" if place == "▶" else "muted", self._dark))
        width = self._name_width
        if run is not None and not default_named(run):
            name = f"{name}  {run.name}"
        line.append(f"{short_id(clean(job.run_id)):<4}  {cut(name, width):<{width}}", colour("text", self._dark))
        line.append(f"  {needs:<8}", colour("muted", self._dark))
        line.append(f"  {self._when(job, run)}", colour("muted", self._dark))
        return line

    @property
    def _name_width(self) -> int:
        """Columns of a run's name: what a place, an id, slots and a time leave."""
        return min(max(self._list.size.width - 40, 24), 72)

    def _when(self, job: Job, run: Run | None) -> str:
        """How far a run is that computes, or how long one waits."""
        if job.claimant is None:
            return f"{duration(max(self.now() - job.queued, 0.0))}"
        if run is None:
            return ""
        left = f", {duration(run.eta_s)} left" if run.eta_s is not None else ""
        return f"{100 * run.progress:.0f} %{left}"

    def show_runs(self, runs: Sequence[Run]) -> None:  # noqa: ARG002
        self._again()

    def on_resize(self) -> None:
        self.call_after_refresh(self._again)

    def _again(self) -> None:
        """The same queue, with what is told of runs and times as it is now."""
        if self._view is not None and self.is_mounted:
            self.show_queue(self._view)

    def _chosen(self) -> str:
        at = self._list.highlighted
        return self._view.waiting[at].run_id if self._view is not None and at is not None else ""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What waits alone can be moved."""
        return not action.startswith("place") or (self._view is not None and len(self._view.waiting) > 1)

    def action_cursor(self, step: int) -> None:
        if step < 0:
            self._list.action_cursor_up()
        else:
            self._list.action_cursor_down()

    def action_place(self, step: int) -> None:
        """Put the run under the cursor one place further up or down."""
        run_id = self._chosen()
        if self._view is None or not run_id:
            return
        place = [job.run_id for job in self._view.waiting].index(run_id) + 1 + step
        if place >= 1:
            self._change(lambda queue: queue.move(run_id, place))

    def action_slots(self, step: int) -> None:
        """One slot of this host more or less."""
        if self._view is not None:
            count = min(max(self._view.slots + step, 0), MOST_SLOTS)
            self._change(lambda queue: queue.set_slots(count))

    def _change(self, do: Callable[[Queue], None]) -> None:
        self.mopo.change_queue(do)

    def action_close(self) -> None:
        """Back to the dashboard."""
        self.dismiss()
