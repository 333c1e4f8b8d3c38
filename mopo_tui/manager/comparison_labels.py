"""What sets each group of a comparison apart from the others, in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mopo_tui.manager.comparison_seeds import Seed
from mopo_tui.manager.differences import Difference, shown
from mopo_tui.manager.groups import origin_of, shared_settings
from mopo_tui.manager.state import clean

_LABEL_KEYS = 3
_NAMED_FIRST = ("algorithm", "preset")  # a group's label says these without their key


def labels_of(groups: Sequence[Sequence[Seed]], settings: Sequence[Difference]) -> list[str]:
    """What sets each group apart, in a few words: its algorithm, its values of what differs between groups of that algorithm, and
    where that is not enough the data, environment, versions or constants."""
    several = {row.key for row in settings}
    names = [
        " ".join([run.algorithm or run.job, *([run.preset] if "preset" in several and run.preset else [])])
        for run in (group[0].run for group in groups)
    ]
    labels = []
    for i, name in enumerate(names):
        same = [j for j, other in enumerate(names) if other == name]
        rows = [
            row for row in settings if row.key not in _NAMED_FIRST and any(row.values[j] != row.values[i] for j in same)
        ]
        tails = Counter(row.key.rpartition(".")[2] for row in rows)
        words = [name]
        for row in rows[:_LABEL_KEYS]:
            if row.values[i] is not None:
                tail = row.key.rpartition(".")[2]
                words.append(f"{tail if tails[tail] == 1 else row.key}={shown(row.values[i])}")
        words += ["…"] if len(rows) > _LABEL_KEYS else []
        labels.append(" ".join(words))
    labels = _told_apart(labels, [_origin_words(groups, same) for same in _same(labels)])
    return _told_apart(labels, [_unused_words(groups, same) for same in _same(labels)])


def _same(labels: Sequence[str]) -> list[list[int]]:
    """The places of each label that stands at several."""
    places: dict[str, list[int]] = {}
    for i, label in enumerate(labels):
        places.setdefault(label, []).append(i)
    return [same for same in places.values() if len(same) > 1]


def _told_apart(labels: Sequence[str], words: Sequence[Mapping[int, Sequence[str]]]) -> list[str]:
    """The labels with more words at some places."""
    found = list(labels)
    for of_same in words:
        for i, more in of_same.items():
            found[i] = " ".join([found[i], *more])
    return found


def _origin_words(groups: Sequence[Sequence[Seed]], same: Sequence[int]) -> dict[int, list[str]]:
    origins = {i: origin_of(groups[i][0].environment) for i in same}
    return {i: _where_from(origin, list(origins.values())) for i, origin in origins.items()}


def _unused_words(groups: Sequence[Sequence[Seed]], same: Sequence[int]) -> dict[int, list[str]]:
    """A setting that tells groups apart although it changes nothing, such as one of another algorithm."""
    settings = [shared_settings(groups[i][0].settings) for i in same]
    keys = [key for key in settings[0] if any(each.get(key) != settings[0][key] for each in settings)]
    return {i: [f"{key}={shown(each.get(key))}" for key in keys[:1]] for i, each in zip(same, settings, strict=True)}


def _where_from(origin: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
    words = []
    if any(other["fingerprint"] != origin["fingerprint"] for other in others):
        words.append(f"data {clean(origin['fingerprint'][:6]) or '?'}")
    if any(other["environment"] != origin["environment"] for other in others):
        words.append(f"in {clean(str(origin['environment'].get('id', '?')))}")
    versions = origin["versions"]
    for name in sorted({str(name) for other in others for name in other["versions"]} | set(versions)):
        if len({str(other["versions"].get(name)) for other in others}) > 1:
            words += [clean(f"{name} {versions.get(name, '?')}")]
    if not words and any(other["references"] != origin["references"] for other in others):
        words.append("other constants")
    return words
