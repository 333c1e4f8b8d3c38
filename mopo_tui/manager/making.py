"""New run folders: what they are called, what stands in them before anything is started."""

from __future__ import annotations

import getpass
import os
import random
import re
import shutil
import string
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from engine import record
from mopo_tui.manager import locations
from mopo_tui.manager.errors import StoreError
from mopo_tui.manager.run import Run, default_name, read_run

if TYPE_CHECKING:
    from engine.config import Config
    from mopo_tui.manager.experiment import Experiment


class About(TypedDict, total=False):
    """What a person says of a run when it is made.

    Attributes:
        name: what they call it; any printable text.
        command: their command line, for the record.
        group: the name that runs launched together share.
        tags, note: their own words, which they may change later.
        restarts: id of the run that this one does again.
    """

    name: str | None
    command: Sequence[str]
    group: str
    tags: Sequence[str]
    note: str
    restarts: str


def create(root: Path, config: Config, **said: Unpack[About]) -> Run:
    """A new run folder in the store at `root` with that configuration, not started yet.

    Args:
        config: as resolved; `compute.threads` 0 becomes the number that this machine gives.

    Raises:
        StoreError: an unusable name, group, tag or note, or the folder cannot be written; nothing is left of it then.
        DatasetUnavailable: its data is a file that is not there.
    """
    from engine.config import BehaviourConfig, TrainConfig, to_toml
    from mopo_tui.manager.datasets import check_source
    from mopo_tui.manager.new_run import with_threads

    check_source(config)
    name, group = checked_name(said.get("name") or "", "name"), checked_name(said.get("group", ""), "group")
    meta: dict[str, Any] = {}
    if tags := said.get("tags"):
        meta["tags"] = list(dict.fromkeys(checked_tag(tag) for tag in tags))
    if note := said.get("note"):
        meta["note"] = note
    config = with_threads(config)
    preset, algorithm = "", ""
    if isinstance(config, TrainConfig):
        job, task, seed, algorithm, preset = "train", config.task, config.seed, config.algorithm, config.preset
    elif isinstance(config, BehaviourConfig):
        job, task, seed, algorithm = "behaviour", config.behaviour, config.seed, "sac"
    else:
        job, task, seed = "dataset", config.task, config.dataset.seed
    what = algorithm if job == "train" else job
    about = {
        "kind": "train" if job == "train" else "data",
        "job": job,
        "name": name or default_name(task, what, seed),
        "group": group,
        "task": task,
        "algorithm": algorithm,
        "preset": preset,
        "seed": seed,
        "owner": _owner(),
        "created": time.time(),
        "command": list(said.get("command", ())),
        "paths": {"data": str(locations.data_root())},
        **({"restarts": said["restarts"]} if said.get("restarts") else {}),
    }
    try:
        while True:
            run_id = _new_id(task, what, seed)
            try:
                record.create_run(root / run_id, {"id": run_id, **about}, to_toml(config), meta)
            except FileExistsError:
                continue
            return read_run(root / run_id)
    except OSError as error:
        raise StoreError(f"{root}: cannot write a run: {error.strerror}") from None


def create_all(root: Path, experiment: Experiment, command: Sequence[str] = ()) -> list[Run]:
    """A run folder for every run of an experiment, or none at all.

    Raises:
        StoreError: as `create`.
    """
    from mopo_tui.manager.new_run import ignored

    made: list[Run] = []
    try:
        for planned in experiment.runs:
            made.append(
                create(
                    root,
                    planned.resolved.config,
                    name=planned.name,
                    command=command,
                    group=experiment.group,
                    tags=experiment.tags,
                    note=experiment.note,
                )
            )
            for line in ignored([planned.resolved]):
                warn(made[-1], line)
    except OSError as error:
        for run in made:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise StoreError(f"{root}: cannot write a run: {error.strerror}") from None
    except BaseException:
        for run in made:
            shutil.rmtree(run.folder, ignore_errors=True)
        raise
    return made


def create_again(root: Path, run: Run, command: Sequence[str] = ()) -> Run:
    """A fresh run folder with the configuration of `run`, not started yet: same name, group, tags and note, new id.

    Raises:
        StoreError: it has not ended, or its configuration cannot be read by this version.
    """
    from engine.config import CONFIG_CLASSES, ConfigError, from_toml

    run = read_run(run.folder)
    if not run.state.over or run.problem or run.job not in CONFIG_CLASSES:
        why = run.problem or "stop it first, or start another like it: mopo run --like"
        raise StoreError(f"{run.id} is {run.state.value} and cannot be restarted: {why}")
    path = run.folder / record.CONFIG
    try:
        config = from_toml(CONFIG_CLASSES[run.job], path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise StoreError(str(error)) from None
    return create(
        root, config, name=run.name, command=command, group=run.group, tags=run.tags, note=run.note, restarts=run.id
    )


def warn(run: Run, message: str) -> None:
    """Put a warning among the events of a run that has not begun."""
    row = {"t": time.time(), "step": 0, "stage": "start", "kind": "alert", "message": message}
    record.append_row(run.folder / record.EVENTS, row)


def checked_name(name: str, what: str) -> str:
    """A run's name or a group's, without blanks around it.

    Raises:
        StoreError: no name that a person could give back.
    """
    name = name.strip()
    if not name.isprintable() or len(name) > 100:
        raise StoreError(f"a run's {what} has at most 100 characters and none that control the terminal")
    if name == "latest":
        raise StoreError(f"'latest' always means the newest run: choose another {what}")
    return name


def checked_tag(tag: str) -> str:
    """
    Raises:
        StoreError: a tag that `mopo tag` or a filter could not take.
    """
    if not re.fullmatch(r"[^\s,+\-][^\s,]{0,49}", tag) or not tag.isprintable():
        raise StoreError(f"tag {tag!r}: one word of at most 50 characters, without commas, that begins with no + or -")
    return tag


def _new_id(task: str, what: str, seed: int) -> str:
    """Readable, in the order of creation, and unique: 20261120-130501-ant-angle-mopo-s0-x7k2 (UTC)."""
    when = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    # Not from the global generator: a program that seeds it would make equal ids.
    tail = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=4))
    slug = re.sub(r"[^a-z0-9]+", "-", f"{task}-{what}".lower()).strip("-")
    return f"{when}-{slug}-s{seed}-{tail}"


def _owner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
