"""A flat replay buffer on disk: packed rows [s | a | r | s' | d], float32, one file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor


class Replay:
    """`capacity` rows of `width` float32 in the file `path`, which outlives the process.

    The first `size` rows are filled. Nothing is evicted: an online run here keeps every transition.
    """

    def __init__(self, path: Path, capacity: int, width: int, size: int = 0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode: Literal["r+", "w+"] = "r+" if size else "w+"
        self.rows = np.memmap(path, dtype=np.float32, mode=mode, shape=(capacity, width))
        self.tensor: Tensor = torch.from_numpy(self.rows)
        self.size = size

    def add(self, row: np.ndarray) -> None:
        self.rows[self.size] = row
        self.size += 1

    def sample(self, uniform: Tensor) -> Tensor:
        """Rows at ⌊uniform·size⌋, uniform in [0, 1), shape (batch,) -> (batch, width)."""
        return self.tensor.index_select(0, (uniform * self.size).long())

    def flush(self) -> None:
        self.rows.flush()
