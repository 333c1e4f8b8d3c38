"""`mopo doctor`."""

from __future__ import annotations

import typer

from mopo_tui.cli.options import JsonOption, RunsOption

_GLYPHS = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "red")}


def doctor(store: RunsOption = None, as_json: JsonOption = False) -> None:
    """Look whether everything is here that training needs, and say what to do where not. Exit code 3 if something is bad."""
    from mopo_tui.cli import errors, grid, output
    from mopo_tui.manager import locations
    from mopo_tui.manager.health import BAD, WARN, checks

    found = []
    colour, width = grid.coloured(), grid.width()
    for check in checks(locations.store_root(store)):
        found.append(check)
        if as_json:
            continue
        glyph, style = _GLYPHS[check.level]
        room = None if width is None else max(20, width - 20)
        for i, line in enumerate(grid.wrapped(check.found, room)):
            head = f"{grid.styled(glyph, style, colour)} {check.name:<17} " if i == 0 else " " * 20
            print(head + line)
        if check.advice:
            print(" " * 20 + grid.styled("→ ", style, colour) + check.advice, flush=True)
    if as_json:
        output.document([check.to_json() for check in found])
    else:
        warnings, faults = (sum(check.level == level for check in found) for level in (WARN, BAD))
        output.narrate("all is well" if not warnings + faults else f"{faults} bad, {warnings} to look at")
    if any(check.level == BAD for check in found):
        raise typer.Exit(errors.UNAVAILABLE)
