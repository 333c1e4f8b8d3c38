"""Pictures of datasets and of behaviours' training, drawn with matplotlib.

    python -m mopo_tui.cli.pictures ladders OUT.png

draws how the shipped behaviours were trained. Colours are the app's, which people with any common colour blindness tell apart.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import record
from engine.tasks import BEHAVIOURS
from mopo_tui.manager.dataset_report import numbers_of, table_of
from mopo_tui.manager.datasets import DatasetUnavailable
from mopo_tui.manager.run import number_of, text_of
from mopo_tui.manager.scores import reference_title
from mopo_tui.manager.store import StoreError
from mopo_tui.widgets.palette import colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
POLICIES = Path(record.__file__).parent / "data" / "policies"
STYLE = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": colour("muted", dark=False),
    "axes.labelcolor": colour("text", dark=False),
    "text.color": colour("text", dark=False),
    "xtick.color": colour("muted", dark=False),
    "ytick.color": colour("muted", dark=False),
    "savefig.dpi": 150,
    "svg.hashsalt": "mopo-tui",  # the same picture has the same bytes
}
# Colour, marker and size of a snapshot that tasks take.
_TAKEN = {
    "medium": ("medium", "vermillion", "D", 8),
    "replay": ("end of a replay", "purple", "s", 11),
}
# Colour and dashes of a reference's line: each enough alone.
_REFERENCES: dict[str, tuple[str, str]] = {
    "random": ("vermillion", ":"),
    "do_nothing": ("purple", "-."),
    "batch_mean": ("blue", "-"),
    "batch_best": ("green", "--"),
    "reference": ("orange", (0, (5, 1))),  # type: ignore[dict-item]
}
# Which snapshots tasks take is the engine's to say, in a process of its own.
_CHOSEN = """
import json
from engine.data.collect import policies_of
from engine.tasks import TASKS
chosen = {}
for task in TASKS.values():
    if task.collection in ("medium", "replay"):
        try:
            last = policies_of(task)[0][-1].step
        except ValueError:
            continue
        chosen.setdefault(task.behaviour, {}).setdefault(task.collection, []).append(last)
