"""The list of runs: the seeds of one setting in one row, drawn by line, repainted only where something changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from mopo_tui.actions import bindings
from mopo_tui.manager import Run
from mopo_tui.manager.rows import Row, Spread, title
from mopo_tui.widgets.palette import STATES, colour
from mopo_tui.widgets.scale import deviation, number
from mopo_tui.widgets.words import bar, cut, default_named, headline, short_id, title_of

_NAME = 11  # columns that a row's name keeps beside what tells it apart
_ROOMY = 50  # columns from which all rows keep the same columns
Parts = list[tuple[str, str, bool]]  # text, colour's name, bold

_LEFT, _PERCENT, _LEFT_TIME, _SCORE = 19, 6, 7, 20  # columns of a row's second line, where it has room for all


@dataclass(frozen=True)
class Entry:
    """What the cursor can stand on: a row, or below an opened row one of its seeds.

    Attributes:
        key: stays the same as long as the entry is there.
        under: the key of the opened row; empty for a row.
    """

    key: str
    row: Row
    under: str = ""
    opened: bool = False

    @property
    def lines(self) -> int:
        return 1 if self.under else 2

    @property
    def lead(self) -> Run:
        """The run that stands for the row: of its most important state the newest."""
        state = self.row.states[0][0]
        return next(run for run in self.row.runs if run.state is state)


def _apart(values: Mapping[str, str], room: int) -> str:
    """What tells a row from others of its name: with the keys where there is room for them, else the values alone."""
    whole = ", ".join(f"{key.rsplit('.', 1)[-1]} {value}" for key, value in values.items())
    return whole if len(whole) <= room else cut(", ".join(values.values()), room)


def key_of(row: Row) -> str:
    """A row's key, which does not change when seeds come and go."""
    return row.newest.id if row.newest.problem or not row.setting else row.setting


def time_left(seconds: float) -> str:
    """An ETA in at most six columns: 48 s, 12 min, 1.5 h, 30 h."""
    if seconds < 59.5:
        return f"{max(round(seconds), 0)} s"
    if seconds < 3570:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    return f"{hours:.1f} h" if hours < 9.95 else f"{round(hours)} h"


def score_of(row: Row) -> tuple[str, Spread | None]:
    """The number of a row and its name: the final scores (or returns) where all its runs are finished, else the last ones."""
    heads = [headline(run) for run in row.runs]
    labels = {label for label, value in heads if value is not None}
    if len(row.runs) == 1 or (row.finished == len(row.runs) and len(labels) == 1):
        label = heads[0][0] if len(row.runs) == 1 else labels.pop()
        return label.split()[-1], row.spread(lambda run: headline(run)[1])
    last = row.last()
    return ("score" if last is not None and last.unit else "return"), last


