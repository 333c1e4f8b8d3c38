"""`mopo` and `mopo-tui` themselves; the commands of `mopo` stand in `table`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from mopo_tui.cli.opening import open_at
from mopo_tui.cli.options import RunsOption
from mopo_tui.cli.table import CommandTable
from mopo_tui.manager.locations import RUNS_VARIABLE

app = typer.Typer(
    cls=CommandTable,
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
        open_at(store)
    elif store is not None:  # `mopo --runs DIR ls` means `mopo ls --runs DIR`
        os.environ[RUNS_VARIABLE] = str(store.absolute())


@app_only.command()
def open_tui(
    run: Annotated[str | None, typer.Argument(help="Run to show first: id, unique beginning, name or latest.")] = None,
    store: RunsOption = None,
) -> None:
    """Launch, watch and compare runs in the terminal."""
    open_at(store, run)
