"""What starting some runs will mean: their data, their time and memory, and whether they start now or wait (no Textual)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.config import MODEL_BASED, TrainConfig
from engine.d4rl_files import published
from engine.plan import expected_bytes, expected_seconds, planned_work
from engine.tasks import OURS
from mopo_tui.manager import Store
from mopo_tui.manager.datasets import DatasetStatus, dataset_status, minari_copy, minari_root, not_imported
from mopo_tui.manager.experiment import Experiment
from mopo_tui.manager.run import default_name

ABOUT_ALGORITHM = {
    "mopo": "MOPO: SAC on model rollouts whose reward is penalised by λu",
    "mbpo": "MBPO: the same as MOPO without the penalty (λ = 0)",
    "mb2po": "MB2PO: AWAC on the batch, then AWAC inside the penalised model",
    "sac": "SAC: model-free, on the batch as if it were a replay buffer",
    "awac": "AWAC: model-free, the batch's actions weighted by their advantage",
    "bc": "BC: the batch's actions by maximum likelihood",
}


@dataclass(frozen=True)
class Turn:
    """When runs start.

    Attributes:
        now: how many of them start at once.
        place: in the queue, of the first one that waits; 0 where none does.
        why: what those wait for; else how busy the host is.
    """

    now: int
    place: int
    why: str


@dataclass(frozen=True)
class Outlook:
    """What starting an experiment will mean.

    Attributes:
        data: a phrase for each of its datasets.
        longest, shortest: seconds of a run by itself, its data being there.
        together: seconds until all are done, with the host's slots and nothing else to do; 0.0 where it has none.
        bytes: memory of the largest run.
    """

    data: tuple[str, ...]
    shortest: float
    longest: float
    together: float
    bytes: float
    turn: Turn


def outlook(store: Store, experiment: Experiment) -> Outlook:
    """Look at the data root and the queue, and plan every run."""
    configs = [planned.resolved.config for planned in experiment.runs]
    datasets: dict[str, tuple[TrainConfig, DatasetStatus]] = {}
    for config in {(c.task, c.dataset, c.environment): c for c in reversed(configs)}.values():
        status = dataset_status(config)
        datasets[status.id] = (config, status)
    building = sum((_building(config) for config, status in datasets.values() if not status.present), 0.0)
    seconds = [expected_seconds(config, build_data=False) for config in configs]
    slots = store.queue.slots()
    work = sum(s * min(c.compute.threads, max(slots, 1)) for s, c in zip(seconds, configs, strict=True))
    return Outlook(
        tuple(_data(config, status) for config, status in datasets.values()),
        min(seconds),
        max(seconds),
        building + max(*seconds, work / slots) if slots else 0.0,
        max(expected_bytes(config) for config in configs),
        _turn(store, configs),
    )


def _building(config: TrainConfig) -> float:
    """Seconds until the data of a run are ready; of those from elsewhere 0.0: it depends on the line and the disk."""
    if config.dataset.source != OURS or minari_copy(dataset_status(config).id) is not None:
        return 0.0
    return planned_work(config, build_data=True)["data"] / min(config.compute.threads or 1, 2)


def _data(config: TrainConfig, status: DatasetStatus) -> str:
    """A dataset, and what has to be done before it can be learnt from."""
    if status.present:
        size = f", {status.size:,} transitions" if status.size else ""
        return f"{status.id}: present{size}"
    source = config.dataset.source
    kind, _, name = source.partition(":")
    if source == OURS and minari_copy(status.id) is not None:
        how = "read first, from its Minari copy"
    elif source == OURS:
        how = f"built first, about {rough(_building(config))}"
    elif kind == "d4rl":
        here = any(each.source == source and "in part" not in each.problem for each in not_imported([]))
        weight = published(name).bytes / 1e6
        how = "read first, from the file that is downloaded" if here else f"downloaded first, {weight:.0f} MB"
    elif kind == "minari":
        how = "read first, from Minari's copy" if (minari_root() / name).is_dir() else "downloaded first, with Minari"
    elif kind == "training":
        how = f"read first, from the replay of {Path(name).name}"
    else:
        how = "read first, from that file"
    return f"{status.id}: {how}"


def _turn(store: Store, configs: Sequence[TrainConfig]) -> Turn:
    """Which runs start now, as the queue decides: in their order, each with its threads as slots, and none overtakes."""
    queue = store.queue
    waiting, slots, used = queue.waiting(), queue.slots(), queue.used()
    place = len(waiting) + 1
    on_gpu = [config for config in configs if config.compute.device.startswith("cuda")]
    if on_gpu:
        there = queue.launcher.has_gpus()
        return Turn(0, place, "for a GPU with enough free memory" if there else "there is no GPU on this host")
    free = slots - used - sum(min(job.slots, slots) for job in waiting if not job.on_gpu)
    now = 0
    for config in configs:
        free -= min(config.compute.threads, slots)
        if free < 0 or not slots:
            break
        now += 1
    taken = f"{used} of {slots} slot{'' if slots == 1 else 's'} taken"
    return Turn(now, 0 if now == len(configs) else place, taken)


# --- in words ---------------------------------------------------------------------------------------------------------------------


def rough(seconds: float) -> str:
    """An estimate: 40 s, 12 min, 3.5 h, 2.1 days."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"


