"""Rows of the Data screen as text: columns that line up, as many as fit, the most important first (no Textual)."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from mopo_tui.data_view import Entry
from mopo_tui.manager import Run
from mopo_tui.manager.datasets import DatasetStatus
from mopo_tui.widgets.palette import STATES, colour
from mopo_tui.widgets.scale import number
from mopo_tui.widgets.words import bar, cut, duration, short_id

_LEAST_NAME, _MOST_NAME = 31, 46
_GAP = 2


@dataclass(frozen=True)
class Column:
    """A column: its head, its width, whether it holds numbers, and from which width of the list on it is shown."""

    head: str
    width: int
    right: bool = False
    since: int = 0


COLUMNS = (
    Column("task", 25, since=136),
    Column("source", 8, since=108),
    Column("rows", 9, right=True),
    Column("MB", 6, right=True),
    Column("mean", 6, right=True),
    Column("best", 6, right=True),
    Column("data", 8, since=90),
    Column("age", 4, right=True),
)


def shown(width: int) -> tuple[int, tuple[Column, ...]]:
    """How wide names may be in a list of `width` columns, and what stands beside them."""
    columns = tuple(column for column in COLUMNS if width >= column.since)
    room = width - 1 - sum(column.width + _GAP for column in columns)
    return min(max(room, _LEAST_NAME), _MOST_NAME), columns


def head(width: int, dark: bool) -> Text:
    """The line above the rows."""
    name, columns = shown(width)
    cells = [f" {'dataset':<{name}}"]
    cells += [f"{c.head:>{c.width}}" if c.right else f"{c.head:<{c.width}}" for c in columns]
    return Text((" " * _GAP).join(cells), colour("muted", dark), no_wrap=True)


def row(entry: Entry, run: Run | None, width: int, dark: bool, now: float) -> Text:
    """One row, at the Unix time `now`."""
    name, columns = shown(width)
    text = Text(no_wrap=True, overflow="ellipsis")
    match entry.section:
        case "making" | "failed":
            text.append(f" {_sized(entry.id, name)}", colour("text", dark))
            text.append(" " * _GAP)
            text.append_text(_of_run(entry, run, width - name - 1 - _GAP, dark))
        case "missing" if entry.task is not None:
            text.append(f" {_sized(entry.id, name)}", colour("muted", dark))
            text.append(f"  {entry.task.default_size:,} rows, about {duration(entry.seconds)}", colour("muted", dark))
        case _ if entry.status is not None and not entry.status.present:
            text.append(f" {_sized(entry.id, name)}", colour("text", dark))
            size = f" ({entry.status.download_bytes / 1e6:.1f} MB)" if entry.status.download_bytes else ""
            text.append(f"  {entry.status.problem}{size}", colour("orange", dark))
        case _ if entry.status is not None:
            text.append(f" {_sized(entry.id, name)}", colour("text", dark))
            values = _values(entry.status, now)
            for column in columns:
                value = cut(values[column.head], column.width)
                cell = f"{value:>{column.width}}" if column.right else f"{value:<{column.width}}"
                text.append(" " * _GAP + cell, colour("text" if column.right else "muted", dark))
    return text


def _values(status: DatasetStatus, now: float) -> dict[str, str]:
    total = status.bytes + status.minari_bytes + status.download_bytes
    return {
        "task": status.task,
        "source": source_of(status),
        "rows": f"{status.size:,}",
        "MB": f"{total / 1e6:.1f}" if total < 999.5e6 else f"{total / 1e6:,.0f}",
        "mean": "–" if status.mean_return is None else number(status.mean_return),
        "best": "–" if status.best_return is None else number(status.best_return),
        "data": status.fingerprint[:8],
        "age": age(now - status.written) if status.written else "–",
    }


def source_of(status: DatasetStatus) -> str:
    """The kind of its source: ours, d4rl, minari, training or file; ours where a manifest names none."""
    kind, colon, _ = status.source.partition(":")
    return kind if colon else "file" if status.source.startswith("/") else "ours"


def age(seconds: float) -> str:
    """How long ago, in one unit."""
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(int(seconds), 0)}s"


def _of_run(entry: Entry, run: Run | None, room: int, dark: bool) -> Text:
    """How far the run is that makes it, or why it failed."""
    if run is None:
        return Text("its run is gone", colour("muted", dark))
    glyph, ink = STATES[run.state.value]
    text = Text(f"{glyph} ", colour(ink, dark))
    if entry.section == "failed" or run.state.value == "queued":
        words = run.reason.splitlines()[0] if run.reason else run.state.value
        text.append(cut(f"{short_id(run.id)} {words}", room - 2), colour("muted", dark))
        return text
    words = progress_words(entry.id, run)
    wide = min(max(room - len(words) - 11, 0), 30)
    if wide >= 8:
        done, left = bar(share(run), wide)
        text.append(done, colour("sky", dark))
        text.append(left, colour("faint", dark))
        text.append(" ")
    text.append(cut(f"{100 * share(run):3.0f} %  {words}", room - cell_len(text.plain)), colour("text", dark))
    return text


def share(run: Run) -> float:
    """How much of the dataset is made, 0 to 1: of a training run, of its first stage alone."""
    stage = run.summary.get("stage_progress")
    return float(stage) if isinstance(stage, int | float) and run.kind == "train" else run.progress


def progress_words(dataset: str, run: Run) -> str:
    """How much of how much, and how long still: 2,150 of 5,000 rows, 12 s left; of what is downloaded, 3.1 of 120.0 MB."""
    done, slash, total = str(run.summary.get("detail", "")).partition("/")
    parts = []
    if slash and done.isdigit() and total.isdigit():
        if dataset.startswith(("d4rl/", "minari/")):
            parts.append(f"{int(done) / 1e6:.1f} of {int(total) / 1e6:.1f} MB")
        else:
            parts.append(f"{int(done):,} of {int(total):,} rows")
    if run.eta_s is not None and run.kind == "data":
        parts.append(f"{duration(run.eta_s)} left")
    if run.state.value == "paused":
        parts.append("paused")
    return ", ".join(parts) or run.stage or "starting"


def _sized(name: str, width: int) -> str:
    """In exactly `width` columns; what does not fit is left out in the middle, since names differ at their ends."""
    if cell_len(name) <= width:
        return set_cell_size(name, width)
    tail = name[-(width // 2) :]
    return set_cell_size(name, width - 1 - cell_len(tail)) + "…" + tail
