"""Tables with a title and notes, as a terminal shows them: the command line, and the app in a page of its own (no Textual)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from mopo_tui.manager.sections import Section

if TYPE_CHECKING:
    from rich.console import Console


def show(sections: Sequence[Section], console: Console, warning: str = "") -> None:
    """On a terminal, or as plain lines. A table that is too wide stands closer, or has a line for each cell: nothing is cut.

    Args:
        warning: the style of lines that begin with "!".
    """
    from rich.text import Text

    for i, section in enumerate(sections):
        if i:
            console.print()
        if section.title:
            console.print(Text(section.title, "bold"), soft_wrap=not console.is_terminal)
        for line in section.lines:
            console.print(Text(line, warning if line.startswith("!") else ""), soft_wrap=not console.is_terminal)
        if section.rows:
            _table(section, console)
        for note in section.notes:
            console.print(Text(note), soft_wrap=not console.is_terminal)


def _table(section: Section, console: Console) -> None:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [section.columns, *section.rows]
    width = sum(max(cell_len(row[i]) for row in cells) for i in range(len(section.columns)))
    gap = 2 if width + 2 * len(section.columns) <= console.width + 2 or section.wrap else 1
    if width + gap * (len(section.columns) - 1) > console.width and not section.wrap:
        for first, *others in section.rows:
            console.print(Text(first, "bold"), soft_wrap=not console.is_terminal)
            for name, cell in zip(section.columns[1:], others, strict=True):
                console.print(Text(f"  {name}: {cell}"), soft_wrap=not console.is_terminal)
        return
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold", show_edge=False)
    for name in section.columns:
        justify: Literal["left", "right"] = "left" if name in section.left else "right"
        cut: Literal["fold", "ellipsis"] = "fold" if section.wrap else "ellipsis"
        table.add_column(Text(name), justify=justify, no_wrap=not section.wrap, overflow=cut)
    for row in section.rows:
        table.add_row(*map(Text, row))
    console.print(table)
