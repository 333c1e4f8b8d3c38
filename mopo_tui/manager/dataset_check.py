"""Looking for faults in a dataset: what `mopo data check` finds, by a process of the engine, since it reads every row."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mopo_tui.manager.datasets import DatasetStatus, DatasetUnavailable
from mopo_tui.manager.state import clean

_READABLE = (0, 1)  # exit codes with a document: nothing worse than a note; a warning or an error


def command(folder: Path, *, as_json: bool) -> list[str]:
    """What checks the flat cache in `folder`."""
    return [sys.executable, "-P", "-m", "engine.data.check", str(folder), *(["--json"] if as_json else [])]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or good to know; `level` is error, warning or note."""

    level: str
    code: str
    message: str
    first_row: int | None


@dataclass(frozen=True)
class Checked:
    """What a check found, the worst first.

    Attributes:
        like: the environment that the rows look like, and how surely.
        reasons: why.
    """

    id: str
    fingerprint: str
    like: str
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> str:
        """The level of the worst finding; empty where there is none."""
        return self.findings[0].level if self.findings else ""


class Check:
    """A check under way in a process of its own, which `end` stops.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, status: DatasetStatus) -> None:
        self._status = status
        self._process = subprocess.Popen(
            command(status.folder, as_json=True),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def end(self) -> None:
        """Stop it at once; `result` then raises."""
        self._process.kill()

    def result(self) -> Checked:
        """Wait for what it finds.

        Raises:
            DatasetUnavailable: the dataset cannot be read, or the check ended without an answer.
        """
        said, error = self._process.communicate()
        if self._process.returncode not in _READABLE:
            line = clean((error.strip().splitlines() or ["the check ended without an answer"])[-1])
            raise DatasetUnavailable(f"{self._status.id}: {line}")
        return _checked(json.loads(said))


def _checked(document: dict[str, Any]) -> Checked:
    like = document["looks_like"]
    options = "".join(f", {key} = {value}" for key, value in like["options"].items())
    return Checked(
        clean(str(document["id"])),
        clean(str(document["fingerprint"])),
        clean(f"{like['environment'] or like['name']}{options} ({like['confidence']})"),
        tuple(clean(reason) for reason in like["reasons"]),
        tuple(Finding(f["level"], f["code"], clean(f["message"]), f["first_row"]) for f in document["findings"]),
    )
