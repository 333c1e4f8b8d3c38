"""Which panels are shown and how: what a person chose, and what there is room for (no Textual)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from mopo_tui.widgets.panels import EVERY_PANEL, Options

NOW = "now"
BOARD = (*EVERY_PANEL, NOW)  # in the order of the keys 1 to 6
TABS = {
    "dynamics": "Loss",
    "uncertainty": "Uncertainty",
    "score": "Score",
    "calibration": "Reality",
    "optimisation": "Optimisation",
    NOW: "Now",
}
SMOOTHINGS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class BoardState:
    """What a person chose of the panels; `to_json` and `from_json` keep it.

    Attributes:
        chosen: the panel that has the focus, or gets it.
        options: how panels are shown that are not as they are by themselves.
    """

    chosen: str = "score"
    options: Mapping[str, Options] = field(default_factory=dict)

    def of(self, name: str) -> Options:
        """How a panel is shown."""
        return self.options.get(name, Options())

    def with_options(self, name: str, options: Options) -> BoardState:
        """The same with one panel shown in another way."""
        return replace(self, options={**self.options, name: options})

    def to_json(self) -> dict[str, Any]:
        """As JSON or TOML can hold it."""
        shown = {name: _told(options) for name, options in self.options.items()}
        return {"chosen": self.chosen, "options": {name: told for name, told in shown.items() if told}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> BoardState:
        """What was kept; of what means nothing here (any more), the default."""
        state = cls()
        if values.get("chosen") in BOARD:
            state = replace(state, chosen=values["chosen"])
        kept = values.get("options")
        for name, told in kept.items() if isinstance(kept, Mapping) else ():
            if name in BOARD and isinstance(told, Mapping):
                state = state.with_options(name, _options(told))
        return state


def _told(options: Options) -> dict[str, Any]:
    default = Options()
    return {name: value for name, value in asdict(options).items() if value != getattr(default, name)}


def _options(told: Mapping[str, Any]) -> Options:
    found: dict[str, Any] = {}
    for each in fields(Options):
        value = told.get(each.name)
        if each.name == "smoothing":
            if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1:
                found[each.name] = float(value)
        elif isinstance(value, bool if each.name == "log" else str):
            found[each.name] = value
    return Options(**found)


# --- how many there is room for ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """How many panels stand where.

    Attributes:
        name: its class in the stylesheet.
        pages: the panels that are shown together.
    """

    name: str
    pages: tuple[tuple[str, ...], ...]

    def page(self, chosen: str) -> tuple[str, ...]:
        """The panels that are shown while one of them is chosen."""
        return next(page for page in self.pages if chosen in page)


ONE = Layout("-one", tuple((name,) for name in BOARD))
THREE = Layout("-three", (BOARD[:3], BOARD[3:]))  # two above, the third over the whole width
SIX_HIGH = Layout("-six-high", (BOARD,))  # two columns
SIX_WIDE = Layout("-six-wide", (BOARD,))  # three columns
# The first of them for which an area has the columns and rows is taken: a panel is legible from some 36 columns and 10 rows on.
_NEEDS = ((SIX_HIGH, 96, 36), (SIX_WIDE, 126, 24), (THREE, 72, 21), (ONE, 0, 0))


def layout_of(columns: int, rows: int) -> Layout:
    """The layout for an area of that many columns and rows."""
    return next(
        layout for layout, least_columns, least_rows in _NEEDS if columns >= least_columns and rows >= least_rows
    )


def after(items: Sequence[str], item: str, step: int) -> str:
    """The item so many steps after one, in a circle; from one that is not there, the first."""
    return items[(items.index(item) + step) % len(items)] if item in items else items[0]


def smoother(smoothing: float, step: int) -> float:
    """The next weight of SMOOTHINGS in a direction; at an end the same."""
    near = min(range(len(SMOOTHINGS)), key=lambda i: abs(SMOOTHINGS[i] - smoothing))
    return SMOOTHINGS[min(max(near + step, 0), len(SMOOTHINGS) - 1)]
