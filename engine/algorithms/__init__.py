"""Recipes: each algorithm as a composition of stages. A new one is one function here and one line in the table."""

from __future__ import annotations

from collections.abc import Callable

from engine.algorithms.mb2po import mb2po
from engine.algorithms.model_free import awac, bc, sac
from engine.algorithms.mopo import mbpo, mopo
from engine.algorithms.training import Training

RECIPES: dict[str, Callable[[Training], None]] = {
    "mopo": mopo,
    "mbpo": mbpo,
    "mb2po": mb2po,
    "sac": sac,
    "awac": awac,
    "bc": bc,
}
