"""`mopo logs`: what a run's process has written to its console."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from mopo_tui.cli.options import JsonOption, RunArgument, RunsOption


def logs(
    run: RunArgument,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the run ends.")] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, help="How many of the last lines; 0: all.")] = 0,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what the run's process has written to its console."""
    from engine import record
    from mopo_tui.cli import output
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager.run import read_run
    from mopo_tui.manager.state import clean

    if follow and as_json:
        raise StoreError("--json prints one document: leave out --follow")
    chosen = Store.open(store).find(run)
    path = chosen.folder / record.CONSOLE

    def read(offset: int) -> bytes:
        try:
            with open(path, "rb") as f:
                f.seek(offset)
                return f.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from None

    written = read(0)
    if not written and not follow and not as_json:
        output.narrate(f"{chosen.id} has written nothing yet: it is {chosen.state.value}")
    whole = [clean(line) for line in written.decode("utf-8", "replace").splitlines()]
    if follow and not written.endswith(b"\n"):  # a line under way is printed once it is whole
        written = written[: written.rfind(b"\n") + 1]
        whole = whole[:-1]
    last = whole[-lines:] if lines else whole
    if as_json:
        output.document({"id": chosen.id, "state": chosen.state.value, "lines": last})
        return
    for line in last:
        print(line)
    offset = len(written)
    while follow:
        over = read_run(chosen.folder).state.over  # looked at before reading: what came last is still printed
        sys.stdout.flush()
        added = read(offset)
        end = len(added) if over else added.rfind(b"\n") + 1
        offset += end
        for line in added[:end].decode("utf-8", "replace").splitlines():
            print(clean(line))
        if over:
            return
        time.sleep(0.3)
