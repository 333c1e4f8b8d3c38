"""`mopo demo`: the app on the finished runs that ship with the project."""

from __future__ import annotations


def demo() -> None:
    """Open the app on finished runs that ship with mopo-tui, only to look at: nothing is started, nothing changed."""
    from mopo_tui.cli.opening import open_on
    from mopo_tui.manager import RunNotFound, Store, StoreError, locations

    root = locations.reference_runs()
    try:
        store = Store.open(root, read_only=True)
        there = any(not run.problem for run in store.runs())
    except StoreError:
        there = False
    if not there:
        raise RunNotFound(
            "no finished runs come with this copy of mopo-tui; `mopo run --task ant-angle --preset smoke` makes one in seconds"
        )
    open_on(store)
