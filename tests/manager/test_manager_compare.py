"""Runs and groups of seeds side by side, from real folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine import record
from engine.record import Recorder
from engine.tasks import UnknownName
from mopo_tui.manager import Run, RunNotFound, Store, StoreError, compare
from mopo_tui.manager.annotations import rename
from mopo_tui.manager.differences import differences
from mopo_tui.manager.groups import find_runs, setting_key

Finish = Callable[..., Run]


@pytest.fixture
def finish(make_run: Callable[..., Run], store: Store) -> Finish:
    def make(final: float | None, fingerprint: str = "f" * 64, torch: str = "2.11", **values: Any) -> Run:
        run = make_run(**values)
        recorder = Recorder(run.folder, echo=lambda _: None)
        recorder.stage = "policy"
        for i in range(12):
            recorder.step = recorder.update = i
            recorder.metrics({"eval/return": float(i)})
        recorder.environment(
            versions={"torch": torch, "gymnasium": "1.4.0", "mujoco": "4.0.0"},
            dataset={"id": "mopo/x", "fingerprint": fingerprint},
            environment={"id": "HalfCheetah-v5", "options": {}},
            references={"random": {"return": -280.0}, "scale": {"min": -280.178953, "max": 12135.0, "origin": "D4RL"}},
        )
        if final is not None:
            score = {
                "return": final,
                "return_std": 2.0,
                "normalized_score": 50.0,
                "episodes": 100,
                "progress": None,
                "length": 1000.0,
            }
            recorder.result(
                final=score, mean_last_10={"return": 6.5, "evaluations": 10}, best={"return": 11.0}, wall_s=60.0
            )
        return store.run(run.id)

    return make


def test_scores_and_differing_keys(finish: Finish) -> None:
    a = finish(100.0, task="halfcheetah-medium-replay")
    b = finish(90.0, task="halfcheetah-medium-replay", seed=1, **{"rollout.coefficient": 2.0})
    comparison = compare([a, b])
    first, second = comparison.runs
    assert first.final is not None
    assert second.final is not None
    assert (first.final.value, first.final.std, first.final.normalized, second.final.value) == (100.0, 2.0, 50.0, 90.0)
    assert first.final.progress is None
    assert {name: score.value for name, score in first.references.items()} == {"random": -280.0}
    assert first.evaluated_in == "HalfCheetah-v5, gymnasium 1.4.0, mujoco 4.0.0"
    assert {d.key: d.values for d in comparison.differing} == {"seed": (0, 1), "rollout.coefficient": (0.5, 2.0)}
    assert comparison.warnings == ()
    json.loads(record.dumps(comparison.to_json()))


def test_unfinished_run_is_scored_by_its_evaluations(finish: Finish) -> None:
    a = finish(None, task="halfcheetah-medium-replay")
    entry = compare([a]).runs[0]
    assert entry.final is None
    assert entry.mean_last_10 is not None
    assert entry.best is not None
    assert (entry.mean_last_10.value, entry.mean_last_10.evaluations) == (6.5, 10)  # evaluations 2 to 11
    assert entry.best.value == 11.0
    assert entry.best.normalized == pytest.approx(100 * (11.0 + 280.178953) / (12135.0 + 280.178953))


def test_unfair_comparisons_are_called_so(finish: Finish) -> None:
    a = finish(1.0)
    b = finish(1.0, task="halfcheetah-medium-replay", fingerprint="e" * 64, torch="2.12")
    c = finish(None)
    d = finish(1.0, fingerprint="e" * 64)
    comparison = compare([a, b, c, d])
    text = "\n".join(comparison.warnings)
    assert "different tasks: ant-angle | halfcheetah-medium-replay; " in text
    assert f"different dataset fingerprints of ant-angle: {'f' * 12} | {'e' * 12}; they learned" in text
    assert "different versions of torch: 2.11 | 2.12" in text
    assert "is queued: its scores are those so far" in "\n".join(comparison.unfinished)
    assert compare([a, a]).warnings == ()
    assert compare([a, a]).differing == ()


# --- groups -----------------------------------------------------------------------------------------------------------------------

CHEETAH = "halfcheetah-medium-replay"


def set_result(run: Run, **values: Any) -> None:
    record.write_json(run.folder / record.RESULT, {**(record.read_json(run.folder / record.RESULT) or {}), **values})


def set_environment(run: Run, **values: Any) -> None:
    environment = record.read_json(run.folder / record.ENVIRONMENT) or {}
    record.write_json(run.folder / record.ENVIRONMENT, {**environment, **values})


def scored(value: float) -> dict[str, Any]:
    """A final score on D4RL's scale of the half-cheetah."""
    return {
        "return": value,
        "return_std": 2.0,
        "episodes": 100,
        "normalized_score": 100 * (value + 280.178953) / 12415.178953,
    }


