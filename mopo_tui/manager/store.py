"""The store: a folder of run folders. Finds runs, makes them, launches and stops them."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine import record
from mopo_tui.manager import attempts, locations
from mopo_tui.manager.errors import LaunchError, RunNotFound, StoreError
from mopo_tui.manager.launcher import THIS_HOST, Launcher
from mopo_tui.manager.queue import Queue
from mopo_tui.manager.run import Run, read_run
from mopo_tui.manager.state import PAUSE_REQUEST, QUEUED_MARK, STOP_AFTER_REQUEST, STOP_REQUEST, RunState, clean

if TYPE_CHECKING:
    from typing import Unpack

    from engine.config import Config
    from mopo_tui.manager.experiment import Experiment
    from mopo_tui.manager.making import About

__all__ = ["LaunchError", "RunNotFound", "Store", "StoreError"]

ABORT_SECONDS = 3.0
_README = f"""{locations.STORE_TITLE}

Each folder here is one run, written as the run folder's format 1 says: run.json (what it is), config.toml (its whole
configuration), metrics.jsonl (what it measured), result.json (its scores). Move or delete a run by moving or deleting its folder.
"""


class Store:
    """A folder of run folders.

    Attributes:
        root: absolute path.
        read_only: whether its runs are only there to be looked at: nothing is written into its folder.
    """

    def __init__(self, root: Path, launcher: Launcher = THIS_HOST, *, read_only: bool = False) -> None:
        self.root = root
        self.read_only = read_only
        self._launcher = launcher

    @staticmethod
    def open(path: Path | None = None, *, read_only: bool = False) -> Store:
        """The store at `path`, or at the place that `locations.store_root` finds; made where it is missing, unless it is only read.

        Raises:
            StoreError: the folder cannot be made, is missing where it is only read, or a file is in its place.
            LocationError: the configuration names no usable path.
        """
        locations.use_own_tasks()
        root = locations.store_root(path)
        if read_only:
            if not root.is_dir():
                raise StoreError(f"{root}: there is no such folder")
            store = Store(root, read_only=True)
            with contextlib.suppress(OSError):  # it works without
                store.derived.mkdir(parents=True, exist_ok=True)
            return store
        try:
            root.mkdir(parents=True, exist_ok=True)
            if not any(root.iterdir()):
                record.write_atomically(root / locations.STORE_README, _README)
        except OSError as error:
            raise StoreError(f"{root}: cannot be used as run store: {error.strerror}") from None
        store = Store(root)
        store.advance()
        return store

    def owns(self, run: Run) -> bool:
        """Whether the run may be changed here: not one that ships with the project, nor any of a store that is only read."""
        return not self.read_only and run.folder.parent == self.root

    @property
    def derived(self) -> Path:
        """Where what is derived from its runs is kept; it need not exist."""
        if not self.read_only:
            return self.root
        import hashlib  # a listing does without

        return locations.user_cache() / "stores" / hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]

    def _refuse_read_only(self) -> None:
        """
        Raises:
            StoreError: the store is only read.
        """
        if self.read_only:
            raise StoreError(f"{self.root}: its runs are only there to be looked at")

    # --- finding ------------------------------------------------------------------------------------------------------------------

    def paths(self) -> Iterator[str]:
        """The path of every folder that is a run, or pretends to be one."""
        root = str(self.root)
        for parent in (root, f"{root}/{locations.REFERENCE}"):
            with contextlib.suppress(OSError), os.scandir(parent) as entries:
                for entry in entries:
                    ours = parent is root and entry.name in (locations.REFERENCE, locations.QUEUE)
                    if not ours and not entry.name.startswith(".") and entry.is_dir():
                        yield entry.path

    def _folders(self) -> Iterator[Path]:
        return map(Path, self.paths())

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

    def create(self, config: Config, **said: Unpack[About]) -> Run:
        """A new run folder with that configuration, not started yet; `making.About` lists what else may be said of it.

        Raises:
            StoreError: an unusable name, group, tag or note, or the folder cannot be written; nothing is left of it then.
            DatasetUnavailable: its data is a file that is not there.
        """
        self._refuse_read_only()
        from mopo_tui.manager import making

        return making.create(self.root, config, **said)

    def create_all(self, experiment: Experiment, command: Sequence[str] = ()) -> list[Run]:
        """A run folder for every run of an experiment, or none at all.

        Raises:
            StoreError: as `create`.
        """
        self._refuse_read_only()
        from mopo_tui.manager import making

        return making.create_all(self.root, experiment, command)

    def restart(self, run: Run, command: Sequence[str] = ()) -> Run:
        """A fresh run folder with the configuration of `run`, not started yet: same name, group, tags and note, new id.

        Raises:
            StoreError: it has not ended, or its configuration cannot be read by this version.
        """
        self._refuse_read_only()
        from mopo_tui.manager import making

        return making.create_again(self.root, run, command)

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
        return attempts.start(self.queue, run, now=now)

    def could_start(self, run: Run) -> bool:
        """Whether this host has what the run needs, once there is room."""
        return attempts.could_start(self.queue, run)

    def why_waiting(self, run: Run) -> str:
        """What a run in the queue waits for, in a few words."""
        return attempts.why_waiting(self.queue, run)

    def enqueue(self, runs: Sequence[Run], *, on_finish: Sequence[str] | None = None) -> None:
        """Let runs wait in the queue, in this order, behind all that wait; `advance` starts those whose turn has come.

        Raises:
            StoreError: one of them is running, finished, or unreadable, and so none is queued; or the queue cannot be written.
        """
        self._refuse_read_only()
        from mopo_tui.manager.new_run import finish_command

        attempts.enqueue(self.queue, runs, finish_command(None) if on_finish is None else on_finish)

    def advance(self) -> None:
        """Start what waits in the queue and may begin; costs one look at a folder where nothing waits."""
        if self.read_only:
            return
        with contextlib.suppress(OSError):  # a store that cannot be written is read all the same
            self.queue.advance()

    def extend(self, run: Run, epochs: int) -> None:
        """Let a finished training run go on to `epochs` policy epochs at its next launch; its result so far is kept.

        Raises:
            StoreError: it is not finished, was trained for as long already, or its schedule knows its whole length.
        """
        self._refuse_read_only()
        attempts.extend(run, epochs)

    def stop(self, run: Run) -> None:
        """Ask the engine of `run` to stop: it keeps what it has and ends within seconds. One that waits leaves the queue.

        Raises:
            StoreError: its folder cannot be written.
        """
        self._refuse_read_only()
        attempts.request(run, STOP_REQUEST)
        from mopo_tui.manager import on_finish as notes

        queue = self.queue
        if queue.take_out(run.id):
            notes.forget(run.folder)
        elif not any(job.run_id == run.id for job in queue.claimed()):
            (run.folder / QUEUED_MARK).unlink(missing_ok=True)  # it said that it waits, and did not

    def stop_after(self, run: Run, updates: int) -> None:
        """Ask a run that has not begun to end after so many policy updates (of all its policy stages), evaluated and kept; it then
        is stopped, and a later attempt goes on.

        Raises:
            StoreError: its folder cannot be written.
        """
        path = run.folder / STOP_AFTER_REQUEST
        try:
            path.parent.mkdir(exist_ok=True)
            record.write_json(path, {"update": updates})
        except OSError as error:
            raise StoreError(f"{path}: cannot be written: {error.strerror}") from None

    def pause(self, run: Run) -> None:
        """Ask the engine of `run` to pause between two gradient steps. It keeps its memory and its slots.

        Raises:
            StoreError: it is not running.
        """
        self._refuse_read_only()
        now = read_run(run.folder)
        if now.state not in (RunState.RUNNING, RunState.PAUSED):
            raise StoreError(f"{run.id} is {now.state.value}: only a running one can be paused")
        attempts.request(run, PAUSE_REQUEST)

    def unpause(self, run: Run) -> None:
        """Let a paused engine go on."""
        self._refuse_read_only()
        (run.folder / PAUSE_REQUEST).unlink(missing_ok=True)

    def abort(self, run: Run) -> None:
        """End the engine of `run` and all it started: SIGTERM, and SIGKILL for what is left after a few seconds. On this host only;
        one that waits leaves the queue.

        Raises:
            StoreError: it runs on another host.
        """
        self._refuse_read_only()
        process = record.read_json(run.folder / record.PROCESS)
        if run.state is RunState.QUEUED and self.queue.take_out(run.id):
            attempts.request(run, STOP_REQUEST)
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
