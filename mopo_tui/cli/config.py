"""`mopo config`: a person's own configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from mopo_tui.cli.completion import complete_key, complete_setting, complete_task
from mopo_tui.cli.options import JsonOption

app = typer.Typer(no_args_is_help=True, help="Show, make, check and edit your configuration.")
FileOption = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="The file to edit; else ./mopo.toml if it exists, else yours."),
]


@app.command()
def show(
    keys: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY]...", help="Keys, or sections such as rollout; none: all.", autocompletion=complete_key
        ),
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", "-t", help="Task of `mopo tasks`.", autocompletion=complete_task)
    ] = None,
    algorithm: Annotated[str | None, typer.Option("--algorithm", "-a", help="As for `mopo run`.")] = None,
    preset: Annotated[str | None, typer.Option("--preset", "-p", help="As for `mopo run`.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="A TOML file of keys.")] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Only what a person said, not defaults, task or preset.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Print what a run started now would be configured to, and where each value comes from."""
    from engine.config import flat
    from mopo_tui.cli import grid, output
    from mopo_tui.manager.new_run import resolve_run
    from mopo_tui.manager.rows import written

    said = {"task": task, "algorithm": algorithm, "preset": preset}
    resolved = resolve_run([(f"--{key}", {key: value}) for key, value in said.items() if value is not None], config)
    values = flat(resolved.config)
    chosen = _chosen(values, keys or [])
    if changed:
        chosen = [key for key in chosen if not _derived(resolved.origins[key])]
    if as_json:
        output.document({key: {"value": values[key], "from": resolved.origins[key]} for key in chosen})
        return
    if not chosen:
        output.narrate("nothing but defaults")
        return
    columns = [grid.Column("key"), grid.Column("value", shrinks=True), grid.Column("from", shrinks=True, least=24)]
    rows = [[grid.Cell(k), grid.Cell(written(values[k])), grid.Cell(resolved.origins[k], "dim")] for k in chosen]
    for line in grid.lines(columns, rows, grid.width()):
        print(line)


def _chosen(values: Mapping[str, object], keys: list[str]) -> list[str]:
    """The keys that are named, alone or by their section; all where none is."""
    from difflib import get_close_matches

    from engine.config import ConfigError

    for key in keys:
        if key not in values and not any(known.startswith(f"{key}.") for known in values):
            sections = {known.partition(".")[0] for known in values}
            close = get_close_matches(key, [*sections, *values], n=1)
            raise ConfigError(f"unknown key {key!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    named = [known for known in values if any(known == key or known.startswith(f"{key}.") for key in keys)]
    return named if keys else list(values)


def _derived(origin: str) -> bool:
    """Whether nobody said this value: it is a default, or follows from the task, the preset, the data or the machine."""
    return origin.startswith(("default", "task ", "preset ", "algorithm ", "all of "))


@app.command()
def path(as_json: JsonOption = False) -> None:
    """Print the files that count, strongest first, and the run store and data root that follow."""
    from mopo_tui.cli import output
    from mopo_tui.manager import locations

    files = locations.configuration_files()
    if as_json:
        output.document(
            {
                "files": [str(file) for file in files],
                "user_file": str(locations.user_config()),
                "runs": str(locations.store_root()),
                "data": str(locations.data_root()),
            }
        )
        return
    for file in files:
        print(f"file   {file}")
    if not files:
        print(f"file   {locations.user_config()} (not there yet)")
    print(f"runs   {locations.store_root()}")
    print(f"data   {locations.data_root()}")


@app.command()
def init(
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The file to make; else ./mopo.toml.")
    ] = None,
) -> None:
    """Make a configuration file in which every key stands with its meaning, commented out. Overwrites nothing."""
    from mopo_tui.cli import output
    from mopo_tui.keys import template
    from mopo_tui.manager import locations
    from mopo_tui.manager.person_file import make_file

    chosen = file or Path.cwd() / locations.PROJECT_FILE
    make_file(chosen, template())
    output.narrate(f"made {chosen}; a line in it counts once its # is gone")


@app.command()
def validate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A configuration file, or one with an [experiment].")],
    as_json: JsonOption = False,
) -> None:
    """Say everything that is wrong with a configuration file. Exit code 2 if anything is."""
    from engine.config import ConfigError
    from mopo_tui.cli import errors, output
    from mopo_tui.keys import problems_in
    from mopo_tui.manager.person_file import problems_of

    try:
        problems = problems_of(file, problems_in)
    except ConfigError as error:
        problems = [str(error)]
    if as_json:
        output.document({"file": str(file), "valid": not problems, "problems": problems})
    else:
        for problem in problems:
            print(problem)
        if not problems:
            print(f"{file}: valid")
    if problems:
        raise typer.Exit(errors.USAGE)


@app.command("set")
def set_(
    key: Annotated[
        str,
        typer.Argument(
            help="A key, such as rollout.coefficient, paths.runs, or keys.dashboard.stop.",
            autocompletion=complete_setting,
        ),
    ],
    value: Annotated[str, typer.Argument(help="Its value, as TOML or a bare word.")],
    file: FileOption = None,
) -> None:
    """Set one key in your file; comments and everything else in it stay."""
    from mopo_tui.cli import output
    from mopo_tui.keys import problems_in
    from mopo_tui.manager.person_file import set_key

    chosen = _file(file)
    name, read = set_key(chosen, f"{key}={value}", problems_in)
    output.narrate(f"{chosen}: {name} = {read!r}")


@app.command()
def unset(
    key: Annotated[str, typer.Argument(help="The key to take out.", autocompletion=complete_setting)],
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
