"""The bottom line: the keys that are valid now, repainted only when they change."""

from __future__ import annotations

from rich.text import Text
from textual import events
from textual.screen import Screen
from textual.widget import Widget

from mopo_tui.actions import ACTIONS
from mopo_tui.widgets.palette import colour

_KEPT = 2  # of the last keys, which stay when there is no room for all: help, and the way out

_ORDER = {action.id: i for i, action in enumerate(ACTIONS)}


class KeysLine(Widget):
    """Keys and labels of the screen's active bindings; as many as fit, whole ones only. A click presses the key."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[tuple[str, str, str]] = []  # key, as it is written, label

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._update)
        self._update(self.screen)

    def _update(self, screen: Screen[object]) -> None:
        active = [each for each in screen.active_bindings.values() if each.binding.show and each.enabled]
        # In the order of the table, whatever a person made of the keys.
        active.sort(key=lambda each: _ORDER.get(each.binding.id or "", -1))
        keys: dict[str, tuple[str, str, str]] = {}
        for binding in (each.binding for each in active):
            shown = self.app.get_key_display(binding)
            keys.setdefault(binding.action, (binding.key, shown, binding.description))
        now: list[tuple[str, str, str]] = []
        for key, shown, label in keys.values():
            if now and now[-1][2] == label:  # two directions of one thing: ← → Change
                now[-1] = (now[-1][0], f"{now[-1][1]} {shown}", label)
            else:
                now.append((key, shown, label))
        if now != self._keys:
            self._keys = now
            self.refresh()

    def _placed(self) -> list[tuple[int, str, str, str]]:
        """Each key that fits, with the column at which it begins."""
        placed, column = [], 1
        keep = self._keys[-_KEPT:] if len(self._keys) > _KEPT else []
        kept = sum(len(shown) + len(label) + 3 for _, shown, label in keep)
        full = False
        for i, (key, shown, label) in enumerate(self._keys):
            last = i >= len(self._keys) - len(keep)
            end = column + len(shown) + 1 + len(label)
            full = full or (not last and end + kept > self.size.width)
            if end > self.size.width or (full and not last):
                continue
            placed.append((column, key, shown, label))
            column += len(shown) + len(label) + 3
        return placed

    def render(self) -> Text:
        """One row."""
        dark = self.app.current_theme.dark
        text = Text(no_wrap=True)
        for column, _, shown, label in self._placed():
            text.append(" " * (column - len(text)))
            text.append(shown, f"bold {colour('sky', dark)}")
            text.append(f" {label}", colour("text", dark))
        return text

    async def on_click(self, event: events.Click) -> None:
        """Press the key under the mouse."""
        for column, key, shown, label in self._placed():
            if column <= event.x < column + len(shown) + 1 + len(label):
                self.app.simulate_key(key)
