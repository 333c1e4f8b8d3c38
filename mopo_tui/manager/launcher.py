"""Where runs are computed: one small interface, and this host as its one implementation (standard library only).

Everything else asks a `Launcher` what there is room for, has it start the supervisor of a run folder, and asks it whether a
recorded process lives. A cluster's scheduler would be a second class here and a second entry of `PLACES`, and nothing outside
this module would have to know.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from engine import record
from mopo_tui.manager import identity

GPU_QUERY_SECONDS = 10.0
_GPU_QUERY = ("--query-gpu=index,uuid,memory.total,memory.free", "--format=csv,noheader,nounits")
_MIB = 1 << 20


@dataclass(frozen=True)
class Gpu:
    """One GPU now. `free` is what no process uses, in bytes."""

    index: int
    uuid: str
    total: int
    free: int


class Started(Protocol):
    """A supervisor on its way."""

    def poll(self) -> int | None:
        """None while it comes up; 0 once it stands on its own feet; anything else if it failed."""


class Launcher(Protocol):
    """A place where runs are computed."""

    def host(self) -> str:
        """Its name, as it stands in process.json and in claims."""

    def me(self) -> dict[str, Any]:
        """The calling process as `lives` takes it: host, pid, start_time, boot_id."""

    def slots(self) -> int:
        """How many threads may compute at once unless a person says otherwise."""

    def has_gpus(self) -> bool:
        """Whether it is worth asking for GPUs; answers at once."""

    def gpus(self) -> list[Gpu]:
        """Its GPUs now, in the order in which a run counts them; may take seconds."""

    def start(self, folder: Path, *, queued: bool) -> Started:
        """Start the supervisor of a run folder, detached from this process.

        Args:
            queued: it waits for its turn in the queue, and ends where another one has started the run; else it starts at once.

        Raises:
            OSError: it could not be started.
        """

    def lives(self, process: Mapping[str, Any]) -> bool | None:
        """Whether that process lives; None where that cannot be told from here.

        Args:
            process: host, pid, start_time and boot_id, as `me` and process.json have them.
        """

    def signal_group(self, process: Mapping[str, Any], number: int) -> None:
        """Send a signal to the process and all in its group; nothing where it is gone."""


class ThisHost:
    """The machine on which this process runs."""

    def __init__(self) -> None:
        self._starters: list[subprocess.Popen[bytes]] = []

    def host(self) -> str:
        return identity.host()

    def me(self) -> dict[str, Any]:
        return self.process(os.getpid())

    def process(self, pid: int) -> dict[str, Any]:
        """A process of this machine as `lives` takes it; start_time is None where it is gone."""
        start_time, boot_id = identity.start_time(pid), identity.boot_id()
        return {"host": self.host(), "pid": pid, "start_time": start_time, "boot_id": boot_id}

    def slots(self) -> int:
        return identity.cores()

    def has_gpus(self) -> bool:
        return shutil.which("nvidia-smi") is not None

    def gpus(self) -> list[Gpu]:
        try:
            asked = subprocess.run(
                ["nvidia-smi", *_GPU_QUERY], capture_output=True, text=True, timeout=GPU_QUERY_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
        found = []
        for line in asked.stdout.splitlines() if asked.returncode == 0 else ():
            fields = [part.strip() for part in line.split(",")]
            with contextlib.suppress(ValueError, IndexError):  # a GPU that is lost says [N/A]
                found.append(Gpu(int(fields[0]), fields[1], int(fields[2]) * _MIB, int(fields[3]) * _MIB))
        return _visible(found, os.environ.get("CUDA_VISIBLE_DEVICES"))

    def command(self, folder: Path, *, queued: bool) -> list[str]:
        """What is started: the supervisor of this installation."""
        wait = ["--queued"] if queued else []
        return [sys.executable, "-P", "-m", "mopo_tui.manager.supervisor", *wait, str(folder)]

    def start(self, folder: Path, *, queued: bool) -> subprocess.Popen[bytes]:
        self._starters = [starter for starter in self._starters if starter.poll() is None]
        with open(folder / record.CONSOLE, "ab") as console:
            starter = subprocess.Popen(
                self.command(folder, queued=queued),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._starters.append(starter)
        return starter

    def lives(self, process: Mapping[str, Any]) -> bool | None:
        if process.get("host") != self.host():
            return None
        pid = process.get("pid")
        return isinstance(pid, int) and identity.same_process(
            pid, str(process.get("start_time")), str(process.get("boot_id"))
        )

    def signal_group(self, process: Mapping[str, Any], number: int) -> None:
        if self.lives(process):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process["pid"], number)  # the engine leads its own group


def _visible(gpus: Sequence[Gpu], chosen: str | None) -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES leaves, in its order; it ends at the first entry that is none, as CUDA reads it."""
    if chosen is None:
        return list(gpus)
    found: list[Gpu] = []
    for word in chosen.split(","):
        word = word.strip()
        gpu = next((g for g in gpus if word == str(g.index) or (word and g.uuid.startswith(word))), None)
        if gpu is None:
            break
        found.append(gpu)
    return found


def gpus_of(device: str, gpus: Sequence[Gpu]) -> Sequence[Gpu]:
    """Those of `gpus` on which a run with `compute.device` = "cuda" or "cuda:N" may be computed."""
    _, colon, number = device.partition(":")
    if not colon:
        return gpus
    return gpus[int(number) : int(number) + 1] if number.isdecimal() else ()


def missing_device(launcher: Launcher, device: str) -> str:
    """Why a run with that `compute.device` cannot be computed there, in a few words; empty where it can. May take seconds."""
    if not device.startswith("cuda"):
        return ""
    gpus = launcher.gpus() if launcher.has_gpus() else []
    if gpus_of(device, gpus):
        return ""
    there = {0: "is no GPU", 1: "is only one GPU"}.get(len(gpus), f"are only {len(gpus)} GPUs")
    return f"there {there} on this host"


THIS_HOST = ThisHost()
PLACES: tuple[Launcher, ...] = (
    THIS_HOST,
)  # where a run may have been computed: each is asked about a recorded process


def lives(process: Mapping[str, Any]) -> bool | None:
    """Whether a recorded process lives, by the first place that knows; None where none can tell."""
    return next((known for place in PLACES if (known := place.lives(process)) is not None), None)
