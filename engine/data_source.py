"""Which dataset a configuration names, and what it is called (standard library only).

    source               the flat cache's name under datasets/
    ours                 mopo/<task>/<size>-v0
    d4rl:NAME            d4rl/<NAME>
    minari:ID            minari/<ID>
    training:RUN_FOLDER  training/<run id>/<task>
    a path               file/<name>-<hash of the path>

A choice of episodes adds -<size>-seed<seed>; an environment other than the data's own adds @<environment>.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from engine.config import Dataset, Environment
from engine.tasks import OURS, SOURCES, Task, dataset_id, size_label, variant_label

MINARI_ID = re.compile(r"([-\w]+/)*[-\w]+-v\d+")  # (namespace/)name-v0; the version is obligatory


@dataclass(frozen=True)
class Wanted:
    """The dataset that a configuration names.

    Attributes:
        task: in the variant that the configuration asks for.
        kind: "ours", "d4rl", "minari", "training" or "file".
        name: what follows the kind's colon, or the absolute path.
    """

    task: Task
    kind: str
    name: str
    settings: Dataset
    environment: Environment

    @property
    def source(self) -> str:
        return self.settings.source

    @property
    def id(self) -> str:
        """The flat cache's name under datasets/."""
        match self.kind:
            case "ours":
                return dataset_id(self.task, self.settings.size, self.settings.seed)
            case "training":
                base = f"training/{Path(self.name).name}/{self.task.name}"
            case "file":
                base = f"file/{Path(self.name).stem}-{hashlib.sha256(self.name.encode()).hexdigest()[:8]}"
            case _:
                base = f"{self.kind}/{self.name}"
        size = f"-{size_label(self.settings.size)}-seed{self.settings.seed}" if self.settings.size else ""
        return f"{base}{size}{self._environment_mark()}"

    def _environment_mark(self) -> str:
        chosen = self.environment.id or (
            self.task.name + variant_label(self.task) if self.task.own or self.task.own_reward else ""
        )
        contacts = {"auto": "", "on": "+legacy", "off": "-legacy"}[self.environment.legacy_contacts]
        return f"@{chosen.replace('/', '.')}{contacts}" if chosen or contacts else ""


def wanted(task: Task, settings: Dataset, environment: Environment) -> Wanted:
    """What a checked configuration asks for."""
    if "angle" in task.environment_options and not task.own:
        task = task.with_options(angle=environment.angle)
    kind, colon, name = settings.source.partition(":")
    if settings.source == OURS:
        return Wanted(task, OURS, "", settings, environment)
    if colon and kind in SOURCES:
        return Wanted(task, kind, name, settings, environment)
    return Wanted(task, "file", os.path.abspath(Path(settings.source).expanduser()), settings, environment)
