"""A dataset's manifest as a person reads it: facts, references, returns, lengths, rewards, coverage.

A manifest of an earlier version lacks some of it: what is not there is left out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mopo_tui.manager.datasets import DatasetStatus
from mopo_tui.manager.run import number_of, text_of
from mopo_tui.manager.state import clean


def table_of(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A table within a manifest; empty where there is none."""
    value = values.get(key)
    return value if isinstance(value, dict) else {}


def numbers_of(values: Mapping[str, Any], key: str) -> list[float]:
    """A list of finite numbers within a manifest; empty where it is missing or not one."""
    found = values.get(key)
    if not isinstance(found, list):
        return []
    numbers = [number_of({"": value}, "") for value in found]
    return [value for value in numbers if value is not None] if None not in numbers else []


# --- what it is -------------------------------------------------------------------------------------------------------------------


def facts(status: DatasetStatus, manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What it is, by name; a name is empty where a line belongs to the one above."""
    versions = table_of(manifest, "versions")
    found = [
        ("dataset", status.id),
        ("task", status.task),
        ("about", text_of(manifest, "description")),
        ("source", _source(status, manifest)),
        ("environment", _environment(manifest)),
        ("versions", ", ".join(f"{clean(str(k))} {clean(str(v))}" for k, v in versions.items())),
        ("size", _size(status, table_of(manifest, "report"))),
        ("on disk", disk(status)),
        ("fingerprint", status.fingerprint),
    ]
    found = [(name, value) for name, value in found if value]
    notes = manifest.get("notes")
    for i, note in enumerate(notes if isinstance(notes, list) else ()):
        found.append(("" if i else "notes", clean(str(note))))
    if manifest.get("reached_target") is False:
        found.append(("", "no behaviour policy reaches the return at which this dataset is to end"))
    return found


def _source(status: DatasetStatus, manifest: Mapping[str, Any]) -> str:
    origin, seed = text_of(manifest, "origin"), number_of(manifest, "seed")
    behaviour = text_of(manifest, "behaviour")
    parts = [
        origin if status.source in ("", "ours") else status.source,
        f"behaviour {behaviour}" if behaviour else "",
        text_of(manifest, "algorithm"),
        "" if seed is None else f"seed {seed:.0f}",
        time.strftime("%Y-%m-%d %H:%M", time.localtime(status.written)) if status.written else "",
    ]
    return ", ".join(part for part in parts if part)


def _environment(manifest: Mapping[str, Any]) -> str:
    options, limit = table_of(manifest, "environment_options"), number_of(manifest, "max_episode_steps")
    return ", ".join(
        [
            text_of(manifest, "environment"),
            *(f"{clean(str(key))} = {clean(str(value))}" for key, value in options.items()),
            *([] if limit is None else [f"at most {limit:.0f} steps"]),
        ]
    )


def _size(status: DatasetStatus, report: Mapping[str, Any]) -> str:
    complete = number_of(report, "complete_episodes")
    whole = "" if complete is None else f", {complete:,.0f} of them complete"
    return f"{status.size:,} transitions in {status.episodes:,} episodes{whole}"


def disk(status: DatasetStatus) -> str:
    """What it takes on disk, part by part."""
    sizes = (("flat cache", status.bytes), ("Minari copy", status.minari_bytes), ("download", status.download_bytes))
    return ", ".join(f"{what} {count / 1e6:.1f} MB" for what, count in sizes if count)


# --- what it is worth -------------------------------------------------------------------------------------------------------------


def returns(report: Mapping[str, Any]) -> str:
    """One line on the returns; empty where no episode is complete."""
    values = [number_of(report, f"{name}_return") for name in ("mean", "std", "min", "best")]
    if values[0] is None:
        return ""
    mean, std, low, best = ("–" if value is None else f"{value:.1f}" for value in values)
    return f"returns of complete episodes: mean {mean}, std {std}, from {low} to {best}"


def lengths(report: Mapping[str, Any], manifest: Mapping[str, Any]) -> str:
    """One line on the episodes' lengths and ends; empty where they are not known."""
    mean, ended = number_of(report, "mean_length"), number_of(report, "terminal_episodes")
    episodes = number_of(manifest, "episodes")
    if mean is None:
        return ""
    text = f"lengths of all episodes: mean {mean:,.0f} steps"
    if ended is not None and episodes:
        text += f"; {ended:,.0f} of {episodes:,.0f} ended in a terminal state"
    return text


def rewards(report: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Least, quantiles, most and mean of a step's reward; none where they are not known."""
    quantiles, reward = table_of(report, "reward_quantiles"), table_of(report, "reward")
    levels, values = numbers_of(quantiles, "levels"), numbers_of(quantiles, "values")
    if not levels or len(levels) != len(values):
        return []
    cells = [
        ("min", number_of(reward, "min")),
        *((f"{100 * level:g} %", value) for level, value in zip(levels, values, strict=True)),
        ("max", number_of(reward, "max")),
        ("mean", number_of(reward, "mean")),
    ]
    return [(name, value) for name, value in cells if value is not None]


def coverage(report: Mapping[str, Any]) -> list[str]:
    """What of the states and actions it covers, a line each."""
    covered, lines = table_of(report, "coverage"), []
    effective, varying = number_of(covered, "effective_dimension"), number_of(covered, "varying_dimensions")
    if effective is not None and varying is not None:
        lines.append(f"states: effective dimension {effective:.1f} of {varying:.0f} that vary")
    share = numbers_of(covered, "principal_share")
    if len(share) == 2:
        lines.append(f"the first two principal components hold {100 * sum(share):.0f} % of the standardised variance")
    if (occupied := number_of(table_of(covered, "map"), "occupied")) is not None:
        cells = len(table_of(covered, "map").get("counts") or ())
        lines.append(f"{100 * occupied:.0f} % of the {cells} × {cells} cells over these two hold data")
    if (limit := number_of(report, "actions_at_limit")) is not None:
        lines.append(f"actions: {100 * limit:.1f} % of the entries at their limits (|a| > 0.999)")
    return lines


def bars(report: Mapping[str, Any], key: str) -> tuple[list[float], list[float]]:
    """Edges and counts of one of the report's histograms; nothing where there is none, or nothing to tell apart."""
    values = table_of(report, key)
    edges, counts = numbers_of(values, "edges"), numbers_of(values, "counts")
    if len(counts) < 2 or len(edges) != len(counts) + 1 or sum(count > 0 for count in counts) < 2:
        return [], []
    return edges, counts
