"""What keeps the scores of runs from being compared as they stand, one line each: the same words wherever runs are compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from engine import record
from mopo_tui.manager.compared import Comparison, Entry, TaskScores
from mopo_tui.manager.comparison_seeds import Seed
from mopo_tui.manager.groups import origin_of
from mopo_tui.manager.state import clean

_OF_DATA = ("scale", "batch_mean", "batch_best")  # references that other warnings speak for


def warnings(entries: Sequence[Entry], seeds: Sequence[Seed]) -> list[str]:
    """What keeps the runs' scores from being compared as they stand, one line each."""
    found: list[str] = []

    def differ(what: str, values: Iterable[str], consequence: str) -> None:
        known = list(dict.fromkeys(value for value in values if value))
        if len(known) > 1:
            found.append(f"different {what}: {' | '.join(known)}; {consequence}")

    differ("tasks", (e.task for e in entries), "their returns mean different things, so there is no common score")
    tasks = list(dict.fromkeys(e.task for e in entries))
    for name in tasks:
        of = f" of {name}" if len(tasks) > 1 else ""
        same = [(entry, seed) for entry, seed in zip(entries, seeds, strict=True) if entry.task == name]
        prints = (e.fingerprint[:12] for e, _ in same)
        differ(f"dataset fingerprints{of}", prints, "they learned from different data")
        worlds = (e.evaluated_in.partition(", gymnasium")[0] for e, _ in same)
        differ(f"environments{of}", worlds, "their policies were evaluated in different worlds")
        constants = [origin_of(seed.environment)["references"] for _, seed in same]
        scales = (clean(record.dumps(known["scale"])) if known.get("scale") else "" for known in constants)
        differ(f"score scales{of}", scales, "compare returns, not normalized scores")
        for key in dict.fromkeys(key for known in constants for key in known if key not in _OF_DATA):
            values = (f"{known[key]:.1f}" if key in known else "" for known in constants)
            differ(f"{clean(key).replace('_', ' ')} returns{of}", values, "the lines to read a score against differ")
    for name in sorted({name for e in entries for name in e.versions}):
        differ(f"versions of {name}", (e.versions.get(name, "") for e in entries), "arithmetic or physics may differ")
    differ("commits", (e.commit for e in entries), "the code may differ")
    for entry, seed in zip(entries, seeds, strict=True):
        if entry.final is not None and not entry.fingerprint:
            found.append(f"{entry.name} ({entry.id}): its dataset's fingerprint is not recorded")
        if seed.environment.get("earlier"):
            found.append(f"{entry.name} ({entry.id}): its attempts had different hosts, versions or commits")
    return list(dict.fromkeys(found))


def unfinished(entries: Sequence[Entry]) -> list[str]:
    return [f"{e.name} ({e.id}) is {e.state}: its scores are those so far" for e in entries if e.state != "finished"]


def left_out(entries: Sequence[Entry]) -> list[str]:
    """Which runs do not count in their group, and why."""
    return [f"left out of {e.group}: seed {e.seed}, {e.id}: {e.left_out}" for e in entries if e.left_out]


def few_seeds(task: TaskScores) -> list[str]:
    """What must be said of intervals over so few runs."""
    from mopo_tui.manager.statistics import caution

    return list(dict.fromkeys(text for g in task.groups if g.final is not None and (text := caution(g.final.n))))


def everything_unfair(comparison: Comparison) -> list[str]:
    """All of it in one list, the worst first: what keeps scores from being compared, who is left out, how little is known."""
    few = [text for task in comparison.tasks for text in few_seeds(task)]
    return [*comparison.warnings, *left_out(comparison.runs), *dict.fromkeys(few)]
