"""Policies for a hopper that nobody trained."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from engine import record
from engine.policy import Policy


def hopper_policy(seed: int, size: float) -> Policy:
    """Weights drawn at random, of std `size`: at 0.05 a hopper that stands nearly still and falls after some hundred steps, at 0.5
    one that falls after some tens."""
    rng = np.random.default_rng(seed)
    sizes = (11, 32, 6)
    weights = tuple(rng.normal(0, size, pair).astype(np.float32) for pair in itertools.pairwise(sizes))
    return Policy(weights, tuple(np.zeros(n, dtype=np.float32) for n in sizes[1:]), (-20.0, 2.0), {"seed": seed})


def save_policies(folder: Path, size: float) -> None:
    """A final policy (seed 0) and a best one (seed 1) in a run folder."""
    for seed, name in enumerate(("final", "best")):
        hopper_policy(seed, size).save(folder / record.CHECKPOINTS / f"{name}.safetensors")
