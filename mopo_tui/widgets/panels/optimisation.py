"""The optimisation of the policy: any metric of it, and what MB2PO's gate said."""

from __future__ import annotations

from collections.abc import Sequence

from engine.record import METRIC_TABLE
from mopo_tui.widgets.panels.metrics import measured_of, newest, one_metric
from mopo_tui.widgets.panels.options import DEFAULT, Options, Panel
from mopo_tui.widgets.panels.why_empty import why_empty
from mopo_tui.widgets.plot import Plot
from mopo_tui.widgets.scale import number
from mopo_tui.widgets.seeds import Group


def optimisation_choices(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """What the panel can show, as `choices`."""
    measured = {name for group in groups for _, view in group.read for name in view.series}
    gate = [("gate", "the gate")] if any(view.gate for group in groups for _, view in group.read) else []
    return measured_of(measured, "optimisation") + measured_of(measured, "speed") + gate


def optimisation(groups: Sequence[Group], options: Options = DEFAULT) -> Panel:
    """One metric of the optimisation, or for MB2PO what its gate said and by which figures."""
    there = [name for name, _ in optimisation_choices(groups)]
    first = "policy/q" if "policy/q" in there else next(iter(there), "")
    shown = options.metric if options.metric in there else first
    if not shown:
        return Panel(Plot(empty=why_empty(groups, "policy epoch")), "Optimisation")
    if shown == "gate":
        return _gate(groups)
    numbers = newest(groups, shown.split("/")[1].replace("_", " "), shown)
    return one_metric(shown, groups, options, "optimisation", numbers)


def _gate(groups: Sequence[Group]) -> Panel:
    """What the gate decided, why, and the figures that it had."""
    words: list[tuple[str, str]] = []
    for group in groups:
        for run, view in group.read:
            who = "" if len(groups) == 1 and group.single else f"seed {run.seed} "
            words += [(f"{who}gate", text) for text in view.gate]
            if len(groups) == 1 and group.single:
                words += [
                    (entry.name.removeprefix("gate/").replace("_", " "), f"{number(value)} · {entry.about}")
                    for entry in METRIC_TABLE
                    if entry.panel == "gate" and (value := view.last(entry.name)) is not None
                ]
    return Panel(Plot(words=words, empty="the gate has not decided yet"), "The gate between the stages", metric="gate")
