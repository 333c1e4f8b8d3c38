"""`mopo run`, `resume`, `stop`: one run from its start to its end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mopo_tui.cli.options import BackgroundOption, JsonOption, NameOption, RunArgument, RunsOption, ThreadsOption

if TYPE_CHECKING:
    from engine.config import Config, Resolved
    from mopo_tui.manager import Run, Store


def run(
    task: Annotated[str | None, typer.Option("--task", "-t", help="Task of `mopo tasks`.")] = None,
    algorithm: Annotated[str | None, typer.Option("--algorithm", "-a", help="mopo, mbpo, sac or bc.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="smoke, quick, standard or paper.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", "-s", help="Seed of everything random in the run.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any configuration key; repeatable.")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="ours, d4rl:NAME, minari:ID, or a path to an HDF5 file.")
    ] = None,
    size: Annotated[
        int | None, typer.Option("--size", help="Transitions: of our own dataset, or episodes drawn from another.")
    ] = None,
    threads: ThreadsOption = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A TOML file of keys.")] = None,
    name: NameOption = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the configuration; start nothing.")] = False,
    no_reuse: Annotated[bool, typer.Option("--no-reuse", help="Fit the ensemble anew, whatever is kept.")] = False,
    background: BackgroundOption = False,
) -> None:
    """Train on a task and follow the run. First Ctrl-C stops it, a second one aborts it.

    Each value comes from the command line, else a MOPO_* variable, --config, ./mopo.toml, your configuration file, the preset, the
    task, the defaults; --dry-run says which.
    """
    from engine.config import parse_setting
    from mopo_tui.manager.new_run import resolve_run

    layers: list[tuple[str, dict[str, Any]]] = []
    for setting in settings or []:
        key, value = parse_setting(setting)
        layers.append((f"--set {key}", {key: value}))
    options = {
        ("--task", "task"): task,
        ("--algorithm", "algorithm"): algorithm,
        ("--preset", "preset"): preset,
        ("--seed", "seed"): seed,
        ("--dataset", "dataset.source"): None if dataset is None else absolute(dataset),
        ("--size", "dataset.size"): size,
        ("--threads", "compute.threads"): threads,
        ("--device", "compute.device"): device,
        ("--no-reuse", "compute.reuse"): False if no_reuse else None,
    }
    layers += [(option, {key: value}) for (option, key), value in options.items() if value is not None]
    resolved = resolve_run(layers, config)
    if dry_run:
        _show_plan(resolved, as_json)
        return
    start(resolved.config, store, name=name, as_json=as_json, background=background)


def absolute(source: str) -> str:
    """A source of data as it means the same in every folder: a path from here made absolute."""
    from engine.tasks import OURS, SOURCES

    if source == OURS or source.partition(":")[0] in SOURCES:
        return source
    return os.path.abspath(Path(source).expanduser())


def start(config: Config, root: Path | None, *, name: str | None, as_json: bool, background: bool) -> None:
    """Create and launch a run of `config`; follow it and exit with its code, or return at once."""
    from engine.config import TrainConfig
    from engine.tasks import OURS
    from mopo_tui.cli import output
    from mopo_tui.manager import Store

    runs = Store.open(root)
    created = runs.create(config, name=name, command=["mopo", *sys.argv[1:]])
    if isinstance(config, TrainConfig):
        what = f"{config.algorithm} on {config.task}, preset {config.preset}, seed {config.seed}"
        threads = f"{config.compute.threads} thread" + ("s" if config.compute.threads != 1 else "")
        size = f"{config.dataset.size:,} transitions" if config.dataset.size else "all transitions"
        data = size if config.dataset.source == OURS else f"{size} of {config.dataset.source}"
        output.narrate(f"{what}, {data}, {config.compute.device} with {threads}")
    launch(runs, created, as_json=as_json, background=background)


def launch(store: Store, chosen: Run, *, as_json: bool, background: bool) -> None:
    """Launch a run folder and follow it, or return at once with its id on stdout."""
    from engine import record
    from mopo_tui.cli import output
    from mopo_tui.cli.follow import follow

    events = record.read_rows(chosen.folder / record.EVENTS)[1]
    store.launch(chosen)
    if not background:
        raise typer.Exit(follow(store, chosen, as_json=as_json, events_from=events))
    if as_json:
        now = store.run(chosen.id)
        output.document({"id": now.id, "folder": str(now.folder), "state": now.state.value, "result": now.result})
        return
    print(chosen.id)
    output.narrate(f"started in {chosen.folder}; `mopo ls` shows it, `mopo stop {chosen.id[-4:]}` stops it")


def resume(
    run: RunArgument,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Go on with a finished run, to so many policy epochs in all.")
    ] = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    background: BackgroundOption = False,
) -> None:
    """Go on with a run that was stopped, failed or lost, from its last checkpoint, as if it had not been interrupted."""
    from mopo_tui.manager import Store

    runs = Store.open(store)
    chosen = runs.find(run)
    if epochs is not None:
        runs.extend(chosen, epochs)
    launch(runs, chosen, as_json=as_json, background=background)


def stop(run: RunArgument, store: RunsOption = None) -> None:
    """Ask a run to stop; it ends within seconds and keeps what it has."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store, StoreError

    runs = Store.open(store)
    chosen = runs.find(run)
    if chosen.state.over:
        raise StoreError(f"{chosen.id} is {chosen.state.value}: there is nothing to stop")
    runs.stop(chosen)
    output.narrate(f"asked {chosen.id} to stop")


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
        shown = " ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)
        rows.add_row(key, shown, resolved.origins[key])
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
