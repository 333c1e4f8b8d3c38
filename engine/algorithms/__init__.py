"""Recipes: each algorithm as a composition of stages. A new one is one function here and one line in the table."""

from __future__ import annotations

from collections.abc import Callable

from engine.algorithms.model_free import bc, sac
from engine.algorithms.mopo import mbpo, mopo
from engine.algorithms.stages import Training

RECIPES: dict[str, Callable[[Training], None]] = {"mopo": mopo, "mbpo": mbpo, "sac": sac, "bc": bc}
