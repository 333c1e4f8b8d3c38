"""The app's screens as PNG pictures, from real runs, at each size: to be looked at, and for the README.

    python tests/tui/screen_pictures.py STORE FOLDER [--sizes 80x24 120x40 200x50] [--themes dark light] [--screens NAME …]

draws every screen of `SCREENS` on the runs of STORE into FOLDER/<screen>-<size>[-light].png. STORE is only looked at. A screen
that needs more runs than there are is left out, and the script says so.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont
from rich.segment import Segment
from screen_text import settled
from textual.app import App

from mopo_tui.app import DARK, LIGHT, MopoApp
from mopo_tui.manager import Store

WIDTH, HEIGHT = 9, 18  # pixels of a cell
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
# Keys that lead to each screen, from the app as it opens.
SCREENS: dict[str, tuple[str, ...]] = {
    "dashboard": (),
    "panels": ("enter",),
    "loss": ("1",),
    "uncertainty": ("2",),
    "over-time": ("2", "v"),
    "score": ("3",),
    "reality": ("4",),
    "optimisation": ("5",),
    "now": ("6",),
    "zoom": ("3", "z"),
    "compare": ("space", "j", "space", "c"),
    "compare-overlay": ("space", "j", "space", "c", "o"),
    "compare-table": ("space", "j", "space", "c", "t"),
    "new-run": ("a",),
    "log": ("o",),
    "queue": ("Q",),
    "data": ("d",),
    "help": ("question_mark",),
}
# The dots of a braille character by bit: column and row.
DOTS = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (0, 3), (1, 3))
BRAILLE, UPPER_HALF = 0x2800, "▀"

OF_OWN_STORES = ("new-run", "queue")  # screens that a store which is only looked at does not have


def cells(row: Iterator[Segment]) -> Iterator[tuple[str, Segment]]:
    for segment in row:
        for character in segment.text:
            yield character, segment


def picture(app: App[None]) -> Image.Image:
    """What the terminal would show."""
    theme = app.current_theme
    strips = app.screen._compositor.render_strips()
    columns = max(strip.cell_length for strip in strips)
    image = Image.new("RGB", (columns * WIDTH, len(strips) * HEIGHT), theme.background or "#000000")
    draw = ImageDraw.Draw(image)
    plain, bold = (ImageFont.truetype(str(FONTS / f"DejaVuSansMono{kind}.ttf"), 15) for kind in ("", "-Bold"))
    for y, strip in enumerate(strips):
        for x, (character, segment) in enumerate(cells(iter(strip))):
            style = segment.style
            ink = style.color.get_truecolor().hex if style and style.color else theme.foreground or "#ffffff"
            back = style.bgcolor.get_truecolor().hex if style and style.bgcolor else theme.background or "#000000"
            if style and style.reverse:
                ink, back = back, ink
            left, top = x * WIDTH, y * HEIGHT
            draw.rectangle((left, top, left + WIDTH - 1, top + HEIGHT - 1), fill=back)
            bits = ord(character) - BRAILLE
            if 0 <= bits < 256:
                for bit, (column, row) in enumerate(DOTS):
                    if bits >> bit & 1:
                        at = left + 1 + 4 * column, round(top + 1 + 4.5 * row)
                        draw.rectangle((*at, at[0] + 2, at[1] + 2), fill=ink)
            elif character == UPPER_HALF:
                draw.rectangle((left, top, left + WIDTH - 1, top + HEIGHT // 2 - 1), fill=ink)
            elif character != " ":
                draw.text((left, top), character, fill=ink, font=bold if style and style.bold else plain)
    return image


async def shoot(store: Store, keys: tuple[str, ...], size: tuple[int, int], theme: str) -> Image.Image:
    app = MopoApp(store)
    app.host, app.place = "lab", "~/runs"  # pictures of a README name nobody's machine
    async with app.run_test(size=size, notifications=True) as pilot:
        await settled(pilot, app)
        app.theme = theme
        for key in keys:
            await pilot.press(key)
            await settled(pilot, app)
        await pilot.pause(0.5)
        return picture(app)


def main() -> None:
    parser = argparse.ArgumentParser(description="The app's screens as pictures.")
    parser.add_argument("store", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["80x24", "120x40", "200x50"])
    parser.add_argument("--themes", nargs="+", choices=["dark", "light"], default=["dark"])
    parser.add_argument("--screens", nargs="+", choices=list(SCREENS), default=list(SCREENS))
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    for name in wanted.screens:
        store = Store.open(wanted.store, read_only=name not in OF_OWN_STORES)
        if name.startswith("compare") and len(store.runs()) < 2:
            print(f"{name}: needs two runs")
            continue
        for size in wanted.sizes:
            columns, rows = map(int, size.split("x"))
            for theme in wanted.themes:
                file = wanted.folder / f"{name}-{size}{'-light' if theme == 'light' else ''}.png"
                colours = LIGHT.name if theme == "light" else DARK.name
                image = asyncio.run(shoot(store, SCREENS[name], (columns, rows), colours))
                image.quantize(64).save(file, optimize=True)
                print(file, flush=True)


if __name__ == "__main__":
    main()
