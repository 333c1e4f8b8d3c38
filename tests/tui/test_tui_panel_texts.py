"""What panels look like, character by character, at every size; WRITE_SCREENS=1 writes the files anew, to be looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from screen_text import WRITE

from mopo_tui.widgets.drawing import draw
from mopo_tui.widgets.glyphs import Kind, Look
from mopo_tui.widgets.panels import EVERY_PANEL, Options, panel
from mopo_tui.widgets.seeds import Group, alone
from mopo_tui.widgets.words import cut, fitting

FOLDER = Path(__file__).parent / "charts"
SIZES = ((8, 40), (12, 60), (25, 100), (45, 190))
KINDS: tuple[Kind, ...] = ("ascii", "blocks")


def pictures(name: str, groups: list[Group], options: Options, sizes: tuple[tuple[int, int], ...], look: Look) -> str:
    """The panel at each size, under its title and over its numbers as a chart's border has them."""
    found = []
    for rows, columns in sizes:
        shown = panel(name, groups, options)
        lines = [line.rstrip() for line in draw(shown.plot, rows, columns, look).lines()]
        found += [f"=== {columns}×{rows}", cut(shown.title, columns), *lines, fitting(shown.numbers, columns), ""]
    return "\n".join(found)


def check(text: str, name: str) -> None:
    path = FOLDER / f"{name}.txt"
    if os.environ.get(WRITE):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [*EVERY_PANEL, "over-time"])
@pytest.mark.parametrize("who", ["run", "seeds", "groups", "stages"])
def test_panel(name: str, who: str, mopo: Group, mbpo: Group, mb2po: Group) -> None:
    groups = {"run": [alone(*mopo.members[0])], "seeds": [mopo], "groups": [mopo, mbpo], "stages": [mb2po]}[who]
    panel_name, options = ("uncertainty", Options(metric="time")) if name == "over-time" else (name, Options())
    check(pictures(panel_name, groups, options, SIZES, Look()), f"{name}-{who}")


@pytest.mark.parametrize("kind", KINDS)
def test_panels_on_terminals_that_can_show_less(kind: Kind, mopo: Group) -> None:
    look = Look(kind, colours=False)
    parts = [pictures(name, [mopo], Options(), ((12, 60),), look) for name in EVERY_PANEL]
    parts.append(pictures("uncertainty", [mopo], Options(metric="time"), ((12, 60),), look))
    check("\n".join(parts), kind)


def test_the_gate_in_words(mb2po: Group) -> None:
    check(pictures("optimisation", [mb2po], Options(metric="gate"), SIZES[:3], Look()), "gate")
