"""The engine: what learns. It knows nothing of `mopo_tui`, and importing this package imports neither torch nor gymnasium.

from engine import load_policy

policy = load_policy("runs/20261120-130501-ant-angle-mopo-s0-x7k2")
action = policy(observation)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.policy import Policy


def load_policy(path: str | os.PathLike[str], which: str = "final") -> Policy:
    """A trained policy in plain numpy: `policy(observation)` is its action, deterministic; with `rng` it is a sample.

    Args:
        path: a run folder, or a policy file itself, such as a behaviour run's checkpoints/snapshots/0100000.safetensors.
        which: of a run folder, "final", or "best": that of the evaluation with the highest return so far.

    Raises:
        FileNotFoundError: there is nothing at `path`, or the run has no such policy yet.
        ValueError: a file that is torn or no policy, or another `which`. Each message is one line that says which file.
    """
    from engine.trained import load

    return load(path, which)
