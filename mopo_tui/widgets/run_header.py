"""The head of the chosen run or row of seeds: what it is, how it stands, and its most important number, large."""

from __future__ import annotations

import os
from textwrap import wrap

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Digits, Static

from mopo_tui.manager import Run
from mopo_tui.manager.rows import Row, title
from mopo_tui.widgets.glyphs import look_of
from mopo_tui.widgets.palette import STATES, colour
from mopo_tui.widgets.run_list import score_of
from mopo_tui.widgets.scale import deviation, number
from mopo_tui.widgets.words import bar, cut, default_named, duration, fitting, headline, seeds_text, short_id

_HEADLINE = 24  # columns of the large number, as in the stylesheet


class RunHeader(Horizontal):
    """Four rows: what, state with its reason, stage, progress with ETA and speed; right of them the score or return."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run: Run | None = None
        self._row: Row | None = None  # of several runs
        self._ink = "sky"
        self._shown: tuple[str, str, str] = ("", "", "")

    def compose(self) -> ComposeResult:
        yield Static(id="about")
        with Vertical(id="headline"):
            # Large digits are drawn with lines, of which ASCII leaves nothing that can be read.
            plain = look_of(os.environ).kind == "ascii"
            yield Static(id="number") if plain else Digits(id="number")
            yield Static(id="number-label")

    def on_mount(self) -> None:
        # Without a number its column belongs to the text.
        self.query_one("#headline").display = False

    def show(self, run: Run | None, row: Row | None = None, ink: str = "sky") -> None:
        """Show a run, or the row of several runs for which it stands.

        Args:
            ink: the colour that its lines have in the panels.
        """
        self._run, self._row = run, row if row is not None and len(row.runs) > 1 else None
        self._ink = ink
        self._update()

    def on_resize(self) -> None:
        self._update()

    def _update(self) -> None:
        if not self.is_mounted:
            return
        about = self._about()
        digits, label = self._headline()
        shown = (about.markup, digits, label)
        if shown == self._shown:
            return
        if shown[0] != self._shown[0]:
            self.query_one("#about", Static).update(about, layout=False)
        if digits != self._shown[1]:
            self.query_one("#headline").display = bool(digits)
            large = self.query_one("#number")
            assert isinstance(large, (Static, Digits))
            large.update(digits)
        if label != self._shown[2]:
            self.query_one("#number-label", Static).update(label, layout=False)
        self._shown = shown

    def _headline(self) -> tuple[str, str]:
        if self._run is None or self._run.problem:
            return "", ""
        if self._row is not None:
            return _mean_of(self._row)
        label, value = headline(self._run)
        if value is None:
            return "", ""
        best = self._run.score_best if "score" in label else self._run.return_best
        return number(value).replace("−", "-"), label + (f", best {number(best)}" if best is not None else "")

    def _about(self) -> Text:
        run = self._run
        text = Text(no_wrap=True, overflow="ellipsis")
        if run is None:
            return text
        dark = self.app.current_theme.dark

        def add(part: str, ink: str = "text", bold: bool = False) -> None:
            text.append(part, f"{'bold ' if bold else ''}{colour(ink, dark)}")

        width = max(self.size.width - (_HEADLINE if self._headline()[0] else 0) - 3, 20)
        if self._row is not None and not run.problem:
            for part in _of_row(self._row, run, self._ink, width):
                add(*part)
            return text
        if run.problem:
            add(run.id + "\n", bold=True)
            add(run.problem, "vermillion")
            return text
        what = run.algorithm if run.job == "train" else run.job
        add(run.task, bold=True)
        add(f"  {what}", self._ink, bold=True)
        add(f"  seed {run.seed}")
        add(f"  {run.preset} {short_id(run.id)}" if run.preset else f"  {short_id(run.id)}", "muted")
        if not default_named(run):
            add(f"  {run.name}", "text")
        for tag in run.tags:
            add(f"  #{tag}", "green")
        glyph, ink = STATES[run.state.value]
        add(f"\n{glyph} {run.state.value}", ink, bold=True)
        stage = f"{run.stage}  {run.summary.get('detail') or ''}".strip()
        if run.reason:
            # Why it ended matters more than where it was: two rows for the reason, the stage beside the bar.
            lines = wrap(
                run.reason, width, initial_indent=" " * (len(run.state.value) + 4), max_lines=2, placeholder=" …"
            )
            add("\n".join([lines[0][len(run.state.value) + 2 :], *lines[1:]]))
            add("\n" * (3 - len(lines)))
        else:
            if alert := run.summary.get("alert"):
                add(f"  ! {alert}", "yellow")
            elif run.note:
                add(f"  {run.note}", "muted")
            add("\n")
            if run.state.value == "finished":
                add(_finished(run, width), "muted")
            elif run.state.value == "queued":
                add("waits to be started", "muted")
            else:
                add(run.stage)
                add(f"  {run.summary.get('detail') or ''}", "muted")
            add("\n")
        done, left = bar(run.progress, min(max(width - 42, 6), 40))
        add(done, ink)
        add(left, "faint")
        add(f" {run.progress * 100:3.0f} %", "text")
        if run.state.value in ("running", "paused"):
            if run.eta_s is not None:
                add(f"  {duration(run.eta_s)} left", "text")
            speed = run.summary.get("speed")
            if isinstance(speed, (int, float)):
                add(f"  {number(float(speed))} {cut(str(run.summary.get('speed_unit') or ''), 12)}", "muted")
        elif run.reason:
            add(f"  {stage}", "muted")
        return text


def _finished(run: Run, width: int) -> str:
    """What stands beside the large number of a finished run, most important first, as much as fits."""
    result = run.result or {}
    words = []
    final = result.get("final")
    if isinstance(final, dict):
        value, spread = final.get("return"), final.get("return_std")
        if isinstance(value, (int, float)):
            error = f" (std {number(float(spread), 2)})" if isinstance(spread, (int, float)) else ""
            words.append(f"return {number(float(value))}{error}")
        if isinstance(value := final.get("progress"), (int, float)):
            words.append(f"progress {number(float(value))}")
        if isinstance(episodes := final.get("episodes"), int):
            words.append(f"{episodes} episodes")
    if isinstance(wall := result.get("wall_s"), (int, float)):
        words.append(f"took {duration(float(wall))}")
    return fitting(words, width)


# --- of a row of several runs -----------------------------------------------------------------------------------------------------


def _mean_of(row: Row) -> tuple[str, str]:
    """The mean of the scores that its list row shows, with what it is."""
    word, spread = score_of(row)
    if spread is None:
        return "", ""
    mean = number(spread.mean)
    error = f" ±{deviation(spread.std, mean)}" if spread.std is not None else ""
    when = "final" if row.finished == len(row.runs) else "last"
    label = f"{when} {word}{error}, n = {spread.n}"
    return mean.replace("−", "-"), label if len(label) <= _HEADLINE else label.removeprefix(f"{when} ")


def _of_row(row: Row, lead: Run, ink: str, width: int) -> list[tuple[str, str, bool]]:
    """Four rows: what, how many are in which state, what the run that stands for it does, progress of all."""
    newest = row.newest
    what = lead.algorithm if lead.job == "train" else lead.job
    count = f"{len(row.seeds)} seeds" if len(row.seeds) == len(row.runs) else f"{len(row.runs)} runs"
    parts = [
        (newest.task, "text", True),
        (f"  {what}", ink, True),
        (f"  {count}", "text", False),
        (f"  {seeds_text(row.seeds)}", "muted", False),
        (f"  {newest.preset}", "muted", False),
    ]
    if not all(default_named(run) for run in row.runs):
        parts.append((f"  {title(row)}", "text", False))
    shared = [tag for tag in newest.tags if all(tag in run.tags for run in row.runs)]
    parts += [(f"  #{tag}", "green", False) for tag in shared]
    between = "\n"
    for state, number_in in row.states:
        glyph, own = STATES[state.value]
        parts.append((f"{between}{glyph} {number_in} {state.value}", own, True))
        between = "  "
    parts.append(("\n", "text", False))
    said = f"s{lead.seed} "
    if lead.reason:
        parts += [(said, "muted", False), (cut(lead.reason, width - len(said)), "text", False)]
    elif lead.state.value == "finished":
        parts.append((_scores(row, width), "muted", False))
    elif lead.state.value == "queued":
        parts.append(("waits to be started", "muted", False))
    else:
        parts += [(f"{said}{lead.stage}", "text", False), (f"  {lead.summary.get('detail') or ''}", "muted", False)]
        if alert := lead.summary.get("alert"):
            parts.append((f"  ! {alert}", "yellow", False))
    done, left = bar(row.progress, min(max(width - 42, 6), 40))
    parts += [
        ("\n" + done, STATES[lead.state.value][1], False),
        (left, "faint", False),
        (f" {row.progress * 100:3.0f} %", "text", False),
    ]
    if row.eta_s is not None and lead.state.value in ("running", "paused"):
        parts.append((f"  {duration(row.eta_s)} left", "text", False))
    return parts


def _scores(row: Row, width: int) -> str:
    """Each seed's number, as far as they fit."""
    runs = sorted(row.runs, key=lambda run: (run.seed, run.id))
    words = [f"s{run.seed} {number(value)}" for run in runs if (value := headline(run)[1]) is not None]
    return fitting(words, width)
