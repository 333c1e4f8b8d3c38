"""`mopo` and `mopo-tui` themselves; the commands of `mopo` stand in `table`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mopo_tui.cli.options import RunsOption
from mopo_tui.cli.table import CommandTable
from mopo_tui.manager.locations import RUNS_VARIABLE

if TYPE_CHECKING:
    from mopo_tui.manager import Store

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
    from mopo_tui.manager import Store

    open_on(Store.open(root), reference)


def open_on(store: Store, reference: str | None = None) -> None:
    """Open the app on a store, and there on a run that somebody names.

    Raises:
        RunNotFound: no run goes by that reference.
        StoreError: this is no terminal.
    """
    from mopo_tui.manager import StoreError

    chosen = store.find(reference).id if reference else None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise StoreError("the app needs a terminal; `mopo ls`, `mopo logs` and `mopo compare` do without")
    from mopo_tui.app import MopoApp
    from mopo_tui.keys import load
    from mopo_tui.memory import Memory
    from mopo_tui.widgets.glyphs import look_of

    keys = load(plain=look_of(os.environ).kind == "ascii")
    MopoApp(store, chosen, keys, Memory.of(store.root)).run()
