"""Opening the app, quickly."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mopo_tui.manager import Store

ESCAPE_MS = "20"  # after that long a lone Esc is a key, and no more the begin of what another key sends


def open_at(root: Path | None, reference: str | None = None) -> None:
    """Open the app on the store there, or where stores are looked for; as `open_on`.

    Raises:
        StoreError: the store cannot be used.
    """
    gc.disable()  # what is loaded now stays: a search for garbage in it would only be in the way of the first picture
    from mopo_tui.manager import Store

    open_on(Store.open(root), reference)


def open_on(store: Store, reference: str | None = None) -> None:
    """Open the app on a store, and there on a run that somebody names; returns when it is left.

    Raises:
        RunNotFound: no run goes by that reference.
        StoreError: this is no terminal.
    """
    from mopo_tui.manager import StoreError

    chosen = store.find(reference).id if reference else None
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise StoreError("the app needs a terminal; `mopo ls`, `mopo logs` and `mopo compare` do without")
    os.environ.setdefault("ESCDELAY", ESCAPE_MS)
    from mopo_tui.app import MopoApp
    from mopo_tui.keys import load
    from mopo_tui.memory import Memory
    from mopo_tui.widgets.glyphs import look_of

    keys = load(plain=look_of(os.environ).kind == "ascii")
    app = MopoApp(store, chosen, keys, Memory.of(store.root))
    gc.freeze()
    gc.enable()
    app.run()
