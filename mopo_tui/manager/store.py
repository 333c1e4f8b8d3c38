"""The store: a folder of run folders. Finds runs, makes them, launches and stops them."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import re
import shutil
import signal
import string
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import record
from mopo_tui.manager import identity, locations
from mopo_tui.manager.run import Run, default_name, number_of, read_run
from mopo_tui.manager.state import RunState, alive, log_tail

if TYPE_CHECKING:
    from engine.config import Config
    from mopo_tui.manager.experiment import Experiment

LAUNCH_SECONDS = 20.0
ABORT_SECONDS = 3.0
_README = f"""{locations.STORE_TITLE}

Each folder here is one run, written as the run folder's format 1 says: run.json (what it is), config.toml (its whole
configuration), metrics.jsonl (what it measured), result.json (its scores). Move or delete a run by moving or deleting its folder.
"""


class StoreError(ValueError):
    """A store that cannot be used, or a request that does not fit a run's state; one clear line."""


class RunNotFound(ValueError):
    """No run, or more than one, goes by that reference; one clear line."""


class LaunchError(RuntimeError):
    """A run that could not be started; one clear line."""


class Store:
    """A folder of run folders.

    Attributes:
        root: absolute path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    def open(path: Path | None = None) -> Store:
        """The store at `path`, or at the place that `locations.store_root` finds; made where it is missing.

        Raises:
            StoreError: the folder cannot be made, or a file is in its place.
            LocationError: the configuration names no usable path.
        """
        locations.use_own_tasks()
        root = locations.store_root(path)
        try:
            root.mkdir(parents=True, exist_ok=True)
            if not any(root.iterdir()):
                record.write_atomically(root / locations.STORE_README, _README)
        except OSError as error:
            raise StoreError(f"{root}: cannot be used as run store: {error.strerror}") from None
        return Store(root)

    # --- finding ------------------------------------------------------------------------------------------------------------------

    def _folders(self) -> Iterator[Path]:
        """Every folder that is a run, or pretends to be one."""
        for parent in (self.root, self.root / locations.REFERENCE):
            with contextlib.suppress(OSError), os.scandir(parent) as entries:
                for entry in entries:
                    ours = parent == self.root and entry.name in (locations.REFERENCE, locations.QUEUE)
                    if entry.is_dir() and not entry.name.startswith(".") and not ours:
                        yield Path(entry.path)

    def runs(self) -> list[Run]:
        """Every run, newest first; folders that cannot be read stand among them with `problem` set."""
        return sorted((read_run(folder) for folder in self._folders()), key=lambda r: (r.created, r.id), reverse=True)

    def run(self, run_id: str) -> Run:
        """The run with that id, as it is now.

        Raises:
            RunNotFound: there is none.
        """
        folder = self._folder(run_id)
        if folder is None:
            raise RunNotFound(f"no run {run_id!r} in {self.root}; `mopo ls` lists them")
        return read_run(folder)

    def _folder(self, run_id: str) -> Path | None:
        # Compared with the names that are there, never joined to a path: an id such as "../x" finds nothing.
        return next((folder for folder in self._folders() if folder.name == run_id), None)

    def find(self, reference: str) -> Run:
        """The run that `reference` means: its id, its name, a beginning of its id that no other has, the id's last four characters,
        or "latest".

        Raises:
            RunNotFound: none, or several.
        """
        reference = reference.strip()
        if not reference:
            raise RunNotFound("a run is named by its id, a unique beginning of it, its name, or `latest`")
        if (folder := self._folder(reference)) is not None:
            return read_run(folder)
        runs = self.runs()
        if reference == "latest":
            sound = [run for run in runs if not run.problem]
            if not sound:
                raise RunNotFound(f"there is no run in {self.root} yet")
            return sound[0]
        for same in (
            [run for run in runs if run.name == reference],
            [run for run in runs if run.id.startswith(reference)],
            [run for run in runs if run.id.endswith(f"-{reference}")],
        ):
            if len(same) == 1:
                return same[0]
            if same:
                ids = ", ".join(run.id for run in same[:4]) + (", …" if len(same) > 4 else "")
                raise RunNotFound(f"{len(same)} runs go by {reference!r}: {ids}")
        raise RunNotFound(f"no run {reference!r} in {self.root}; `mopo ls` lists them")

    # --- making -------------------------------------------------------------------------------------------------------------------

    def create(
        self,
        config: Config,
        *,
        name: str | None = None,
        command: Sequence[str] = (),
        group: str = "",
        tags: Sequence[str] = (),
        note: str = "",
        restarts: str = "",
    ) -> Run:
        """A new run folder with that configuration, not started yet.

        Args:
            config: as resolved; `compute.threads` 0 becomes the number that this machine gives.
            name: what a person calls it; any printable text.
            command: the person's command line, for the record.
            group: the name that runs launched together share.
            tags, note: a person's own words, which they may change later.
            restarts: id of the run that this one does again.

        Raises:
            StoreError: an unusable name, group, tag or note, or the folder cannot be written; nothing is left of it then.
        """
        from engine.config import BehaviourConfig, TrainConfig, to_toml
        from mopo_tui.manager.new_run import with_threads

        name, group = _checked_name(name or "", "name"), _checked_name(group, "group")
        meta: dict[str, Any] = {}
        if tags:
            meta["tags"] = list(dict.fromkeys(_checked_tag(tag) for tag in tags))
        if note:
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
            "command": list(command),
            "paths": {"data": str(locations.data_root())},
            **({"restarts": restarts} if restarts else {}),
        }
        try:
            while True:
                run_id = _new_id(task, what, seed)
                try:
                    record.create_run(self.root / run_id, {"id": run_id, **about}, to_toml(config), meta)
                except FileExistsError:
                    continue
                return read_run(self.root / run_id)
        except OSError as error:
            raise StoreError(f"{self.root}: cannot write a run: {error.strerror}") from None

    def create_all(self, experiment: Experiment, command: Sequence[str] = ()) -> list[Run]:
        """A run folder for every run of an experiment, or none at all.

        Raises:
            StoreError: as `create`.
        """
        made: list[Run] = []
        try:
            for planned in experiment.runs:
                made.append(  # noqa: PERF401  what was made before a failure is removed
                    self.create(
                        planned.resolved.config,
                        name=planned.name,
                        command=command,
                        group=experiment.group,
                        tags=experiment.tags,
                        note=experiment.note,
                    )
                )
        except BaseException:
            for run in made:
                shutil.rmtree(run.folder, ignore_errors=True)
            raise
        return made

    # --- starting and stopping ----------------------------------------------------------------------------------------------------

    def launch(self, run: Run) -> None:
        """Start the engine on `run` under a detached supervisor; it outlives this process. A run that ended gets another attempt.

        Raises:
            StoreError: it is running, finished, or its folder is unreadable.
            LaunchError: the supervisor did not come up.
        """
        run = read_run(run.folder)
        if not self._can_start(run):
            raise StoreError(
                f"{run.id} is {run.state.value} and cannot be started{': ' + run.problem if run.problem else ''}"
            )
        (run.folder / record.CONTROL / "stop").unlink(missing_ok=True)
        # What the last attempt's supervisor still writes belongs to that attempt.
        before, end = record.read_json(run.folder / record.PROCESS), time.monotonic() + LAUNCH_SECONDS
        while before is not None and alive(run.folder, before) and time.monotonic() < end:
            time.sleep(0.05)
        spawn([sys.executable, "-P", "-m", "mopo_tui.manager.supervisor", str(run.folder)], run)

    @staticmethod
    def _can_start(run: Run) -> bool:
        """Whether there is something left to do: a finished run has more to do once it was extended beyond its result."""
        if run.state is RunState.FINISHED and run.result is not None:
            extended = record.read_json(run.folder / record.EXTENSION)
            return extended is not None and extended.get("after") == run.result.get("t")
        return run.state in (RunState.QUEUED, RunState.STOPPED, RunState.FAILED, RunState.LOST)

    def extend(self, run: Run, epochs: int) -> None:
        """Let a finished training run go on to `epochs` policy epochs at its next launch.

        Its result so far is kept beside the new one, as result-1.json, result-2.json, …

        Raises:
            StoreError: it is not finished, was trained for as long already, or its schedule knows its whole length.
        """
        from engine.config import ConfigError, TrainConfig, from_toml

        run = read_run(run.folder)
        extended = record.read_json(run.folder / record.EXTENSION)
        if run.job != "train" or not (run.state is RunState.FINISHED or (extended is not None and run.state.over)):
            raise StoreError(f"{run.id} is {run.state.value}: --epochs continues finished training runs")
        path = run.folder / record.CONFIG
        try:
            config = from_toml(TrainConfig, path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError, ConfigError) as error:
            raise StoreError(str(error)) from None
        trained = int(number_of(run.summary, "update") or 0) // config.policy.updates_per_epoch
        if epochs <= trained:
            raise StoreError(f"{run.id} was trained for {trained} epochs already: --epochs must be more")
        if config.sac.actor_schedule != "constant" and config.algorithm != "bc":
            raise StoreError(
                f"{run.id}: sac.actor_schedule = {config.sac.actor_schedule} brought the actor's step size to 0 over "
                f"{trained} epochs, so going on would learn nothing; start a run with --set policy.epochs={epochs}"
            )
        if not (run.folder / record.CHECKPOINTS / "state.safetensors").exists():
            raise StoreError(f"{run.id} has no checkpoint to go on from")
        result = record.read_json(run.folder / record.RESULT) or {}
        if extended is None or extended.get("after") != result.get("t"):
            number = 1 + sum(1 for _ in run.folder.glob("result-*.json"))
            record.write_json(run.folder / f"result-{number}.json", result)
        record.write_json(run.folder / record.EXTENSION, {"epochs": epochs, "after": result.get("t")})

    def stop(self, run: Run) -> None:
        """Ask the engine of `run` to stop: it keeps what it has and ends within seconds."""
        control = run.folder / record.CONTROL
        control.mkdir(exist_ok=True)
        (control / "stop").touch()

    def abort(self, run: Run) -> None:
        """End the engine of `run` and all it started: SIGTERM, and SIGKILL for what is left after a few seconds. On this host only.

        Raises:
            StoreError: it runs on another host.
        """
        process = record.read_json(run.folder / record.PROCESS)
        if process is None:
            return
        if process.get("host") != identity.host():
            raise StoreError(f"{run.id} runs on {process.get('host')}: stop it there")
        pid, started, boot = process.get("pid"), str(process.get("start_time")), str(process.get("boot_id"))
        if not isinstance(pid, int):
            return
        end = time.monotonic() + ABORT_SECONDS
        sent = signal.SIGTERM
        while identity.same_process(pid, started, boot):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, sent)  # the engine leads its own group
            if sent is signal.SIGKILL:
                return
            while time.monotonic() < end and identity.same_process(pid, started, boot):
                time.sleep(0.05)
            sent = signal.SIGKILL


def spawn(command: Sequence[str], run: Run) -> None:
    """Start a supervisor and wait until it has recorded the attempt's process.

    Raises:
        LaunchError: it ended, or said nothing for 20 s.
    """
    with open(run.folder / record.CONSOLE, "ab") as console:
        try:
            starter = subprocess.Popen(
                command,
                cwd=run.folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        except OSError as error:
            raise LaunchError(f"{run.id}: the supervisor could not be started: {error.strerror}") from None
    end = time.monotonic() + LAUNCH_SECONDS
    while True:
        process = record.read_json(run.folder / record.PROCESS)
        if process is not None and process.get("attempt") != run.attempt:
            starter.wait()  # it has forked the supervisor and ended
            return
        # The starter ends well as soon as the supervisor is on its own feet; only a failure is the last word.
        if starter.poll() not in (None, 0) or time.monotonic() > end:
            break
        time.sleep(0.01)
    last = log_tail(run.folder, 1)
    raise LaunchError(
        f"{run.id} was not started" + (f": {last[0]}" if last else f"; see {run.folder / record.CONSOLE}")
    )


def _new_id(task: str, what: str, seed: int) -> str:
    """Readable, in the order of creation, and unique: 20261120-130501-ant-angle-mopo-s0-x7k2 (UTC)."""
    when = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    # Not from the global generator: a program that seeds it would make equal ids.
    tail = "".join(random.SystemRandom().choices(string.ascii_lowercase + string.digits, k=4))
    slug = re.sub(r"[^a-z0-9]+", "-", f"{task}-{what}".lower()).strip("-")
    return f"{when}-{slug}-s{seed}-{tail}"


def _checked_name(name: str, what: str) -> str:
    """A run's name or a group's, without blanks around it."""
    name = name.strip()
    if not name.isprintable() or len(name) > 100:
        raise StoreError(f"a run's {what} has at most 100 characters and none that control the terminal")
    if name == "latest":
        raise StoreError(f"'latest' always means the newest run: choose another {what}")
    return name


def _checked_tag(tag: str) -> str:
    if not re.fullmatch(r"[^\s,+\-][^\s,]{0,49}", tag) or not tag.isprintable():
        raise StoreError(f"tag {tag!r}: one word of at most 50 characters, without commas, that begins with no + or -")
    return tag


def _owner() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
