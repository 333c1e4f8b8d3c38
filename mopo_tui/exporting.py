"""Compared runs into a file, by the command line in a process of its own: what draws pictures takes a second to load, and memory
that the app would keep (no Textual)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mopo_tui.manager import Run, StoreError
from mopo_tui.manager.export import check_target

COMMANDS = {
    ".html": ("export", "--format", "html", "--out"),
    ".csv": ("export", "--format", "csv", "--out"),
    ".json": ("export", "--format", "json", "--out"),
    ".parquet": ("export", "--format", "parquet", "--out"),
    ".md": ("export", "--format", "md", "--out"),
    ".png": ("compare", "--plot"),
    ".svg": ("compare", "--plot"),
}


def export_target(text: str) -> Path:
    """The file that somebody typed, absolute.

    Raises:
        StoreError: another kind of file, no folder for it, or it is there already.
    """
    path = Path(text).expanduser().absolute()
    if path.suffix.lower() not in COMMANDS:
        raise StoreError(f"{path.name or text!r}: name a file that ends in {', '.join(COMMANDS)}")
    try:
        check_target(path, force=False)
    except StoreError as error:
        raise StoreError(str(error).replace("; --force overwrites it", "; choose another name")) from None
    return path


def export(runs: Sequence[Run], path: Path) -> None:
    """Write the runs into `path`, of whose ending the kind of file is told.

    Raises:
        StoreError: what the command said.
    """
    verb, *options = COMMANDS[path.suffix.lower()]
    command = [
        sys.executable,
        "-P",
        "-m",
        "mopo_tui.cli",
        verb,
        *(str(run.folder) for run in runs),
        *options,
        str(path),
    ]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise StoreError(f"{verb}: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise StoreError(said[-1] if said else f"mopo {verb}: exit code {done.returncode}")
