"""What `mopo data show` prints: a dataset's manifest as tables and small histograms.

A manifest of an earlier version lacks some of it: what is not there is left out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mopo_tui.cli import output
from mopo_tui.manager.run import number_of, text_of
from mopo_tui.manager.scores import REFERENCE_TITLES
from mopo_tui.manager.state import clean

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from mopo_tui.manager.datasets import DatasetStatus

ROWS = 4  # lines of a histogram's bars
_BAR_COLUMNS, _READABLE = 60, 120
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_MARKS = {"random": "r", "do_nothing": "n", "batch_mean": "m", "reference": "p"}


def print_page(status: DatasetStatus, manifest: Mapping[str, Any]) -> None:
    """Everything of the manifest that a person reads, on stdout."""
    console = output.console()
    report = table_of(manifest, "report")
    parts: list[RenderableType | None] = [
        _about(status, manifest, console),
        _references(manifest),
        *_returns(report, table_of(manifest, "references")),
        *_lengths(report, manifest),
        _rewards(report),
        _coverage(report),
    ]
    for i, part in enumerate(part for part in parts if part is not None):
        if i:
            console.print()
        console.print(part, soft_wrap=isinstance(part, str))


def table_of(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A table within a manifest; empty where there is none."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def numbers_of(values: Mapping[str, Any], key: str) -> list[float]:
    """A list of finite numbers within a manifest; empty where it is missing or not one."""
    found = values.get(key)
    if not isinstance(found, list):
        return []
    numbers = [number_of({"": value}, "") for value in found]
    return [value for value in numbers if value is not None] if None not in numbers else []


# --- what it is -------------------------------------------------------------------------------------------------------------------


def _about(status: DatasetStatus, manifest: Mapping[str, Any], console: Console) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, show_header=False)
    table.width = min(console.width, _READABLE)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    facts = [
        ("dataset", status.id),
        ("task", status.task),
        ("about", text_of(manifest, "description")),
        ("source", _source(status, manifest)),
        ("environment", _environment(manifest)),
        ("versions", ", ".join(f"{clean(str(k))} {clean(str(v))}" for k, v in table_of(manifest, "versions").items())),
        ("size", _size(status, table_of(manifest, "report"))),
        ("on disk", _disk(status)),
        ("fingerprint", status.fingerprint),
    ]
    for name, value in facts:
        if value:
            table.add_row(name, value)
    notes = manifest.get("notes")
    for i, note in enumerate(notes if isinstance(notes, list) else ()):
        table.add_row("" if i else "notes", clean(str(note)))
    if manifest.get("reached_target") is False:
        table.add_row("", "no behaviour policy reaches the return at which this dataset is to end")
    return table


def _source(status: DatasetStatus, manifest: Mapping[str, Any]) -> str:
    origin, seed = text_of(manifest, "origin"), number_of(manifest, "seed")
    behaviour = text_of(manifest, "behaviour")
    parts = [
        origin if status.source in ("", "ours") else status.source,
        f"behaviour {behaviour}" if behaviour else "",
        text_of(manifest, "algorithm"),
        "" if seed is None else f"seed {seed:.0f}",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(status.written)) if status.written else "",
    ]
    return ", ".join(part for part in parts if part)


def _environment(manifest: Mapping[str, Any]) -> str:
    options, limit = table_of(manifest, "environment_options"), number_of(manifest, "max_episode_steps")
    return ", ".join(
        [
            text_of(manifest, "environment"),
            *(f"{clean(str(key))} = {clean(str(value))}" for key, value in options.items()),
            *([] if limit is None else [f"at most {limit:.0f} steps"]),
        ]
    )


def _size(status: DatasetStatus, report: Mapping[str, Any]) -> str:
    complete = number_of(report, "complete_episodes")
    whole = "" if complete is None else f", {complete:,.0f} of them complete"
    return f"{status.size:,} transitions in {status.episodes:,} episodes{whole}"


def _disk(status: DatasetStatus) -> str:
    sizes = (("flat cache", status.bytes), ("Minari copy", status.minari_bytes), ("download", status.download_bytes))
    return ", ".join(f"{what} {count / 1e6:.1f} MB" for what, count in sizes if count)


# --- what it is worth -------------------------------------------------------------------------------------------------------------


def _references(manifest: Mapping[str, Any]) -> RenderableType | None:
    from rich.console import Group

    known = {name: table_of(table_of(manifest, "references"), name) for name in table_of(manifest, "references")}
    scale = known.pop("scale", {})
    low, high = number_of(scale, "min"), number_of(scale, "max")
    found = {name: values for name, values in known.items() if number_of(values, "return") is not None}
    if not found:
        return None
    columns = ("return", "±", "length", "progress", "score %", "episodes")
    rows = []
    for name, values in found.items():
        value = number_of(values, "return")
        scored = None if value is None or low is None or high is None else 100 * (value - low) / (high - low)
        scored = None if scored is None else round(scored, 1) + 0.0  # never −0.0
        episodes, length = number_of(values, "episodes"), number_of(values, "length")
        rows.append(
            [
                clean(REFERENCE_TITLES.get(name, name)),
                output.number(value),
                output.number(number_of(values, "stderr")),
                output.number(length, 0),
                output.number(number_of(values, "progress")),
                output.number(scored),
                output.number(episodes, 0),
            ]
        )
    shown = [i for i in range(len(columns) + 1) if any(row[i] != "–" for row in rows)]
    heads = ("reference returns", *columns)
    table = output.table(*(heads[i] for i in shown), right=columns)
    for row in rows:
        table.add_row(*(row[i] for i in shown))
    if low is None or high is None:
        return table
    origin = text_of(scale, "origin")
    return Group(table, f"score: 0 is a return of {low:g}, 100 one of {high:g}" + (f" ({origin})" if origin else ""))


def _returns(report: Mapping[str, Any], references: Mapping[str, Any]) -> list[RenderableType]:
    values = [number_of(report, f"{name}_return") for name in ("mean", "std", "min", "best")]
    if values[0] is None:
        return []
    mean, std, low, best = (output.number(value) for value in values)
    text = f"returns of complete episodes: mean {mean}, std {std}, from {low} to {best}"
    marks = {
        f"{mark} {REFERENCE_TITLES[name]}": value
        for name, mark in _MARKS.items()
        if (value := number_of(table_of(references, name), "return")) is not None
    }
    return [text + "".join(f"\n{line}" for line in histogram(table_of(report, "return_histogram"), marks))]


def _lengths(report: Mapping[str, Any], manifest: Mapping[str, Any]) -> list[RenderableType]:
    mean, ended = number_of(report, "mean_length"), number_of(report, "terminal_episodes")
    episodes = number_of(manifest, "episodes")
    if mean is None:
        return []
    text = f"lengths of all episodes: mean {mean:,.0f} steps"
    if ended is not None and episodes:
        text += f"; {ended:,.0f} of {episodes:,.0f} ended in a terminal state"
    return [text + "".join(f"\n{line}" for line in histogram(table_of(report, "length_histogram")))]


def _rewards(report: Mapping[str, Any]) -> RenderableType | None:
    from rich.console import Group

    quantiles, reward = table_of(report, "reward_quantiles"), table_of(report, "reward")
    levels, values = numbers_of(quantiles, "levels"), numbers_of(quantiles, "values")
    if not levels or len(levels) != len(values):
        return None
    cells = [
        ("min", number_of(reward, "min")),
        *((f"{100 * level:g} %", value) for level, value in zip(levels, values, strict=True)),
        ("max", number_of(reward, "max")),
        ("mean", number_of(reward, "mean")),
    ]
    cells = [(name, value) for name, value in cells if value is not None]
    table = output.table(*(name for name, _ in cells), right=tuple(name for name, _ in cells))
    table.add_row(*(output.number(value, 2) for _, value in cells))
    return Group("rewards of a step, with quantiles", table)


def _coverage(report: Mapping[str, Any]) -> str | None:
    coverage, lines = table_of(report, "coverage"), []
    effective, varying = number_of(coverage, "effective_dimension"), number_of(coverage, "varying_dimensions")
    if effective is not None and varying is not None:
        lines.append(f"states: effective dimension {effective:.1f} of {varying:.0f} that vary")
    share = numbers_of(coverage, "principal_share")
    if len(share) == 2:
        lines.append(f"the first two principal components hold {100 * sum(share):.0f} % of the standardised variance")
    if (occupied := number_of(table_of(coverage, "map"), "occupied")) is not None:
        cells = len(table_of(coverage, "map").get("counts") or ())
        lines.append(f"{100 * occupied:.0f} % of the {cells} × {cells} cells over these two hold data")
    if (limit := number_of(report, "actions_at_limit")) is not None:
        lines.append(f"actions: {100 * limit:.1f} % of the entries at their limits (|a| > 0.999)")
    return "\n".join(lines) or None


# --- histograms -------------------------------------------------------------------------------------------------------------------


def histogram(
    values: Mapping[str, Any], marks: Mapping[str, float] | None = None, columns: int = _BAR_COLUMNS
) -> list[str]:
    """Bars in eighths of a line over an axis with its ends; none where there is nothing to tell apart.

    Args:
        values: "edges" and "counts" as a report has them.
        marks: values to mark on the axis by the first letter of their names; those beyond the axis are left out.
        columns: the width of all bars together.
    """
    edges, counts = numbers_of(values, "edges"), numbers_of(values, "counts")
    if len(counts) < 2 or len(edges) != len(counts) + 1 or sum(count > 0 for count in counts) < 2:
        return []
    wide = max(columns // len(counts), 1)
    width, highest = wide * len(counts), max(counts)
    label = f"{highest:,.0f}"
    # A bin with few episodes beside a tall one still shows.
    heights = [max(round(count / highest * ROWS * 8), 1 if count else 0) for count in counts]
    lines = []
    for row in reversed(range(ROWS)):
        bars = "".join(_EIGHTHS[min(max(height - 8 * row, 0), 8)] * wide for height in heights)
        lines.append(f"{label if row == ROWS - 1 else '':>{len(label)}} │{bars}".rstrip())
    axis, told = ["─"] * width, []
    for name, value in (marks or {}).items():
        at = math.floor((value - edges[0]) / (edges[-1] - edges[0]) * width)
        if 0 <= at <= width:
            # Beside one that stands there already.
            at = next((i for i in range(min(at, width - 1), width) if axis[i] == "─"), width - 1)
            axis[at] = name[0]
            told.append(name)
    lines.append(f"{'0':>{len(label)}} └{''.join(axis)}")
    low, high = _ends(edges)
    lines.append(f"{'':{len(label)}}  {low}{high:>{width - len(low)}}")
    if told:
        lines.append(f"{'':{len(label)}}  {'   '.join(told)}")
    return lines


def _ends(edges: Sequence[float]) -> tuple[str, str]:
    return f"{edges[0]:,.0f}", f"{edges[-1]:,.0f}"
