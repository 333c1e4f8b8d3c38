"""What sets each group of a comparison apart from the others, in a few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mopo_tui.manager.comparison_seeds import Seed
from mopo_tui.manager.differences import Difference, shown
from mopo_tui.manager.groups import origin_of
from mopo_tui.manager.state import clean

_LABEL_KEYS = 3
_NAMED_FIRST = ("algorithm", "preset")  # a group's label says these without their key


def labels_of(groups: Sequence[Sequence[Seed]], settings: Sequence[Difference]) -> list[str]:
    """What sets each group apart, in a few words: its algorithm, its values of what differs, and where that is not enough the data,
    environment, versions or constants."""
    rows = [row for row in settings if row.key not in _NAMED_FIRST]
    tails = Counter(row.key.rpartition(".")[2] for row in rows)
    several = {row.key for row in settings}
    labels = []
    for i, group in enumerate(groups):
        run = group[0].run
        words = [run.algorithm or run.job]
        if "preset" in several and run.preset:
            words.append(run.preset)
        for row in rows[:_LABEL_KEYS]:
            tail = row.key.rpartition(".")[2]
            words.append(f"{tail if tails[tail] == 1 else row.key}={shown(row.values[i])}")
        words += ["…"] if len(rows) > _LABEL_KEYS else []
        labels.append(" ".join(words))
    same = {label for label, count in Counter(labels).items() if count > 1}
    if not same:
        return labels
    origins = [origin_of(group[0].environment) for group in groups]
    for i, label in enumerate(labels):
        if label in same:
            others = [origins[j] for j, other in enumerate(labels) if other == label]
            labels[i] = " ".join([label, *_origin_words(origins[i], others)])
    return labels


def _origin_words(origin: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> list[str]:
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
