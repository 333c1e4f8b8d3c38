"""The manager: the store of runs, supervision, what the rows say, comparing. Draws nothing and learns nothing.

Names are imported on first use, so that the supervisor and `mopo ls` load only what they need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mopo_tui.manager.comparison import Comparison, compare
    from mopo_tui.manager.run import Run
    from mopo_tui.manager.state import RunState
    from mopo_tui.manager.store import LaunchError, RunNotFound, Store, StoreError

_HOME = {
    "Comparison": "comparison",
    "compare": "comparison",
    "LaunchError": "store",
    "Run": "run",
    "RunNotFound": "store",
    "RunState": "state",
    "Store": "store",
    "StoreError": "store",
}

__all__ = ["Comparison", "LaunchError", "Run", "RunNotFound", "RunState", "Store", "StoreError", "compare"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
