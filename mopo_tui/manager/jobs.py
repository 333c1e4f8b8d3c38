"""The files of the queue: what their names and contents say of a job (standard library only).

<order>,<run id>.job                                              a run that waits
<order>,<run id>,<host>,<pid>,<start time>,<boot id>,<gpu>.claim  one that a supervisor of that host has
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from engine import record

JOB, CLAIM = ".job", ".claim"


@dataclass(frozen=True)
class Job:
    """A run in the queue, waiting or claimed.

    Attributes:
        order: its place among the others; the lowest is first.
        slots: of the CPU; 0 for a run that takes a GPU.
        device: "cpu", "cuda" or "cuda:N".
        bytes: memory that it needs on a GPU.
        queued: Unix seconds at which it was put there; tells a person since when, and decides nothing.
        uid: who owns the file.
        claimant: host, pid, start_time and boot_id of the supervisor that has it, and the uuid of its GPU; None while it waits.
    """

    path: Path
    order: int
    run_id: str
    slots: int
    device: str
    bytes: int
    queued: float
    uid: int
    claimant: dict[str, Any] | None = None

    @property
    def on_gpu(self) -> bool:
        return self.device.startswith("cuda")


def quoted(text: str) -> str:
    """`text` for a part of a file's name, without the comma that parts stand between."""
    return quote(os.fsencode(text), safe="")


def _unquoted(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(os.fsencode(text)))


def fields_of(path: Path) -> list[str]:
    """What a file's name says: order and run id, and of a claim its owner and GPU; nothing for a name that is none of ours."""
    fields = [_unquoted(field) for field in path.name.rpartition(".")[0].split(",")]
    if len(fields) != (7 if path.name.endswith(CLAIM) else 2) or not re.fullmatch(r"\d{1,18}", fields[0]):
        return []
    # Joined to the store's path, the run's name must stay below it.
    if not fields[1] or "/" in fields[1] or "\0" in fields[1] or fields[1].startswith("."):
        return []
    return fields if len(fields) == 2 or re.fullmatch(r"\d{1,12}", fields[3]) else []


def read_job(path: Path) -> Job | None:
    """The job of a file; None for one that is gone, or whose name is none of ours."""
    fields = fields_of(path)
    try:
        uid = path.lstat().st_uid
    except OSError:
        return None
    if not fields:
        return None
    claimant: dict[str, Any] | None = None
    if len(fields) > 2:
        claimant = dict(zip(("host", "pid", "start_time", "boot_id", "gpu"), fields[2:], strict=True))
        claimant["pid"] = int(fields[3])
    said = record.read_json(path) or {}
    device = said.get("device") if isinstance(said.get("device"), str) else "cpu"
    return Job(
        path=path,
        order=int(fields[0]),
        run_id=fields[1],
        slots=_whole(said.get("slots"), 1),
        device=str(device),
        bytes=_whole(said.get("bytes"), 0),
        queued=float(said["queued"]) if isinstance(said.get("queued"), (int, float)) else 0.0,
        uid=uid,
        claimant=claimant,
    )


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise


def renumber(job: Job, order: int) -> None:
    """Give a waiting job another place."""
    os.rename(job.path, job.path.with_name(f"{order},{quoted(job.run_id)}{JOB}"))
