"""What a person said at a run's launch that must reach its supervisor, whenever that starts: the command that follows the run's
end, and the variables that the engine takes from the environment (standard library only).

A private file of the person's own, outside every store, holds it: nothing that stands in a run folder is ever run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine import record

FINISH_VARIABLES = ("MOPO_RUN", "MOPO_STATE")  # what the command finds in its environment
# What an engine process reads from its environment; a run that waits in the queue is started from another one.
INHERITED = ("MOPO_TASKS", "MOPO_D4RL_URL", "MINARI_DATASETS_PATH", "HF_HOME", "CUDA_VISIBLE_DEVICES", "MUJOCO_GL")


class OnFinishError(ValueError):
    """A command that could not be run at a run's end; one clear line."""


@dataclass(frozen=True)
class Note:
    """What was said at a launch.

    Attributes:
        command: program, as an absolute path, and its arguments; empty for none.
        cwd: the folder in which the person was.
        variables: of `INHERITED`, those that were set.
    """

    command: tuple[str, ...] = ()
    cwd: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


def parse(command: str) -> tuple[str, ...]:
    """A command line as words, its program found now, as an absolute path: what it means must not depend on where the run ends.

    Raises:
        OnFinishError: no words, quotes that do not close, or no such program.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise OnFinishError(str(error)) from None
    if not words:
        raise OnFinishError("name a program")
    program = shutil.which(os.path.expanduser(words[0]))
    if program is None:
        raise OnFinishError(f"there is no program {words[0]!r} that can be run")
    return (os.path.abspath(program), *words[1:])


def keep(folder: Path, command: Sequence[str] = ()) -> None:
    """Keep what the next attempt of the run in `folder` needs from this process; the note of an earlier launch is replaced."""
    path = _path(folder)
    variables = {name: os.environ[name] for name in INHERITED if name in os.environ}
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    record.write_json(
        path, {"folder": str(folder), "command": list(command), "cwd": os.getcwd(), "variables": variables}
    )
    os.chmod(path, 0o600)


def read(folder: Path) -> Note:
    """What was kept for the run in `folder`; an empty note where there is none, or where others could have written it."""
    path = _path(folder)
    try:
        about = path.stat()
    except OSError:
        return Note()
    kept = record.read_json(path)
    if kept is None or about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return Note()
    command, variables = kept.get("command"), kept.get("variables")
    words = command if isinstance(command, list) and all(isinstance(word, str) for word in command) else []
    found = variables if isinstance(variables, dict) else {}
    inherited = {name: value for name, value in found.items() if name in INHERITED and isinstance(value, str)}
    return Note(tuple(words), str(kept.get("cwd") or ""), inherited)


def adopt(note: Note) -> None:
    """Make the variables of the launch those of this process. Whoever started it may have been launched from elsewhere."""
    if note.cwd:  # something was kept
        for name in INHERITED:
            os.environ.pop(name, None)
        os.environ.update(note.variables)


def forget(folder: Path) -> None:
    """Remove the note of the run in `folder`."""
    with contextlib.suppress(OSError):
        _path(folder).unlink()


def run(note: Note, folder: Path, state: str) -> None:
    """Run the note's command with the run folder as its last argument; what it says goes where this process writes."""
    if not note.command:
        return
    environment = {**os.environ, "MOPO_RUN": str(folder), "MOPO_STATE": state}
    cwd = note.cwd if os.path.isdir(note.cwd) else None
    print(f"[on finish] {shlex.join(note.command)}", flush=True)
    try:
        done = subprocess.run(
            [*note.command, str(folder)], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, check=False
        )
    except OSError as error:
        print(f"[on finish] could not be run: {error.strerror}: {error.filename}", flush=True)
        return
    if done.returncode:
        print(f"[on finish] ended with code {done.returncode}", flush=True)


def _path(folder: Path) -> Path:
    from mopo_tui.manager.locations import user_data

    name = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()[:32]
    return user_data() / "launches" / f"{name}.json"
