"""The commands of `mopo`, put together; each loads what it needs when it is called."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from mopo_tui.cli import (
    annotate,
    compare,
    completion,
    config,
    control,
    data,
    doctor,
    export,
    logs,
    models,
    reproduce,
    run,
    runs,
    show,
    tasks,
    use,
    watch,
)
from mopo_tui.cli.options import RunsOption
from mopo_tui.manager.locations import RUNS_VARIABLE

app = typer.Typer(
    help="Train MOPO and its relatives on offline data, watch them learn, compare them. Without a command: the app.",
    no_args_is_help=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
)
app_only = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("mopo-tui"))
        raise typer.Exit


@app.callback(invoke_without_command=True)
def bare(
    context: typer.Context,
    store: RunsOption = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version
    if context.invoked_subcommand is None:
        _open(None, store)
    elif store is not None:  # `mopo --runs DIR ls` means `mopo ls --runs DIR`
        os.environ[RUNS_VARIABLE] = str(store.absolute())


@app_only.command()
def open_tui(
    run: Annotated[str | None, typer.Argument(help="Run to show first: id, unique beginning, name or latest.")] = None,
    store: RunsOption = None,
) -> None:
    """Launch, watch and compare runs in the terminal."""
    _open(run, store)


def _open(reference: str | None, root: Path | None) -> None:
    from mopo_tui.manager import Store, StoreError

    store = Store.open(root)
    chosen = store.find(reference).id if reference else None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise StoreError("the app needs a terminal; `mopo ls`, `mopo logs` and `mopo compare` do without")
    from mopo_tui.app import MopoApp

    MopoApp(store, chosen).run()


app.command("run")(run.run)
app.command("resume")(control.resume)
app.command("stop")(control.stop)
app.command("pause")(control.pause)
app.command("kill")(control.kill)
app.command("restart")(control.restart)
app.command("wait")(control.wait)
app.add_typer(control.queue_app, name="queue")
app.command("logs")(logs.logs)
app.command("ls")(runs.ls)
app.command("show")(show.show)
app.command("watch")(watch.watch)
app.command("tag", context_settings=annotate.TAG_SETTINGS)(annotate.tag)
app.command("note")(annotate.note)
app.command("rename")(annotate.rename)
app.command("rm")(annotate.rm)
app.command("restore")(annotate.restore)
app.command("compare")(compare.compare)
app.command("diff")(compare.diff)
app.command("export")(export.export)
app.command("reproduce")(reproduce.reproduce)
app.command("evaluate")(use.evaluate)
app.command("play")(use.play)
app.command("tasks")(tasks.tasks)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(config.app, name="config")
app.command("completion")(completion.completion)
app.command("doctor")(doctor.doctor)
