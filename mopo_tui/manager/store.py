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
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import record
from mopo_tui.manager import locations, locks
from mopo_tui.manager.launcher import THIS_HOST, Launcher
from mopo_tui.manager.queue import Queue, QueueError
from mopo_tui.manager.run import Run, default_name, number_of, read_run
from mopo_tui.manager.state import (
    NOW_REQUEST,
    PAUSE_REQUEST,
    QUEUED_MARK,
    STOP_REQUEST,
    SUPERVISOR_LOCK,
    RunState,
    alive,
    clean,
    left_by,
    log_tail,
)

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

    def __init__(self, root: Path, launcher: Launcher = THIS_HOST) -> None:
        self.root = root
        self._launcher = launcher

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
        store = Store(root)
        store.advance()
        return store

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
        run = self.named(run_id)
        if run is None:
            raise RunNotFound(f"no run {run_id!r} in {self.root}; `mopo ls` lists them")
        return run

    def named(self, run_id: str) -> Run | None:
        """The run with that id, as it is now; None where there is none."""
        folder = self._folder(run_id)
        return None if folder is None else read_run(folder)

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
            DatasetUnavailable: its data is a file that is not there.
        """
        from engine.config import BehaviourConfig, TrainConfig, to_toml
        from mopo_tui.manager.datasets import check_source
        from mopo_tui.manager.new_run import with_threads

        check_source(config)
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

    @property
    def queue(self) -> Queue:
        """The queue of runs that wait."""
        return Queue(self.root, self._launcher)

    def launch(self, run: Run, *, now: bool = False, on_finish: Sequence[str] | None = None) -> int:
        """Start the engine on `run` under a detached supervisor, or let it wait in the queue. One that ended gets another attempt.

        Args:
            now: start at once, whatever waits before it and whether or not there is room.
            on_finish: program and arguments that follow its end, as `on_finish.parse` has them; None: what the person's own
                configuration says.

        Returns:
            0 where it has started; else its place in the queue, 1 for the next one. It starts when there is room.

        Raises:
            StoreError: it is running, finished, or its folder is unreadable.
            ConfigError: the configured command cannot be run.
            LaunchError: the supervisor did not come up.
        """
        self.enqueue([run], on_finish=on_finish)
        queue, before = self.queue, left_by(run.folder)
        try:
            queue.advance(besides=run.id)  # what waits before it goes first
            if not now and not queue.may_start(run.id):
                return self._place(run, before)
            if now and locks.held(run.folder / SUPERVISOR_LOCK):  # one that waits for a GPU
                self._request(run, NOW_REQUEST)
            started = self._launcher.start(run.folder, queued=not now or (run.folder / NOW_REQUEST).exists())
        except OSError as error:
            queue.take_out(run.id)
            raise LaunchError(f"{run.id}: the supervisor could not be started: {error.strerror or error}") from None
        end = time.monotonic() + LAUNCH_SECONDS
        while left_by(run.folder) == before:
            failed = started.poll() not in (None, 0)
            if failed or time.monotonic() > end:
                queue.take_out(run.id)
                raise LaunchError(_not_started(run))
            # Another run may have taken the room meanwhile, and a GPU may have to be waited for.
            if started.poll() == 0 and not now and queue.position(run.id) and not self._coming(run):
                return self._place(run, before)
            time.sleep(0.01)
        return 0

    def could_start(self, run: Run) -> bool:
        """Whether this host has what the run needs, once there is room."""
        return not _device(run).startswith("cuda") or self._launcher.has_gpus()

    def why_waiting(self, run: Run) -> str:
        """What a run in the queue waits for, in a few words."""
        if _device(run).startswith("cuda"):
            return "for a GPU with enough free memory" if self._launcher.has_gpus() else "there is no GPU on this host"
        used, slots = self.queue.used(), self.queue.slots()
        return f"{used} of {slots} slot{'s' if slots != 1 else ''} taken"

    def _coming(self, run: Run) -> bool:
        """Whether a supervisor is about to start a run that waits; one that waits for a GPU is not."""
        device = next((job.device for job in self.queue.waiting() if job.run_id == run.id), "cpu")
        return device == "cpu" and locks.held(run.folder / SUPERVISOR_LOCK)

    def _place(self, run: Run, before: int) -> int:
        """The run's place in the queue; 0 once it has left it for a supervisor."""
        end = time.monotonic() + LAUNCH_SECONDS
        while left_by(run.folder) == before and time.monotonic() < end:
            if place := self.queue.position(run.id):
                return place
            time.sleep(0.01)
        return 0

    def enqueue(self, runs: Sequence[Run], *, on_finish: Sequence[str] | None = None) -> None:
        """Let runs wait in the queue, in this order, behind all that wait; `advance` starts those whose turn has come.

        Raises:
            StoreError: one of them is running, finished, or unreadable, and so none is queued; or the queue cannot be written.
        """
        from mopo_tui.manager import on_finish as notes
        from mopo_tui.manager.new_run import finish_command
        from mopo_tui.manager.settings import read_settings

        command = finish_command(None) if on_finish is None else on_finish
        for run in runs:
            now = read_run(run.folder)
            if not self._can_start(now):
                why = f": {now.problem}" if now.problem else ""
                raise StoreError(f"{run.id} is {now.state.value} and cannot be started{why}")
        for run in runs:
            settings = read_settings(run.folder)
            threads, device = settings.get("compute.threads"), str(settings.get("compute.device", "cpu"))
            # What the last attempt's supervisor still writes belongs to that attempt.
            before, end = record.read_json(run.folder / record.PROCESS), time.monotonic() + LAUNCH_SECONDS
            while before is not None and not _ended(run.folder, before) and time.monotonic() < end:
                time.sleep(0.05)
            try:
                for request in (STOP_REQUEST, PAUSE_REQUEST, NOW_REQUEST):
                    (run.folder / request).unlink(missing_ok=True)
                try:
                    notes.keep(run.folder, command)
                except OSError:
                    if command:  # what only makes a start from elsewhere the same as one from here can be done without
                        raise
                slots = threads if isinstance(threads, int) and threads > 0 else 1
                self.queue.put(run.id, slots, device, _gpu_bytes(run) if device.startswith("cuda") else 0)
            except QueueError as error:
                raise StoreError(str(error)) from None
            except OSError as error:
                raise StoreError(f"{run.id}: cannot be queued: {error.strerror}: {error.filename}") from None

    def advance(self) -> None:
        """Start what waits in the queue and may begin; costs one look at a folder where nothing waits."""
        with contextlib.suppress(OSError):  # a store that cannot be written is read all the same
            self.queue.advance()

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
        if config.algorithm == "mb2po":  # --epochs means policy.epochs: the iterations of its second stage
            trained -= config.mb2po.stage1_epochs
            if "stage2" not in ((record.read_json(run.folder / record.RESULT) or {}).get("policies") or {}):
                raise StoreError(
                    f"{run.id} ended with stage 1, as its gate decided, so there is nothing to go on with; "
                    "start a run with --set mb2po.enter=always, or a longer one with --algorithm awac"
                )
        if epochs <= trained:
            raise StoreError(f"{run.id} was trained for {trained} epochs already: --epochs must be more")
        if config.sac.actor_schedule != "constant" and config.algorithm in ("mopo", "mbpo", "sac"):
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
        """Ask the engine of `run` to stop: it keeps what it has and ends within seconds. One that waits leaves the queue.

        Raises:
            StoreError: its folder cannot be written.
        """
        self._request(run, STOP_REQUEST)
        from mopo_tui.manager import on_finish as notes

        queue = self.queue
        if queue.take_out(run.id):
            notes.forget(run.folder)
        elif not any(job.run_id == run.id for job in queue.claimed()):
            (run.folder / QUEUED_MARK).unlink(missing_ok=True)  # it said that it waits, and did not

    def pause(self, run: Run) -> None:
        """Ask the engine of `run` to pause between two gradient steps. It keeps its memory and its slots.

        Raises:
            StoreError: it is not running.
        """
        now = read_run(run.folder)
        if now.state not in (RunState.RUNNING, RunState.PAUSED):
            raise StoreError(f"{run.id} is {now.state.value}: only a running one can be paused")
        self._request(run, PAUSE_REQUEST)

    def unpause(self, run: Run) -> None:
        """Let a paused engine go on."""
        (run.folder / PAUSE_REQUEST).unlink(missing_ok=True)

    def _request(self, run: Run, name: str) -> None:
        path = run.folder / name
        try:
            path.parent.mkdir(exist_ok=True)
            path.touch()
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from None

    def abort(self, run: Run) -> None:
        """End the engine of `run` and all it started: SIGTERM, and SIGKILL for what is left after a few seconds. On this host only;
        one that waits leaves the queue.

        Raises:
            StoreError: it runs on another host.
        """
        process = record.read_json(run.folder / record.PROCESS)
        if run.state is RunState.QUEUED and self.queue.take_out(run.id):
            self._request(run, STOP_REQUEST)
            return
        if process is None:
            return
        if self._launcher.lives(process) is None:
            raise StoreError(f"{run.id} runs on {clean(str(process.get('host')))}: stop it there")
        for number, seconds in ((signal.SIGTERM, ABORT_SECONDS), (signal.SIGKILL, ABORT_SECONDS)):
            try:
                self._launcher.signal_group(process, number)
            except PermissionError:
                raise StoreError(f"{run.id} belongs to another user: it is theirs to end") from None
            end = time.monotonic() + seconds
            while self._launcher.lives(process):
                if time.monotonic() > end:
                    break
                time.sleep(0.05)

    def restart(self, run: Run, command: Sequence[str] = ()) -> Run:
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
        return self.create(
            config, name=run.name, command=command, group=run.group, tags=run.tags, note=run.note, restarts=run.id
        )


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
    raise LaunchError(_not_started(run))


def _not_started(run: Run) -> str:
    last = log_tail(run.folder, 1)
    return f"{run.id} was not started" + (f": {last[0]}" if last else f"; see {run.folder / record.CONSOLE}")


def _ended(folder: Path, process: dict[str, Any]) -> bool:
    """Whether nothing more will be written of an attempt."""
    ended = record.read_json(folder / record.EXIT)
    return (ended is not None and ended.get("attempt") == process.get("attempt")) or not alive(folder, process)


def _device(run: Run) -> str:
    from mopo_tui.manager.settings import read_settings

    return str(read_settings(run.folder).get("compute.device", "cpu"))


def _gpu_bytes(run: Run) -> int:
    """What the run may need on a GPU."""
    from engine.config import ConfigError, TrainConfig, from_toml
    from engine.plan import expected_bytes

    try:
        return int(expected_bytes(from_toml(TrainConfig, (run.folder / record.CONFIG).read_text(encoding="utf-8"), "")))
    except (OSError, UnicodeDecodeError, ConfigError):
        return 0


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
