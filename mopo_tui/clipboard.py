"""Text for other programs besides the terminal's clipboard: tmux' buffer, and a file (no Textual).

OSC 52 asks the terminal to take a text, and nothing says whether it did: many do not, and tmux drops it from applications by
default. So inside tmux its buffer gets the text, too, and a file does in any case.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from mopo_tui.manager import StoreError
from mopo_tui.manager.export import write_target
from mopo_tui.manager.locations import user_data
from mopo_tui.widgets.words import place_of

_SECONDS = 5.0


def also_copied(text: str, name: str, environment: Mapping[str, str]) -> tuple[list[str], bool]:
    """Give a text to tmux, where the app runs inside it, and to a file of that name.

    Returns:
        where it is, or why not, one line each; and whether any of it failed.
    """
    said, failed = [], False
    if environment.get("TMUX"):
        problem = into_tmux(text)
        failed = bool(problem)
        said.append(problem or "in tmux' buffer")
    try:
        said.append(f"in {place_of(into_file(text, name))}")
    except StoreError as error:
        failed = True
        said.append(str(error))
    return said, failed


def into_tmux(text: str) -> str:
    """Give tmux a text for its buffer, and through it to the clipboard of the terminal where it may; empty, or why it did not."""
    problem = ""
    for arguments in (("load-buffer", "-w", "-"), ("load-buffer", "-")):  # before 3.2 there is no -w
        try:
            done = subprocess.run(
                ["tmux", *arguments], input=text.encode(), capture_output=True, timeout=_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return f"tmux did not answer in {_SECONDS:g} s"
        except OSError as error:
            return f"tmux: {error.strerror}"
        if not done.returncode:
            return ""
        said = done.stderr.decode(errors="replace").strip().splitlines()
        problem = f"tmux: {said[-1] if said else f'exit code {done.returncode}'}"
    return problem


def into_file(text: str, name: str) -> Path:
    """Write a text under the person's data folder, whole or not at all; one of that name is written over.

    Raises:
        StoreError: it cannot be written.
    """
    path = user_data() / "copied" / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent}: cannot be made: {error.strerror}") from None
    write_target(path, text)
    return path