def cheetahs(finish: Finish, store: Store, returns: list[float], **values: Any) -> list[Run]:
    runs = [finish(0.0, task=CHEETAH, seed=i, **values) for i in range(len(returns))]
    for run, value in zip(runs, returns, strict=True):
        set_result(run, final=scored(value))
    return [store.run(run.id) for run in runs]


def test_seeds_of_a_setting_are_one_group(finish: Finish, store: Store) -> None:
    a = cheetahs(finish, store, [100.0, 200.0, 600.0])
    b = cheetahs(finish, store, [50.0, 150.0, 160.0, 5000.0], **{"rollout.coefficient": 2.0})
    comparison = compare([a[0], b[0], *a[1:], *b[1:]])
    (task,) = comparison.tasks
    assert (task.unit, task.why, task.letters) == ("%", "", ("A", "B"))
    assert [(row.key, row.values) for row in task.settings] == [("rollout.coefficient", (0.5, 2.0))]
    groups = {group.letter: group for group in task.groups}
    first, second = groups["A"], groups["B"]
    assert (first.seeds, first.started, second.seeds) == ((0, 1, 2), 3, (0, 1, 2, 3))
    assert (first.label, second.label) == ("mopo coefficient=0.5", "mopo coefficient=2")
    assert first.final is not None
    assert second.final is not None
    percent = [100 * (value + 280.178953) / 12415.178953 for value in (100.0, 200.0, 600.0)]
    assert first.final.mean == first.final.iqm == pytest.approx(sum(percent) / 3)
    assert first.final.interval == pytest.approx((percent[0], percent[2]))
    assert second.final.iqm == pytest.approx(100 * (155.0 + 280.178953) / 12415.178953)  # the outlier counts little
    assert second.final.mean > first.final.mean
    assert [group.letter for group in task.groups] == ["A", "B"]  # by interquartile mean
    (beats,) = task.beats
    assert (beats.a, beats.b, beats.improvement.probability) == ("A", "B", 7 / 12)
    assert first.wall_s == 60.0
    assert {p.algorithm for p in task.published} == {"mopo"}
    assert {entry.group for entry in comparison.runs if entry.id in first.runs} == {"A"}


def test_a_label_says_what_tells_groups_of_one_algorithm_apart(finish: Finish) -> None:
    half = finish(1.0, task=CHEETAH)
    two = finish(1.0, task=CHEETAH, **{"rollout.coefficient": 2.0})
    other = finish(1.0, task=CHEETAH, algorithm="awac", **{"policy.epochs": 7})
    (task,) = compare([half, two, other]).tasks
    assert {group.label for group in task.groups} == {"mopo coefficient=0.5", "mopo coefficient=2", "awac"}
    (task,) = compare([half, other]).tasks
    assert {group.label for group in task.groups} == {"mopo", "awac"}


def test_a_trend_is_the_change_over_the_last_third(finish: Finish, store: Store) -> None:
    runs = cheetahs(finish, store, [100.0, 200.0])
    (task,) = compare(runs).tasks
    (group,) = task.groups
    assert group.trend is not None
    # Evaluations of return i at update i, 0 to 11: a third is 11 / 3 of them, over which the return rises as much.
    assert group.trend.mean == pytest.approx(100 * 11 / 3 / 12415.178953)
    assert group.trend.std == pytest.approx(0.0)

    recorder = Recorder(runs[0].folder, echo=lambda _: None)
    recorder.stage = "policy"
    for update, value in ((12, 50.0), (13, 1.0), (14, 1.0), (15, 50.0)):  # of 15: 11 to 15 are the last third
        recorder.step = recorder.update = update
        recorder.metrics({"eval/return": value})
    (task,) = compare([store.run(runs[0].id)]).tasks
    assert task.groups[0].trend is not None
    x, y = [-2.0, -1.0, 0.0, 1.0, 2.0], [11.0, 50.0, 1.0, 1.0, 50.0]
    slope = sum(a * b for a, b in zip(x, y, strict=True)) / 10
    assert task.groups[0].trend.mean == pytest.approx(5 * slope * 100 / 12415.178953)


