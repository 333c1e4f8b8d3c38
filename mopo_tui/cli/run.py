"""`mopo run`: one run, or a whole experiment, from its description to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mopo_tui.cli.completion import complete_group, complete_run, complete_task
from mopo_tui.cli.options import BackgroundOption, JsonOption, NameOption, RunsOption, ThreadsOption

if TYPE_CHECKING:
    from engine.config import Config, Resolved
    from mopo_tui.manager import Run, Store
    from mopo_tui.manager.experiment import Experiment

NowOption = Annotated[bool, typer.Option("--now", help="Start at once, before what waits and beyond the slots.")]
BellOption = Annotated[bool, typer.Option("--bell", help="Ring the terminal's bell, and notify, at the end.")]
OnFinishOption = Annotated[
    str | None,
    typer.Option(
        "--on-finish", metavar="COMMAND", help="Run this after the end, with the run folder as last argument."
    ),
]


def run(
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="Task of `mopo tasks`.", autocompletion=complete_task)
    ] = None,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", "-a", help="mopo, mb2po, mbpo, sac, awac or bc.")
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="smoke, quick, standard or paper.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", "-s", help="Seed of everything random in the run.")] = None,
    seeds: Annotated[
        str | None, typer.Option("--seeds", metavar="LIST", help="One run for each: 0-4, 0,2,5 or 0-2,7.")
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep", metavar="KEY=V,V,...", help="One run for each value; repeatable: for each combination."
        ),
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any configuration key; repeatable.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="RUN",
            help="Start from that run's configuration, threads aside.",
            autocompletion=complete_run,
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="ours, d4rl:NAME, minari:ID, or a path to an HDF5 file.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help="Transitions: of our own dataset, or of episodes drawn from another; 0: the task's own number, or all.",
        ),
    ] = None,
    threads: ThreadsOption = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A TOML file of keys, or of a whole experiment.")
    ] = None,
    name: NameOption = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            help="Name that the runs share; several have one of their own otherwise.",
            autocompletion=complete_group,
        ),
    ] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="A word to find the run by; repeatable.")] = None,
    note: Annotated[str | None, typer.Option("--note", help="A note for yourself.")] = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the configuration; start nothing.")] = False,
    no_reuse: Annotated[bool, typer.Option("--no-reuse", help="Fit the ensemble anew, whatever is kept.")] = False,
    background: BackgroundOption = False,
    now: NowOption = False,
    on_finish: OnFinishOption = None,
    bell: BellOption = False,
) -> None:
    """Train on a task and follow the run; with --seeds or --sweep, several runs. First Ctrl-C stops, a second one aborts.

    Each value comes from the command line, else --like, a MOPO_* variable, --config, ./mopo.toml, your configuration file, the
    preset, the task, the defaults; --dry-run says which. Runs wait in a queue while all slots of this host are taken.
    """
    from engine.config import ConfigError, parse_setting
    from mopo_tui.cli import output
    from mopo_tui.manager import Store, locations
    from mopo_tui.manager.datasets import check_source
    from mopo_tui.manager.experiment import Description, parse_seeds, parse_sweeps, plan
    from mopo_tui.manager.new_run import absolute_source, finish_command, ignored

    layers: list[tuple[str, dict[str, Any]]] = []
    for setting in settings or []:
        key, value = parse_setting(setting)
        layers.append((f"--set {key}", {key: value}))
    options = {
        ("--task", "task"): task,
        ("--algorithm", "algorithm"): algorithm,
        ("--preset", "preset"): preset,
        ("--seed", "seed"): seed,
        ("--dataset", "dataset.source"): None if dataset is None else absolute_source(dataset),
        ("--size", "dataset.size"): size,
        ("--threads", "compute.threads"): threads,
        ("--device", "compute.device"): device,
        ("--no-reuse", "compute.reuse"): False if no_reuse else None,
    }
    layers += [(option, {key: value}) for (option, key), value in options.items() if value is not None]
    description = Description(
        parse_seeds(seeds) if seeds is not None else (),
        parse_sweeps(sweep or []),
        name,
        tuple(tag or ()),
        note or "",
        group,
    )
    if bell and background:
        raise ConfigError("--bell rings when a run that is followed ends: leave out -b")
    root = locations.store_root(store)
    experiment = plan(
        description,
        layers,
        config,
        like=Store.open(store).find(like) if like is not None else None,
        threads=_threads(root, background),
    )
    finish = finish_command(on_finish)
    for planned in experiment.runs:
        check_source(planned.resolved.config)
    for line in ignored([planned.resolved for planned in experiment.runs]):
        output.narrate(f"mopo: {line}")
    if dry_run:
        _narrate_missing_devices(experiment, root)
        if len(experiment.runs) > 1:
            _show_experiment(experiment, as_json)
        else:
            _show_plan(experiment.runs[0].resolved, as_json)
        return
    runs = Store.open(store)
    made = runs.create_all(experiment, command=["mopo", *sys.argv[1:]])
    if len(made) > 1:
        launch_all(runs, made, as_json=as_json, background=background, now=now, on_finish=finish, bell=bell)
        return
    _narrate_plan(experiment.runs[0].resolved.config)
    launch(runs, made[0], as_json=as_json, background=background, now=now, on_finish=finish, bell=bell)


def _threads(root: Path, background: bool) -> Callable[[bool], int | None]:
    """What 0 threads stand for: one for a run that takes its place among others, min(cores, 2) for one that is alone."""

    def chosen(several: bool) -> int | None:
        from mopo_tui.manager.queue import Queue

        queue = Queue(root)
        alone = not (several or background or queue.used() or queue.waiting())
        return None if alone and queue.slots() > 1 else 1

    return chosen


def start(config: Config, root: Path | None, *, name: str | None, as_json: bool, background: bool) -> None:
    """Create and launch a run of `config`; follow it and exit with its code, or return at once."""
    from mopo_tui.manager import Store
    from mopo_tui.manager.new_run import finish_command

    finish = finish_command(None)
    runs = Store.open(root)
    created = runs.create(config, name=name, command=["mopo", *sys.argv[1:]])
    _narrate_plan(config)
    launch(runs, created, as_json=as_json, background=background, on_finish=finish)


def _narrate_plan(config: Config) -> None:
    """One line on what is about to be trained."""
    from engine.config import TrainConfig
    from engine.tasks import OURS
    from mopo_tui.cli import output

    if not isinstance(config, TrainConfig):
        return
    what = f"{config.algorithm} on {config.task}, preset {config.preset}, seed {config.seed}"
    threads = f"{config.compute.threads} thread" + ("s" if config.compute.threads != 1 else "")
    size = f"{config.dataset.size:,} transitions" if config.dataset.size else "all transitions"
    data = size if config.dataset.source == OURS else f"{size} of {config.dataset.source}"
    output.narrate(f"{what}, {data}, {config.compute.device} with {threads}")


def launch(
    store: Store,
    chosen: Run,
    *,
    as_json: bool,
    background: bool,
    now: bool = False,
    on_finish: Sequence[str] = (),
    bell: bool = False,
) -> None:
    """Launch a run folder and follow it, or return at once with its id on stdout."""
    from engine import record
    from mopo_tui.cli import output
    from mopo_tui.cli.follow import follow

    events = record.read_rows(chosen.folder / record.EVENTS)[1]
    # Somebody who waits in front of a terminal is told at once that there is no GPU.
    place = store.launch(chosen, now=now or not (background or store.could_start(chosen)), on_finish=on_finish)
    tail = chosen.id[-4:]
    waits = f"{chosen.id} waits in the queue, {'next' if place == 1 else f'place {place}'}: {store.why_waiting(chosen)}"
    if not background:
        if place:
            output.narrate(f"{waits}; `mopo resume {tail} --now` in another terminal starts it at once")
        raise typer.Exit(follow(store, chosen, as_json=as_json, events_from=events, bell=bell))
    if as_json:
        run = store.run(chosen.id)
        said = {"id": run.id, "folder": str(run.folder), "state": run.state.value, "result": run.result}
        output.document({**said, "position": place})
        return
    print(chosen.id)
    if place:
        output.narrate(f"{waits}; `mopo queue` shows it")
    else:
        output.narrate(f"started in {chosen.folder}; `mopo ls` shows it, `mopo stop {tail}` stops it")


def launch_all(
    store: Store,
    chosen: Sequence[Run],
    *,
    as_json: bool,
    background: bool,
    now: bool = False,
    on_finish: Sequence[str] = (),
    bell: bool = False,
) -> None:
    """Let several runs wait in the queue and follow them, or return at once with their ids on stdout."""
    from mopo_tui.cli import output
    from mopo_tui.cli.follow import follow_all

    if now:
        for run in chosen:
            store.launch(run, now=True, on_finish=on_finish)
    else:
        store.enqueue(chosen, on_finish=on_finish)
        store.advance()
    groups = {run.group for run in chosen}
    group = groups.pop() if len(groups) == 1 else ""
    where = f"{len(chosen)} runs" + (f" in group {group}" if group else "")
    slots = store.queue.slots()
    output.narrate(f"{where}; {slots} slot{'s' if slots != 1 else ''} on this host")
    if not background:
        raise typer.Exit(follow_all(store, chosen, as_json=as_json, bell=bell))
    if as_json:
        rows = [store.run(run.id) for run in chosen]
        said = [{"id": r.id, "folder": str(r.folder), "state": r.state.value} for r in rows]
        output.document(
            {"group": group, "runs": [{**row, "position": store.queue.position(row["id"])} for row in said]}
        )
        return
    for run in chosen:
        print(run.id)
    output.narrate(f"`mopo queue` shows what waits, `mopo wait {group or 'RUN...'}` waits for their end")


def _narrate_missing_devices(experiment: Experiment, root: Path) -> None:
    """One line for each device that the runs want and this machine lacks: the plan stands, but starting it here would fail."""
    from mopo_tui.cli import output
    from mopo_tui.manager.launcher import missing_device
    from mopo_tui.manager.queue import Queue

    for device in dict.fromkeys(planned.resolved.config.compute.device for planned in experiment.runs):
        if why := missing_device(Queue(root).launcher, device):
            output.narrate(f"mopo: compute.device = {device}: {why}, so it would fail here")


def _show_experiment(experiment: Experiment, as_json: bool) -> None:
    """The runs of an experiment: what tells them apart, and what all of them share."""
    from engine.config import flat
    from engine.plan import expected_seconds
    from mopo_tui.cli import output
    from mopo_tui.manager.datasets import dataset_status
    from mopo_tui.manager.run import default_name

    configs = [planned.resolved.config for planned in experiment.runs]
    names = [
        planned.name or default_name(config.task, config.algorithm, config.seed)
        for planned, config in zip(experiment.runs, configs, strict=True)
    ]
    seconds = [expected_seconds(config, not dataset_status(config).present) for config in configs]
    flats = [flat(config) for config in configs]
    if as_json:
        runs = [
            {"name": name, "config": values, "origins": planned.resolved.origins, "expected": {"seconds": time}}
            for name, values, planned, time in zip(names, flats, experiment.runs, seconds, strict=True)
        ]
        output.document({"group": experiment.group, "tags": experiment.tags, "note": experiment.note, "runs": runs})
        return
    differing = [key for key in flats[0] if any(values[key] != flats[0][key] for values in flats)]
    rows = output.table("name", *differing)
    for name, values in zip(names, flats, strict=True):
        rows.add_row(name, *(_shown(values[key]) for key in differing))
    console = output.console()
    console.print(rows)
    console.print(
        f"\n{len(configs)} runs in group {experiment.group}, about {output.duration(sum(seconds))} of computing in all",
        soft_wrap=True,
    )


def _shown(value: Any) -> str:
    return " ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)


def _show_plan(resolved: Resolved, as_json: bool) -> None:
    """The resolved configuration, where each value comes from, and whether the dataset is there."""
    from engine.config import flat
    from engine.plan import expected_bytes, expected_seconds
    from mopo_tui.cli import output
    from mopo_tui.manager.datasets import dataset_status

    config = resolved.config
    status = dataset_status(config)
    values = flat(config)
    if as_json:
        plan = {"seconds": expected_seconds(config, not status.present), "bytes": expected_bytes(config)}
        output.document({"config": values, "origins": resolved.origins, "dataset": status.to_json(), "expected": plan})
        return
    rows = output.table("key", "value", "from")
    for key, value in values.items():
        rows.add_row(key, _shown(value), resolved.origins[key])
    console = output.console()
    console.print(rows)
    what = (
        f"present, fingerprint {status.fingerprint[:12]}"
        if status.present
        else "will be built as the run's first stage"
    )
    console.print(f"\ndataset {status.id}: {what}", soft_wrap=True)
    seconds, size = expected_seconds(config, not status.present), expected_bytes(config)
    threads = f"{config.compute.threads} thread{'s' if config.compute.threads != 1 else ''}"
    console.print(
        f"about {output.duration(seconds)} at {threads}, as on the machine of the README, and {size / 1e9:.1f} GB of memory",
        soft_wrap=True,
    )
