"""`mopo data`: datasets and the behaviour policies that make them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from mopo_tui.cli.options import BackgroundOption, JsonOption, NameOption, RunsOption, ThreadsOption

if TYPE_CHECKING:
    from rich.table import Table

    from engine.config import DatasetConfig
    from mopo_tui.manager.datasets import DatasetStatus, Part

app = typer.Typer(
    help="Collect, fetch, import, list, show, check and remove datasets; train the behaviours that make them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
SeedOption = Annotated[int, typer.Option("--seed", "-s", min=0, help="Seed of everything random in it.")]
DatasetArgument = Annotated[
    str, typer.Argument(metavar="DATASET", help="Id, unique part of it, source, or a task that has one dataset.")
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", metavar="FILE", help="Draw it as well: a .png, .svg or .pdf file.")
]
_WIDE = 110  # columns from which on the environment fits


# --- making -----------------------------------------------------------------------------------------------------------------------


@app.command("build")
def build(
    task: Annotated[str, typer.Argument(help="Task of `mopo tasks`.")],
    size: Annotated[
        int | None, typer.Option("--size", min=1, help="Transitions; else the task's own number, or the whole replay.")
    ] = None,
    seed: SeedOption = 0,
    threads: Annotated[
        int, typer.Option("--threads", min=0, help="Processes that collect; 0: two, or one on one core.")
    ] = 0,
    from_training: Annotated[
        str | None,
        typer.Option("--from-training", metavar="RUN", help="Take a behaviour run's own replay instead of collecting."),
    ] = None,
    angle: Annotated[
        float | None, typer.Option("--angle", metavar="DEG", help="Direction of ant-angle's reward; else 30.")
    ] = None,
    plot: PlotOption = None,
    name: NameOption = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    background: BackgroundOption = False,
) -> None:
    """Collect a task's dataset. It becomes a Minari dataset and a flat cache, and is shown as `mopo data show` does."""
    from engine.tasks import task as named
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager.new_dataset import to_build

    if from_training is None:
        config = to_build(task, size, seed=seed, threads=threads, angle=angle)
        _make(config, store, name=name, as_json=as_json, background=background, plot=plot)
        return
    chosen = named(task)
    values: dict[str, Any] = {"task": chosen.name, "dataset.seed": seed, "compute.threads": threads}
    run = Store.open(store).find(from_training)
    if run.job != "behaviour":
        raise StoreError(f"{run.id} is a run of kind {run.job or '?'}: only behaviour runs leave a replay")
    values |= {"dataset.size": size or 0, "dataset.source": f"training:{run.folder}"}
    if angle is not None:
        values["environment.angle"] = angle
    _start(values, store, name, as_json, background, plot)


@app.command("fetch")
def fetch(
    source: Annotated[str, typer.Argument(metavar="d4rl:NAME|minari:ID", help="What to fetch.")],
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="Task it is for; else the one that its name says.")
    ] = None,
    name: NameOption = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    background: BackgroundOption = False,
) -> None:
    """Download a published dataset and read it. What was downloaded before is not downloaded again."""
    from mopo_tui.cli import errors
    from mopo_tui.cli.run import start
    from mopo_tui.manager.datasets import DatasetUnavailable
    from mopo_tui.manager.new_dataset import to_fetch

    try:
        config = to_fetch(source, task)
    except DatasetUnavailable as error:
        _refuse(errors.USAGE, str(error))
    start(config, store, name=name, as_json=as_json, background=background)


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="An HDF5 file in D4RL's form.")],
    task: Annotated[str, typer.Option("--task", "-t", help="Task it is for.")],
    environment: Annotated[
        str | None,
        typer.Option("--env", metavar="ID", help="Gymnasium id in which policies are evaluated; else as the data say."),
    ] = None,
    legacy_contacts: Annotated[
        bool | None,
        typer.Option(
            "--legacy-contacts/--no-legacy-contacts",
            help="Contacts as MuJoCo up to 3.4 made them; else as the data say.",
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=0, help="Transitions, of episodes drawn at random; 0: all.")] = 0,
    name: NameOption = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    background: BackgroundOption = False,
) -> None:
    """Read a file of data."""
    from engine.tasks import task as named
    from mopo_tui.cli import errors

    chosen, given = named(task), str(path)
    if given.startswith(("d4rl:", "minari:")):
        _refuse(errors.USAGE, f"{given} is no file: mopo data fetch {given}")
    path = Path(os.path.abspath(path.expanduser()))  # one name for one file, however it is spelt
    if path.is_dir():
        _refuse(
            errors.UNAVAILABLE,
            f"{path} is a folder: name the HDF5 file in it; for Minari's, `mopo data fetch minari:ID`",
        )
    if not path.exists():
        _refuse(errors.UNAVAILABLE, f"{path}: no such file")
    values: dict[str, Any] = {
        "task": chosen.name,
        "dataset.source": str(path),
        "dataset.size": size,
        "compute.threads": 1,
    }
    if environment is not None:
        values["environment.id"] = environment
    if legacy_contacts is not None:
        values["environment.legacy_contacts"] = "on" if legacy_contacts else "off"
    _start(values, store, name, as_json, background)


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