class RunList(ScrollView, can_focus=True):
    """Rows with a cursor and marks. The cursor stays on its row or run when others come or go."""

    BINDINGS = bindings("list")
    COMPONENT_CLASSES: ClassVar[set[str]] = {"run-list--cursor", "run-list--chosen"}

    class Chosen(Message):
        """The cursor is on another run, or on none."""

        def __init__(self, run_id: str | None) -> None:
            super().__init__()
            self.run_id = run_id

    class Opened(Message):
        """Enter on a run."""

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows: tuple[Row, ...] = ()
        self._told: Mapping[str, Mapping[str, str]] = {}
        self._open: set[str] = set()
        self._entries: tuple[Entry, ...] = ()
        self._tops: list[int] = []
        self._at: list[tuple[int, int]] = []  # by line: entry, and which of its lines
        self._cursor = 0
        self._marked: tuple[str, ...] = ()

    # --- what is chosen -----------------------------------------------------------------------------------------------------------

    @property
    def entry(self) -> Entry | None:
        """What is under the cursor."""
        return self._entries[self._cursor] if self._entries else None

    @property
    def chosen(self) -> Run | None:
        """The run under the cursor; of a row of several seeds the one that stands for it."""
        return self.entry.lead if self.entry is not None else None

    @property
    def selected(self) -> tuple[Run, ...]:
        """The runs under the cursor: all of a row."""
        return self.entry.row.runs if self.entry is not None else ()

    # --- what is shown ------------------------------------------------------------------------------------------------------------

    def show(
        self, rows: Sequence[Row], marked: Sequence[str], told: Mapping[str, Mapping[str, str]] | None = None
    ) -> None:
        """Show these rows and marks.

        Args:
            told: by the id of a row's newest run, values that tell it from rows of the same name; None leaves those shown.
        """
        remarked = set(self._marked) ^ set(marked)
        self._rows, self._marked = tuple(rows), tuple(marked)
        if told is not None and told != self._told:
            self._told = told
            self.refresh()
        self._lay_out(remarked)

    def _lay_out(self, remarked: set[str] | None = None) -> None:
        before, entry, run = self._entries, self.entry, self.chosen
        entries: list[Entry] = []
        for row in self._rows:
            key = key_of(row)
            opened = key in self._open and len(row.runs) > 1
            entries.append(Entry(key, row, opened=opened))
            if opened:
                seeds = sorted(row.runs, key=lambda each: (each.seed, each.id))
                entries += [Entry(each.id, Row((each,), row.setting), under=key) for each in seeds]
        self._entries = tuple(entries)
        self._tops, self._at = [], []
        for i, each in enumerate(entries):
            self._tops.append(len(self._at))
            self._at += [(i, line) for line in range(each.lines)]
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._at))
        places = {(each.key, each.under): i for i, each in enumerate(entries)}
        if entry is not None:
            here = places.get((entry.key, entry.under))
            if here is None:  # a seed whose row was closed, or a run whose row grew
                here = places.get((entry.under, ""))
            self._cursor = here if here is not None else min(self._cursor, max(len(entries) - 1, 0))
        if [(e.key, e.opened) for e in before] != [(e.key, e.opened) for e in entries]:
            self.refresh()
        else:
            for i, each in enumerate(entries):
                if each != before[i] or any(r.id in (remarked or ()) for r in each.row.runs):
                    self._repaint(i)
        if self._entries and entry is not None and self.entry != entry:
            self._keep_in_sight()
        now = self.chosen
        if (now.id if now else None) != (run.id if run else None) or (entry is None) != (self.entry is None):
            self.refresh()
            self._tell()

    def choose(self, run_id: str, *, whole: bool = False) -> bool:
        """Put the cursor on that run, among its row's seeds or on the `whole` row; False where it is not listed."""
        for row in self._rows:
            if any(run.id == run_id for run in row.runs):
                alone = whole or len(row.runs) == 1
                if not alone and key_of(row) not in self._open:
                    self._open.add(key_of(row))
                    self._lay_out()
                wanted = (key_of(row), "") if alone else (run_id, key_of(row))
                self._go([(entry.key, entry.under) for entry in self._entries].index(wanted))
                return True
        return False

    def _tell(self) -> None:
        self.post_message(self.Chosen(self.chosen.id if self.chosen else None))

    def _repaint(self, index: int) -> None:
        if index < len(self._entries):
            top = self._tops[index] - self.scroll_offset.y
            self.refresh(Region(0, top, self.size.width, self._entries[index].lines))

    def _keep_in_sight(self) -> None:
        top, lines = self._tops[self._cursor], self._entries[self._cursor].lines
        self.scroll_to_region(Region(0, top, 1, lines), animate=False, force=True)

    def _go(self, index: int) -> None:
        index = min(max(index, 0), len(self._entries) - 1)
        if index < 0 or index == self._cursor:
            return
        self._repaint(self._cursor)
        self._cursor = index
        self._repaint(index)
        self._keep_in_sight()
        self._tell()

    # --- keys ---------------------------------------------------------------------------------------------------------------------

    def action_move(self, step: int) -> None:
        self._go(self._cursor + step)

    def action_page(self, direction: int) -> None:
        if not self._entries:
            return
        line = self._tops[self._cursor] + direction * max(self.size.height - 2, 1)
        self._go(self._at[min(max(line, 0), len(self._at) - 1)][0])

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self._entries) - 1)

    def action_open(self) -> None:
        """A closed row of several seeds shows them; else to the panels of the run."""
        entry = self.entry
        if entry is not None and len(entry.row.runs) > 1 and not entry.opened:
            self.action_unfold()
        elif entry is not None:
            self.post_message(self.Opened())

    def action_unfold(self) -> None:
        """Show the seeds of the row under the cursor."""
        entry = self.entry
        if entry is not None and len(entry.row.runs) > 1 and not entry.opened:
            self._open.add(entry.key)
            self._lay_out()
            self._keep_in_sight()

    def action_fold(self) -> None:
        """Hide the seeds of the row under the cursor."""
        entry = self.entry
        key = (entry.under or entry.key) if entry is not None else ""
        if key in self._open:
            self._open.discard(key)
            self._lay_out()

    def on_click(self, event: events.Click) -> None:
        line = event.y + self.scroll_offset.y
        if line < len(self._at):
            self._go(self._at[line][0])

    def on_resize(self) -> None:
        self.virtual_size = Size(self.scrollable_content_region.width, len(self._at))

    def on_focus(self) -> None:
        self._repaint(self._cursor)

    def on_blur(self) -> None:
        self._repaint(self._cursor)

    # --- drawing ------------------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the visible part."""
        width = self.scrollable_content_region.width
        base = self.rich_style
        if y + self.scroll_offset.y >= len(self._at):
            return Strip.blank(width, base)
        index, line = self._at[y + self.scroll_offset.y]
        entry, here = self._entries[index], index == self._cursor
        if entry.under:
            parts = self._seed(entry.row.newest, width - 2)
        else:
            parts = self._title(entry, width - 2) if line == 0 else _detail(entry.row, width - 2)
        dark = self.app.current_theme.dark
        if here:
            base += self.get_component_rich_style("run-list--cursor" if self.has_focus else "run-list--chosen")
        edge = Style(color=colour("sky" if self.has_focus else "faint", dark))
        segments = [Segment("▌" if here else " ", base + edge)]
        for text, name, bold in parts:
            segments.append(Segment(text, base + Style(color=colour(name, dark), bold=bold or None)))
        return Strip(segments).adjust_cell_length(width, base)

    def _mark(self, runs: Sequence[Run]) -> tuple[str, str, bool]:
        return ("◆" if any(run.id in self._marked for run in runs) else " ", "orange", True)

    def _title(self, entry: Entry, width: int) -> Parts:
        row = entry.row
        glyph, ink = STATES[row.states[0][0].value]
        tail = ""
        if len(row.runs) > 1:
            count = len(row.runs)
            seeds = f"{count} of {row.total}" if count < row.total else f"{count}"
            what = "seeds" if len(row.seeds) == count else "runs"
            tail = f"{seeds} {what} {'▾' if entry.opened else '▸'}"
        room = max(width - 4 - (len(tail) + 2 if tail else 0), 4)
        name, more = self._names(row, room)
        shown = f"  {more}" if more else ""
        gap = " " * max(width - 4 - len(name) - len(shown) - len(tail), 0) if tail else ""
        return [
            self._mark(row.runs),
            (f"{glyph} ", ink, True),
            (name, "text", True),
            (shown, "muted", False),
            (gap + tail, "muted", False),
        ]

    def _names(self, row: Row, room: int) -> tuple[str, str]:
        """What a row is called, and what else there is room to say of it."""
        run = row.newest
        default = all(default_named(each) for each in row.runs)
        what = run.algorithm if run.job == "train" else run.job
        own = title_of(run) if len(row.runs) == 1 else f"{run.task} {what}"
        more = _apart(self._told.get(run.id, {}), room // 2)
        for_name = max(room - len(more) - 2, min(room, _NAME)) if more else room
        if default and len(own) > for_name:  # rather the end of the task than the algorithm, by which rows differ
            kept = own.removeprefix(run.task)
            own = f"{cut(run.task, max(for_name - len(kept), 4))}{kept}"
        name = cut(own if default else title(row), for_name)
        left = room - len(name) - 2
        if not more and not default and left > 6:
            more = own
        return name, cut(more, max(left, 0))

    def _seed(self, run: Run, width: int) -> Parts:
        """One seed below its row, in one line."""
        glyph, ink = STATES[run.state.value]
        head: Parts = [
            self._mark((run,)),
            (f"  {glyph} ", ink, True),
            (f"s{run.seed:<3} ", "text", True),
            (f"{short_id(run.id):<4} ", "muted", False),
        ]
        state = run.stage if run.state.value == "running" and run.stage else run.state.value
        row = Row((run,))
        return [*head, *_measures(row, [(f"{state:<9}", ink, False)], width - 15, bars=False)]


def _detail(row: Row, width: int) -> Parts:
    """The second line of a row: where its runs stand."""
    run = row.newest
    if run.problem:
        return [("   ", "text", False), (cut(run.problem, width - 4), "vermillion", False)]
    ink = STATES[row.states[0][0].value][1]
    if len(row.states) > 1:
        left: Parts = [("   ", "text", False)]
        for each, count in row.states:
            glyph, own = STATES[each.value]
            left.append((f"{glyph}{count} ", own, False))
        return _measures(row, left, width)
    state = run.stage if run.state.value == "running" and run.stage else run.state.value
    who = short_id(run.id) if len(row.runs) == 1 else "all"
    return _measures(row, [(f"   {who:<4} ", "muted", False), (f"{state:<11}", ink, False)], width)


def _measures(row: Row, left: Parts, width: int, *, bars: bool = True) -> Parts:
    """`left`, then progress, ETA and score in columns; what does not fit is left out, the score last of all."""
    states = {state.value for state, _ in row.states}
    ink = STATES[row.states[0][0].value][1]
    used = sum(len(text) for text, _, _ in left)
    if bars and used < _LEFT and width >= _ROOMY:
        left = [*left, (" " * (_LEFT - used), "text", False)]
        used = _LEFT
    word, spread = score_of(row)
    value = number(spread.mean) if spread is not None else ""
    if spread is not None and spread.std is not None:
        value += f" ±{deviation(spread.std, value)}"
    if spread is not None and len(row.runs) > 1:
        value += f" n{spread.n}"
    room = width - 1 - used - (len(value) + 1 if value else 0)
    # A finished run needs no bar, and one that waits has none yet.
    moving = bool(states - {"finished", "queued"})
    percent = f" {row.progress * 100:3.0f} %" if moving and room >= _PERCENT else ""
    room -= len(percent)
    eta = row.eta_s if states & {"running", "paused"} else None
    left_time = f" {time_left(eta):>6}" if eta is not None and room >= _LEFT_TIME else ""
    room -= len(left_time)
    word = f"{word} " if value and room >= len(word) + 1 else ""
    length = min(width - _LEFT - _PERCENT - _LEFT_TIME - _SCORE - 2, 30) if bars else 0
    done, open_part = bar(row.progress, length) if moving and length >= 4 and used <= _LEFT else ("", "")
    shown = used + len(done) + len(open_part) + len(percent) + len(left_time)
    return [
        *left,
        (done, ink, False),
        (open_part, "faint", False),
        (percent, "muted", False),
        (left_time, "text", False),
        (" " * max(width - 1 - shown - len(word) - len(value), 1 if value else 0), "text", False),
        (word, "faint", False),
        (value, "text", True),
    ]
