"""Which key asks for which action: the table's own keys, and over them those of a person's configuration.

A configuration file says `[keys.dashboard]` and below it `stop = "x"`, or several keys: `stop = ["x", "ctrl+x"]`. A key is a
character, or named as Textual names it: enter, escape, space, tab, pageup, f5, ctrl+s, alt+x. What cannot be is a problem, one
line; the action then keeps the table's keys, so that the app always starts.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.config import ConfigError
from mopo_tui.actions import ACTIONS, PLACES, Action
from mopo_tui.manager import locations

TABLE = locations.KEYS
BY_ID = {action.id: action for action in ACTIONS}
_MODIFIERS = {"alt", "ctrl", "hyper", "meta", "shift", "super"}
# What a terminal sends as another key.
_SAME = {
    "ctrl+i": "tab",
    "ctrl+m": "enter",
    "ctrl+left_square_bracket": "escape",
    "newline": "ctrl+j",
    "ctrl+at": "ctrl+space",
}
_TAKEN = {"ctrl+q": "leaves the app", "ctrl+c": "copies what is selected"}  # Textual's own, before any other
_NAMES = {"esc": "escape", "return": "enter", "del": "delete", "ins": "insert", "pgup": "pageup", "pgdn": "pagedown"}
_WRITTEN = {  # of a key: with Unicode, and without
    "up": ("↑", "Up"),
    "down": ("↓", "Down"),
    "left": ("←", "Left"),
    "right": ("→", "Right"),
    "enter": ("⏎", "Enter"),
    "escape": ("Esc", "Esc"),
    "pageup": ("PgUp", "PgUp"),
    "pagedown": ("PgDn", "PgDn"),
    "delete": ("Del", "Del"),
    "backspace": ("⌫", "Backspace"),
}
_ASCII = {  # the names of characters that Textual does not call as Unicode does
    "slash": "/",
    "backslash": "\\",
    "at": "@",
    "minus": "-",
    "plus": "+",
    "underscore": "_",
    "hyphen_minus": "-",
}


@dataclass(frozen=True)
class Keys:
    """The keys in use.

    Attributes:
        changed: by the id of an action, its keys where they are not the table's.
        problems: what could not be used of the configuration.
        plain: whether the terminal shows no more than ASCII.
    """

    changed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[ConfigError, ...] = ()
    plain: bool = False

    def of(self, action: Action) -> tuple[str, ...]:
        """The keys of an action."""
        return self.changed.get(action.id, action.keys)

    def shown(self, action_id: str) -> str:
        """How the first key of an action is written."""
        return written(self.of(BY_ID[action_id])[0], plain=self.plain)

    def said(self, text: str) -> str:
        """`text` with keys in place of actions: {dashboard.new} becomes a."""
        return re.sub(r"\{(\w+\.\w+)\}", lambda found: self.shown(found[1]) if found[1] in BY_ID else found[0], text)

    def all_shown(self, action: Action) -> str:
        """How its keys are written, with blanks between."""
        return " ".join(written(key, plain=self.plain) for key in self.of(action))

    @property
    def keymap(self) -> dict[str, str]:
        """As `App.set_keymap` takes it."""
        return {action_id: ",".join(keys) for action_id, keys in self.changed.items()}


def keys_of(app: object) -> Keys:
    """The keys in use in an app; the table's where it has no others."""
    keys = getattr(app, "keys", None)
    return keys if isinstance(keys, Keys) else Keys()


def written(key: str, *, plain: bool = False) -> str:
    """How a key is written for a person: ↑, Esc, PgUp, ^p, /, F5.

    Args:
        key: as Textual names it.
        plain: in ASCII only.
    """
    *modifiers, base = key.split("+")
    text = _WRITTEN[base][plain] if base in _WRITTEN else character(base) or base.capitalize()
    if base == "space":
        text = "Space"
    if modifiers == ["ctrl"]:
        return f"^{text}"
    return "".join(f"{modifier.capitalize()}+" for modifier in modifiers) + text


