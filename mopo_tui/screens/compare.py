"""Two runs side by side: configuration differences above, their panels on the same axes, scores below."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import Grid
from textual.widgets import Static

from mopo_tui.actions import bindings
from mopo_tui.manager import Run
from mopo_tui.manager.compared import Comparison
from mopo_tui.manager.comparison import compare
from mopo_tui.manager.scores import Score
from mopo_tui.run_view import RunView
from mopo_tui.screens.base import RunsScreen
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.palette import STATES, colour
from mopo_tui.widgets.panels import PANELS, panels
from mopo_tui.widgets.plot import share_axes
from mopo_tui.widgets.scale import number
from mopo_tui.widgets.words import short_id, title_of

LETTERS = "ABCD"
INKS = ("sky", "orange", "green", "purple")
_NOT_CONFIGURATION = ("task", "algorithm", "preset", "seed")  # these stand in the columns' heads


class CompareScreen(RunsScreen):
    """One column a run; where the terminal is low, one kind of panel at a time."""

    BINDINGS = bindings("compare")
    VERTICAL_BREAKPOINTS = [(0, "-low"), (36, "-high")]  # noqa: RUF012
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012

    def __init__(self, run_ids: Sequence[str], log: bool = True) -> None:
        super().__init__()
        self._ids = tuple(run_ids)
        self._log = log
        self._panel = "score"
        self._compared: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Static(id="compare-top")
        with Grid(id="columns"):
            for i in range(len(self._ids)):
                yield Static(id=f"head-{i}", classes="column-head")
            for name in PANELS:
                for i in range(len(self._ids)):
                    yield Chart(id=f"{name}-{i}", classes=f"panel {name}", focusable=False)
        yield Static(id="scores")
        yield KeysLine()

    def on_mount(self) -> None:
        self._choose_panel(self._panel)
        self.mopo.watch_shown()
        self.show_runs(self.mopo.runs)

    def watched(self) -> tuple[str, ...]:
        return self._ids

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """The next panel is asked for only where one kind is shown at a time."""
        return action != "next_panel" or self.has_class("-low")

    def on_resize(self) -> None:
        self.call_after_refresh(self.refresh_bindings)

    # --- showing ----------------------------------------------------------------------------------

    def _runs(self) -> list[Run]:
        found = {run.id: run for run in self.mopo.runs}
        return [found[i] for i in self._ids if i in found]

    def show_runs(self, runs: Sequence[Run]) -> None:  # noqa: ARG002
        chosen = self._runs()
        if len(chosen) < len(self._ids):
            self.notify("A compared run is gone from the store.", severity="warning")
            self.action_close()
            return
        self._show_heads(chosen)
        self._show_panels(chosen)
        # Comparing reads files: only when something it looks at may have changed.
        state = tuple((run.state, run.stage, run.result is None, run.return_last, run.return_best) for run in chosen)
        if state != self._compared:
            self._compared = state
            self._compare(chosen)

    def show_view(self, view: RunView) -> None:
        if view.run_id in self._ids:
            self._show_panels(self._runs())

    def _show_heads(self, runs: Sequence[Run]) -> None:
        dark = self.app.current_theme.dark
        for i, run in enumerate(runs):
            glyph, ink = STATES[run.state.value]
            text = Text(no_wrap=True, overflow="ellipsis")
            text.append(f"{LETTERS[i]} ", f"bold {colour(INKS[i], dark)}")
            text.append(title_of(run), f"bold {colour('text', dark)}")
            text.append(f"  {short_id(run.id)}", colour("muted", dark))
            text.append(f"  {glyph} {run.state.value}", colour(ink, dark))
            if run.state.value == "running":
                text.append(f" {run.progress * 100:.0f} %", colour(ink, dark))
            self.query_one(f"#head-{i}", Static).update(text, layout=False)

    def _show_panels(self, runs: Sequence[Run]) -> None:
        every = [panels(run, self.mopo.views.get(run.id), self._log) for run in runs]
        for name in PANELS:
            shared = share_axes([each[name].plot for each in every])
            for i, (each, plot) in enumerate(zip(every, shared, strict=True)):
                panel = each[name]
                self.query_one(f"#{name}-{i}", Chart).show(plot, panel.title, panel.numbers)

    @work(thread=True, exclusive=True, group="compare")
    def _compare(self, runs: Sequence[Run]) -> None:
        comparison = compare(runs)
        self.app.call_from_thread(self._show_comparison, comparison)

    def _show_comparison(self, comparison: Comparison) -> None:
        if not self.is_mounted:
            return
        dark = self.app.current_theme.dark
        top = Text(overflow="ellipsis")
        top.append(" Compare", f"bold {colour('text', dark)}")
        top.append_text(self._differences(comparison))
        for warning in (*comparison.warnings, *comparison.unfinished):
            top.append(f"\n ! {warning}", colour("orange", dark))
        self.query_one("#compare-top", Static).update(top)
        self.query_one("#scores", Static).update(self._scores(comparison))

    def _differences(self, comparison: Comparison) -> Text:
        dark = self.app.current_theme.dark
        text = Text()
        rows = [row for row in comparison.differing if row.key not in _NOT_CONFIGURATION]
        if not rows:
            text.append("  same configuration but for what the heads say", colour("muted", dark))
        for row in rows:
            text.append(f"  {row.key} ", colour("muted", dark))
            for i, value in enumerate(row.values):
                text.append(" / " if i else "", colour("faint", dark))
                text.append(_value(value), f"bold {colour(INKS[i], dark)}")
        return text

    def _scores(self, comparison: Comparison) -> Table:
        dark = self.app.current_theme.dark
        table = Table.grid(padding=(0, 2), expand=True)
        table.add_column(no_wrap=True, width=14, style=colour("muted", dark))
        for _ in comparison.runs:
            table.add_column(no_wrap=True, ratio=1, style=colour("text", dark), overflow="ellipsis")
        heads = [
            Text(f"{LETTERS[i]} {run.algorithm} s{run.seed}", f"bold {colour(INKS[i], dark)}")
            for i, run in enumerate(comparison.runs)
        ]
        table.add_row(Text(" score ± std", f"bold {colour('text', dark)}"), *heads)
        for label, name in ((" final", "final"), (" last 10", "mean_last_10"), (" best", "best")):
            table.add_row(label, *(_score(getattr(run, name)) for run in comparison.runs))
        return table

    # --- actions ----------------------------------------------------------------------------------

    def action_close(self) -> None:
        """Back to the dashboard."""
        self.dismiss()
        self.app.call_later(self.mopo.watch_shown)

    def action_next_panel(self) -> None:
        """The next kind of panel."""
        self._choose_panel(PANELS[(PANELS.index(self._panel) + 1) % len(PANELS)])

    def _choose_panel(self, name: str) -> None:
        self._panel = name
        for chart in self.query(Chart):
            chart.set_class(chart.has_class(name), "-chosen")

    def action_log_scale(self) -> None:
        """Validation loss on the other kind of axis."""
        self._log = not self._log
        self._show_panels(self._runs())


def _value(value: object) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _score(score: Score | None) -> str:
    if score is None:
        return "–"
    spread = f" ±{number(score.std, 2)}" if score.std is not None else ""
    text = f"return {number(score.value)}{spread}"
    if score.normalized is not None:
        text = f"{number(score.normalized)}  {text}"
    if score.progress is not None:
        text += f"  progress {number(score.progress)}"
    return text