def _start(
    values: dict[str, Any],
    store: Path | None,
    name: str | None,
    as_json: bool,
    background: bool,
    plot: Path | None = None,
) -> None:
    """A run that makes a dataset ready."""
    from engine.config import DatasetConfig, make

    config = make(DatasetConfig, values, "command line")
    _make(config, store, name=name, as_json=as_json, background=background, plot=plot)


def _make(
    config: DatasetConfig,
    store: Path | None,
    *,
    name: str | None,
    as_json: bool,
    background: bool,
    plot: Path | None,
) -> None:
    """Follow a run that makes a dataset ready, and draw what it made."""
    from mopo_tui.cli import errors
    from mopo_tui.cli.run import start

    if plot is not None:
        from mopo_tui.cli import pictures

        pictures.check(plot)
        if background:
            _refuse(errors.USAGE, "--plot draws what a build that is followed has made: leave out -b")
    try:
        start(config, store, name=name, as_json=as_json, background=background)
    except typer.Exit as end:
        if plot is None or end.exit_code != errors.OK:
            raise
    if plot is not None:
        _draw(config, plot)


def _draw(config: DatasetConfig, path: Path) -> None:
    from mopo_tui.cli import output, pictures
    from mopo_tui.manager.datasets import dataset_status, read_manifest

    with _unavailable():
        pictures.dataset(read_manifest(dataset_status(config)), path)
    output.narrate(f"drawn: {path}")


# --- looking ----------------------------------------------------------------------------------------------------------------------


@app.command("ls")
def ls(as_json: JsonOption = False) -> None:
    """List the datasets that are here. Below them, the downloads that none was read from."""
    from mopo_tui.cli import output
    from mopo_tui.manager.datasets import datasets, not_imported
    from mopo_tui.manager.locations import dataset_folder

    found = datasets()
    waiting = not_imported(found)
    if as_json:
        output.document([status.to_json() for status in (*found, *waiting)])
        return
    if not found and not waiting:
        output.narrate(
            f"no datasets in {dataset_folder('')} yet; `mopo data build TASK` makes one, and so does `mopo run`"
        )
        return
    console = output.console()
    if sound := [status for status in found if status.present]:
        console.print(_list(sound, console.width))
    for status in found:
        if not status.present:
            remedy = f"mopo data rm {status.id}"
            console.print(f"{status.id}: {status.problem}; {remedy}", soft_wrap=True)
    for status in waiting:
        remedy = f"mopo data fetch {status.source}"
        console.print(
            f"{status.id}: {status.problem} ({_megabytes(status.download_bytes)} MB); {remedy}", soft_wrap=True
        )


def _list(found: list[DatasetStatus], width: int) -> Table:
    """The table in `width` columns: where whole ids do not fit they lose their middle, and a part of an id names it as well."""
    from mopo_tui.cli import output

    wide = width >= _WIDE
    sizes = ("MB", "Minari MB", "download MB") if wide else ("MB", "Minari", "file")
    columns = ("dataset", *(("environment",) if wide else ()), "transitions", "episodes", "return", *sizes, "age")
    rows = [_row(status, wide) for status in found]
    shown = [i for i, name in enumerate(columns) if name not in sizes or any(row[i] != "–" for row in rows)]
    taken = sum(max(len(columns[i]), *(len(row[i]) for row in rows)) + (2 if wide else 1) for i in shown[1:])
    table = output.table(
        *(columns[i] for i in shown),
        right=("transitions", "episodes", "return", *sizes, "age"),
        gap=2 if wide else 1,
    )
    for row in rows:
        row[0] = output.shortened(row[0], max(20, width - taken - 2))
        table.add_row(*(row[i] for i in shown))
    return table


def _row(status: DatasetStatus, wide: bool) -> list[str]:
    from mopo_tui.cli import output

    return [
        status.id,
        *((status.environment,) if wide else ()),
        f"{status.size:,}",
        f"{status.episodes:,}",
        output.number(status.mean_return),
        *(_megabytes(b) if b else "–" for b in (status.bytes, status.minari_bytes, status.download_bytes)),
        output.age(status.written) if status.written else "–",
    ]


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.1f}" if count < 99.95e6 else f"{count / 1e6:,.0f}"


