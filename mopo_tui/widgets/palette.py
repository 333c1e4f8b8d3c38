"""Colours with a meaning, for dark and light themes.

Series colours are those of Okabe and Ito, which people with any common colour blindness tell apart, made lighter for dark and
darker for light backgrounds where they would not be legible. A name may carry a shade: "sky dim" for what lies behind, "sky faint"
for areas. "heat 0" to "heat 31" are the steps of the heat map, from the background to the brightest.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

SERIES = ("sky", "orange", "green", "purple", "yellow", "vermillion", "blue")

_DARK = {
    "text": "#d6dbe0",
    "muted": "#8b949e",
    "faint": "#59616b",
    "sky": "#56b4e9",
    "orange": "#e69f00",
    "green": "#2bb58c",
    "purple": "#cc79a7",
    "yellow": "#e8dc5a",
    "vermillion": "#e8703a",
    "blue": "#6f9bea",
}
_LIGHT = {
    "text": "#24292f",
    "muted": "#5f6872",
    "faint": "#a3abb3",
    "sky": "#1f7fb8",
    "orange": "#a86f00",
    "green": "#00795a",
    "purple": "#a04e7c",
    "yellow": "#857a00",
    "vermillion": "#bd4a00",
    "blue": "#2b5fc0",
}
# What shades are mixed with: near to the backgrounds of the themes.
_GROUND = {True: "#16181c", False: "#f4f5f7"}
_SHADES = {"dim": 0.55, "faint": 0.34}  # share of the colour itself
HEAT_STEPS = 32
# The heat map runs through these at even steps of OKLab: lightness rises evenly, and blue to yellow is told apart with any common
# colour blindness. On a light theme it falls instead, from the paper to a dark blue.
_HEAT = {
    True: ("#16181c", "#1d3a63", "#2f6a8f", "#5f9c92", "#b3c46a", "#fdf2a0"),
    False: ("#f4f5f7", "#cfe0b4", "#84bfa0", "#3f93a0", "#22618f", "#15254f"),
}

# A run's state: glyph and colour, each enough alone.
STATES: dict[str, tuple[str, str]] = {
    "queued": ("○", "muted"),
    "running": ("▶", "sky"),
    "paused": ("‖", "yellow"),
    "finished": ("✓", "green"),
    "stopped": ("■", "orange"),
    "failed": ("✗", "vermillion"),
    "lost": ("?", "purple"),
    "unreadable": ("!", "vermillion"),
}


@functools.cache
def colour(name: str, dark: bool = True) -> str:
    """The hex colour of a name on a dark or light theme.

    Raises:
        KeyError: no such name or shade.
    """
    base, _, shade = name.partition(" ")
    if base == "heat":
        return heat(int(shade) / (HEAT_STEPS - 1), dark)
    own = (_DARK if dark else _LIGHT)[base]
    return mixed(_GROUND[dark], own, _SHADES[shade]) if shade else own


def heat(share: float, dark: bool = True) -> str:
    """The heat map's colour of a share between 0 and 1."""
    anchors = _HEAT[dark]
    at = min(max(share, 0.0), 1.0) * (len(anchors) - 1)
    first = min(int(at), len(anchors) - 2)
    return mixed(anchors[first], anchors[first + 1], at - first)


def mixed(one: str, other: str, share: float) -> str:
    """A hex colour between two, `share` of the way to `other`, as the eye sees distance (OKLab)."""
    a, b = _oklab(one), _oklab(other)
    return _hex(tuple(x + share * (y - x) for x, y in zip(a, b, strict=True)))


def lightness(name: str) -> float:
    """How light a hex colour looks: 0 black, 1 white."""
    return _oklab(name)[0]


def _oklab(name: str) -> tuple[float, float, float]:
    channels = [int(name[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    long = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b) ** (1 / 3)
    middle = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b) ** (1 / 3)
    short = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b) ** (1 / 3)
    return (
        0.2104542553 * long + 0.7936177850 * middle - 0.0040720468 * short,
        1.9779984951 * long - 2.4285922050 * middle + 0.4505937099 * short,
        0.0259040371 * long + 0.7827717662 * middle - 0.8086757660 * short,
    )


def _hex(lab: tuple[float, ...]) -> str:
    light, a, b = lab
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
    )
    channels = (12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in (max(c, 0.0) for c in linear))
    return "#" + "".join(f"{min(max(round(c * 255), 0), 255):02x}" for c in channels)


# --- which run has which colour ---------------------------------------------------------------------------------------------------

DASHES = ("", "dashed", "dotted", "dashdot")


@dataclass(frozen=True)
class Stroke:
    """How a run's lines are drawn: a colour's name, and dashes that tell it apart without colour ("" is a full line)."""

    ink: str
    dash: str = ""


def colour_of(run_id: str) -> str:
    """The colour's name that a run has of itself: always the same one, whatever else is shown."""
    return SERIES[hashlib.sha256(run_id.encode("utf-8", "surrogateescape")).digest()[0] % len(SERIES)]


class Colours:
    """Which stroke each run or group has, for as long as the app runs: once given it stays, whoever comes and goes."""

    def __init__(self) -> None:
        self._given: dict[str, Stroke] = {}

    def of(self, ids: Sequence[str]) -> dict[str, Stroke]:
        """A stroke for each of `ids`, which are shown together. One that is seen for the first time gets its own colour where no
        other of them has it, else one that none has, else another dash."""
        for name in ids:
            if name not in self._given:
                taken = [self._given[other] for other in ids if other in self._given]
                own = SERIES.index(colour_of(name))
                inks = [*SERIES[own:], *SERIES[:own]]
                wanted = [Stroke(ink, dash) for dash in DASHES for ink in inks]
                self._given[name] = next((stroke for stroke in wanted if stroke not in taken), wanted[0])
        shown: dict[str, Stroke] = {}
        for (
            name
        ) in ids:  # two that got the same stroke at different times meet: the later one has other dashes, in its colour
            ink = self._given[name].ink
            free = (Stroke(ink, dash) for dash in (self._given[name].dash, *DASHES))
            shown[name] = next((stroke for stroke in free if stroke not in shown.values()), self._given[name])
        return shown
