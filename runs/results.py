"""The README's result tables and pictures, from the finished runs in runs/reference: `make results`.

What stands between the two marks in README.md is written anew, and a picture of each table's curves into docs/. With --check
nothing is written, and the exit code is 1 where the README says something else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from engine import record
from engine.tasks import Published
from mopo_tui.cli import curves
from mopo_tui.manager import Run, Store, compare
from mopo_tui.manager.compared import Comparison, Entry, Group, TaskScores
from mopo_tui.manager.comparison_tables import seeds
from mopo_tui.manager.scores import reference_title
from mopo_tui.manager.statistics import Interval, Summary
from mopo_tui.manager.written import duration

ROOT = Path(__file__).resolve().parent.parent
README, RUNS, PICTURES = ROOT / "README.md", ROOT / "runs" / "reference", ROOT / "docs"
BEGIN, END = "<!-- results: written by make results -->", "<!-- end of results -->"
TITLES = {"mopo": "MOPO", "mbpo": "MBPO", "mb2po": "MB2PO", "sac": "SAC", "awac": "AWAC", "bc": "BC"}
COLUMNS = ("", "seeds", "IQM", "95 %", "mean ± std", "return", "last 10", "best", "trend", "ρ", "bound", "time", "runs")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Write the README's results from runs/reference.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the README differs")
    checking = parser.parse_args(arguments).check
    page = README.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{README}: has no {BEGIN} … {END}", file=sys.stderr)
        return 1
    compared = comparisons(Store.open(RUNS, read_only=True).runs())
    parts = [section(preset, comparison) for preset, comparison in compared]
    written = f"{before}{BEGIN}\n\n" + "\n\n".join(parts) + f"\n\n{END}{after}"
    if checking:
        if written != page:
            print(f"{README}: its results are not those of {RUNS}; make results", file=sys.stderr)
        return int(written != page)
    README.write_text(written, encoding="utf-8")
    for preset, comparison in compared:
        picture(preset, comparison).write_bytes(curves.picture(comparison, ".svg"))
    return 0


def comparisons(runs: Sequence[Run]) -> list[tuple[str, Comparison]]:
    """The runs of each task and preset side by side; most runs first."""
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        found.setdefault((run.task, run.preset), []).append(run)
    return [(preset, compare(found[task, preset])) for task, preset in sorted(found, key=lambda k: (-len(found[k]), k))]


def picture(preset: str, comparison: Comparison) -> Path:
    return PICTURES / f"results-{comparison.tasks[0].task}-{preset}.svg"


def section(preset: str, comparison: Comparison) -> str:
    """One task at one preset, in Markdown: where the figures come from, the table, what to read it against, the curves."""
    (task,) = comparison.tasks
    entries = {entry.id: entry for entry in comparison.runs}
    rows = [row(group, [entries[run] for run in group.runs]) for group in task.groups]
    rows += references(task)
    table = [COLUMNS, tuple("---" for _ in COLUMNS), *rows]
    path = picture(preset, comparison).relative_to(ROOT)
    return "\n\n".join(
        [
            f"**{task.task}, preset `{preset}`**: {origin(task, comparison.runs)}",
            "\n".join("| " + " | ".join(cells) + " |" for cells in table),
            *([f"Published, on other data: {'; '.join(map(published, task.published))}."] if task.published else []),
            f"![Score over policy updates, {task.task}, preset {preset}]({path})",
        ]
    )


def origin(task: TaskScores, runs: Sequence[Entry]) -> str:
    unit = "score in % of the task's scale" if task.unit == "%" else "return"
    episodes = sorted({count for group in task.groups for count in group.episodes})
    environments = [record.read_json(Path(run.folder) / record.ENVIRONMENT) or {} for run in runs]
    torch = sorted({str(each.get("versions", {}).get("torch")) for each in environments})
    threads = sorted({str(each.get("compute", {}).get("threads")) for each in environments})
    processors = sorted({str(each.get("cpu")) for each in environments})
    return "; ".join(
        [
            f"{unit}, {' or '.join(map(str, episodes))} episodes of each final policy",
            "data " + " and ".join(f"`{each}`" for each in task.datasets),
            "evaluated in " + " and ".join(task.evaluated_in),
            f"torch {', '.join(torch)}",
            f"{', '.join(threads)} thread{'s' if threads != ['1'] else ''} of {', '.join(processors)}",
            f"commit {', '.join(sorted({run.commit for run in runs}))}.",
        ]
    )


def row(group: Group, runs: Sequence[Entry]) -> tuple[str, ...]:
    name, *words = group.label.split(" ")
    label = " ".join([TITLES.get(name, name), *(f"`{word}`" for word in words)])
    if group.stages:
        scores = ", ".join(f"{stage(name)} {spread(found)}" for name, found in group.stages.items())
        label += f" ({scores}; recommended: {', '.join(f'{stage(n)} {k}×' for n, k in group.recommended.items())})"
    measures = (group.measures.get(f"calibration/{name}") for name in ("rank_correlation", "lower_bound"))
    return (
        label,
        seeds(group.seeds),
        "–" if group.final is None else f"**{plain(group.final.iqm)}**",
        interval(group.final.interval if group.final else None),
        spread(group.final),
        returns(group, runs),
        spread(group.mean_last_10),
        spread(group.best),
        spread(group.trend, signed=True),
        *("–" if found is None else f"{found.mean_last_10:.2f}" for found in measures),
        duration(group.wall_s),
        " ".join(f"`{run.id[-4:]}`" for run in runs),
    )


def stage(name: str) -> str:
    return name.replace("stage", "stage ")


def returns(group: Group, runs: Sequence[Entry]) -> str:
    """The final policies' mean return, and where the task has it the progress."""
    finals = [run.final.value for run in runs if run.final is not None]
    if not finals:
        return "–"
    progress = f", progress {plain(group.progress.mean, 0, signed=True)}" if group.progress else ""
    return plain(sum(finals) / len(finals), 0) + progress


def references(task: TaskScores) -> list[tuple[str, ...]]:
    """What a score is read against, a row each: returns, and in the unit of the table."""
    rows = []
    for name, score in task.references.items():
        around = f" ± {plain(score.stderr, 0)}" if score.stderr is not None else ""
        cells = [
            f"*{reference_title(name)}*",
            "",
            plain(score.normalized) if task.unit == "%" and score.normalized is not None else "",
            "",
            "",
            plain(score.value, 0) + around,
        ]
        rows.append(tuple(cells + [""] * (len(COLUMNS) - len(cells))))
    return rows


def published(score: Published) -> str:
    around = f" ± {score.spread:g}" if score.spread is not None else ""
    unit = "return" if score.unit == "return" else "%"
    return f"{TITLES[score.algorithm]} {score.value:g}{around} {unit}, {score.data} ({score.source})"


def spread(found: Summary | None, *, signed: bool = False) -> str:
    if found is None:
        return "–"
    return plain(found.mean, signed=signed) + (f" ± {found.std:.1f}" if found.std is not None else "")


def plain(value: float, digits: int = 1, *, signed: bool = False) -> str:
    """A number as print has it: with a true minus, and no minus before a zero."""
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}".replace("-", "−")


def interval(found: Interval | None) -> str:
    return "–" if found is None else f"{plain(found[0])} to {plain(found[1])}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
