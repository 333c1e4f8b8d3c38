"""The top line: the host, how many runs are in which state, where they lie, and how busy the host is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text
from textual.widgets import Static

from mopo_tui.machine import Load
from mopo_tui.manager import Run
from mopo_tui.widgets.palette import STATES, colour
from mopo_tui.widgets.words import cut, fitting

_LEAST_PLACE = 12  # columns below which the store's place is left out


class TopLine(Static):
    """One row; what there is no room for is left out, the load last of all."""

    def show(self, host: str, place: str, runs: Sequence[Run], load: Load, alone: str = "") -> None:
        """
        Args:
            place: the store's folder.
            alone: what one zoomed panel is of, in place of the store.
        """
        dark, width = self.app.current_theme.dark, self.app.size.width
        counts = Counter(run.state.value for run in runs)
        there = [(glyph, ink, counts[state], state) for state, (glyph, ink) in STATES.items() if counts[state]]
        name = cut(host, 24)
        left = len(f" mopo-tui  {name}")
        in_words = left + sum(len(f"  {g} {n} {state}") for g, _, n, state in there)
        in_glyphs = left + sum(len(f"  {g} {n}") for g, _, n, _ in there)
        busy = fitting(load.words(), width - in_glyphs - 3)
        text = Text(no_wrap=True, overflow="ellipsis")
        if alone:
            text.append(f" {cut(alone, max(width - len(busy) - 4, 8))}", f"bold {colour('text', dark)}")
        else:
            words = in_words + len(busy) + 3 <= width
            text.append(" mopo-tui", f"bold {colour('text', dark)}")
            text.append(f"  {name}", colour("muted", dark))
            for glyph, ink, count, state in there:
                text.append(f"  {glyph} {count} {state}" if words else f"  {glyph} {count}", colour(ink, dark))
            room = width - len(text) - len(busy) - (5 if busy else 3)
            if room >= _LEAST_PLACE:
                place = place if len(place) <= room else "…" + place[-(room - 1) :]
                text.append("  " + place, colour("faint", dark))
        if busy:
            text.append(" " * (width - 1 - len(text) - len(busy)) + busy, colour("muted", dark))
        self.update(text, layout=False)
