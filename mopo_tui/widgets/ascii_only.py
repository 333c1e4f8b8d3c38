"""Terminals without Unicode: every line of every widget, frames and scrollbars too, in ASCII just before it is written."""

from __future__ import annotations

import functools
import unicodedata

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from mopo_tui.widgets.glyphs import plain

# Where a list, a frame or a scrollbar needs another likeness than a chart.
_OWN = {"◆": "*", "▌": ">", "▸": ">", "▾": "v", "‹": "<", "›": ">", "←": "<", "↑": "^", "↓": "v", "•": "*", "▔": "-"}
_HORIZONTAL, _VERTICAL = "─━┄┅┈┉╌╍═╴╶╸╺╼╾", "│┃┆┇┊┋╎╏║╵╷╹╻╽╿"


class AsciiOnly(LineFilter):
    """Each character as one of ASCII, in as many cells."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [
            segment if segment.text.isascii() else Segment(_ascii(segment.text), segment.style, segment.control)
            for segment in segments
        ]


@functools.lru_cache(4096)
def _ascii(text: str) -> str:
    return "".join(character if character.isascii() else _likeness(character) for character in text)


@functools.lru_cache(1024)
def _likeness(character: str) -> str:
    """ASCII of the same width, empty for what only changes the character before it."""
    width = cell_len(character)
    if width != 1:
        return "?" * width
    if character in _OWN:
        return _OWN[character]
    like = plain(character)
    if len(like) == 1 and like != "?":
        return like
    if "─" <= character <= "╿":
        return "-" if character in _HORIZONTAL else "|" if character in _VERTICAL else "+"
    if "▀" <= character <= "▟":  # slivers and blocks, of scrollbars
        return "|" if "▉" <= character <= "▏" or character in "▐▕" else "#"
    if "⠀" <= character <= "⣿":
        return " " if character == "⠀" else "."
    bare = unicodedata.normalize("NFKD", character)[:1]
    return bare if bare.isascii() and bare.isprintable() else like[:1]
