"""Random streams keyed by what they are for, so that a resumed run draws what an uninterrupted one would have drawn."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def key(*parts: object) -> int:
    """A 63-bit seed from any printable parts, the same on every machine."""
    digest = hashlib.sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_generator(*parts: object) -> np.random.Generator:
    return np.random.default_rng(key(*parts))


def torch_generator(*parts: object) -> torch.Generator:
    import torch  # here, so that processes which only step environments do without it

    return torch.Generator().manual_seed(key(*parts))
