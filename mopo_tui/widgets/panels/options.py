"""How a panel is asked for, what it answers, and the x axes that each may have."""

from __future__ import annotations

from dataclasses import dataclass

from mopo_tui.widgets.plot import Plot

FROM_ZERO = (0.0, 0.0)
Legend = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, eq=False)
class Panel:
    """A plot with a title and the most important numbers below it, most important first: as many are shown as fit.

    Attributes:
        short: the title where there is little room; empty where it has no shorter one.
        axes: the x axes that it can have, its own choice first; empty where x is what it is.
        logs: whether `Options.log` changes anything.
        metric: which of `choices` it shows; empty without a choice.
    """

    plot: Plot
    title: str
    numbers: tuple[str, ...] = ()
    short: str = ""
    axes: tuple[str, ...] = ()
    logs: bool = False
    metric: str = ""

    @property
    def smooths(self) -> bool:
        """Whether `Options.smoothing` changes anything: there are lines."""
        return bool(self.axes) and not self.plot.is_empty


@dataclass(frozen=True)
class Options:
    """How a panel is shown.

    Attributes:
        x: one of AXES; empty, or one that the panel does not have, is the panel's own choice.
        log: y on a logarithmic axis; None is the panel's own choice.
        smoothing: weight of the moving average over the raw lines, 0 to below 1.
        metric: what is shown of the panels that have a choice; empty, or one that is not there, is the first of `choices`.
    """

    x: str = ""
    log: bool | None = None
    smoothing: float = 0.0
    metric: str = ""


DEFAULT = Options()


def axes(name: str) -> tuple[str, ...]:
    """The x axes that a panel can have, its own choice first."""
    if name == "dynamics":
        return ("epoch", "step", "time")
    return ("update", "epoch", "step", "time")


def axis_of(name: str, options: Options) -> str:
    return options.x if options.x in axes(name) else axes(name)[0]
