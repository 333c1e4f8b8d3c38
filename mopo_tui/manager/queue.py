"""The queue of a store: one small file per waiting run, and no daemon (standard library only).

Below queue/ lie jobs and claims (`jobs` says what their names mean) and slots-<host>.json, where a person said how many.

The order is a number and no time, so a clock that is set back changes nothing. A job is claimed by renaming it, which one process
alone can do, on a network file system too; the claim's name says who that was, so that a dead one's job goes back to its place. On
each host a lock keeps two claimants from taking the same slot. Every run holds a claim while it runs, whoever started it: the
claims of a host are what its slots count. A job names a run folder beside the queue, never a command, and is started only by the
user who owns both.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import stat
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from engine import record
from mopo_tui.manager import locks
from mopo_tui.manager.jobs import CLAIM, JOB, Job, fields_of, quoted, read_job, renumber
from mopo_tui.manager.launcher import THIS_HOST, Gpu, Launcher, gpus_of
from mopo_tui.manager.state import (
    HEARTBEAT_MAX_AGE,
    QUEUED_MARK,
    SUPERVISOR_LOCK,
    alive,
    heartbeat_age,
    left_by,
    unbegun,
)

FOLDER = "queue"
LOCK_SECONDS = 5.0
GPU_WAITERS = 8  # processes that wait for a GPU, at most
MOST_SLOTS = 4096
_FIRST, _GAP = 1 << 40, 1 << 20  # of the order: room to put a job before or between others
_NO_LOCK_SECONDS = 0.5
# Of a file that cannot be used: what trying again does not change.
_LASTING = (errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP)


class QueueError(ValueError):
    """A request that the queue cannot fulfil; one clear line."""


def busy(root: Path) -> bool:
    """Whether any job waits or is claimed in the store; one look at one folder."""
    try:
        with os.scandir(root / FOLDER) as entries:
            return any(entry.name.endswith((JOB, CLAIM)) for entry in entries)
    except OSError:
        return False


class Queue:
    """The queue of the store in `root`, for runs on the launcher's host."""

    def __init__(self, root: Path, launcher: Launcher = THIS_HOST) -> None:
        self.root = root
        self.folder = root / FOLDER
        self.launcher = launcher

    # --- looking ------------------------------------------------------------------------------------------------------------------

    def waiting(self) -> list[Job]:
        """Jobs that wait, in the order in which they start."""
        return self._jobs(JOB)

    def claimed(self) -> list[Job]:
        """Jobs that a supervisor has, of all hosts; those of dead ones too, until somebody tidies."""
        return self._jobs(CLAIM)

    def position(self, run_id: str) -> int:
        """The place of a waiting run, 1 for the next one; 0 where it does not wait."""
        return next((i for i, job in enumerate(self.waiting(), start=1) if job.run_id == run_id), 0)

    def slots(self) -> int:
        """How many slots this host has."""
        said = (record.read_json(self._slots_file()) or {}).get("slots")
        return said if isinstance(said, int) and 0 <= said <= MOST_SLOTS else self.launcher.slots()

    def used(self) -> int:
        """How many of them are taken; more than there are where a person said so, or lowered their number."""
        return sum(job.slots for job in self._mine_now())

    def set_slots(self, count: int | None) -> None:
        """Say how many slots this host has; None: as many as it has cores.

        Raises:
            QueueError: an impossible number, or it cannot be written.
        """
        if count is not None and not 0 <= count <= MOST_SLOTS:
            raise QueueError(f"slots: {count} is not between 0 and {MOST_SLOTS}")
        try:
            self.folder.mkdir(exist_ok=True)
            if count is None:
                self._slots_file().unlink(missing_ok=True)
            else:
                record.write_json(self._slots_file(), {"slots": count})
        except OSError as error:
            raise QueueError(f"{self._slots_file()}: cannot be written: {error.strerror}") from None

    # --- putting in and taking out ------------------------------------------------------------------------------------------------

    def put(self, run_id: str, slots: int, device: str = "cpu", needed: int = 0) -> Job:
        """Let the run wait, behind all others; a run that waits already keeps its place.

        Raises:
            QueueError: the queue cannot be written, or the folder's name is too long for it.
        """
        job = {"slots": 0 if device.startswith("cuda") else slots, "device": device, "bytes": needed}
        folder = self.root / run_id
        try:
            self.folder.mkdir(exist_ok=True)
            with self._locked():
                there = self._names()
                path = next((path for path, _, known in there if known == run_id), None)
                if path is not None and (known := read_job(path)) is not None:
                    return known
                # The mark is first: a run that says that it waits and does not can be resumed; the other way round it would lie.
                record.write_json(folder / QUEUED_MARK, {"after": left_by(folder)})
                order = max((order for _, order, _ in there), default=_FIRST) + _GAP
                path = self.folder / f"{order},{quoted(run_id)}{JOB}"
                record.write_json(path, {**job, "queued": time.time()})
        except OSError as error:
            raise QueueError(f"{self.folder}: cannot queue {run_id}: {error.strerror or error}") from None
        found = read_job(path)
        if found is None:
            raise QueueError(f"{path}: cannot be read back")
        return found

    def take_out(self, run_id: str) -> bool:
        """Let the run no longer wait; False where it does not: it never did, or a supervisor has it by now."""
        for job in self.waiting():
            if job.run_id == run_id:
                try:
                    job.path.unlink()
                except FileNotFoundError:
                    return self.take_out(run_id)  # it was moved, or claimed
                (self.root / run_id / QUEUED_MARK).unlink(missing_ok=True)
                return True
        return False

    def move(self, run_id: str, place: int) -> None:
        """Put a waiting run in that place, 1 for the first; a place beyond the end is the last.

        Raises:
            QueueError: it does not wait, or the queue cannot be written.
        """
        try:
            with self._locked():
                jobs = self.waiting()
                moved = next((job for job in jobs if job.run_id == run_id), None)
                if moved is None:
                    raise QueueError(f"{run_id} does not wait in the queue")
                others = [job for job in jobs if job is not moved]
                at = min(max(place - 1, 0), len(others))
                before = others[at - 1].order if at else None
                after = others[at].order if at < len(others) else None
                if before is None:
                    order = (after if after is not None else _FIRST) - _GAP
                elif after is None:
                    order = before + _GAP
                elif after - before > 1:
                    order = (before + after) // 2
                else:  # no number is left between the two: the others are spread again, whatever is last first
                    base = max(job.order for job in jobs)
                    for i in reversed(range(len(others))):
                        renumber(others[i], base + (i + 1) * _GAP)
                    others = [job for job in self.waiting() if job.run_id != run_id]
                    order = (others[at - 1].order + others[at].order) // 2
                renumber(moved, order)
        except OSError as error:
            raise QueueError(f"{self.folder}: cannot move {run_id}: {error.strerror or error}") from None

    # --- starting -----------------------------------------------------------------------------------------------------------------

    def advance(self, *, besides: str = "") -> None:
        """Start a supervisor for every job of mine that may begin now, besides that run; they claim their jobs themselves."""
        if not busy(self.root):
            return
        with self._locked():
            self._tidy()
            ready = self._ready()
        if self.launcher.has_gpus():
            ready += [job for job in self.waiting() if job.on_gpu and self._is_mine(job)][:GPU_WAITERS]
        for job in ready:
            folder = self.root / job.run_id
            if job.run_id != besides and not locks.held(folder / SUPERVISOR_LOCK):
                try:
                    self.launcher.start(folder, queued=True)
                except OSError as error:  # it stays queued and is tried again next time, if that can help
                    self.fail_for_good(job.run_id, error)

    def may_start(self, run_id: str) -> bool:
        """Whether the waiting run may begin now; for one that takes a GPU: whether it is worth waiting for one here."""
        with self._locked():
            self._tidy()
            job = next((job for job in self.waiting() if job.run_id == run_id), None)
            if job is not None and job.on_gpu:
                return self.launcher.has_gpus()
            return job is not None and job in self._ready()

    def claim(self, run_id: str, *, anyway: bool = False) -> Job | None:
        """Take a waiting run for the calling process, if its turn has come and there is room.

        Args:
            anyway: whatever waits before it, and whether or not there is room.

        Returns:
            The claim, which `release` gives up; None where the run does not wait, or must go on waiting.
        """
        job = next((job for job in self.waiting() if job.run_id == run_id), None)
        if job is None:
            return None
        gpus = self.launcher.gpus() if job.on_gpu else []
        with self._locked() as alone:
            self._tidy()
            job = next((job for job in self.waiting() if job.run_id == run_id and self._is_mine(job)), None)
            if job is None:
                return None
            given = self._given(gpus) if job.on_gpu else {}
            if not anyway and (job.run_id not in given if job.on_gpu else job not in self._ready()):
                return None
            claim = self._take(job, given.get(job.run_id, ""))
            if claim is None or alone or anyway or self.used() <= self.slots():
                return claim
        # Without locks two may have taken the last slot: all of them let go, and come again at different times.
        self._give_back(claim)
        time.sleep(random.SystemRandom().uniform(0, _NO_LOCK_SECONDS))
        return None

    def holds(self, claim: Job) -> bool:
        """Whether the claim still stands: nobody took its owner for dead."""
        return claim.path.exists()

    def release(self, claim: Job) -> None:
        """Give up a claim: its slots are free."""
        with contextlib.suppress(OSError):
            claim.path.unlink()

    def give_back(self, claim: Job) -> None:
        """Let a claimed run that has not begun wait again, in its place."""
        with contextlib.suppress(OSError):
            self._give_back(claim)

    def fail(self, run_id: str, why: str) -> None:
        """Take a run that cannot be started out of the queue, and leave the reason in its folder: it has failed before it began."""
        self.take_out(run_id)
        row = {"t": time.time(), "step": 0, "stage": "start", "kind": "failed", "message": why}
        with contextlib.suppress(OSError):
            record.append_row(self.root / run_id / record.EVENTS, row)

    def fail_for_good(self, run_id: str, error: OSError) -> None:
        """As `fail`, where the run's own folder is what cannot be used. What else is wrong (a full disk, no more processes) may
        pass: the run keeps its place."""
        folder = self.root / run_id
        if error.errno in _LASTING and str(error.filename or "").startswith(f"{folder}{os.sep}"):
            self.fail(run_id, f"could not be started: {error.strerror}: {error.filename}")

    # --- inside -------------------------------------------------------------------------------------------------------------------

    def _slots_file(self) -> Path:
        return self.folder / f"slots-{re.sub(r'[^A-Za-z0-9.-]', '-', self.launcher.host())}.json"

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        """The lock of this host's slots; gives False where the file system has none."""
        host = re.sub(r"[^A-Za-z0-9.-]", "-", self.launcher.host())
        with locks.locked(self.folder / f".lock-{host}", LOCK_SECONDS) as alone:
            yield alone

    def _names(self) -> list[tuple[Path, int, str]]:
        """File, order and run id of every job and claim."""
        try:
            with os.scandir(self.folder) as entries:
                paths = [self.folder / entry.name for entry in entries if entry.name.endswith((JOB, CLAIM))]
        except OSError:
            return []
        named = ((path, fields_of(path)) for path in paths)
        return [(path, int(fields[0]), fields[1]) for path, fields in named if fields]

    def _jobs(self, ending: str) -> list[Job]:
        found = (read_job(path) for path, _, _ in self._names() if path.name.endswith(ending))
        return sorted((job for job in found if job is not None), key=lambda job: (job.order, job.run_id))

    def _mine_now(self) -> list[Job]:
        """The claims of this host."""
        host = self.launcher.host()
        return [job for job in self.claimed() if job.claimant is not None and job.claimant["host"] == host]

    def _is_mine(self, job: Job) -> bool:
        """Whether the job and the run folder it names belong to the calling user; the folder lies in this store."""
        try:
            folder = (self.root / job.run_id).lstat()
        except OSError:
            return False
        return stat.S_ISDIR(folder.st_mode) and job.uid == folder.st_uid == os.geteuid()

    def _ready(self) -> list[Job]:
        """My jobs on the CPU that may begin now: the first ones, as many as there is room for. Nothing overtakes."""
        total = self.slots()
        free = total - self.used()
        ready = []
        for job in self.waiting():
            # Another user's job is started by that user's processes alone, and must not stop mine meanwhile.
            if job.on_gpu or not self._is_mine(job):
                continue
            free -= min(job.slots, total)
            if free < 0 or total == 0:
                break
            ready.append(job)
        return ready

    def _given(self, gpus: Sequence[Gpu]) -> dict[str, str]:
        """Run id → GPU for every waiting job that may have one now. One that must wait keeps its GPUs from those behind it."""
        taken = {job.claimant["gpu"] for job in self._mine_now() if job.claimant is not None}
        given = {}
        for job in self.waiting():
            if not job.on_gpu or not self._is_mine(job):
                continue
            wanted = [gpu for gpu in gpus_of(job.device, gpus) if gpu.uuid not in taken]
            roomy = [gpu for gpu in wanted if gpu.free >= min(job.bytes, 0.9 * gpu.total)]
            if roomy:
                given[job.run_id] = roomy[0].uuid
                taken.add(roomy[0].uuid)
            else:
                taken.update(gpu.uuid for gpu in wanted)
        return given

    def _take(self, job: Job, gpu: str) -> Job | None:
        """Rename the job to a claim of the calling process; None where another was quicker."""
        me = self.launcher.me()
        who = [me["host"], str(me["pid"]), str(me["start_time"]), str(me["boot_id"]), gpu]
        path = self.folder / (job.path.name.removesuffix(JOB) + "".join("," + quoted(w) for w in who) + CLAIM)
        with contextlib.suppress(OSError):  # over a network a rename may say that it failed, and have been done
            os.rename(job.path, path)
        return read_job(path)

    def _give_back(self, claim: Job) -> None:
        folder = self.root / claim.run_id
        after = left_by(folder)
        order, run_id = claim.path.name.split(",")[:2]
        os.rename(claim.path, self.folder / f"{order},{run_id}{JOB}")  # fails where another was quicker
        record.write_json(folder / QUEUED_MARK, {"after": after})

    def _tidy(self) -> None:
        """Give back what dead supervisors had claimed and not begun; drop claims of runs that ended, and jobs without a run."""
        for claim in self.claimed():
            with contextlib.suppress(OSError):
                self._tidy_claim(claim)
        for job in self.waiting():
            folder = self.root / job.run_id
            process = record.read_json(folder / record.PROCESS)
            running = process is not None and not unbegun(folder) and alive(folder, process)
            if not (folder / record.RUN).exists() or running:
                job.path.unlink(missing_ok=True)

    def _tidy_claim(self, claim: Job) -> None:
        assert claim.claimant is not None
        folder = self.root / claim.run_id
        lives = self.launcher.lives(claim.claimant)
        if lives is None:  # another host's: only one that has not begun for long may be given back
            lives = (
                not unbegun(folder) or _age(claim.path) < HEARTBEAT_MAX_AGE or heartbeat_age(folder) < HEARTBEAT_MAX_AGE
            )
        if lives:
            return
        process = record.read_json(folder / record.PROCESS)
        if not (folder / record.RUN).exists():
            claim.path.unlink(missing_ok=True)
        elif unbegun(folder):
            self._give_back(claim)
        elif process is None or not alive(folder, process):  # else its engine goes on without a supervisor, in its slot
            claim.path.unlink(missing_ok=True)


def _age(path: Path) -> float:
    """Seconds since the file's name or content last changed."""
    try:
        return time.time() - path.stat().st_ctime
    except OSError:
        return 0.0
