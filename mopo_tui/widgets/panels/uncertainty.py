"""The penalty's u on model rollouts and on the data: its newest histogram, and over time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.record import histogram_edges
from mopo_tui.run_view import RunView
from mopo_tui.widgets.panels.metrics import metric_curve, overlaid, stage_changes
from mopo_tui.widgets.panels.options import DEFAULT, FROM_ZERO, Legend, Options, Panel, axes, axis_of
from mopo_tui.widgets.panels.why_empty import why_empty
from mopo_tui.widgets.plot import Heat, Histogram, Plot, Reference
from mopo_tui.widgets.scale import PERCENT, Floats, number
from mopo_tui.widgets.seeds import AXES, Group, floats, lasts, x_unit

_EDGES = np.array(histogram_edges())
_RARE = 0.002  # of a round's samples: bins with less are not worth the heat map's room


def uncertainty(groups: Sequence[Group], options: Options = DEFAULT) -> Panel:
    """The newest histogram of u on model rollouts, outlined, over that on the data, filled, in percent of their samples; or with
    the metric "time" the rollouts' histograms as a heat map, a column a round. The counts of seeds are added."""
    if options.metric == "time":
        return _over_time(groups, options)
    histograms: list[Histogram] = []
    legend: Legend = ()
    every = [view for group in groups for _, view in group.read]
    if (data := _summed(every, "data")) is not None:
        histograms.append(Histogram("data", _EDGES, _shares(data), "muted", filled=True))
        legend += (("▒", "muted", "data"),)
    for group in groups:
        if (rolled := _summed([view for _, view in group.read], "rollout")) is not None:
            ink = group.stroke.ink
            label = group.label if len(groups) > 1 else "rollouts"
            histograms.append(Histogram(label, _EDGES, _shares(rolled), ink))
            legend += (("━", ink, label),)
    outside = sum(float(h[0] + h[-1]) for view in every for h in view.histograms.values())
    numbers = _uncertain(groups)
    if outside:
        numbers += (f"{outside:.0f} beyond the axis",)
    plot = Plot(
        histograms=histograms,
        x_log=True,
        x_title="u",
        y_title="of samples",
        y_unit=PERCENT,
        legend=legend,
        empty=why_empty(groups, "model rollout", needs_model=True),
    )
    return Panel(plot, _penalised("Uncertainty", groups), numbers, _short("Uncertainty", groups))


def _penalised(title: str, groups: Sequence[Group]) -> str:
    """The title, with the mean penalty beside the reward from which it is taken."""
    penalty, reward = lasts(groups[0], "rollout/penalty"), lasts(groups[0], "rollout/reward")
    if len(groups) > 1 or not penalty.size:
        return title
    beside = f" beside reward {number(float(reward.mean()))}" if reward.size else ""
    return f"{title}, mean penalty {number(float(penalty.mean()))}{beside}"


def _short(title: str, groups: Sequence[Group]) -> str:
    """The title with the penalty alone."""
    penalty = lasts(groups[0], "rollout/penalty")
    return f"{title}, penalty {number(float(penalty.mean()))}" if len(groups) == 1 and penalty.size else title


def _uncertain(groups: Sequence[Group]) -> tuple[str, ...]:
    """Median and 95th percentile of u on rollouts and data; of several groups on rollouts."""
    found = []
    several = len(groups) > 1
    parts = [
        ("rollouts", "uncertainty/p50", "uncertainty/p95"),
        ("data", "uncertainty/data_p50", "uncertainty/data_p95"),
    ]
    for group in groups:
        for where, low, high in parts[:1] if several else parts:
            p50, p95 = lasts(group, low), lasts(group, high)
            if p50.size and p95.size:
                label = group.label if several else where
                found.append(f"{label} p50 {number(float(p50.mean()))} p95 {number(float(p95.mean()))}")
    return tuple(found)


def _summed(views: Sequence[RunView], name: str) -> Floats | None:
    found = [view.histograms[name] for view in views if name in view.histograms]
    return np.sum(found, axis=0) if found else None


def _shares(counts: Floats) -> Floats:
    """Percent of all samples in each bin; those beyond the edges count in the whole."""
    total = counts.sum()
    return counts[1:-1] * (100.0 / total) if total > 0 else np.zeros(len(counts) - 2)


def _over_time(groups: Sequence[Group], options: Options) -> Panel:
    """One group as a heat map with the data's median and 95th percentile; several as lines of their medians."""
    title = _penalised("Uncertainty over time", groups)
    empty = why_empty(groups, "model rollout", needs_model=True)
    if len(groups) > 1:
        axis = axis_of("uncertainty", options)
        lines, bands, legend = overlaid(groups, metric_curve("uncertainty/p50", axis), "p50", options)
        plot = Plot(
            lines,
            bands=bands,
            legend=legend,
            y_title="median u",
            y_log=options.log is not False,
            empty=empty,
            x_title=AXES[axis],
            x_unit=x_unit(axis),
        )
        return Panel(plot, title, _uncertain(groups), "Uncertainty over time", axes("uncertainty"), logs=True)
    heat = _heat([view for _, view in groups[0].read])
    references = []
    for name, label in (("uncertainty/data_p50", "data p50"), ("uncertainty/data_p95", "data p95")):
        known = lasts(groups[0], name)
        if known.size and heat is not None:
            references.append(Reference(float(known.mean()), label, label[5:], "text"))
    ramp: Legend = (*((("█", f"heat {step}", "")) for step in (4, 12, 20, 27)), ("█", "heat 31", "few to many samples"))
    plot = Plot(
        references=references,
        verticals=stage_changes(groups, "update"),
        heat=heat,
        x_span=FROM_ZERO,
        y_log=True,
        y_title="u",
        x_title=AXES["update"],
        legend=ramp,
        empty=empty,
    )
    return Panel(plot, title, _uncertain(groups), _short("u over time", groups))


def _heat(views: Sequence[RunView]) -> Heat | None:
    """The shares of the rollouts' bins by round, the counts of seeds added; None before the first round."""
    known = [
        (floats(view.rounds["rollout"][0]), view.rounds["rollout"][1]) for view in views if "rollout" in view.rounds
    ]
    known = [(updates[np.isfinite(updates)], counts[np.isfinite(updates)]) for updates, counts in known]
    known = [(updates, counts) for updates, counts in known if len(updates)]
    if not known:
        return None
    updates, counts = max(known, key=lambda rounds: len(rounds[0]))
    total = np.zeros_like(counts)
    for own, rows in known:
        # Rounds of seeds come at the same updates; a seed that is not as far yet has no part in the later ones.
        places = np.searchsorted(own, updates)
        there = places < len(own)
        total[there] += rows[places[there]]
    shares = np.divide(total, np.maximum(total.sum(1, keepdims=True), 1.0))[:, 1:-1].T
    seen = np.flatnonzero(shares.max(axis=1) > _RARE)
    if not seen.size:
        return None
    rows_seen = slice(int(seen[0]), int(seen[-1]) + 1)
    # A round's column goes from the update of the one before to its own, at which it was recorded.
    begin = 2 * updates[0] - updates[1] if len(updates) > 1 else 0.0
    return Heat(np.r_[max(begin, 0.0), updates], _EDGES[rows_seen.start : rows_seen.stop + 1], shares[rows_seen])
