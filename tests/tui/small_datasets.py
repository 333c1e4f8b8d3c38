"""Flat caches of Hopper's sizes, small and always the same: what the Data screen looks like is pinned on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from realistic import START

from engine import record
from engine.data.dataset import in_memory, write
from engine.data.report import report

EPISODES = 40


def make_dataset(root: Path, identifier: str, *, task: str = "hopper-medium", source: str = "ours") -> Path:
    """Write one under the data root, as its engine would, of 40 episodes of different lengths; returns its folder."""
    rng = np.random.default_rng(3)
    ends = np.cumsum(rng.integers(20, 140, EPISODES))
    rows = rng.normal(scale=0.3, size=(int(ends[-1]), 2 * 11 + 3 + 2)).clip(-1, 1).astype(np.float32)
    rows[:, 14] = 1.0 + rng.normal(scale=0.2, size=len(rows))
    rows[:, -1] = 0
    rows[ends - 1, -1] = 1
    manifest = {
        "id": identifier,
        "task": task,
        "description": "Made for tests: normal noise of Hopper's sizes.",
        "origin": "collected",
        "environment": "Hopper-v5",
        "max_episode_steps": 1000,
        "source": {"name": source, "stamp": {}},
        "versions": {"gymnasium": "1.2.0", "mujoco": "3.3.0"},
        "references": {
            "random": {"return": 45.8, "stderr": 2.9, "episodes": 100, "length": 33.0},
            "do_nothing": {"return": 131.4, "stderr": 0.7, "episodes": 20, "length": 140.0},
            "scale": {"min": -20.272305, "max": 3234.3, "origin": "D4RL's constants"},
        },
    }
    dataset = in_memory(rows, ends, 11, 3, manifest)
    dataset.manifest["report"] = report(dataset)
    folder = root / "datasets" / identifier
    write(dataset, folder)
    about = record.read_json(folder / "dataset.json") or {}
    record.write_json(folder / "dataset.json", {**about, "written": START})
    return folder
