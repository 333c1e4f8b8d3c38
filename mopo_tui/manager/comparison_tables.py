"""The tables of a comparison, as a person reads them: warnings, what differs, scores, how sure they are, where they come from."""

from __future__ import annotations

from collections.abc import Sequence

from mopo_tui.manager.compared import Comparison, Entry, Group, TaskScores
from mopo_tui.manager.comparison_warnings import few_seeds, left_out
from mopo_tui.manager.differences import shown
from mopo_tui.manager.scores import Score, reference_title
from mopo_tui.manager.sections import Section
from mopo_tui.manager.state import clean
from mopo_tui.manager.statistics import Interval, Summary
from mopo_tui.manager.written import duration, number

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


def tables(comparison: Comparison, *, every: bool = False, width: int = 1000) -> list[Section]:
    """What a person reads: warnings, then task by task what differs, scores, how sure they are, and where they come from."""
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
    found.append(Section(title, columns=columns, rows=legend, left=legend_left, notes=left_out(of_task)))
    found.append(_scores(task, wide))
    found.append(_beside(task))
    if by:
        found += [_by(task, by, wide, last=False), _by(task, by, wide, last=True)]
    if section := _pairs(task):
        found.append(section)
    found.append(_origin(task))
    return found


def _scores(task: TaskScores, wide: bool) -> Section:
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
    notes += few_seeds(task)
    notes.append("last 10: mean of the last ten evaluations; best: of all evaluations, which ranks nothing")
    return Section(
        f"{task.task}: {unit}{played}", columns=columns, rows=rows, left=frozenset({"", "setting"}), notes=notes
    )


def _beside(task: TaskScores) -> Section:
    """What a score costs, and the parts that it is made of."""
    stages = list(dict.fromkeys(stage for group in task.groups for stage in group.stages))
    progress = any(group.progress for group in task.groups)
    columns = [
        "",
        "95 % of the mean",
        *stages,
        *(["recommended"] if stages else []),
        *(["progress"] if progress else []),
    ]
    columns += ["trend", "time", "updates/s"]
    rows = []
    for group in task.groups:
        row = [group.letter, _interval(group.final.mean_interval if group.final else None)]
        row += [_spread(group.stages.get(stage)) for stage in stages]
        row += [", ".join(f"{name} {count}×" for name, count in group.recommended.items()) or "–"] if stages else []
        row += [_spread(group.progress)] if progress else []
        rows.append([*row, _spread(group.trend, signed=True), duration(group.wall_s), number(group.speed, 0)])
    notes = ["trend: change along a line through the evaluations of the last third: does the curve still rise?"]
    return Section(columns=columns, rows=rows, left=frozenset({""}), notes=notes)


def _by(task: TaskScores, by: str, wide: bool, *, last: bool) -> Section:
    """One row per value of a key: score, mean u, and what the model promises above what the real environment gives."""
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
    lines = []
    if task.references:
        known = [_reference(name, score) for name, score in task.references.items()]
        lines.append(f"returns to read a score against: {', '.join(known)}")
    if task.scale:
        lines.append(task.scale)
    for score in task.published:
        spread = f" ± {score.spread:g}" if score.spread is not None else ""
        unit = "return" if score.unit == "return" else "% normalized"
        lines.append(f"published {score.algorithm}: {score.value:g}{spread} {unit}, on {score.data} ({score.source})")
    lines += [f"evaluated in {where}" for where in task.evaluated_in]
    lines += [f"data {clean(data)}" for data in task.datasets]
    return Section(lines=lines)


def _reference(name: str, score: Score) -> str:
    """A return with its standard error, and of how many episodes."""
    around = f" ± {score.stderr:.1f}" if score.stderr is not None else ""
    count = f" ({score.episodes} episodes)" if score.episodes else ""
    return f"{reference_title(name)} {score.value:.1f}{around}{count}"


def _runs(comparison: Comparison, width: int) -> Section:
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
            *([number(entry.final.normalized if entry.final else None)] if scaled else []),
            number(entry.mean_last_10.value if entry.mean_last_10 else None),
            number(entry.best.value if entry.best else None),
            str(entry.update),
            duration(entry.wall_s),
        ]
        rows.append(row)
    left = frozenset({"group", "run", "state"})
    return Section("runs: returns ± std over the episodes", columns=columns, rows=rows, left=left)


def seeds(numbers: Sequence[int]) -> str:
    """0 1 2 5 as "0–2, 5"."""
    parts: list[list[int]] = []
    for seed in sorted(set(numbers)):
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts) or "–"


def _n(group: Group) -> str:
    return f"{len(group.runs)} of {group.started}"


def _value(summary: Summary | None, name: str = "mean") -> str:
    return "–" if summary is None else f"{getattr(summary, name):.1f}"


def _spread(summary: Summary | None, *, signed: bool = False) -> str:
    if summary is None:
        return "–"
    return f"{summary.mean:{'+' if signed else ''}.1f}" + (f" ± {summary.std:.1f}" if summary.std is not None else "")


def _interval(found: Interval | None, digits: int = 1) -> str:
    return "–" if found is None else f"[{found[0]:.{digits}f}, {found[1]:.{digits}f}]"


def _with_spread(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{score.value:.1f}" + (f" ± {score.std:.1f}" if score.std is not None else "")
