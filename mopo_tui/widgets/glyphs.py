"""What a terminal can show: braille, half blocks or ASCII; colours or none (no Textual)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal["braille", "blocks", "ascii"]

# What else is drawn or written, in ASCII.
_PLAIN: dict[int, str] = {
    ord(character): text
    for characters, text in (
        ("│", "|"), ("┤├└┘┬±✓", "+"), ("─━╸╌−–", "-"), ("┈·▁", "."), ("┊▒░", ":"), ("●◆○", "o"), ("★", "*"), ("█▀▄■", "#"),
        ("…≈", "~"), ("∞", "inf"), ("×✗", "x"), ("→▶", ">"), ("‖", "="), ("²", "2"), ("√", "sqrt "), ("λ", "lambda "),
        ("α", "alpha"), ("π", "pi"), ("ρ", "rho"), ("°", "deg"),
    )
    for character in characters
}  # fmt: skip


def plain(text: str) -> str:
    """`text` in ASCII; what has no likeness there is a question mark."""
    return text.translate(_PLAIN).encode("ascii", "replace").decode()


@dataclass(frozen=True)
class Look:
    """How charts are drawn.

    Attributes:
        kind: the finest dots that the terminal's font has.
        colours: False where only brightness, dashes, glyphs and labels may tell things apart.
        high, wide: dots of a cell.
        table: the character of each pattern of dots, by its number.
        shade: what fills an area; empty where areas are stippled with dots.
        ramp: from nothing to most, where a heat map has no colours.
    """

    kind: Kind = "braille"
    colours: bool = True

    @property
    def high(self) -> int:
        return {"braille": 4, "blocks": 2, "ascii": 3}[self.kind]

    @property
    def wide(self) -> int:
        return 2 if self.kind == "braille" else 1

    @property
    def table(self) -> str:
        if self.kind == "braille":
            return "".join(chr(0x2800 + i) for i in range(256))
        return " ▀▄█" if self.kind == "blocks" else " '-|.:||"

    @property
    def shade(self) -> str:
        return {"braille": "", "blocks": "░", "ascii": ":"}[self.kind]

    @property
    def ramp(self) -> str:
        return " .:-=+*#%@" if self.kind == "ascii" else " ░▒▓█"

    def text(self, text: str) -> str:
        """`text` as this terminal can write it; of the same length where every character has one likeness."""
        return plain(text) if self.kind == "ascii" else text


FINEST = Look()


def look_of(environment: Mapping[str, str], encoding: str = "", colours: bool = True) -> Look:
    """What a terminal can show, told from its variables and the encoding of what is written to it.

    MOPO_GLYPHS=braille, blocks or ascii decides where it is set. Linux's own console has half blocks, but no braille.
    """
    colours = colours and "NO_COLOR" not in environment and environment.get("TERM") != "dumb"
    for kind in get_args(Kind):
        if environment.get("MOPO_GLYPHS") == kind:
            return Look(kind, colours)
    encoding = encoding or getattr(sys.__stdout__, "encoding", None) or "utf-8"
    unicode = _is_unicode(encoding) and _is_unicode(_named(environment) or "utf-8")
    if not unicode or environment.get("TERM") == "dumb":
        return Look("ascii", colours)
    return Look("blocks" if environment.get("TERM") == "linux" else "braille", colours)


def _is_unicode(encoding: str) -> bool:
    return encoding.lower().replace("-", "") in ("utf8", "utf16", "utf32")


def _named(environment: Mapping[str, str]) -> str:
    """The encoding that the variables of the locale name; empty where they name none. Python writes UTF-8 even where a person asked
    for the C locale, and says so in LC_CTYPE."""
    names = [environment.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if names[1] == "C.UTF-8" and names[2]:  # mostly Python's doing
        names[1] = ""
    name = next((name for name in names if name), "")
    return "ascii" if name in ("C", "POSIX") else name.partition(".")[2].partition("@")[0]