def character(name: str) -> str:
    """The character that a key of that name types; empty for a key that types none."""
    if len(name) == 1:
        return name
    if name in _ASCII:
        return _ASCII[name]
    for unicode_name in (name.replace("_", " "), name.replace("_", "-")):
        try:
            found = unicodedata.lookup(unicode_name)
        except KeyError:
            continue
        if found.isprintable():
            return found
    return ""


# --- what a person says -----------------------------------------------------------------------------------------------------------


def load(*, plain: bool = False) -> Keys:
    """The keys that the configuration files which count ask for, the user's below ./mopo.toml.

    Raises:
        LocationError: a file that cannot be read.
    """
    asked: dict[str, _Asked] = {}
    problems: list[ConfigError] = []
    for file in reversed(locations.configuration_files()):
        said, wrong = _read(locations.read_toml(file).get(TABLE), str(file))
        asked |= said
        problems += wrong
    return _chosen(asked, problems, plain=plain)


def problems_in(configuration: Mapping[str, Any], file: str) -> Sequence[ConfigError]:
    """What is wrong with the keys of a parsed configuration file."""
    return _chosen(*_read(configuration.get(TABLE), file)).problems


def template() -> str:
    """Every action with its keys and its meaning, commented out, for a new configuration file."""
    lines = ["", "# Keys of the app: a character, or a name such as enter, escape, f5, ctrl+s; several in brackets."]
    for place in PLACES:
        lines.append(f"[{TABLE}.{place}]")
        for action in (action for action in ACTIONS if action.where == place):
            said = [json.dumps(character(key).strip() or key, ensure_ascii=False) for key in action.keys]
            words = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
            lines.append(f"# {action.id.partition('.')[2]} = {words}  # {action.help}")
        lines.append("")
    return "\n".join(lines)


@dataclass(frozen=True)
class _Asked:
    """Keys that somebody wants for an action, and the file that says so."""

    keys: tuple[str, ...]
    file: str


def _problem(file: str, key: str, why: str) -> ConfigError:
    return ConfigError(f"{key}: {why}", key, origin=file)


def _read(table: object, file: str) -> tuple[dict[str, _Asked], list[ConfigError]]:
    """What one file's table of keys asks for, by action, and what is wrong with it on its own."""
    asked: dict[str, _Asked] = {}
    problems: list[ConfigError] = []
    if table is None:
        return asked, problems
    if not isinstance(table, Mapping):
        return asked, [ConfigError(f"{TABLE} is a table of places: [{TABLE}.dashboard]", TABLE, origin=file)]
    for place, actions in table.items():
        if place not in PLACES or not isinstance(actions, Mapping):
            problems.append(_problem(file, f"{TABLE}.{place}", _no_place(place, actions)))
            continue
        for word, value in actions.items():
            action = BY_ID.get(f"{place}.{word}")
            if action is None:
                problems.append(_problem(file, f"{TABLE}.{place}.{word}", _no_action(place, word)))
                continue
            try:
                keys = _keys(action, value)
            except ValueError as error:
                problems.append(_problem(file, f"{TABLE}.{action.id}", f"{error}; {_stays(action)}"))
            else:
                asked[action.id] = _Asked(keys, file)
    return asked, problems


def _chosen(asked: Mapping[str, _Asked], problems: Sequence[ConfigError], *, plain: bool = False) -> Keys:
    """What can be had of what is asked for: of two actions with one key the one that a person moved goes back to its own."""
    left, said = dict(asked), list(problems)
    while clashes := list(_clashes({name: each.keys for name, each in left.items()})):
        for action, other, key in clashes:
            if action.id in left:
                what = f"is {other.id}'s, too" if other.where == action.where else f"is {other.id}'s there, too"
                why = f"{written(key)} {what}; {_stays(action)}"
                said.append(_problem(left[action.id].file, f"{TABLE}.{action.id}", why))
        for action, _, _ in clashes:
            left.pop(action.id, None)
    changed = {name: each.keys for name, each in left.items() if each.keys != BY_ID[name].keys}
    return Keys(changed, tuple(said), plain)


