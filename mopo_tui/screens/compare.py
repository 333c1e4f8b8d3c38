"""Two to four runs or groups of seeds: side by side, laid over each other, or as the table of `mopo compare`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Container, Grid, Horizontal, VerticalScroll
from textual.widgets import Static

from mopo_tui.actions import bindings
from mopo_tui.clipboard import also_copied
from mopo_tui.compare_view import (
    Column,
    Compared,
    Drawing,
    Views,
    columns_of,
    compared,
    overlaid,
    printed,
    side_by_side,
)
from mopo_tui.exporting import export, export_target
from mopo_tui.manager import Run, StoreError
from mopo_tui.manager.comparison_tables import tables
from mopo_tui.manager.sections import latex, markdown
from mopo_tui.marks import Marks, kept, run_ids
from mopo_tui.run_view import RunView
from mopo_tui.screens.base import RunsScreen
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.chart import side_by_side as follow
from mopo_tui.widgets.compare_text import above, head, scores
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.panels import PANELS, TITLES, Options, Panel
from mopo_tui.widgets.plot import Plot
from mopo_tui.widgets.prompt import Prompt
from mopo_tui.widgets.run_list import key_of
from mopo_tui.widgets.words import place_of, short_id

Mode = Literal["columns", "overlay", "table"]
NEEDED = {2: 80, 3: 120, 4: 200}  # of the terminal, for so many columns side by side
HIGH = 36  # rows from which on all three panels stand over each other
_CHART = 11  # rows that a chart must have
_AROUND_TABLE = 5  # columns of its frame, a blank on both sides, and the scrollbar
_FORMATS = {"markdown": ("Markdown", "md"), "latex": ("LaTeX", "tex")}


class CompareScreen(RunsScreen):
    """One column for each mark, or one chart for all; where the terminal is low, one kind of panel at a time."""

    BINDINGS = bindings("compare")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012

    def __init__(self, marks: Marks, log: bool = True) -> None:
        super().__init__()
        self._marks = marks
        self._count = len(marks)
        self._drawn = Drawing(log=log)
        self._mode: Mode = "columns"
        self._alone = False  # whether one panel has all the room although more would fit
        self._panel = "score"
        self._columns: tuple[Column, ...] = ()
        self._seen: Compared | None = None
        self._problem = ""
        self._state: tuple[object, ...] = ()  # of the runs when they were compared last
        self._top = Text()
        self._written: tuple[object, ...] = ()  # what the words below the charts and the table are of
        self._comparing = self._drawing = False
        self._compare_again = self._draw_again = False

    def compose(self) -> ComposeResult:
        yield Static(id="compare-top")
        with Horizontal(id="heads"):
            for i in range(self._count):
                yield Static(id=f"head-{i}", classes="column-head")
        with Grid(id="columns"):
            for name in PANELS:
                for i in range(self._count):
                    yield Chart(id=f"{name}-{i}", classes=f"panel {name}")
        with Container(id="overlay"):
            for name in PANELS:
                yield Chart(id=f"{name}-all", classes=f"panel {name}")
        with VerticalScroll(id="table"):
            yield Static(id="table-text")
        yield Static(id="scores")
        yield Prompt(id="prompt")
        yield KeysLine()

    def on_mount(self) -> None:
        self.query_one("#columns", Grid).styles.grid_size_columns = self._count
        for name in PANELS:
            for chart in self.query(f".{name}").results(Chart):
                chart.show(Plot(empty="reading …"), TITLES[name])
        self._lay_out()
        self.call_after_refresh(self.mopo.watch_shown)
        self.show_runs(self.mopo.runs)

    def watched(self) -> tuple[str, ...]:
        return run_ids(self._marks)

    def on_resize(self) -> None:
        self.call_after_refresh(self._lay_out)

    # --- how it is laid out -------------------------------------------------------------------------------------------------------

    @property
    def shown_as(self) -> Mode:
        """Side by side only where the terminal is wide enough for so many."""
        return "overlay" if self._mode == "columns" and self.size.width < NEEDED[self._count] else self._mode

    @property
    def one_panel(self) -> bool:
        """Whether one kind of panel is shown at a time."""
        return self._alone or self.size.height < HIGH

    def _lay_out(self) -> None:
        """What is shown where, after another mode, panel or size."""
        if not self.is_mounted:
            return
        for mode in ("columns", "overlay", "table"):
            self.set_class(self.shown_as == mode, f"-{mode}")
        self.set_class(self.one_panel, "-one")
        for chart in self.query(Chart):
            chart.set_class(chart.has_class(self._panel), "-chosen")
        self._focus_panel()
        self._write()
        self._draw()
        self.refresh_bindings()

    def _charts(self, name: str) -> list[Chart]:
        """The charts of a kind of panel that are shown now."""
        if self.shown_as == "overlay":
            return [self.query_one(f"#{name}-all", Chart)]
        return [self.query_one(f"#{name}-{i}", Chart) for i in range(self._count)]

    def _every_chart(self) -> Iterator[tuple[str, list[Chart]]]:
        for name in PANELS:
            yield name, self._charts(name)

    def _focus_panel(self) -> None:
        """The keys go to the first chart of the chosen kind that has something to show, or to the table."""
        if self.query_one(Prompt).is_open:
            return
        if self.shown_as == "table":
            self.query_one("#table").focus()
            return
        charts = self._charts(self._panel)
        if self.focused not in charts:
            next((chart for chart in charts if not chart.plot.is_empty), charts[0]).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key is valid now."""
        if not self.is_mounted:
            return True
        in_table = self.shown_as == "table"
        match action:
            case "next_panel" | "view" | "axis" | "smooth" | "log_scale":
                return not in_table
            case "zoom":
                return not in_table and self.size.height >= HIGH
            case "scroll_table":
                return in_table
            case "show":
                return parameters != (self._mode,)
            case "copy" | "export":
                return self._seen is not None
        return True

    # --- the runs -----------------------------------------------------------------------------------------------------------------

    def show_runs(self, runs: Sequence[Run]) -> None:
        rows = {key_of(row): row.runs for row in self.mopo.overview.rows}
        marks = kept(self._marks, runs, rows)
        if len(marks) < self._count:
            self.notify("What was compared is gone from the store.", severity="warning")
            self.action_close()
            return
        if marks != self._marks:
            self._marks = marks
            self.mopo.watch_shown()
        by_id = {run.id: run for run in runs}
        marked = [[by_id[run_id] for run_id in mark.runs] for mark in marks]
        strokes = self.mopo.colours.of([mark.key for mark in marks])
        plain = columns_of(marked, [strokes[mark.key] for mark in marks])
        named = self._seen.columns if self._seen is not None else plain
        self._columns = tuple(
            Column(column.runs, column.stroke, name.letter, name.label)
            for column, name in zip(plain, named, strict=True)
        )
        self._write()
        self._draw()
        # Comparing reads files: only when something it looks at may have changed.
        state = tuple(
            (run.id, run.state, run.stage, run.result is None, run.return_last, run.return_best)
            for each in marked
            for run in each
        )
        if state != self._state:
            self._state = state
            self._compare()

    def show_view(self, view: RunView) -> None:
        if view.run_id in self.watched():
            self._draw()

    def _compare(self) -> None:
        """Compare anew, off the UI thread; one comparison at a time."""
        if self._comparing:
            self._compare_again = True
            return
        self._comparing = True
        self._compare_now(self._columns)

    @work(thread=True, group="compare")
    def _compare_now(self, columns: Sequence[Column]) -> None:
        seen, problem = None, ""
        try:
            seen = compared(columns)
        except Exception as error:  # whatever a run recorded, the comparison is all that it may cost
            problem = str(error) if isinstance(error, (StoreError, OSError)) else f"{type(error).__name__}: {error}"
        self.app.call_from_thread(self._take_comparison, seen, problem)

    def _take_comparison(self, seen: Compared | None, problem: str) -> None:
        self._comparing = False
        if not self.is_mounted:
            return
        self._seen, self._problem = seen, problem
        if seen is not None:
            self._columns = tuple(
                Column(column.runs, column.stroke, named.letter, named.label)
                for column, named in zip(self._columns, seen.columns, strict=True)
            )
        self._write()
        self._draw()
        self.refresh_bindings()
        if self._compare_again:
            self._compare_again = False
            self._compare()

    # --- words --------------------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Heads, scores, and what stands above: as much of it as leaves a chart room enough."""
        width, height, dark = self.size.width, self.size.height, self.app.current_theme.dark
        if not self._columns or not width:
            return
        several_tasks = len({column.runs[0].task for column in self._columns}) > 1
        for i, column in enumerate(self._columns):
            text = head(column, several_tasks, width // self._count - 2, dark)
            self.query_one(f"#head-{i}", Static).update(text, layout=False)
        below = 0
        if self._seen is not None:
            table = scores(self._seen, width, dark, low=height < HIGH)
            below = len(table.rows)
            written = (self._seen, width, height, dark, self.shown_as)
            if written != self._written:
                self._written = written
                self.query_one("#scores", Static).update(table)
                if self.shown_as == "table":
                    self._print(self._seen, width - _AROUND_TABLE, colour("orange", dark))
        rows = max(height - 2 - below - (_CHART if self.one_panel else 3 * (_CHART - 3)), 3)
        text = self._above(width, rows, dark)
        if text != self._top:
            self._top = text
            self.query_one("#compare-top", Static).update(text)

    def _above(self, width: int, rows: int, dark: bool) -> Text:
        told = {"columns": "", "overlay": "overlaid", "table": "table"}[self.shown_as]
        if self.shown_as != self._mode:
            told = f"overlaid: {self._count} side by side need {NEEDED[self._count]} columns"
        seen = self._seen if self.shown_as != "table" else None  # which has all of it
        text = above(self._columns, seen, told, width, rows, dark)
        if self._problem:
            text.append(f"\n ! {self._problem}", colour("vermillion", dark))
        return text

    @work(thread=True, exclusive=True, group="print")
    def _print(self, seen: Compared, width: int, warning: str) -> None:
        """The table, as wide as it may be."""
        text = Text.from_ansi(printed(seen.comparison, width, warning))
        self.app.call_from_thread(self._show_table, text)

    def _show_table(self, text: Text) -> None:
        if self.is_mounted:
            self.query_one("#table-text", Static).update(text)

    # --- panels -------------------------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        """Make the panels anew, off the UI thread; one at a time, and once more where something changed meanwhile."""
        if self.shown_as == "table" or not self._columns:
            return
        if self._drawing:
            self._draw_again = True
            return
        self._drawing = True
        views = {run_id: self.mopo.views[run_id] for run_id in self.watched() if run_id in self.mopo.views}
        self._make_panels(self.shown_as, self._columns, views, self._drawn.options())

    @work(thread=True, group="panels")
    def _make_panels(self, mode: Mode, columns: Sequence[Column], views: Views, options: Mapping[str, Options]) -> None:
        make = overlaid if mode == "overlay" else side_by_side
        self.app.call_from_thread(self._take_panels, mode, make(columns, views, options))

    def _take_panels(self, mode: Mode, made: Mapping[str, Sequence[Panel]]) -> None:
        self._drawing = False
        if not self.is_mounted:
            return
        if mode == self.shown_as:
            for name, charts in self._every_chart():
                for chart, panel in zip(charts, made[name], strict=True):
                    chart.show(panel.plot, panel.title, panel.numbers, panel.short)
            if self.focused is None:
                self._focus_panel()
        if self._draw_again:
            self._draw_again = False
            self._draw()

    @on(Chart.Pointed)
    @on(Chart.Zoomed)
    def _follow(self, message: Chart.Pointed | Chart.Zoomed) -> None:
        """Charts of one kind share their crosshair and the part of x that is looked at."""
        for _, charts in self._every_chart():
            if message.chart in charts:
                follow(charts, message)

    # --- actions ------------------------------------------------------------------------------------------------------------------

    def action_close(self) -> None:
        """Back to the dashboard."""
        self.dismiss()
        self.app.call_later(self.mopo.watch_shown)

    def action_show(self, mode: Mode) -> None:
        """Side by side, overlaid, or the table."""
        self._mode = mode
        self._lay_out()

    def action_next_panel(self) -> None:
        """The next kind of panel."""
        self._panel = PANELS[(PANELS.index(self._panel) + 1) % len(PANELS)]
        self._lay_out()

    def action_zoom(self) -> None:
        """One kind of panel at a time, or all."""
        self._alone = not self._alone
        self._lay_out()

    def action_view(self) -> None:
        """Uncertainty over time, or as it is now."""
        self._redraw(replace(self._drawn, over_time=not self._drawn.over_time))

    def action_axis(self) -> None:
        """The next x axis."""
        self._redraw(self._drawn.with_next_axis())

    def action_smooth(self, step: int) -> None:
        """More or less smoothing."""
        self._redraw(self._drawn.smoother(step))

    def action_log_scale(self) -> None:
        """Validation loss on the other kind of axis."""
        self._redraw(replace(self._drawn, log=not self._drawn.log))

    def _redraw(self, drawn: Drawing) -> None:
        self._drawn = drawn
        self._draw()

    def action_scroll_table(self, rows: int) -> None:
        """The table further down or up."""
        self.query_one("#table").scroll_relative(y=rows, animate=False)

    # --- copying and exporting ----------------------------------------------------------------------------------------------------

    @property
    def _stem(self) -> str:
        """What files of this comparison are called, but for the ending."""
        return "-".join(["compare", *(short_id(mark.runs[0]) for mark in self._marks)])

    def action_copy(self, form: str) -> None:
        """The tables as Markdown or LaTeX: to the terminal's clipboard, to tmux, and into a file."""
        if self._seen is not None:
            self._copy(self._seen, form, self._stem)

    @work(thread=True, group="copy")
    def _copy(self, seen: Compared, form: str, name: str) -> None:
        title, ending = _FORMATS[form]
        text = (markdown if form == "markdown" else latex)(tables(seen.comparison))
        said, failed = also_copied(text, f"{name}.{ending}", os.environ)
        self.app.call_from_thread(self._copied, text, title, said, failed)

    def _copied(self, text: str, title: str, said: Sequence[str], failed: bool) -> None:
        self.app.copy_to_clipboard(text)
        severity: Literal["warning", "information"] = "warning" if failed else "information"
        said = ["offered to the terminal's clipboard", *said]
        self.notify("\n".join(said), title=f"Copied as {title}", severity=severity, markup=False)

    def action_export(self) -> None:
        """Ask for a file."""
        self.add_class("-asking")
        kinds = "html csv json parquet md png svg"
        self.query_one(Prompt).ask("export", "export to ", f"{self._stem}.html", f"a file that ends in {kinds}")

    @on(Prompt.Answered)
    def _take_target(self, message: Prompt.Answered) -> None:
        runs = list({run.id: run for column in self._columns for run in column.runs}.values())
        self._export(runs, message.text)

    @on(Prompt.Left)
    def _leave_prompt(self) -> None:
        self.remove_class("-asking")
        self._focus_panel()

    @work(thread=True, group="export")
    def _export(self, runs: Sequence[Run], text: str) -> None:
        say, notify = self.app.call_from_thread, self.app.notify
        try:
            path = export_target(text)
        except (StoreError, OSError, RuntimeError) as error:
            say(self._refuse_target, str(error))
            return
        say(self._accept_target, path)
        try:
            export(runs, path)
        except StoreError as error:
            say(notify, str(error), title="Export: not done", severity="error", markup=False)
        else:
            say(notify, f"{len(runs)} runs in {place_of(path)}", title="Exported", markup=False)

    def _refuse_target(self, problem: str) -> None:
        if self.is_mounted:
            self.query_one(Prompt).refuse(problem)

    def _accept_target(self, path: Path) -> None:
        if self.is_mounted:
            self.query_one(Prompt).close()
        self.app.notify(place_of(path), title="Exporting", markup=False)
