"""`mopo compare` and `mopo diff`: runs and groups of seeds side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mopo_tui.cli.completion import complete_runs
from mopo_tui.cli.options import JsonOption, RunArgument, RunsOption

if TYPE_CHECKING:
    from mopo_tui.cli.sections import Section
    from mopo_tui.manager import Comparison
    from mopo_tui.manager.compared import Entry, Group, TaskScores
    from mopo_tui.manager.scores import Score
    from mopo_tui.manager.statistics import Interval, Summary

RunsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="RUN|GROUP...",
        help="Runs, paths of run folders, groups, or settings by their 12 digits.",
        autocompletion=complete_runs,
    ),
]
AllSeedsOption = Annotated[bool, typer.Option("--all-seeds", help="With each run, every other of its setting.")]
_RUN_ROWS = 12  # runs up to which each has a row without being asked for
_PAIR_ROWS = 6
_WIDE = 120  # columns from which on whole ids and settings fit beside the numbers
_METRICS = (
    ("mean u", "uncertainty/mean", 3),
    ("gap", "gap", 1),
    ("penalised gap", "gap_penalised", 1),
    ("bound", "calibration/lower_bound", 2),
    ("ρ", "calibration/rank_correlation", 2),
)


def compare(
    references: RunsArgument,
    by: Annotated[
        str, typer.Option("--by", metavar="KEY", help="One row per value of a configuration key, with u and the gap.")
    ] = "",
    all_seeds: AllSeedsOption = False,
    every: Annotated[bool, typer.Option("--all", help="A row for each run, however many there are.")] = False,
    store: RunsOption = None,
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One row per group, comma-separated.")] = False,
    as_markdown: Annotated[bool, typer.Option("--md", help="Tables in Markdown.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Tables in LaTeX, for booktabs.")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Curves with bands over seeds: a .png or .svg file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite FILE.")] = False,
) -> None:
    """Compare runs, and groups of runs that differ in nothing but their seed."""
    from mopo_tui.cli import output, sections
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager import compare as compare_runs
    from mopo_tui.manager.groups import find_runs

    if as_json + as_csv + as_markdown + as_latex > 1:
        raise StoreError("--json, --csv, --md and --latex: choose one")
    if plot is not None:
        from mopo_tui.cli import curves

        curves.check(plot, force)
    runs = find_runs(Store.open(store), references, all_seeds=all_seeds)
    comparison = compare_runs(runs, by)
    if as_json:
        output.document(comparison.to_json())
    elif as_csv:
        for line in [*comparison.warnings, *_left_out(comparison.runs)]:
            output.narrate(f"warning: {line}")
        print(comma_separated(comparison), end="")
    elif as_markdown:
        print(sections.markdown(tables(comparison, every=every)), end="")
    elif as_latex:
        print(sections.latex(tables(comparison, every=every)), end="")
    else:
        console = output.console()
        sections.show(tables(comparison, every=every, width=console.width), console)
    if plot is not None:
        curves.compared(comparison, plot)
        output.narrate(f"curves in {plot}")


def diff(a: RunArgument, b: RunArgument, store: RunsOption = None, as_json: JsonOption = False) -> None:
    """Tell in what two runs differ: configuration, data, environment, versions, code, compute, machine."""
    from mopo_tui.cli import output, sections
    from mopo_tui.manager import Store
    from mopo_tui.manager.differences import differences
    from mopo_tui.manager.groups import find_runs

    runs = [*find_runs(Store.open(store), [a]), *find_runs(Store.open(store), [b])]
    if len(runs) != 2:
        from mopo_tui.manager import StoreError

        raise StoreError("diff takes two runs, not groups")
    found = differences(*runs)
    if as_json:
        parts = {part: {row.key: list(row.values) for row in rows} for part, rows in found.items()}
        output.document({"runs": [run.id for run in runs], **parts})
        return
    rows = [
        [part if i == 0 else "", row.key, *(_short(row.key, value) for value in row.values)]
        for part, of in found.items()
        for i, row in enumerate(of)
    ]
    heads = [f"{run.name} {run.id[-4:]}" for run in runs]
    if runs[0].id == runs[1].id or heads[0] == heads[1]:
        heads = [f"A {heads[0]}", f"B {heads[1]}"]
    columns = ["", "key", *heads]
    same = [part for part, of in found.items() if not of]
    section = sections.Section(
        columns=columns,
        rows=rows,
        left=frozenset(columns),
        notes=[f"the same: {', '.join(same)}"] if same else [],
        wrap=True,
    )
    sections.show([section], output.console())


def _short(key: str, value: object) -> str:
    """A value in a table; of a digest the beginning says enough."""
    from mopo_tui.manager.differences import shown

    return shown(value)[:12] if key in ("fingerprint", "ladder") else shown(value)


# --- tables -----------------------------------------------------------------------------------------------------------------------


def tables(comparison: Comparison, *, every: bool = False, width: int = 1000) -> list[Section]:
    """What a person reads: warnings, then task by task what differs, scores, how sure they are, and where they come from."""
    from mopo_tui.cli.sections import Section

    found = []
    if comparison.warnings:
        found.append(Section("Beware", lines=[f"! {line}" for line in comparison.warnings]))
    runs = {entry.id: entry for entry in comparison.runs}
    for task in comparison.tasks:
        found += _task(task, runs, comparison.by, width)
    if every or len(comparison.runs) <= _RUN_ROWS:
        found.append(_runs(comparison, width))
    return found


def _task(task: TaskScores, runs: dict[str, Entry], by: str, width: int) -> list[Section]:
    from mopo_tui.cli.sections import Section
    from mopo_tui.manager.differences import shown

    wide = width >= _WIDE
    groups = {group.letter: group for group in task.groups}
    of_task = [entry for entry in runs.values() if entry.group in groups]
    found = []
    if task.settings:
        rows = [[row.key, *map(shown, row.values)] for row in task.settings]
        found.append(
            Section(f"{task.task}: what differs", columns=["key", *task.letters], rows=rows, left=frozenset({"key"}))
        )
    legend = [
        [letter, groups[letter].label, seeds(groups[letter].seeds), _n(groups[letter])] for letter in task.letters
    ]
    title = f"{task.task}: groups of seeds"
    columns = ["", "setting", "seeds", "n"]
    legend_left = frozenset({"", "setting", "seeds"})
    found.append(Section(title, columns=columns, rows=legend, left=legend_left, notes=_left_out(of_task)))
    found.append(_scores(task, wide))
    found.append(_beside(task))
    if by:
        found += [_by(task, by, wide, last=False), _by(task, by, wide, last=True)]
    if section := _pairs(task):
        found.append(section)
    found.append(_origin(task))
    return found


def _scores(task: TaskScores, wide: bool) -> Section:
    from mopo_tui.cli.sections import Section
    from mopo_tui.manager.statistics import caution

    unit = "normalized score in %" if task.unit == "%" else "return"
    episodes = sorted({count for group in task.groups for count in group.episodes})
    played = f", {' or '.join(map(str, episodes))} episodes of each final policy" if episodes else ""
    columns = ["", *(["setting"] if wide else []), "n", "IQM", "95 %", "mean ± std", "last 10", "best"]
    rows = [
        [
            group.letter,
            *([group.label] if wide else []),
            _n(group),
            _value(group.final, "iqm"),
            _interval(group.final.interval if group.final else None),
            _spread(group.final),
            _value(group.mean_last_10),
            _value(group.best),
        ]
        for group in task.groups
    ]
    notes = [f"in returns, since {task.why}"] if task.why else []
    notes += list(dict.fromkeys(text for g in task.groups if g.final is not None and (text := caution(g.final.n))))
    notes.append("last 10: mean of the last ten evaluations; best: of all evaluations, which ranks nothing")
    return Section(
        f"{task.task}: {unit}{played}", columns=columns, rows=rows, left=frozenset({"", "setting"}), notes=notes
    )


def _beside(task: TaskScores) -> Section:
    """What a score costs, and the parts that it is made of."""
    from mopo_tui.cli import output
    from mopo_tui.cli.sections import Section

    stages = list(dict.fromkeys(stage for group in task.groups for stage in group.stages))
    progress = any(group.progress for group in task.groups)
    columns = [
        "",
        "95 % of the mean",
        *stages,
        *(["recommended"] if stages else []),
        *(["progress"] if progress else []),
    ]
    columns += ["time", "updates/s"]
    rows = []
    for group in task.groups:
        row = [group.letter, _interval(group.final.mean_interval if group.final else None)]
        row += [_spread(group.stages.get(stage)) for stage in stages]
        row += [", ".join(f"{name} {count}×" for name, count in group.recommended.items()) or "–"] if stages else []
        row += [_spread(group.progress)] if progress else []
        rows.append([*row, output.duration(group.wall_s), output.number(group.speed, 0)])
    return Section(columns=columns, rows=rows, left=frozenset({""}))


def _by(task: TaskScores, by: str, wide: bool, *, last: bool) -> Section:
    """One row per value of a key: score, mean u, and what the model promises above what the real environment gives."""
    from mopo_tui.cli.sections import Section
    from mopo_tui.manager.differences import shown

    several = len({shown(group.values.get(by)) for group in task.groups}) < len(task.groups)
    key = by if wide else by.rpartition(".")[2]
    columns = [key, *(["group"] if several else []), "n", "IQM", *(title for title, _, _ in _METRICS)]
    rows = []
    for group in task.groups:
        row = [shown(group.values.get(by)), *([group.letter] if several else [])]
        row += [_n(group), _value(group.final, "iqm")]
        for _, name, digits in _METRICS:
            measure = group.measures.get(name)
            if measure is None:
                row.append("–")
                continue
            mean, std = (measure.last, measure.last_std) if last else (measure.mean_last_10, measure.mean_last_10_std)
            row.append(f"{mean:.{digits}f}" + (f" ± {std:.{digits}f}" if wide and std is not None else ""))
        rows.append(row)
    title = f"{task.task} by {by}, " + ("at the last evaluation" if last else "mean of the last 10 evaluations")
    notes = [
        "gap: the model's estimate of the policy's discounted return less the real one; penalised: the same with the penalty",
        "bound: share of evaluations at which the penalised estimate was the lower one",
        "ρ: rank correlation of u and the model's one-step error",
    ]
    left = frozenset({key, "group"})
    return Section(title, columns=columns, rows=rows, left=left, notes=notes if last else ())


def _pairs(task: TaskScores) -> Section | None:
    from mopo_tui.cli.sections import Section

    pairs = task.beats
    best = task.groups[0].letter
    notes = ["how likely a run of one group scores higher than one of the other; ties count half"]
    if len(pairs) > _PAIR_ROWS:
        pairs = tuple(pair for pair in pairs if best in (pair.a, pair.b))
        notes.append(f"pairs with {best}; --json has all")
    if not pairs:
        return None
    rows = [
        [f"P({p.a} > {p.b})", f"{p.improvement.probability:.2f}", _interval(p.improvement.interval, 2)] for p in pairs
    ]
    title = f"{task.task}: one group against another"
    return Section(title, columns=["", "probability", "95 %"], rows=rows, left=frozenset({""}), notes=notes)


def _origin(task: TaskScores) -> Section:
    from mopo_tui.cli.result import REFERENCE_TITLES
    from mopo_tui.cli.sections import Section
    from mopo_tui.manager.state import clean

    lines = []
    if task.references:
        known = [f"{clean(REFERENCE_TITLES.get(k, k))} {value:.1f}" for k, value in task.references.items()]
        lines.append(f"returns to read a score against: {', '.join(known)}")
    for score in task.published:
        spread = f" ± {score.spread:g}" if score.spread is not None else ""
        unit = "return" if score.unit == "return" else "% normalized"
        lines.append(f"published {score.algorithm}: {score.value:g}{spread} {unit}, on {score.data} ({score.source})")
    lines += [f"evaluated in {where}" for where in task.evaluated_in]
    lines += [f"data {clean(data)}" for data in task.datasets]
    return Section(lines=lines)


def _runs(comparison: Comparison, width: int) -> Section:
    from mopo_tui.cli import output
    from mopo_tui.cli.sections import Section

    wide = width >= _WIDE
    columns = ["group", "seed", "run", "state", "final return", "last 10", "best", "updates", "time"]
    scaled = any(score is not None and score.normalized is not None for e in comparison.runs for score in (e.final,))
    if scaled:
        columns.insert(5, "score %")
    rows = []
    for entry in sorted(comparison.runs, key=lambda e: (len(e.group), e.group, e.seed)):
        row = [
            entry.group,
            str(entry.seed),
            entry.id if wide else entry.id[-4:],
            entry.state,
            _with_spread(entry.final),
            *([output.number(entry.final.normalized if entry.final else None)] if scaled else []),
            output.number(entry.mean_last_10.value if entry.mean_last_10 else None),
            output.number(entry.best.value if entry.best else None),
            str(entry.update),
            output.duration(entry.wall_s),
        ]
        rows.append(row)
    left = frozenset({"group", "run", "state"})
    return Section("runs: returns ± std over the episodes", columns=columns, rows=rows, left=left)


def seeds(numbers: Sequence[int]) -> str:
    """0 1 2 5 as "0–2, 5"."""
    parts: list[list[int]] = []
    for number in sorted(set(numbers)):
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts) or "–"


def _left_out(entries: Sequence[Entry]) -> list[str]:
    return [f"left out of {e.group}: seed {e.seed}, {e.id}: {e.left_out}" for e in entries if e.left_out]


def _n(group: Group) -> str:
    return f"{len(group.runs)} of {group.started}"


def _value(summary: Summary | None, name: str = "mean") -> str:
    return "–" if summary is None else f"{getattr(summary, name):.1f}"


def _spread(summary: Summary | None) -> str:
    if summary is None:
        return "–"
    return f"{summary.mean:.1f}" + (f" ± {summary.std:.1f}" if summary.std is not None else "")


def _interval(found: Interval | None, digits: int = 1) -> str:
    return "–" if found is None else f"[{found[0]:.{digits}f}, {found[1]:.{digits}f}]"


def _with_spread(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.value:.1f}" + (f" ± {score.std:.1f}" if score.std is not None else "")


# --- comma-separated --------------------------------------------------------------------------------------------------------------


def comma_separated(comparison: Comparison) -> str:
    """One row per group: everything that the tables have, with a column for each key on which groups differ."""
    import csv
    import io

    rows: list[dict[str, Any]] = []
    for task in comparison.tasks:
        for group in task.groups:
            row: dict[str, Any] = {
                "task": task.task, "group": group.letter, "label": group.label, "algorithm": group.algorithm,
                "setting": group.setting, "key": group.key, "seeds": " ".join(map(str, group.seeds)),
                "n": len(group.runs), "started": group.started, "unit": task.unit,
            }  # fmt: skip
            row |= _of_summary("final", group.final, intervals=True)
            row |= _of_summary("last_10", group.mean_last_10) | _of_summary("best", group.best)
            row |= _of_summary("progress", group.progress)
            for stage, summary in group.stages.items():
                row |= _of_summary(stage, summary)
            row |= {"wall_s": group.wall_s, "updates_per_s": group.speed}
            row |= {key: value for key, value in group.values.items() if key not in row}
            for name, measure in group.measures.items():
                row |= {f"{name}:last": measure.last, f"{name}:last_10": measure.mean_last_10}
            rows.append(row)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _of_summary(name: str, summary: Summary | None, *, intervals: bool = False) -> dict[str, Any]:
    keys = [f"{name}_mean", f"{name}_std"]
    values: list[Any] = [None, None] if summary is None else [summary.mean, summary.std]
    if intervals:
        keys += [f"{name}_iqm", f"{name}_iqm_low", f"{name}_iqm_high", f"{name}_mean_low", f"{name}_mean_high"]
        none = (None, None)
        values += [None] * 5 if summary is None else [
            summary.iqm, *(summary.interval or none), *(summary.mean_interval or none)
        ]  # fmt: skip
    return dict(zip(keys, values, strict=True))
