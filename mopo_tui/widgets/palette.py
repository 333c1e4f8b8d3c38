"""Colours with a meaning, for dark and light themes.

Series colours are those of Okabe and Ito, which people with any common colour blindness tell apart, made lighter for dark and
darker for light backgrounds where they would not be legible.
"""

from __future__ import annotations

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


def colour(name: str, dark: bool = True) -> str:
    """The hex colour of a name on a dark or light theme."""
    return (_DARK if dark else _LIGHT)[name]