@app.command("show")
def show(
    dataset: DatasetArgument,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Show a dataset. Its origin, environment, references, returns, lengths and coverage."""
    from mopo_tui.cli import output
    from mopo_tui.manager.datasets import datasets, find_dataset, not_imported, read_manifest

    with _unavailable():
        present = datasets()
        status = find_dataset(dataset, [*present, *not_imported(present)])
        manifest = read_manifest(status)
    if plot is not None:
        from mopo_tui.cli import pictures

        with _unavailable():
            pictures.dataset(manifest, plot)
        output.narrate(f"drawn: {plot}")
    if as_json:
        output.document({**status.to_json(), "manifest": manifest})
        return
    from mopo_tui.cli.dataset_page import print_page

    print_page(status, manifest)


@app.command("check")
def check(
    dataset: DatasetArgument,
    task: Annotated[str | None, typer.Option("--task", "-t", help="Only among this task's datasets.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Look for faults in a dataset. Says as well which environment its rows look like; exit code 1: a warning or an error."""
    import subprocess

    from engine.tasks import task as named
    from mopo_tui.cli import errors
    from mopo_tui.manager.dataset_check import command
    from mopo_tui.manager.datasets import DatasetUnavailable, datasets, find_dataset

    chosen = None if task is None else named(task).name
    try:
        status = find_dataset(dataset, [s for s in datasets() if chosen is None or s.task == chosen])
    except DatasetUnavailable as error:
        if dataset.startswith(("d4rl:", "minari:")):
            _refuse(errors.USAGE, f"{dataset} is not imported yet: mopo data fetch {dataset}, and then check it")
        if Path(dataset).expanduser().is_file():
            remedy = f"mopo data import {dataset} --task {chosen or 'TASK'}"
            _refuse(errors.USAGE, f"{dataset} is not imported yet: {remedy}, and then check it")
        _refuse(errors.UNAVAILABLE, str(error))
    sys.stdout.flush()
    raise typer.Exit(subprocess.run(command(status.folder, as_json=as_json), check=False).returncode)


# --- removing ---------------------------------------------------------------------------------------------------------------------


@app.command("rm")
def rm(
    references: Annotated[
        list[str], typer.Argument(metavar="DATASET...", help="Ids, unique parts of them, sources, or tasks.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    minari: Annotated[bool, typer.Option("--minari/--keep-minari", help="Our Minari copy too.")] = True,
    downloads: Annotated[bool, typer.Option("--downloads", help="The downloaded file too.")] = False,
    store: RunsOption = None,
) -> None:
    """Remove datasets from the disk. Asks first; they can be collected, fetched or imported again."""
    from mopo_tui.cli import errors, output
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager.datasets import datasets, find_dataset, not_imported, not_in_use, parts_of, remove

    runs = Store.open(store)
    chosen: dict[str, tuple[DatasetStatus, list[Part]]] = {}
    with _unavailable():
        present = datasets()
        for reference in references:
            status = find_dataset(reference, [*present, *not_imported(present)])
            parts = parts_of(status, minari=minari, download=downloads)
            if not parts:
                _refuse(errors.USAGE, f"{status.id}: {status.problem}; --downloads removes that file")
            chosen[status.id] = status, parts
    for status, _ in chosen.values():
        not_in_use(status, runs)
    total = 0
    for status, parts in chosen.values():
        what = ", ".join(f"{part.what} {_megabytes(part.bytes)} MB" for part in parts)
        output.narrate(f"{status.id}: {what}")
        total += sum(part.bytes for part in parts)
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise StoreError("rm asks before it removes, and there is no terminal to answer on: say --yes")
        if not typer.confirm(f"Remove {_megabytes(total)} MB?", default=False, err=True):
            output.narrate("nothing removed")
            return
    with _unavailable():
        for status, parts in chosen.values():
            remove(status, parts)
    output.narrate(f"removed {_megabytes(total)} MB")


# --- errors -----------------------------------------------------------------------------------------------------------------------


def _refuse(code: int, message: str) -> NoReturn:
    from mopo_tui.cli import output

    output.narrate(f"mopo: {message}")
    raise typer.Exit(code)


@contextmanager
def _unavailable() -> Iterator[None]:
    """A dataset that is not there, or a file that cannot be written, as one line and its exit code."""
    from mopo_tui.cli import errors
    from mopo_tui.manager.datasets import DatasetUnavailable

    try:
        yield
    except DatasetUnavailable as error:
        _refuse(errors.UNAVAILABLE, str(error))
