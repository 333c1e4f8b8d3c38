"""The words of the Compare screen: what differs and what is unfair above, a head for each column, scores below (no Textual)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

from rich.table import Table
from rich.text import Text

from mopo_tui.compare_view import Column, Compared
from mopo_tui.manager.compared import Entry, Group
from mopo_tui.manager.differences import Difference, shown
from mopo_tui.manager.scores import Score
from mopo_tui.manager.statistics import Summary
from mopo_tui.widgets.palette import STATES, colour
from mopo_tui.widgets.scale import number
from mopo_tui.widgets.words import cut, fitting, short_id

_LABELS = 13  # columns of the scores' labels
_DIFFERENCES = 3  # rows for them at most


# --- above ------------------------------------------------------------------------------------------------------------------------


def above(columns: Sequence[Column], seen: Compared | None, told: str, width: int, rows: int, dark: bool) -> Text:
    """What is compared, in what the columns differ, and warnings; what finds no room in `rows` lines is counted, and the page with
    the table has it.

    Args:
        told: how it is shown, such as "side by side".
    """
    head = Text().append(" Compare", f"bold {colour('text', dark)}")
    tasks = list(dict.fromkeys(column.runs[0].task for column in columns))
    head.append(f"  {tasks[0]}" if len(tasks) == 1 else "", colour("text", dark))
    head.append(f"  {told}" if told else "", colour("muted", dark))
    if seen is None:
        return head
    warned = [_wrapped(warning, width) for warning in seen.warnings]
    for_differences = min(_DIFFERENCES, max(rows - min(sum(map(len, warned)), 3), 1))
    lines = _packed(head, _differences(seen, dark), width, for_differences, dark)
    lines += _warnings(warned, rows - len(lines), dark)
    return Text("\n").join(lines)


def _differences(seen: Compared, dark: bool) -> list[Text]:
    tasks = Difference("task", tuple(column.runs[0].task for column in seen.columns))
    rows = [*([tasks] if len(set(tasks.values)) > 1 else []), *seen.differing]
    if not rows:
        return [Text("the same configuration", colour("muted", dark))]
    found = []
    for row in rows:
        text = Text(f"{row.key} ", colour("muted", dark))
        for i, value in enumerate(row.values):
            text.append(" / " if i else "", colour("faint", dark))
            text.append(shown(value), f"bold {colour(seen.columns[i].stroke.ink, dark)}")
        found.append(text)
    return found


def _packed(head: Text, parts: Sequence[Text], width: int, most: int, dark: bool) -> list[Text]:
    """Parts after a beginning, as many in a line as fit; the last line counts those that do not."""
    lines, left = [head], list(parts)
    while left:
        part, more = left[0], Text(f"  +{len(left)} more in the table", colour("muted", dark))
        last = len(lines) == most
        room = width - 1 - (more.cell_len if last and len(left) > 1 else 0)
        if lines[-1].cell_len + 2 + part.cell_len <= room:
            lines[-1].append("  ")
            lines[-1].append_text(left.pop(0))
        elif not last:
            lines.append(Text(" "))
            if 3 + part.cell_len > width - 1:  # longer than a line by itself
                part.truncate(width - 4 - more.cell_len, overflow="ellipsis")
        else:
            lines[-1].append_text(more)
            break
    return lines


def _wrapped(warning: str, width: int) -> list[str]:
    return wrap(f"! {warning}", max(width - 2, 20), initial_indent=" ", subsequent_indent="   ") or [" !"]


def _warnings(warned: Sequence[list[str]], rows: int, dark: bool) -> list[Text]:
    """Whole warnings, as many as fit."""
    lines: list[str] = []
    for i, warning in enumerate(warned):
        left = len(warned) - i
        if len(lines) + len(warning) + (1 if left > 1 else 0) > rows:
            lines.append(f" ! {left} {'more ' if i else ''}warning{'s' if left > 1 else ''} in the table: t")
            break
        lines += warning
    return [Text(line, colour("orange", dark)) for line in lines]


# --- heads ------------------------------------------------------------------------------------------------------------------------


def head(column: Column, several_tasks: bool, width: int, dark: bool) -> Text:
    """Who stands in a column, and how it stands."""
    run = column.runs[0]
    what = run.algorithm or run.job
    count = f"s{run.seed}" if column.alone else f"{len(column.runs)} runs"
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f"{column.letter} ", f"bold {colour(column.stroke.ink, dark)}")
    states = Counter(each.state.value for each in column.runs)
    marks = [
        (f"{' ' if i else '  '}{STATES[state][0]}{'' if column.alone else n}", STATES[state][1])
        for i, (state, n) in enumerate(states.items())
    ]
    room = width - len(column.letter) - 1 - sum(len(mark) for mark, _ in marks)
    short = count if column.alone else f"×{len(column.runs)}"
    names = [f"{run.task} {what} {count}"] if several_tasks else []
    names += [f"{what} {count}", f"{what} {short}"]
    who = next((name for name in names if len(name) <= room), cut(names[-1], room))
    text.append(who, f"bold {colour('text', dark)}")
    own_id = f"  {short_id(run.id)}" if column.alone else ""
    own_id = own_id if len(who) + len(own_id) <= room else ""
    text.append(own_id, colour("muted", dark))
    room -= len(who) + len(own_id)
    for mark, ink in marks:
        text.append(mark, colour(ink, dark))
    if len(states) == 1:
        word = f" {run.state.value}"
        if run.state.value == "running":
            word += f" {sum(each.progress for each in column.runs) / len(column.runs) * 100:.0f} %"
        text.append(word if len(word) <= room else "", colour(marks[0][1], dark))
    return text


# --- below ------------------------------------------------------------------------------------------------------------------------


def scores(seen: Compared, width: int, dark: bool, low: bool) -> Table:
    """A column for each: of seeds the statistics over those that count, of a run alone its own scores."""
    room = max((width - _LABELS) // len(seen.columns) - 2, 8)
    groups = any(not column.alone for column in seen.columns)
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(no_wrap=True, width=_LABELS - 2, style=colour("muted", dark))
    for _ in seen.columns:
        table.add_column(no_wrap=True, ratio=1, style=colour("text", dark), overflow="ellipsis")
    units = {seen.unit(i) for i in range(len(seen.columns))}
    unit = {"%": " score in %", "return": " return"}[units.pop()] if len(units) == 1 else " score"
    heads = [_who(seen, i, room) for i in range(len(seen.columns))]
    inks = [f"bold {colour(column.stroke.ink, dark)}" for column in seen.columns]
    table.add_row(
        Text(unit, f"bold {colour('text', dark)}"), *(Text(h, ink) for h, ink in zip(heads, inks, strict=True))
    )
    rows = [(" final", "final"), (" last 10", "mean_last_10"), (" best", "best")]
    if groups:
        rows[:1] = [(" IQM [95 %]", "final"), (" mean ± std", "spread")]
    if low and len(rows) > 3:
        rows.pop()
    for label, name in rows:
        table.add_row(label, *(_cell(seen, i, name, room) for i in range(len(seen.columns))))
    return table


def _who(seen: Compared, i: int, room: int) -> str:
    column, groups = seen.columns[i], seen.groups[i]
    if column.alone:
        return fitting([f"{column.letter} s{column.runs[0].seed}", short_id(column.runs[0].id)], room)
    counted = ", ".join(f"{len(group.runs)} of {group.started}" for group in groups)
    return fitting([column.letter, f"n {counted}", "finished"], room)


def _cell(seen: Compared, i: int, name: str, room: int) -> str:
    column, unit = seen.columns[i], seen.unit(i)
    if column.alone:
        return _of_run(seen.entries[i][0], name, unit, room)
    several = len(seen.groups[i]) > 1
    parts = [_of_group(group, name, f"{group.letter} " if several else "") for group in seen.groups[i]]
    if several:
        return fitting([each[0] for each in parts], room)
    return fitting(parts[0], room)


def _of_group(group: Group, name: str, lead: str) -> list[str]:
    summary: Summary | None = group.final if name == "spread" else getattr(group, name)
    if summary is None:
        return [f"{lead}–"]
    if name == "spread":
        spread = f" ± {number(summary.std, 2)}" if summary.std is not None else ""
        return [f"{lead}{number(summary.mean)}{spread}"]
    if name == "final":
        found = [f"{lead}{number(summary.iqm)}"]
        if summary.interval is not None:
            found.append("[{}, {}]".format(*(number(end) for end in summary.interval)))
        return found
    return [f"{lead}{number(summary.mean)}"]


def _of_run(entry: Entry, name: str, unit: str, room: int) -> str:
    if name == "spread":
        return ""
    score: Score | None = getattr(entry, name)
    if score is None:
        return "–" if name != "final" or entry.state == "finished" else f"– {entry.state}"
    spread = f" ±{number(score.std, 2)}" if score.std is not None else ""
    raw = f"return {number(score.value)}{spread}"
    if unit == "%" and score.normalized is not None:
        parts = [number(score.normalized), raw]
    else:
        parts = [raw if len(raw) <= room else f"{number(score.value)}{spread}"]
    if score.progress is not None:
        parts.append(f"progress {number(score.progress)}")
    return fitting(parts, room)
