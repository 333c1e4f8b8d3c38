"""What a comparison says: runs, groups of seeds with their statistics, and what keeps their scores from being compared."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from engine.tasks import Published
from mopo_tui.manager.differences import Difference
from mopo_tui.manager.scores import Score

if TYPE_CHECKING:
    from mopo_tui.manager.statistics import Improvement, Summary


@dataclass(frozen=True)
class Entry:
    """One run of a comparison. `final` is None until the run is finished; the other scores are of the evaluations so far.

    Attributes:
        setting: what it shares with its other seeds (`groups.setting_key`).
        group: the letter of the group that it is in.
        left_out: why it does not count in its group; empty where it does.
        stages: the final scores of both stages of an MB2PO run, by name, of which `final` is that of the `recommended` one.
        speed: policy updates per second, mean of the last ten epochs.
    """

    id: str
    name: str
    state: str
    task: str
    algorithm: str
    preset: str
    seed: int
    update: int
    wall_s: float | None
    final: Score | None
    mean_last_10: Score | None
    best: Score | None
    references: dict[str, Score]
    scale: str
    dataset: str
    fingerprint: str
    evaluated_in: str
    versions: dict[str, str]
    commit: str = ""
    reason: str = ""
    folder: str = ""
    setting: str = ""
    group: str = ""
    left_out: str = ""
    stages: dict[str, Score] = field(default_factory=dict)
    recommended: str = ""
    speed: float | None = None


@dataclass(frozen=True)
class Measure:
    """A metric over the runs of a group: mean and standard deviation over the seeds of its last value, and of the mean of
    its last ten values; a deviation is None for one run."""

    n: int
    last: float
    last_std: float | None
    mean_last_10: float
    mean_last_10_std: float | None


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seed.

    Attributes:
        letter: by which tables name it.
        label: what sets it apart from the comparison's other groups.
        key, setting: `groups.group_key` and `groups.setting_key` of its runs.
        values: its values of the keys on which its task's groups differ, and of the one that they are ordered by.
        runs, seeds: of the runs that count, which are finished.
        started: how many runs of it were started, of which those in `runs` count.
        left_out: the ids of those that do not count; their entries say why.
        final, mean_last_10, best, progress: over the runs that count, in the unit of its task; progress is a return.
        trend: how much the curves still change over their last third, in the unit of its task.
        stages: the same of MB2PO's two stages; `recommended` counts which one the runs took.
        wall_s, speed: means over the runs that count: seconds, and policy updates per second.
        measures: by metric; `gap` and `gap_penalised` are the model's discounted return less the real one.
    """

    letter: str
    label: str
    key: str
    setting: str
    task: str
    algorithm: str
    values: dict[str, Any]
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    started: int
    left_out: tuple[str, ...]
    recommended: dict[str, int]
    episodes: tuple[int, ...]
    wall_s: float | None
    speed: float | None
    measures: dict[str, Measure]
    final: Summary | None = None
    mean_last_10: Summary | None = None
    best: Summary | None = None
    progress: Summary | None = None
    trend: Summary | None = None
    stages: dict[str, Summary] = field(default_factory=dict)


@dataclass(frozen=True)
class Beats:
    """How likely a run of group `a` scores higher than one of group `b`."""

    a: str
    b: str
    improvement: Improvement


@dataclass(frozen=True)
class TaskScores:
    """What may be compared: the groups of one task.

    Attributes:
        unit: "%" where all have one and the same scale, or "return".
        why: why it is the return; empty for a score.
        groups: highest interquartile mean first, or by the values of a key; those without a finished run last.
        letters, settings: of the groups in the order they were given, and the keys on which they differ with a value for each.
        beats: every pair of groups that have finished runs.
        published: scores of the literature of the same algorithms.
        references, scale: returns against which scores are read, by name, and between which returns a score lies.
    """

    task: str
    unit: str
    why: str
    groups: tuple[Group, ...]
    letters: tuple[str, ...]
    settings: tuple[Difference, ...]
    beats: tuple[Beats, ...]
    published: tuple[Published, ...]
    references: dict[str, Score]
    scale: str
    evaluated_in: tuple[str, ...]
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes:
        runs: in the order they were given.
        differing: keys on which the runs differ.
        warnings: what keeps scores from being compared as they stand.
        unfinished: one line for each run that has no final score.
        tasks: the groups, task by task; scores of two tasks have no common mean.
        by: the key whose values the groups stand for; empty for none.
    """

    runs: tuple[Entry, ...]
    differing: tuple[Difference, ...]
    warnings: tuple[str, ...]
    unfinished: tuple[str, ...]
    tasks: tuple[TaskScores, ...]
    by: str = ""

    def groups(self) -> list[Group]:
        """All groups, by letter."""
        return sorted((g for each in self.tasks for g in each.groups), key=lambda g: (len(g.letter), g.letter))

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)
