"""The files that D4RL publishes for locomotion (Fu et al. 2020, arXiv 2004.07219): names, lengths, checksums (no numpy)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.tasks import UnknownName, nearest

_TABLE = Path(__file__).with_name("data") / "d4rl_files.tsv"
_ROBOTS = {"hopper": "Hopper", "halfcheetah": "HalfCheetah", "walker2d": "Walker2d", "ant": "Ant"}
_FAULTS = {"hopper-medium-expert-v0": "it holds expert and medium-replay data, and no medium (D4RL's issue 19)"}


@dataclass(frozen=True)
class D4rlFile:
    """One published file.

    Attributes:
        name: as D4RL has it, such as hopper-medium-replay-v2.
        file, path: its name on disk, and its place below the base URL.
        family: the robot, as Gymnasium's ids begin.
        fault: what is known to be wrong with it, in one line.
    """

    name: str
    file: str
    path: str
    bytes: int
    sha256: str
    family: str
    quality: str
    version: int
    fault: str | None


@cache
def files() -> Mapping[str, D4rlFile]:
    """Every file of d4rl_files.tsv, by name."""
    found = {}
    for line in _TABLE.read_text(encoding="ascii").splitlines():
        if line.startswith("#"):
            continue
        file, size, sha256 = line.split("\t")
        stem = file.removesuffix(".hdf5")
        version = 2 if stem.endswith("-v2") else 0
        robot, quality = stem.removesuffix("-v2").split("_", 1)
        robot = "walker2d" if robot == "walker" else robot
        quality = "medium-replay" if quality == "mixed" else quality.replace("_", "-")
        name = f"{robot}-{quality}-v{version}"
        path = f"{'gym_mujoco_v2' if version else 'gym_mujoco'}/{file}"
        found[name] = D4rlFile(name, file, path, int(size), sha256, _ROBOTS[robot], quality, version, _FAULTS.get(name))
    return found


def canonical(name: str) -> str:
    """The same name in the newer spelling: "mixed" is the older word for medium-replay."""
    return name.replace("-mixed-", "-medium-replay-")


def published(name: str) -> D4rlFile:
    """The file of a D4RL name.

    Raises:
        UnknownName: there is none, with the nearest spelling, or it is of the deprecated v1.
    """
    known, wanted = files(), canonical(name)
    newer = wanted.removesuffix("-v1") + "-v2"
    if wanted.endswith("-v1") and newer in known:
        raise UnknownName(f"{name}: D4RL's v1 data are deprecated; use {newer}")
    if wanted not in known:
        raise nearest("D4RL dataset", name, list(known))
    return known[wanted]