def test_runs_that_do_not_count_are_named_with_the_reason(finish: Finish, store: Store, make_run: Any) -> None:
    runs = cheetahs(finish, store, [100.0, 200.0])
    again = cheetahs(finish, store, [900.0])
    waiting = make_run(task=CHEETAH, seed=7)  # without environment.json: of this setting all the same
    failed = finish(None, task=CHEETAH, seed=8)
    record.write_json(failed.folder / record.PROCESS, {"attempt": 1, "started": 0.0})
    record.write_json(failed.folder / record.EXIT, {"attempt": 1, "returncode": 1, "error": "no memory\x1b[2J"})
    comparison = compare([*runs, *again, waiting, store.run(failed.id)])
    (task,) = comparison.tasks
    (group,) = task.groups
    assert (len(group.runs), group.started, group.seeds) == (2, 4, (0, 1))
    assert again[0].id in group.runs  # of two runs of a seed the newer one
    reasons = {entry.id: entry.left_out for entry in comparison.runs}
    assert reasons[runs[0].id] == f"seed 0 again: {again[0].id} is newer"
    assert reasons[waiting.id] == "queued: never launched: mopo resume starts it"
    assert reasons[failed.id] == "failed: no memory [2J"
    assert group.left_out == (runs[0].id, waiting.id, failed.id)
    assert group.final is not None
    assert group.final.n == 2
    assert group.final.interval is None


@pytest.mark.parametrize(
    ("part", "value", "words"),
    [
        ("versions", {"torch": "2.12", "gymnasium": "1.4.0", "mujoco": "4.0.0"}, "different versions of torch"),
        ("dataset", {"id": "mopo/x", "fingerprint": "e" * 64}, "different dataset fingerprints"),
        ("environment", {"id": "HalfCheetah-v4", "options": {}}, "different environments"),
        ("git_commit", "abc", "different commits"),
    ],
)
def test_what_parts_groups_is_said_first(finish: Finish, store: Store, part: str, value: Any, words: str) -> None:
    a, b = cheetahs(finish, store, [100.0, 200.0])
    set_environment(a, git_commit="def")
    set_environment(b, **{"git_commit": "def", part: value})
    comparison = compare([a, b])
    assert any(words in line for line in comparison.warnings)
    (task,) = comparison.tasks
    labels = {group.label for group in task.groups}
    assert part == "git_commit" or all(label != "mopo" for label in labels)
    assert len(task.groups) == (1 if part == "git_commit" else 2)
    assert len(labels) == len(task.groups), labels


def test_tasks_have_no_common_score_and_scales_that_differ_none(finish: Finish, store: Store) -> None:
    a, b = cheetahs(finish, store, [100.0, 200.0])
    other = finish(5.0)
    comparison = compare([a, b, other])
    assert [task.task for task in comparison.tasks] == [CHEETAH, "ant-angle"]
    assert [len(task.groups) for task in comparison.tasks] == [1, 1]
    assert all(not task.beats for task in comparison.tasks)
    set_environment(b, references={"random": {"return": -280.0}, "scale": {"min": 0.0, "max": 100.0}})
    (task,) = compare([a, b]).tasks
    assert (task.unit, task.why) == ("return", "the runs have different scales")
    finals = [group.final.mean for group in task.groups if group.final]
    assert sorted(finals) == [100.0, 200.0]
    set_environment(a, references={"random": {"return": -280.0}, "scale": None})
    assert compare([a]).tasks[0].unit == "return"
    assert compare([a, b]).tasks[0].unit == "return"


