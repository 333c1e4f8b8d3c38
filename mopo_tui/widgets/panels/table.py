"""The table of panels: names, titles, and the function that makes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mopo_tui.manager import Run
from mopo_tui.run_view import RunView
from mopo_tui.widgets.panels.calibration import calibration, calibration_choices
from mopo_tui.widgets.panels.dynamics import dynamics
from mopo_tui.widgets.panels.optimisation import optimisation, optimisation_choices
from mopo_tui.widgets.panels.options import DEFAULT, Options, Panel
from mopo_tui.widgets.panels.score import score
from mopo_tui.widgets.panels.uncertainty import uncertainty
from mopo_tui.widgets.plot import Plot
from mopo_tui.widgets.seeds import Group, alone

PANELS = ("dynamics", "uncertainty", "score")  # those that a small screen has room for
EVERY_PANEL = (*PANELS, "calibration", "optimisation")
TITLES = {
    "dynamics": "Validation loss",
    "uncertainty": "Uncertainty",
    "score": "Score",
    "calibration": "Model against reality",
    "optimisation": "Optimisation",
}
_MAKERS: Mapping[str, Callable[[Sequence[Group], Options], Panel]] = {
    "dynamics": dynamics,
    "uncertainty": uncertainty,
    "score": score,
    "calibration": calibration,
    "optimisation": optimisation,
}


def panels(run: Run, view: RunView | None, log: bool = True) -> dict[str, Panel]:
    """The panels of PANELS of one run by name; before its columns are read they say so."""
    groups, options = [alone(run, view)], {"dynamics": Options(log=log)}
    return {name: panel(name, groups, options.get(name, Options())) for name in PANELS}


def panel(name: str, groups: Sequence[Group], options: Options = DEFAULT) -> Panel:
    """One panel of EVERY_PANEL. What goes wrong in it stands in its place: it costs no other panel.

    Raises:
        KeyError: no such panel.
    """
    make = _MAKERS[name]
    if not any(group.read for group in groups):
        problems = [view.problem for group in groups for _, view in group.members if view is not None and view.problem]
        return Panel(Plot(empty=problems[0] if problems else "reading …"), TITLES[name])
    try:
        return make(groups, options)
    except Exception as error:  # whatever a run recorded, one panel is all that it may cost
        return Panel(Plot(empty=f"cannot be shown: {type(error).__name__}: {error}"), TITLES[name])


def choices(name: str, groups: Sequence[Group]) -> list[tuple[str, str]]:
    """What `Options.metric` may be: (metric, title) in the order of a key that goes through them; empty without a choice."""
    if name == "uncertainty":
        return [("newest", "newest rollouts"), ("time", "over time")]
    if name == "calibration":
        return calibration_choices(groups)
    return optimisation_choices(groups) if name == "optimisation" else []
