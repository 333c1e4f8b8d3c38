"""What `mopo data show` prints: a dataset's manifest as tables and small histograms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mopo_tui.cli import output
from mopo_tui.manager import dataset_report
from mopo_tui.manager.dataset_report import bars, table_of
from mopo_tui.manager.scores import Score, reference_title, references, scale_words

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
        _returns(report, references(manifest)),
        _lengths(report, manifest),
        _rewards(report),
        "\n".join(dataset_report.coverage(report)) or None,
    ]
    for i, part in enumerate(part for part in parts if part is not None):
        if i:
            console.print()
        console.print(part, soft_wrap=isinstance(part, str))


def _about(status: DatasetStatus, manifest: Mapping[str, Any], console: Console) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, show_header=False)
    table.width = min(console.width, _READABLE)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in dataset_report.facts(status, manifest):
        table.add_row(name, value)
    return table


def _references(manifest: Mapping[str, Any]) -> RenderableType | None:
    from rich.console import Group

    found, scale = references(manifest), scale_words(manifest)
    if not found:
        return None
    columns = ("return", "±", "length", "progress", "score %", "episodes")
    rows = [
        [
            reference_title(name),
            output.number(each.value),
            output.number(each.stderr),
            output.number(each.length, 0),
            output.number(each.progress),
            output.number(each.normalized),
            output.number(each.episodes, 0),
        ]
        for name, each in found.items()
    ]
    shown = [i for i in range(len(columns) + 1) if any(row[i] != "–" for row in rows)]
    heads = ("reference returns", *columns)
    table = output.table(*(heads[i] for i in shown), right=columns)
    for row in rows:
        table.add_row(*(row[i] for i in shown))
    return Group(table, scale) if scale else table


def _returns(report: Mapping[str, Any], known: Mapping[str, Score]) -> str | None:
    text = dataset_report.returns(report)
    marks = {f"{mark} {reference_title(name)}": known[name].value for name, mark in _MARKS.items() if name in known}
    return "\n".join([text, *histogram(*bars(report, "return_histogram"), marks)]) if text else None


def _lengths(report: Mapping[str, Any], manifest: Mapping[str, Any]) -> str | None:
    text = dataset_report.lengths(report, manifest)
    return "\n".join([text, *histogram(*bars(report, "length_histogram"))]) if text else None


def _rewards(report: Mapping[str, Any]) -> RenderableType | None:
    from rich.console import Group

    cells = dataset_report.rewards(report)
    if not cells:
        return None
    table = output.table(*(name for name, _ in cells), right=tuple(name for name, _ in cells))
    table.add_row(*(output.number(value, 2) for _, value in cells))
    return Group("rewards of a step, with quantiles", table)


# --- histograms -------------------------------------------------------------------------------------------------------------------


def histogram(
    edges: Sequence[float],
    counts: Sequence[float],
    marks: Mapping[str, float] | None = None,
    columns: int = _BAR_COLUMNS,
) -> list[str]:
    """Bars in eighths of a line over an axis with its ends; none of no counts.

    Args:
        edges, counts: as `dataset_report.bars` has them.
        marks: values to mark on the axis by the first letter of their names; those beyond the axis are left out.
        columns: the width of all bars together.
    """
    if not counts:
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
