"""Datasets: which are here, being made, or not built yet; of the chosen one its report; build, fetch, check, remove."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rich.console import RenderableType
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from engine.config import ConfigError, DatasetConfig
from engine.tasks import UnknownName
from mopo_tui.actions import bindings
from mopo_tui.data_view import SECTIONS, DataReader, Entry, Page, read_page
from mopo_tui.deeds import DEEDS, called
from mopo_tui.keys import keys_of
from mopo_tui.manager import LaunchError, Run, StoreError
from mopo_tui.manager.dataset_check import Check, Checked
from mopo_tui.manager.datasets import (
    DatasetStatus,
    DatasetUnavailable,
    Part,
    not_in_use,
    parts_of,
    remove,
)
from mopo_tui.manager.locations import dataset_folder
from mopo_tui.manager.new_dataset import to_fetch
from mopo_tui.screens.base import RunsScreen
from mopo_tui.widgets import dataset_page as pages
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.dataset_rows import head, row, source_of
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.prompt import Prompt
from mopo_tui.widgets.words import cut, place_of, short_id

WIDE = 100  # columns from which the report stands below the list
READ_SECONDS = 3.0
_PAGES_KEPT = 50


class Report(VerticalScroll):
    """The words of the chosen dataset's page."""

    BINDINGS = bindings("report")


class DatasetList(OptionList):
    """The rows, with the heads of their sections, which the cursor steps over."""

    BINDINGS = bindings("datasets")