def names(experiment: Experiment) -> list[str]:
    """What each run will be called."""
    configs = ((planned.name, planned.resolved.config) for planned in experiment.runs)
    return [name or default_name(config.task, config.algorithm, config.seed) for name, config in configs]


def runs_in_words(experiment: Experiment, width: int) -> list[tuple[str, str]]:
    """Which runs there will be, as many by name as fit `width` columns, and how they train: a title and a text each."""
    called = names(experiment)
    configs = [planned.resolved.config for planned in experiment.runs]
    algorithms = dict.fromkeys(config.algorithm for config in configs)
    parts = []
    if any(config.algorithm in MODEL_BASED for config in configs):
        parts += [
            "λ " + _each(f"{config.rollout.coefficient:g}" for config in configs),
            "h " + _each(str(config.rollout.length) for config in configs),
        ]
    parts += [
        f"{_each(str(config.policy.epochs) for config in configs)} epochs × "
        f"{_each(str(config.policy.updates_per_epoch) for config in configs)} updates",
        f"{_each(config.compute.device for config in configs)} with {_each(_threads(config) for config in configs)}",
    ]
    return [
        (f"{len(called)} run{'' if len(called) == 1 else 's'}", _first(called, width)),
        ("Method", "; ".join(ABOUT_ALGORITHM[each] for each in algorithms)),
        ("", "  ".join(parts)),
    ]


def _first(called: Sequence[str], width: int) -> str:
    """The first of these names, what all of them begin with but once."""
    whole = ", ".join(called)
    if len(whole) <= width:
        return whole
    begin = called[0]
    while begin and not all(name.startswith(f"{begin}-") for name in called):
        begin = begin.rpartition("-")[0]
    ends = [name[len(begin) + 1 if begin else 0 :] for name in called]
    lead = f"{begin}: " if begin else ""
    for count in range(len(ends), 0, -1):
        left = len(ends) - count
        text = lead + ", ".join(ends[:count]) + (f" and {left} more" if left else "")
        if len(text) <= width:
            return text
    return f"{called[0]} and {len(called) - 1} more"


def _each(values: Iterable[str]) -> str:
    """The different ones among `values`, in their order."""
    return ", ".join(dict.fromkeys(values))


def _threads(config: TrainConfig) -> str:
    return f"{config.compute.threads} thread{'' if config.compute.threads == 1 else 's'}"


def outlook_in_words(ahead: Outlook, count: int) -> list[tuple[str, str]]:
    """What has to be done first, how long it takes, and when `count` runs start: a title and a text each."""
    others = len(ahead.data) - 1
    more = f"; and {others} more dataset{'' if others == 1 else 's'}" if others else ""
    shortest, longest = rough(ahead.shortest), rough(ahead.longest)
    time = f"about {longest if shortest == longest else f'{shortest} to {longest}'}{' each' if count > 1 else ''}"
    if count > 1 and ahead.together:
        time += f", all of them {rough(ahead.together)}"
    return [
        ("Data", ahead.data[0] + more),
        ("Time", f"{time}; {ahead.bytes / 1e9:.1f} GB of memory{' each' if count > 1 else ''}"),
        ("Start", _start(ahead.turn, count)),
    ]


def _start(turn: Turn, count: int) -> str:
    if not turn.place:
        return f"now; {turn.why}"
    later = count - turn.now
    wait = f"wait{'s' if later == 1 else ''} in the queue, {'' if later == 1 else 'from '}place {turn.place}"
    wait += "" if later == 1 else " on"
    return f"{turn.now} now, {later} {wait}; {turn.why}" if turn.now else f"{wait}: {turn.why}"
