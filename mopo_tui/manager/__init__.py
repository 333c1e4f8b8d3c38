"""The manager: the store of runs, supervision, what the rows say, comparing. Draws nothing and learns nothing.

Names are imported on first use, so that the supervisor and `mopo ls` load only what they need.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mopo_tui.manager.compared import Comparison
    from mopo_tui.manager.comparison import compare
    from mopo_tui.manager.errors import LaunchError, RunNotFound, StoreError
    from mopo_tui.manager.groups import find_runs, setting_key
    from mopo_tui.manager.run import Run
    from mopo_tui.manager.series import RunReader, Series
    from mopo_tui.manager.state import RunState
    from mopo_tui.manager.store import Store

_HOME = {
    "Comparison": "compared",
    "compare": "comparison",
    "LaunchError": "errors",
    "Run": "run",
    "RunReader": "series",
    "RunNotFound": "errors",
    "RunState": "state",
    "Series": "series",
    "Store": "store",
    "StoreError": "errors",
    "find_runs": "groups",
    "setting_key": "groups",
}

__all__ = [
    "Comparison",
    "LaunchError",
    "Run",
    "RunNotFound",
    "RunReader",
    "RunState",
    "Series",
    "Store",
    "StoreError",
    "compare",
    "find_runs",
    "setting_key",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