class DataScreen(RunsScreen):
    """The list above, the chosen dataset's report below; one at a time where the terminal is narrow."""

    BINDINGS = bindings("data")
    now = staticmethod(time.time)
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self._reader = DataReader()
        self._reading = False
        self._entries: tuple[Entry, ...] | None = None
        self._places: list[Entry | None] = []  # what each line of the list is; None for a section's head
        self._rows: list[str] = []
        self._seen: tuple[tuple[str, str], ...] = ()  # states of the runs that make data
        self._pages: dict[tuple[str, str, float], Page] = {}
        self._checked: dict[tuple[str, str], Checked | str] = {}
        self._check: Check | None = None
        self._started = ""  # the run that was started here last, to which the cursor goes once it is listed

    def compose(self) -> ComposeResult:
        with Vertical(id="data-list") as box:
            box.border_title = "Data"
            yield Static(id="data-head")
            yield DatasetList(id="datasets")
        with Horizontal(id="data-page"):
            with Report(id="data-report"):
                yield Static(id="data-text")
            with Vertical(id="data-charts"):
                yield Chart(id="data-returns", classes="panel")
                yield Chart(id="data-lengths", classes="panel")
        yield Prompt(id="prompt")
        yield KeysLine()

    def on_mount(self) -> None:
        self._list.focus()
        self._read()
        self.set_interval(READ_SECONDS, self._read)

    def on_unmount(self) -> None:
        if self._check is not None:
            self._check.end()

    @property
    def _list(self) -> DatasetList:
        return self.query_one(DatasetList)

    @property
    def chosen(self) -> Entry | None:
        """What the cursor is on."""
        at = self._list.highlighted
        return self._places[at] if at is not None and at < len(self._places) else None

    @property
    def _dark(self) -> bool:
        return self.app.current_theme.dark

    def _key(self, action: str) -> str:
        return keys_of(self.app).shown(action)

    def _run_of(self, entry: Entry | None) -> Run | None:
        return next((run for run in self.mopo.runs if entry is not None and run.id == entry.run_id), None)

    # --- reading ----------------------------------------------------------------------------------

    def show_runs(self, runs: Sequence[Run]) -> None:
        """A run that makes data began, ended or came further."""
        seen = tuple((run.id, run.state.value) for run in runs if run.job == "dataset" or run.stage == "data")
        if seen != self._seen:
            self._seen = seen
            self._read()
        elif any(entry.section == "making" for entry in self._entries or ()):
            self._show_list()
            if (chosen := self.chosen) is not None and chosen.section == "making":
                self._show_page()

    def _read(self) -> None:
        if not self._reading:
            self._reading = True
            self._look()

    @work(thread=True, group="datasets")
    def _look(self) -> None:
        entries: tuple[Entry, ...] | None = None
        problem = ""
        try:
            entries = self._reader.look(self.mopo.runs)
        except (OSError, ConfigError) as error:
            problem = str(error)
        self.app.call_from_thread(self._take, entries, problem)

    def _take(self, entries: tuple[Entry, ...] | None, problem: str) -> None:
        self._reading = False
        if not self.is_mounted:
            return
        if entries is None:
            self.query_one("#data-list").border_subtitle = Text(cut(f"cannot be read: {problem}", 70))
        elif entries != self._entries:
            self._entries = entries
            self._show_list()
            self._show_page()
            self.refresh_bindings()

    # --- the list ---------------------------------------------------------------------------------

    def _show_list(self) -> None:
        if self._entries is None:
            return
        width = max(self._list.size.width - 1, 40)
        before = self.chosen
        lines: list[tuple[Entry | None, Text]] = []
        section = ""
        for entry in self._entries:
            if entry.section != section:
                section = entry.section
                count = sum(each.section == section for each in self._entries)
                lines.append((None, Text(f" {SECTIONS[entry.section]} ({count})", colour("sky", self._dark))))
            lines.append((entry, row(entry, self._run_of(entry), width, self._dark, self.now())))
        places, rows = [entry for entry, _ in lines], [text.markup for _, text in lines]
        if [e.key if e else None for e in places] == [e.key if e else None for e in self._places]:
            for i, ((_, text), old) in enumerate(zip(lines, self._rows, strict=True)):
                if rows[i] != old:
                    self._list.replace_option_prompt_at_index(i, text)
        else:
            self._list.set_options(Option(text, disabled=entry is None) for entry, text in lines)
        self._places, self._rows = places, rows
        self._list.highlighted = self._place_of(before)
        self.query_one("#data-head", Static).update(head(width, self._dark))
        self._tell_total()

    def _place_of(self, before: Entry | None) -> int | None:
        """Where the cursor's dataset is now; the first one where it is gone."""
        there = [i for i, entry in enumerate(self._places) if entry is not None]
        for i in there:
            if self._started and self._places[i].run_id == self._started:  # type: ignore[union-attr]
                self._started = ""
                return i
        if before is not None:
            for same in (
                [i for i in there if self._places[i].key == before.key],  # type: ignore[union-attr]
                [i for i in there if self._places[i].id == before.id],  # type: ignore[union-attr]
            ):
                if same:
                    return same[0]
            at = self._list.highlighted or 0
            return min(there, key=lambda i: abs(i - at), default=None)
        here = [i for i in there if self._places[i].section == "here"]  # type: ignore[union-attr]
        return min(here or there, default=None)

    def _tell_total(self) -> None:
        here = [entry.status for entry in self._entries or () if entry.status is not None]
        total = sum(s.bytes + s.minari_bytes + s.download_bytes for s in here)
        number = sum(status.present for status in here)
        count = f"{number} dataset{'' if number == 1 else 's'}, {total / 1e6:,.1f} MB"
        place = place_of(dataset_folder(""))
        room = self.size.width - len(count) - 10
        place = place if len(place) <= room else "…" + place[-(room - 1) :] if room > 12 else ""
        self.query_one("#data-list").border_subtitle = Text(f"{count} in {place}" if place else count)

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_list)

    @on(OptionList.OptionHighlighted)
    def _choose(self) -> None:
        self._show_page()
        self.refresh_bindings()

    # --- the page ---------------------------------------------------------------------------------

    def _show_page(self) -> None:
        """What there is to read of the chosen one; its manifest is read off the UI thread."""
        entry = self.chosen
        self.query_one("#data-page").border_title = Text(entry.id) if entry is not None else ""
        has_charts = entry is not None and entry.status is not None and entry.status.present
        self.query_one("#data-charts").display = has_charts
        if entry is None:
            reading = "reading …" if self._entries is None else "nothing to show"
            self._show_text(Text(reading, colour("muted", self._dark)))
        elif entry.section in ("making", "failed"):
            self._show_text(pages.about_run(entry, self._run_of(entry), self._key, self._dark))
        elif entry.section == "missing":
            self._show_text(pages.about_missing(entry, self._key, self._dark))
        elif entry.status is not None and not entry.status.present:
            self._show_text(pages.about_download(entry, self._key, self._dark))
        elif entry.status is not None:
            page = self._pages.get(_mark(entry.status))
            if page is None:
                self._read_page(entry.status)
            else:
                self._show_read(page)

    def _show_text(self, text: RenderableType) -> None:
        self.query_one("#data-text", Static).update(text)

    @work(thread=True, exclusive=True, group="page")
    def _read_page(self, status: DatasetStatus) -> None:
        self.app.call_from_thread(self._take_page, read_page(status))

    def _take_page(self, page: Page) -> None:
        self._pages[_mark(page.status)] = page
        while len(self._pages) > _PAGES_KEPT:
            self._pages.pop(next(iter(self._pages)))
        entry = self.chosen if self.is_mounted else None
        if entry is not None and entry.status is not None and _mark(entry.status) == _mark(page.status):
            self._show_read(page)

    def _show_read(self, page: Page) -> None:
        found = self._checked.get((page.id, page.status.fingerprint))
        self._show_text(pages.page_text(page, found, self._dark))
        self.query_one("#data-returns", Chart).show(pages.returns_plot(page), "Returns of complete episodes")
        lengths = pages.lengths_plot(page)
        self.set_class(lengths.is_empty, "-one-length")
        self.query_one("#data-lengths", Chart).show(lengths, "Lengths of all episodes")

    # --- actions ----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What the chosen row allows."""
        if not self.is_mounted:
            return True
        entry = self.chosen
        present = entry is not None and entry.status is not None and entry.status.present
        match action:
            case "check":
                return present and self._check is None
            case "remove":
                return entry is not None and entry.status is not None
            case "stop":
                return entry is not None and entry.section == "making"
            case "again":
                return entry is not None and entry.section == "failed"
            case "log":
                return self._run_of(entry) is not None
        return True

    @on(OptionList.OptionSelected)
    def _open(self) -> None:
        """Go to the report."""
        self.add_class("-page")
        self.query_one(Report).focus()
        self.refresh_bindings()

    def action_close(self) -> None:
        """From the report to the list, from the list to the dashboard."""
        if self.has_class("-page") or not self._list.has_focus:
            self.remove_class("-page")
            self._list.focus()
            self.refresh_bindings()
        else:
            self.dismiss()

    def action_build(self) -> None:
        """Ask what to collect."""
        from mopo_tui.screens.build import BuildScreen

        entry = self.chosen
        task = ""
        if entry is not None:
            run = self._run_of(entry)
            task = entry.task.name if entry.task else entry.status.task if entry.status else run.task if run else ""

        def answered(config: DatasetConfig | None) -> None:
            if config is not None:
                self._start(config)

        self.app.push_screen(BuildScreen(task), answered)

    def action_fetch(self) -> None:
        """Ask what to download."""
        entry = self.chosen
        source = entry.status.source if entry is not None and entry.section == "downloads" and entry.status else ""
        hint = "d4rl:hopper-medium-v2 or minari:mujoco/hopper/medium-v0"
        self.add_class("-asking")
        self.query_one(Prompt).ask("fetch", "fetch ", source, hint)

    @on(Prompt.Answered)
    def _fetch(self, message: Prompt.Answered) -> None:
        prompt = self.query_one(Prompt)
        source, _, task = message.text.partition(" ")
        if source:
            try:
                config = to_fetch(source, task.strip() or None)
            except (DatasetUnavailable, UnknownName, ConfigError) as error:
                said = str(error).replace("say which with --task", "write it after the name")
                prompt.refuse(said.replace("; a file is read by `mopo data import`", ""))
                return
            self._start(config)
        prompt.close()

    @on(Prompt.Left)
    def _leave_prompt(self) -> None:
        self.remove_class("-asking")
        self._list.focus()

    @work(thread=True)
    def _start(self, config: DatasetConfig) -> None:
        store = self.mopo.store
        try:
            run = store.create(config, command=("mopo-tui",))
            place = store.launch(run)
        except (StoreError, LaunchError, OSError, ValueError) as error:
            self._toast(str(error), "Not started", wrong=True)
        else:
            self._started = run.id
            what = f"waits in the queue, place {place}" if place else "is at work"
            self._toast(f"{run.task}: {short_id(run.id)} {what}", "Dataset")
        self.mopo.poller.look()

    def action_stop(self) -> None:
        """Ask whether to stop the run that makes the chosen dataset."""
        self._do_with_run("stop")

    def action_again(self) -> None:
        """Let the run that failed to make the chosen dataset try again."""
        self._do_with_run("resume")

    def _do_with_run(self, name: str) -> None:
        from mopo_tui.screens.confirm import ConfirmScreen

        run, deed = self._run_of(self.chosen), DEEDS[name]
        if run is None:
            return
        if not deed.verb:
            self.mopo.carry_out((run,), deed.do, deed.title, deed.fits)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.mopo.carry_out((run,), deed.do, deed.title, deed.fits)

        about = "What it has collected so far is thrown away." if run.kind == "data" else deed.about
        self.app.push_screen(ConfirmScreen(f"{deed.verb} {called(run)}?", about, f"{deed.verb} it"), answered)

    def action_log(self) -> None:
        """What the run says that makes the chosen dataset."""
        from mopo_tui.screens.log import LogScreen

        run = self._run_of(self.chosen)
        if run is not None:
            self.app.push_screen(LogScreen(run), lambda _: self.mopo.watch_shown())

    # --- checking ---------------------------------------------------------------------------------

    def action_check(self) -> None:
        """Look for faults in the chosen dataset."""
        entry = self.chosen
        if entry is None or entry.status is None or self._check is not None:
            return
        self._note_check(entry.status, "checking every row …")
        self._look_for_faults(entry.status)

    @work(thread=True, group="check")
    def _look_for_faults(self, status: DatasetStatus) -> None:
        try:
            self._check = Check(status)
            found: Checked | str = self._check.result()
        except (DatasetUnavailable, OSError) as error:
            found = str(error)
        self._check = None
        self.app.call_from_thread(self._note_check, status, found)

    def _note_check(self, status: DatasetStatus, found: Checked | str) -> None:
        self._checked[status.id, status.fingerprint] = found
        if not self.is_mounted:
            return
        if isinstance(found, Checked):
            counts = [(level, sum(f.level == level for f in found.findings)) for level in ("error", "warning", "note")]
            said = ", ".join(f"{n} {level}{'s' if n != 1 else ''}" for level, n in counts)
            self.notify(f"{status.id}: {said}", title="Checked", markup=False)
        self._show_page()
        self.query_one(Report).scroll_home(animate=False)
        self.refresh_bindings()

    # --- removing ---------------------------------------------------------------------------------

    def action_remove(self) -> None:
        """Ask whether to remove the chosen dataset from the disk."""
        entry = self.chosen
        if entry is not None and entry.status is not None:
            self._ask_to_remove(entry.status)

    @work(thread=True)
    def _ask_to_remove(self, status: DatasetStatus) -> None:
        try:
            not_in_use(status, self.mopo.store)
            parts = parts_of(status, download=not status.present)
        except (StoreError, DatasetUnavailable, OSError) as error:
            self._toast(str(error), "Not removed", wrong=True)
        else:
            self.app.call_from_thread(self._ask, status, parts)

    def _ask(self, status: DatasetStatus, parts: list[Part]) -> None:
        from mopo_tui.screens.confirm import ConfirmScreen

        if not self.is_current or not parts:
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._remove(status, parts)

        sizes = ", ".join(f"{part.what} {part.bytes / 1e6:.1f} MB" for part in parts)
        stays = "; its download stays" if status.present and status.download is not None else ""
        way = {"ours": "built", "d4rl": "fetched", "minari": "fetched"}.get(source_of(status), "imported")
        about = f"{sizes}{stays}. It can be {way} again; runs keep their results."
        self.app.push_screen(ConfirmScreen(f"Remove {status.id}?", about, "Remove it"), answered)

    @work(thread=True)
    def _remove(self, status: DatasetStatus, parts: list[Part]) -> None:
        try:
            not_in_use(status, self.mopo.store)
            remove(status, parts)
        except (StoreError, DatasetUnavailable, OSError) as error:
            self._toast(str(error), "Not removed", wrong=True)
        else:
            self._toast(f"{status.id}: {sum(part.bytes for part in parts) / 1e6:.1f} MB are free", "Removed")
        self.app.call_from_thread(self._read)

    def _toast(self, text: str, title: str, *, wrong: bool = False) -> None:
        tell: Callable[..., None] = self.notify
        self.app.call_from_thread(tell, text, title=title, severity="error" if wrong else "information", markup=False)


def _mark(status: DatasetStatus) -> tuple[str, str, float]:
    """What changes when a dataset is another one under the same name."""
    return status.id, status.fingerprint, status.written