def test_both_stages_of_mb2po_stand_beside_the_recommended_one(finish: Finish, store: Store) -> None:
    runs = cheetahs(finish, store, [100.0, 200.0])
    for run, chosen in zip(runs, ("stage1", "stage2"), strict=True):
        stages = {"stage1": scored(100.0), "stage2": scored(200.0)}
        set_result(run, policies=stages, recommended=chosen, stages={"dynamics": 3.0, "policy": 4.0})
    old = finish(1.0, task=CHEETAH, seed=2)  # without stages
    (task,) = compare([*(store.run(run.id) for run in runs), old]).tasks
    (group,) = task.groups
    assert group.recommended == {"stage1": 1, "stage2": 1}
    assert {name: stage.n for name, stage in group.stages.items()} == {"stage1": 2, "stage2": 2}
    assert group.stages["stage2"].mean == pytest.approx(100 * (200 + 280.178953) / 12415.178953)


def test_by_a_key_orders_and_measures(finish: Finish, store: Store) -> None:
    runs = {}
    for coefficient in (10.0, 2.0):
        for run in cheetahs(finish, store, [100.0, 200.0], **{"rollout.coefficient": coefficient}):
            runs[run.id] = coefficient
            recorder = Recorder(run.folder, echo=lambda _: None)
            for i in range(12):
                recorder.step = recorder.update = 100 + i
                recorder.metrics({"uncertainty/mean": coefficient + i})
                recorder.metrics({"eval/discounted_return": 50.0})
                if i != 11:  # the gap is of steps where both were measured
                    recorder.metrics({"eval/model_return": 60.0 + i, "eval/model_return_penalised": 40.0})
                recorder.metrics({"calibration/lower_bound": float(i % 2)})
    comparison = compare([store.run(run) for run in runs], by="rollout.coefficient")
    (task,) = comparison.tasks
    assert [group.values["rollout.coefficient"] for group in task.groups] == [2.0, 10.0]
    measures = task.groups[0].measures
    assert (measures["uncertainty/mean"].last, measures["uncertainty/mean"].mean_last_10) == (13.0, 8.5)
    assert (measures["gap"].last, measures["gap"].mean_last_10, measures["gap"].n) == (20.0, 15.5, 2)
    assert measures["gap_penalised"].last == -10.0
    assert measures["calibration/lower_bound"].mean_last_10 == 0.5
    with pytest.raises(UnknownName, match=r"did you mean 'rollout\.coefficient'"):
        compare([store.run(run) for run in runs], by="rollout.coeficient")
    with pytest.raises(StoreError, match="tells no groups apart"):
        compare([store.run(run) for run in runs], by="seed")


def test_runs_of_data_and_broken_folders_are_refused(finish: Finish, store: Store) -> None:
    run = finish(1.0)
    about = record.read_json(run.folder / record.RUN) or {}
    record.write_json(run.folder / record.RUN, {**about, "job": "dataset"})
    with pytest.raises(StoreError, match="made a dataset"):
        compare([store.run(run.id)])
    (run.folder / record.RUN).write_text("{")
    with pytest.raises(StoreError, match="no JSON object"):
        compare([store.run(run.id)])


def test_runs_are_found_by_group_setting_path_and_seed(finish: Finish, store: Store, tmp_path: Path) -> None:
    runs = [finish(1.0, task=CHEETAH, seed=seed) for seed in (2, 0, 1)]
    other = finish(1.0, task=CHEETAH, seed=0, **{"rollout.coefficient": 9.0})
    for run in (runs[0], other):
        about = record.read_json(run.folder / record.RUN) or {}
        record.write_json(run.folder / record.RUN, {**about, "group": "my sweep"})

    def found(*references: str, **more: Any) -> list[str]:
        return [run.id for run in find_runs(store, references, **more)]

    assert found(other.id[-4:], runs[0].id, runs[0].id) == [other.id, runs[0].id]
    assert found("my sweep") == [other.id, runs[0].id]  # by seed
    by_seed = [runs[1].id, runs[2].id, runs[0].id]
    assert found(setting_key(runs[0].folder)) == found(setting_key(runs[0].folder)[:8]) == by_seed
    assert found(runs[0].id, all_seeds=True) == [runs[0].id, runs[1].id, runs[2].id]
    elsewhere = shutil.move(other.folder, tmp_path / "elsewhere")
    assert found(str(elsewhere), runs[0].id) == ["elsewhere", runs[0].id]
    for reference, words in (
        ("../x", "is no run folder, and no run is called '../x'"),
        ("~nobody/x", "is no run folder"),
        ("nope", "no run 'nope'"),
        ("000000", "no run"),
    ):
        with pytest.raises(RunNotFound, match=words):
            found(reference)
    # A name may look like a path; where a run folder lies there, that one is meant, unless only names count.
    rename(store.run(runs[0].id), "../x")
    rename(store.run(runs[1].id), str(elsewhere))
    assert found("../x") == [runs[0].id]
    assert found(str(elsewhere)) == ["elsewhere"]
    assert found(str(elsewhere), paths=False) == [runs[1].id]


