"""`mopo config`: a person's own configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Show and edit your configuration file.")
FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="The file to edit; else ./mopo.toml if it exists, else yours."),
]


@app.command()
def path() -> None:
    """Print the files that count, strongest first, and the run store and data root that follow."""
    from mopo_tui.manager import locations

    for file in locations.configuration_files():
        print(f"file   {file}")
    if not locations.configuration_files():
        print(f"file   {locations.user_config()} (not there yet)")
    print(f"runs   {locations.store_root()}")
    print(f"data   {locations.data_root()}")


@app.command("set")
def set_(
    key: Annotated[str, typer.Argument(help="A configuration key, such as rollout.coefficient, or paths.runs.")],
    value: Annotated[str, typer.Argument(help="Its value, as TOML or a bare word.")],
    file: FileOption = None,
) -> None:
    """Set one key in your file; comments and everything else in it stay."""
    from mopo_tui.cli import output
    from mopo_tui.manager.person_file import set_key

    chosen = _file(file)
    name, read = set_key(chosen, f"{key}={value}")
    output.narrate(f"{chosen}: {name} = {read!r}")


@app.command()
def unset(
    key: Annotated[str, typer.Argument(help="The key to take out.")],
    file: FileOption = None,
) -> None:
    """Take one key out of your file."""
    from mopo_tui.cli import output
    from mopo_tui.manager.person_file import unset_key

    chosen = _file(file)
    unset_key(chosen, key)
    output.narrate(f"{chosen}: {key} is no longer set")


def _file(given: Path | None) -> Path:
    from mopo_tui.manager import locations

    if given is not None:
        return given
    local = Path.cwd() / locations.PROJECT_FILE
    return local if local.is_file() else locations.user_config()