print(json.dumps(chosen))
"""


# --- a dataset --------------------------------------------------------------------------------------------------------------------


def dataset(manifest: Mapping[str, Any], path: Path) -> None:
    """Draw a dataset's returns, lengths and coverage to a .png, .svg or .pdf file, whole or not at all.

    Raises:
        StoreError: another kind of file.
        DatasetUnavailable: its report has nothing to draw, or the file cannot be written.
    """
    check(path)
    report, references = table_of(manifest, "report"), table_of(manifest, "references")
    coverage = table_of(report, "coverage")
    if not (table_of(report, "length_histogram") or coverage):
        identifier = text_of(manifest, "id")
        raise DatasetUnavailable(
            f"{identifier} was written by an earlier version, without what a picture shows: make it again"
        )
    with _styled():
        figure = _figure(10.5, 6.4)
        top, bottom = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 0.85))[:, 0]
        left, middle, right = top.subplots(1, 3, width_ratios=(1.25, 1, 1.1))
        _bars(left, table_of(report, "return_histogram"), "return (sum of an episode's rewards)", "complete episodes")
        _reference_lines(left, references)
        handles, labels = left.get_legend_handles_labels()
        if handles:
            top.legend(handles, labels, loc="outside lower left", ncols=len(handles), frameon=False)
        left.set_title("Returns")
        _bars(middle, table_of(report, "length_histogram"), "length (steps)", "episodes")
        middle.set_title("Episode lengths")
        _map(right, coverage)
        _spreads(bottom, coverage)
        figure.suptitle(_title(manifest), x=0.01, ha="left", fontsize=10.5)
        _write(figure, path)


def _title(manifest: Mapping[str, Any]) -> str:
    size, episodes = number_of(manifest, "size") or 0, number_of(manifest, "episodes") or 0
    environment = text_of(manifest, "environment")
    return f"{text_of(manifest, 'id')}: {size:,.0f} transitions, {episodes:,.0f} episodes, {environment}"


def _bars(axes: Axes, histogram: Mapping[str, Any], x: str, y: str) -> None:
    from matplotlib.ticker import MaxNLocator

    edges, counts = numbers_of(histogram, "edges"), numbers_of(histogram, "counts")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if not counts or len(edges) != len(counts) + 1:
        _say(axes, "none in this dataset")
        return
    axes.stairs(counts, edges, fill=True, color=colour("sky", dark=False), alpha=0.55)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylim(bottom=0)


def _reference_lines(axes: Axes, references: Mapping[str, Any]) -> None:
    """A vertical line for each reference return."""
    for name, (ink, dashes) in _REFERENCES.items():
        value = number_of(table_of(references, name), "return")
        if value is not None:
            label = f"{reference_title(name)} " + f"{round(value)}".replace("-", "−")
            axes.axvline(value, color=colour(ink, dark=False), linestyle=dashes, linewidth=1.4, label=label)


def _map(axes: Axes, coverage: Mapping[str, Any]) -> None:
    """Counts over the first two principal components; cells without data stay white."""
    import numpy as np
    from matplotlib.colors import LogNorm

    cells = table_of(coverage, "map")
    share = [*numbers_of(coverage, "principal_share"), math.nan, math.nan]
    effective = number_of(coverage, "effective_dimension")
    axes.set_xlabel(f"first principal component ({100 * share[0]:.0f} % of the variance)")
    axes.set_ylabel(f"second ({100 * share[1]:.0f} %)")
    axes.set_title("States" + ("" if effective is None else f", effective dimension {effective:.1f}"))
    x, y, counts = numbers_of(cells, "x"), numbers_of(cells, "y"), cells.get("counts")
    if len(x) != 2 or len(y) != 2 or not isinstance(counts, list):
        axes.set(xlabel="", ylabel="", title="States")
        _say(axes, "not in this dataset's report")
        return
    grid = np.array(counts, dtype=np.float64)
    shown = np.ma.masked_equal(grid, 0)
    image = axes.imshow(
        shown,
        extent=(x[0], x[1], y[0], y[1]),
        origin="lower",
        aspect="auto",
        cmap="cividis_r",
        norm=LogNorm(1, max(float(grid.max()), 2.0)),
        interpolation="nearest",
    )
    axes.figure.colorbar(image, ax=axes, label="rows in a cell", pad=0.02)


def _spreads(figure: Any, coverage: Mapping[str, Any]) -> None:
    """Per dimension the span from the first quantile to the last, and the median."""
    found = {}
    for name in ("observations", "actions"):
        levels = [numbers_of({"": values}, "") for values in coverage.get(name) or ()]
        found[name] = levels if len(levels) == 3 and levels[0] else []
    widths = [max(len(levels[0]) if levels else 1, 4) for levels in found.values()]
    quantiles = numbers_of(coverage, "levels")
    for axes, (name, levels) in zip(figure.subplots(1, 2, width_ratios=widths), found.items(), strict=True):
        symbol = "s" if name == "observations" else "a"
        axes.set_title(f"{name.capitalize()} {symbol}")
        axes.set_xlabel(f"dimension of {symbol}")
        axes.set_ylabel("value (the environment's unit)" if symbol == "s" else "value")
        if not levels or len(quantiles) != 3:
            _say(axes, "not in this dataset's report")
            continue
        low, median, high = levels
        places = range(len(median))
        ink = colour("sky" if symbol == "s" else "green", dark=False)
        axes.vlines(places, low, high, color=ink, alpha=0.55, linewidth=4)
        axes.plot(places, median, "o", color=colour("text", dark=False), markersize=3)
        axes.axhline(0, color=colour("faint", dark=False), linewidth=0.6, zorder=0)
        axes.set_xticks([i for i in places if len(median) <= 20 or i % 5 == 0])
        if symbol == "s":
            bars = f"bar: {100 * quantiles[0]:g} % to {100 * quantiles[2]:g} % of the rows; dot: median"
            axes.set_title(f"Observations s, actions a ({bars})")
        else:
            axes.set_title("")
            axes.set_ylim(min(-1.05, *low), max(1.05, *high))


# --- ladders ----------------------------------------------------------------------------------------------------------------------


def ladders(path: Path, policies: Path = POLICIES) -> None:
    """Draw each behaviour's return over its training, with the snapshots that ship, the medium one and a replay's end.

    Raises:
        StoreError: another kind of file than .png, .svg and .pdf.
        DatasetUnavailable: no ladders there, or the file cannot be written.
    """
    check(path)
    found = {name: about for name in BEHAVIOURS if (about := record.read_json(policies / name / "ladder.json"))}
    found = {name: about for name, about in found.items() if about.get("curve")}
    if not found:
        raise DatasetUnavailable(f"no ladders with a training curve in {policies}")
    chosen = _chosen_snapshots() if policies == POLICIES else {}
    columns = min(len(found), 3)
    rows = math.ceil(len(found) / columns)
    with _styled():
        figure = _figure(3.5 * columns, 2.6 * rows + 0.35)
        grid = figure.subplots(rows, columns, squeeze=False)
        for i, (axes, (name, about)) in enumerate(zip(grid.flat, found.items(), strict=False)):
            _ladder(axes, name, about, chosen.get(name, {}))
            if i % columns == 0:
                axes.set_ylabel("return of an episode")
            if i + columns >= len(found):  # none below it
                axes.set_xlabel("environment steps (thousands)")
        for axes in list(grid.flat)[len(found) :]:
            axes.set_axis_off()
        handles = {
            label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=len(handles), frameon=False)
        _write(figure, path)


def _chosen_snapshots() -> dict[str, dict[str, list[int]]]:
    """For each behaviour the steps of the snapshots that are medium for some task, or end its replay."""
    done = subprocess.run([sys.executable, "-P", "-c", _CHOSEN], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DatasetUnavailable(f"the ladders cannot be read: {done.stderr.strip().splitlines()[-1]}")
    chosen: dict[str, dict[str, list[int]]] = json.loads(done.stdout)
    return chosen


def _ladder(axes: Axes, name: str, about: Mapping[str, Any], taken: Mapping[str, Sequence[int]]) -> None:
    import numpy as np

    curve = np.array(
        [[float(row[key]) for key in ("step", "return", "return_std")] for row in about["curve"]], dtype=np.float64
    )
    steps, returns, spread = curve[:, 0] / 1e3, curve[:, 1], curve[:, 2]
    ink, kept = colour("sky", dark=False), colour("text", dark=False)
    axes.fill_between(steps, returns - spread, returns + spread, color=ink, alpha=0.2, linewidth=0, label="± std")
    axes.plot(steps, returns, color=ink, linewidth=1.4, label="return in training")
    snapshots = {int(s["step"]): float(s["return"]) for s in about["snapshots"]}
    places = [step / 1e3 for step in snapshots]
    axes.plot(places, list(snapshots.values()), "o", color=kept, markersize=3, label="snapshot that ships")
    for kind, (label, marked, marker, size) in _TAKEN.items():
        ends = [step for step in snapshots if step in taken.get(kind, ())]
        if ends:
            axes.plot(
                [step / 1e3 for step in ends],
                [snapshots[step] for step in ends],
                marker,
                color=colour(marked, dark=False),
                markersize=size,
                markerfacecolor="none",
                markeredgewidth=1.5,
                label=label,
            )
    axes.set_title(f"{name} ({text_of(about, 'environment').removeprefix('mopo/')})")
    axes.set_xlim(left=0)


# --- files ------------------------------------------------------------------------------------------------------------------------


def check(path: Path) -> None:
    """Before anything is drawn."""
    if path.suffix.lower() not in SUFFIXES:
        raise StoreError(f"{path}: a picture is a .png, .svg or .pdf file")
    if not path.parent.is_dir() or path.is_dir():
        raise DatasetUnavailable(f"{path}: {'a folder' if path.is_dir() else 'its folder does not exist'}")


def _styled() -> Any:
    import matplotlib

    return matplotlib.rc_context(STYLE)  # type: ignore[arg-type]


def _figure(width: float, height: float) -> Figure:
    """A figure that no window knows of."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _say(axes: Axes, text: str) -> None:
    wrapped = "\n".join(textwrap.wrap(text, 30))
    axes.text(0.5, 0.5, wrapped, ha="center", va="center", transform=axes.transAxes, color=colour("muted", dark=False))
    axes.set(xticks=[], yticks=[])


def _write(figure: Figure, path: Path) -> None:
    suffix = path.suffix.lower()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            figure.savefig(temporary, format=suffix[1:], metadata=SUFFIXES[suffix])
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DatasetUnavailable(f"{path}: cannot be written: {error.strerror}") from None


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 2 or arguments[0] != "ladders":
        print("usage: python -m mopo_tui.cli.pictures ladders OUT.png", file=sys.stderr)
        return 2
    try:
        ladders(Path(arguments[1]))
    except (StoreError, DatasetUnavailable) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, StoreError) else 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