def test_keys_that_an_algorithm_does_not_use_are_no_difference(finish: Finish, store: Store) -> None:
    awac = {"algorithm": "awac", "awac.temperature": 2.0, "sac.polyak": 0.1, "rollout.length": 9}
    a = cheetahs(finish, store, [100.0], **{"rollout.coefficient": 1.0})
    b = cheetahs(finish, store, [100.0], **{"rollout.coefficient": 2.0, "sac.polyak": 0.01})
    c = cheetahs(finish, store, [100.0], **awac)
    comparison = compare([*a, *b, *c])
    assert {d.key: d.values for d in comparison.differing} == {
        "algorithm": ("mopo", "mopo", "awac"),
        "rollout.coefficient": (1.0, 2.0, None),
        "sac.polyak": (0.005, 0.01, None),
    }
    labels = [group.label for group in comparison.groups()]
    assert labels == ["mopo coefficient=1 polyak=0.005", "mopo coefficient=2 polyak=0.01", "awac"]
    assert [row.key for row in differences(a[0], c[0])["configuration"]] == ["algorithm"]
    other = cheetahs(finish, store, [100.0], **{**awac, "sac.polyak": 0.2})
    assert compare([*c, *other]).differing == ()
    labels = [group.label for group in compare([*c, *other]).groups()]
    assert labels == ["awac sac.polyak=0.1", "awac sac.polyak=0.2"]  # two settings all the same: they are told apart
    with pytest.raises(StoreError, match="awac does not use it"):
        compare([*c, *other], by="sac.polyak")


def test_two_runs_differ_in_configuration_data_versions_and_commit(finish: Finish) -> None:
    a, b = (
        finish(1.0, task=CHEETAH),
        finish(1.0, task=CHEETAH, fingerprint="e" * 64, torch="2.12", **{"sac.polyak": 0.1}),
    )
    set_environment(a, git_commit="abc", cpu="one")
    set_environment(b, git_commit="def", cpu="other")
    found = {part: {row.key: row.values for row in rows} for part, rows in differences(a, b).items() if rows}
    assert found == {
        "configuration": {"sac.polyak": (0.005, 0.1)},
        "data": {"fingerprint": ("f" * 64, "e" * 64)},
        "versions": {"torch": ("2.11", "2.12")},
        "code": {"commit": ("abc", "def")},
        "machine": {"cpu": ("one", "other")},
    }
    assert not any(differences(a, a).values())


def test_many_references_cost_one_look_at_the_store(
    finish: Finish, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [finish(1.0, task=CHEETAH, seed=seed) for seed in range(4)]
    looks = []
    real = Store.runs
    monkeypatch.setattr(Store, "runs", lambda self: looks.append(1) or real(self))
    assert [run.id for run in find_runs(store, [run.id[-4:] for run in runs])] == [run.id for run in runs]
    assert len(looks) == 1


ODD = (
    None,
    1,
    "x",
    True,
    [],
    {},
    [1],
    {"a": 1},
    {"return": "NaN"},
    {"id": [1], "options": 3, "fingerprint": 4},
    10**400,
)


@pytest.mark.parametrize("file", [record.ENVIRONMENT, record.RESULT, record.SUMMARY])
def test_no_folder_whatever_it_says_breaks_a_comparison(finish: Finish, store: Store, file: str) -> None:
    a, b = cheetahs(finish, store, [100.0, 200.0])
    whole = record.read_json(b.folder / file) or {"update": 1}
    for key in (*whole, "recommended", "policies", "stages", "earlier", "git_commit"):
        for odd in ODD:
            inner = whole.get(key)
            changed = [{**whole, key: odd}]
            if isinstance(inner, dict):
                changed += [{**whole, key: {**inner, name: odd}} for name in inner]
            for values in changed:
                (b.folder / file).write_text(json.dumps(values))
                comparison = compare([a, store.run(b.id)])
                json.loads(record.dumps(comparison.to_json()))
                differences(a, b)
