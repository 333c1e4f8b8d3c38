"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mopo_tui.cli.completion import complete_run

RunsOption = Annotated[
    Path | None,
    typer.Option(
        "--runs", metavar="DIR", help="Run store; else MOPO_RUNS, the configuration, ./runs, the user's data."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="Id, unique beginning or last four characters of it, name, or latest.",
        autocompletion=complete_run,
    ),
]
BackgroundOption = Annotated[
    bool, typer.Option("-b", "--background", help="Start it, print its id, and do not wait for it.")
]
NameOption = Annotated[str | None, typer.Option("--name", help="What to call the run.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option("--threads", min=0, help="Threads, a slot each; 0: two for a run alone in the foreground, else one."),
]
