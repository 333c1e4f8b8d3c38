"""`mopo`, the command line, and the entry of `mopo-tui`."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Sequence
from typing import NoReturn

_GARBAGE = 50_000  # objects made until garbage is looked for: most commands end before, and wait for no search


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """`mopo`: run one command and exit with its code. Without a command, open the app."""
    gc.set_threshold(_GARBAGE)
    from mopo_tui.cli.commands import app
    from mopo_tui.cli.errors import guarded
    from mopo_tui.manager.locations import use_own_tasks

    use_own_tasks()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Unicode shows ? for what it does not have
    sys.exit(guarded(lambda: app(args=arguments, prog_name="mopo")))


def open_app(arguments: Sequence[str] | None = None) -> NoReturn:
    """`mopo-tui [RUN] [--runs DIR]`: open the app."""
    from mopo_tui.cli.errors import guarded
    from mopo_tui.manager.locations import use_own_tasks

    use_own_tasks()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given:  # as mostly, and nothing to understand: what reads a command line need not be loaded
        from mopo_tui.cli.opening import open_at

        sys.exit(guarded(lambda: open_at(None)))
    from mopo_tui.cli.commands import app_only

    sys.exit(guarded(lambda: app_only(args=given, prog_name="mopo-tui")))
