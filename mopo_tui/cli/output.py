"""What goes where: stdout is data, stderr is narration."""

from __future__ import annotations

import os
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from engine import record
from mopo_tui.manager.written import duration as duration
from mopo_tui.manager.written import number as number

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_UNBOUNDED = 220  # columns where no terminal limits a table


def document(value: Any) -> None:
    """One JSON document on stdout."""
    print(record.dumps(value, indent=1))


def narrate(line: str) -> None:
    """A line on stderr."""
    print(line, file=sys.stderr, flush=True)


def console(stream: IO[str] | None = None) -> Console:
    """A console on stdout (or `stream`), as wide as the terminal, or wide enough where there is none. Honours NO_COLOR."""
    from rich.console import Console

    stream = stream or sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else _UNBOUNDED
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def table(*columns: str, right: tuple[str, ...] = (), gap: int = 2) -> Table:
    """A plain table; columns of `right` hold numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold", show_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", no_wrap=True, overflow="ellipsis")
    return made


def shortened(text: str, width: int) -> str:
    """`text` in at most `width` columns; what is left out is left out in the middle, since names differ at their ends."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    tail = text
    while cell_len(tail) > width // 2:
        tail = tail[1:]
    return set_cell_size(text, width - 1 - cell_len(tail)).rstrip() + "…" + tail


def age(created: float) -> str:
    """How long ago, in one unit."""
    seconds = max(0.0, time.time() - created)
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{int(seconds)}s"
