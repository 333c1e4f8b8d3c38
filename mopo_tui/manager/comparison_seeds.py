"""The runs of a comparison, each read once, and which of them are seeds of one group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mopo_tui.manager.compared import Entry, Group, Measure
from mopo_tui.manager.groups import group_key, setting_key, with_defaults
from mopo_tui.manager.run import Run, number_of, text_of
from mopo_tui.manager.scores import LAST, evaluated_in, references, scale_words, scores, stage_scores
from mopo_tui.manager.state import clean

if TYPE_CHECKING:
    from mopo_tui.manager.series import Floats

U, SPEED = "uncertainty/mean", "speed/updates_per_s"
MODEL, PENALISED, REAL = "eval/model_return", "eval/model_return_penalised", "eval/discounted_return"
GAP, PENALISED_GAP = "gap", "gap_penalised"  # the model's estimate of the discounted return less the real one


class Seed:
    """A run with what its folder says, read once."""

    def __init__(self, run: Run) -> None:
        from mopo_tui.manager.series import RunReader

        self.run = run
        self.reader = RunReader(run.folder)
        self.reader.refresh()
        self.environment = self.reader.environment
        self.settings = with_defaults(self.reader.config)
        self.final, self.mean_last_10, self.best = scores(run)
        self.stages = stage_scores(run.result or {})
        self.wall_s = number_of(run.result, "wall_s") if run.result is not None else None
        speed = self.reader.series(SPEED).value[-LAST:]
        self.speed = float(speed.mean()) if len(speed) and math.isfinite(speed.mean()) else None
        self.letter = ""
        self.left_out = ""

    def entry(self) -> Entry:
        run, dataset, versions = self.run, self.environment.get("dataset"), self.environment.get("versions")
        dataset = dataset if isinstance(dataset, Mapping) else {}
        return Entry(
            id=run.id,
            name=run.name,
            state=run.state.value,
            task=run.task,
            algorithm=run.algorithm,
            preset=run.preset,
            seed=run.seed,
            update=int(number_of(run.result or run.summary, "update") or 0),
            wall_s=self.wall_s,
            final=self.final,
            mean_last_10=self.mean_last_10,
            best=self.best,
            references=references(self.environment),
            scale=scale_words(self.environment),
            dataset=text_of(dataset, "id"),
            fingerprint=text_of(dataset, "fingerprint"),
            evaluated_in=clean(evaluated_in(self.environment)),
            versions={clean(str(k)): clean(str(v)) for k, v in versions.items()}
            if isinstance(versions, Mapping)
            else {},
            commit=text_of(self.environment, "git_commit"),
            reason=run.reason,
            folder=str(run.folder),
            setting=setting_key(run.folder),
            group=self.letter,
            left_out=self.left_out,
            stages=self.stages,
            recommended=text_of(run.result or {}, "recommended"),
            speed=self.speed,
        )

    def measured(self, name: str) -> tuple[float, float] | None:
        """A metric's last finite value, and the mean of its last ten; None where it has none."""
        return _last_values(self.reader.series(name).value)

    def trend(self) -> float | None:
        """How much the return still changes: along the line fitted to the evaluations in the last third of the policy's updates,
        from that third's beginning to its end; None below three such evaluations."""
        import numpy as np

        returns = self.reader.series("eval/return")
        x, y = np.asarray(returns.update, dtype=np.float64), returns.value
        known = np.isfinite(x) & np.isfinite(y)
        x, y = x[known], y[known]
        if not len(x):
            return None
        third = x.max() / 3
        late = x > 2 * third
        x, y = x[late] - x[late].mean(), y[late]
        return float(third * (x * y).sum() / (x * x).sum()) if len(np.unique(x)) > 2 else None

    def gap(self, estimate: str) -> tuple[float, float] | None:
        """The same of an estimate of the model less the real discounted return, where both were measured at one step."""
        import numpy as np

        ours, real = self.reader.series(estimate), self.reader.series(REAL)
        _, i, j = np.intersect1d(ours.step, real.step, return_indices=True)
        return _last_values(ours.value[i] - real.value[j])


def _last_values(values: Floats) -> tuple[float, float] | None:
    import numpy as np

    finite = values[np.isfinite(values)]
    return (float(finite[-1]), float(finite[-LAST:].mean())) if len(finite) else None


