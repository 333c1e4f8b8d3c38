"""What environment.json says: host, versions, commit, compute, environment, dataset, references."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from engine.compute import Compute
from engine.data.dataset import TransitionDataset

DATASET_KEYS = (
    "id",
    "origin",
    "source",
    "environment",
    "environment_options",
    "notes",
    "seed",
    "size",
    "episodes",
    "fingerprint",
    "ladder",
    "versions",
    "report",
)
LIBRARIES = ("torch", "numpy", "gymnasium", "mujoco", "minari")


def library_versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def processor() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """The commit of the checkout that this engine runs from, with "+" where it is changed; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5)
        status = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if commit.returncode:
        return None
    return commit.stdout.strip() + ("+" if status.stdout.strip() else "")


def describe(compute: Compute | None = None) -> dict[str, Any]:
    """Host, versions, commit and compute mode: what every number of a run depends on beside its configuration and data."""
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu": processor(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": library_versions(),
        "git_commit": git_commit(),
        "compute": None if compute is None else compute.record(),
    }


def describe_data(dataset: TransitionDataset) -> dict[str, Any]:
    """The environment in which policies are scored, the dataset, and the returns that a score is read against."""
    manifest = dataset.manifest
    return {
        "environment": {"id": manifest["environment"], "options": dict(manifest.get("environment_options", {}))},
        "dataset": {name: manifest[name] for name in DATASET_KEYS if name in manifest},
        "references": manifest["references"],
    }
