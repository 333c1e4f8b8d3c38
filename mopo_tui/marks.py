"""What is marked for comparing: runs alone and whole rows of seeds (no Textual)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mopo_tui.manager import Run

MOST_MARKED = 4
LEAST_COMPARED = 2


@dataclass(frozen=True)
class Mark:
    """One column of a comparison.

    Attributes:
        key: of the row or run; it stays while seeds come and go.
        runs: ids, by seed.
        whole: a row, which takes in the seeds that are started later.
    """

    key: str
    runs: tuple[str, ...]
    whole: bool = False


Marks = tuple[Mark, ...]


def toggled(marks: Marks, key: str, runs: Iterable[Run], whole: bool) -> Marks | None:
    """The marks with that row or run, or without those that share a run with it; None where there are too many already. Only runs
    that can be compared are taken; a row without any changes nothing."""
    ids = _ids_of(runs)
    left = tuple(mark for mark in marks if not set(mark.runs) & set(ids))
    if len(left) < len(marks) or not ids:
        return left
    return None if len(marks) == MOST_MARKED else (*marks, Mark(key, ids, whole))


def kept(marks: Marks, runs: Iterable[Run], rows: Mapping[str, Sequence[Run]]) -> Marks:
    """The marks of what is still there; whole rows with the seeds that they have now.

    Args:
        rows: by the key of each listed row its runs; one that a filter leaves out keeps what it has.
    """
    there = {run.id for run in runs}
    found = []
    for mark in marks:
        ids = _ids_of(rows[mark.key]) if mark.whole and mark.key in rows else ()
        ids = ids or tuple(run_id for run_id in mark.runs if run_id in there)
        if ids:
            found.append(replace(mark, runs=ids))
    return tuple(found)


def comparable(run: Run) -> bool:
    """Whether a run has scores: what made a dataset has none, and of a torn folder nothing is known."""
    return not run.problem and run.job != "dataset"


def _ids_of(runs: Iterable[Run]) -> tuple[str, ...]:
    """The ids of those that can be compared, by seed."""
    return tuple(run.id for run in sorted(runs, key=lambda run: (run.seed, run.created, run.id)) if comparable(run))


def run_ids(marks: Marks) -> tuple[str, ...]:
    """All marked runs, each once."""
    return tuple(dict.fromkeys(run_id for mark in marks for run_id in mark.runs))