def _clashes(asked: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[Action, Action, str]]:
    """Actions that were moved to a key that another one has at the same time, that one and the key; each action once."""
    for action_id, keys in asked.items():
        action = BY_ID[action_id]
        moved = [key for key in keys if key not in action.keys]
        for other in ACTIONS:
            if other.id == action_id or not _meet(action.where, other.where):
                continue
            theirs = asked.get(other.id, other.keys)
            same = [key for key in moved if key in theirs]
            if same:
                yield action, other, same[0]
                break


def _meet(one: str, other: str) -> bool:
    """Whether keys of both places count at one time."""
    return one == other or one in PLACES[other].within or other in PLACES[one].within


def _stays(action: Action) -> str:
    return f"{action.label} stays on {' '.join(written(key) for key in action.keys)}"


def _no_place(place: str, value: object) -> str:
    if place in PLACES:
        return f"is a table of actions: [{TABLE}.{place}]"
    if not isinstance(value, Mapping):  # keys.stop = "x", without a place
        ids = [action.id for action in ACTIONS if action.id.endswith(f".{place}")]
        close = ids or difflib.get_close_matches(place, BY_ID, n=1, cutoff=0.5)
        return "there is no such place" + (f"; did you mean {TABLE}.{close[0]}?" if close else "")
    near = difflib.get_close_matches(place, PLACES, n=1, cutoff=0.5)
    hint = f"did you mean {TABLE}.{near[0]}?" if near else f"there are {', '.join(PLACES)}"
    return f"there is no such place; {hint}"


def _no_action(place: str, word: str) -> str:
    here = {action.id.partition(".")[2]: action.id for action in ACTIONS if action.where == place}
    near = difflib.get_close_matches(word, here, n=1)
    elsewhere = [action.id for action in ACTIONS if action.id.endswith(f".{word}")]
    close = elsewhere or [here[word] for word in near] or difflib.get_close_matches(f"{place}.{word}", BY_ID, n=1)
    return "there is no such action" + (f"; did you mean {TABLE}.{close[0]}?" if close else "")


def _keys(action: Action, value: Any) -> tuple[str, ...]:
    """
    Raises:
        ValueError: they are no keys, or not ones that this action can have.
    """
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 9:
        value = str(value)  # `mopo config set keys.chart.whole 9` reads a number
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"{value!r} is no key in quotes, nor a list of them")
    keys = tuple(dict.fromkeys(canonical(word) for word in words))
    for word, key in zip(words, keys, strict=False):
        if key in _TAKEN:
            raise ValueError(f"{word!r} always {_TAKEN[key]}")
        if PLACES[action.where].typing and character(key):
            raise ValueError(f"{word!r} is typed there, and asks for nothing")
    return keys


def canonical(word: str) -> str:
    """A key as Textual names it.

    Raises:
        ValueError: it knows no such key; one clear line with the nearest one.
    """
    from textual.keys import KEY_NAME_REPLACEMENTS

    text = word if len(word) == 1 else word.strip()
    *modifiers, base = ["+"] if text == "+" else text.replace("++", "+plus").split("+")
    modifiers = [modifier.lower() for modifier in modifiers]
    if len(base) == 1 and not base.isalnum():
        name = unicodedata.name(base, "").lower().replace("-", "_").replace(" ", "_")
        base = KEY_NAME_REPLACEMENTS.get(name, name)
    elif len(base) > 1:
        base = _NAMES.get(base.lower(), base.lower())
        base = KEY_NAME_REPLACEMENTS.get(base, base)
    if modifiers == ["shift"] and len(base) == 1 and base.isalpha():
        raise ValueError(f"{word!r}: with Shift a letter is {base.upper()!r}")
    if "ctrl" in modifiers and len(base) == 1:
        base = base.lower()
    known = set(_special())
    if not base or set(modifiers) - _MODIFIERS or not (base in known or character(base)):
        near = difflib.get_close_matches(text.lower(), [*known, *_ASCII, *_NAMES], n=1)
        raise ValueError(f"{word!r} is no key" + (f"; did you mean {near[0]!r}?" if near else ""))
    key = "+".join([*sorted(modifiers), base])
    return _SAME.get(key, key)


def _special() -> Iterable[str]:
    """The keys that type nothing, by Textual's names."""
    from textual.keys import Keys as Known

    return (key.value for key in Known if key.value.isalnum() and len(key.value) > 1)