def grouped(seeds: Sequence[Seed]) -> list[list[Seed]]:
    """The seeds of one group together, by seed; the groups in the order in which their first run was given."""
    found: dict[str, list[Seed]] = {}
    waiting: list[Seed] = []
    taken: set[Path] = set()
    for seed in seeds:
        if seed.run.folder in taken:
            continue
        taken.add(seed.run.folder)
        if "versions" not in seed.environment and seed.settings:
            waiting.append(
                seed
            )  # nothing says yet on what data it learns: it belongs to its setting, if that is one group
        else:
            found.setdefault(group_key(seed.run.folder) or seed.run.id, []).append(seed)
    for seed in waiting:
        setting = setting_key(seed.run.folder)
        same = [key for key, group in found.items() if setting_key(group[0].run.folder) == setting]
        found.setdefault(same[0] if len(same) == 1 else setting, []).append(seed)
    order = {seed.run.folder: i for i, seed in enumerate(seeds)}
    groups = sorted(found.values(), key=lambda group: min(order[seed.run.folder] for seed in group))
    for i, group in enumerate(groups):
        group.sort(key=lambda seed: (seed.run.seed, seed.run.created))
        for seed in group:
            seed.letter = _letter(i)
        _leave_out(group)
    return groups


def _leave_out(group: Sequence[Seed]) -> None:
    """Say of each run that has no final score, or is not the newest finished one of its seed, why it does not count."""
    newest: dict[int, Seed] = {}
    for seed in group:
        if seed.run.state.value != "finished":
            seed.left_out = seed.run.state.value + (f": {seed.run.reason}" if seed.run.reason else "")
        elif seed.final is None:
            seed.left_out = "finished without a final score"
        else:
            newest[seed.run.seed] = seed
    for seed in group:
        if not seed.left_out and newest[seed.run.seed] is not seed:
            seed.left_out = f"seed {seed.run.seed} again: {newest[seed.run.seed].run.id} is newer"


def unscored_group(label: str, group: Sequence[Seed], values: Mapping[str, Any]) -> Group:
    """Everything of a group but its scores, whose unit its task decides."""
    counted = [seed for seed in group if not seed.left_out]
    names = dict.fromkeys(
        name
        for seed in counted
        for name in seed.reader.names()
        if name in (U, MODEL, PENALISED, REAL) or name.startswith("calibration/")
    )
    measures = {name: _measure([seed.measured(name) for seed in counted]) for name in names}
    measures[GAP] = _measure([seed.gap(MODEL) for seed in counted])
    measures[PENALISED_GAP] = _measure([seed.gap(PENALISED) for seed in counted])
    first = group[0]
    return Group(
        letter=first.letter,
        label=label,
        key=group_key(first.run.folder),
        setting=setting_key(first.run.folder),
        task=first.run.task,
        algorithm=first.run.algorithm,
        values=dict(values),
        runs=tuple(seed.run.id for seed in counted),
        seeds=tuple(seed.run.seed for seed in counted),
        started=sum(seed.run.state.value != "queued" for seed in group),
        left_out=tuple(seed.run.id for seed in group if seed.left_out),
        recommended=dict(Counter(text for seed in counted if (text := text_of(seed.run.result or {}, "recommended")))),
        episodes=tuple(dict.fromkeys(seed.final.episodes for seed in counted if seed.final and seed.final.episodes)),
        wall_s=_mean_of([seed.wall_s for seed in counted]),
        speed=_mean_of([seed.speed for seed in counted]),
        measures={name: measure for name, measure in measures.items() if measure is not None},
    )


def _measure(found: Sequence[tuple[float, float] | None]) -> Measure | None:
    from mopo_tui.manager.statistics import summarise

    known = [each for each in found if each is not None]
    if not known:
        return None
    last, mean = (summarise(values) for values in zip(*known, strict=True))
    return Measure(last.n, last.mean, last.std, mean.mean, mean.std)


def _mean_of(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _letter(i: int) -> str:
    """A, B, …, Z, AA, AB, …"""
    return (_letter(i // 26 - 1) if i >= 26 else "") + chr(ord("A") + i % 26)
