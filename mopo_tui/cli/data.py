"""`mopo data`: datasets and the behaviour policies that make them."""

from __future__ import annotations

from typing import Annotated

import typer

from mopo_tui.cli.options import BackgroundOption, JsonOption, NameOption, RunsOption, ThreadsOption

app = typer.Typer(
    help="Build datasets, train the behaviours that make them, list what is there.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
SeedOption = Annotated[int, typer.Option("--seed", "-s", min=0, help="Seed of everything random in it.")]


@app.command("build")
def build(
    task: Annotated[str, typer.Argument(help="Task of `mopo tasks`.")],
    size: Annotated[int | None, typer.Option("--size", help="Transitions; else the task's own number.")] = None,
    seed: SeedOption = 0,
    name: NameOption = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    background: BackgroundOption = False,
) -> None:
    """Collect a task's dataset from its behaviour's policies; a Minari dataset and a flat cache."""
    from engine.config import DatasetConfig, make
    from engine.tasks import task as named
    from mopo_tui.cli.run import start

    chosen = named(task)
    values = {"task": chosen.name, "dataset.size": chosen.default_size if size is None else size, "dataset.seed": seed}
    start(make(DatasetConfig, values, "command line"), store, name=name, as_json=as_json, background=background)


@app.command("train-behaviour")
def train_behaviour(
    behaviour: Annotated[str, typer.Argument(metavar="NAME", help="Behaviour, such as ant or halfcheetah.")],
    steps: Annotated[
        int | None, typer.Option("--steps", help="Environment steps; else the behaviour's own number.")
    ] = None,
    seed: SeedOption = 0,
    threads: ThreadsOption = None,
    name: NameOption = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    background: BackgroundOption = False,
) -> None:
    """Train a behaviour policy with online SAC, keeping a ladder of snapshots; `mopo resume` goes on with it."""
    from engine.config import BehaviourConfig, make
    from engine.tasks import behaviour as named
    from mopo_tui.cli.run import start

    chosen = named(behaviour)
    values = {
        "behaviour": chosen.name,
        "steps": chosen.steps if steps is None else steps,
        "seed": seed,
        "compute.threads": 1 if threads is None else threads,
    }
    start(make(BehaviourConfig, values, "command line"), store, name=name, as_json=as_json, background=background)


@app.command("ls")
def ls(as_json: JsonOption = False) -> None:
    """List the collected datasets that are there."""
    from mopo_tui.cli import output
    from mopo_tui.manager.datasets import datasets
    from mopo_tui.manager.locations import dataset_folder

    found = datasets()
    if as_json:
        output.document([status.to_json() for status in found])
        return
    if not found:
        output.narrate(
            f"no datasets in {dataset_folder('')} yet; `mopo data build TASK` makes one, and so does `mopo run`"
        )
        return
    table = output.table(
        "dataset", "transitions", "episodes", "MB", "fingerprint", right=("transitions", "episodes", "MB")
    )
    for status in found:
        sizes = (f"{status.size:,}", f"{status.episodes:,}", f"{status.bytes / 1e6:.1f}")
        table.add_row(status.id, *sizes, status.fingerprint[:12] if status.present else "manifest cannot be read")
    output.console().print(table)
