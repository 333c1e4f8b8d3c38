"""The shipped ladders say what their policies do, and how a ladder is chosen."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from engine import envs
from engine.data import ladder_selection
from engine.data.behaviours import (
    LADDER,
    POLICIES,
    Snapshot,
    digest,
    expert,
    ladder,
    medium,
    reference,
    replay_end,
    replayed,
)
from engine.data.dataset import DatasetError
from engine.data.ladder_selection import geometric, is_reference, select_ladder
from engine.evaluation import deterministic, run_episodes
from engine.policy import Policy
from engine.tasks import BEHAVIOURS, TASKS

SHIPPED = sorted(path.name for path in POLICIES.iterdir() if (path / LADDER).exists())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_ladder_is_whole(name: str) -> None:
    snapshots = ladder(name)
    steps = [s.step for s in snapshots]
    assert steps == sorted(set(steps))
    assert {s.path for s in snapshots} == set((POLICIES / name).glob("*.safetensors"))
    for snapshot in snapshots:
        policy = snapshot.policy()
        assert policy.action_dim == BEHAVIOURS[name].action_dim
        assert policy.metadata["step"] == snapshot.step
        assert policy.metadata["return"] == snapshot.measured["return"]
        assert {"gymnasium", "mujoco", "torch"} <= set(policy.metadata["versions"])
        with safe_open(snapshot.path, framework="numpy") as f:
            assert f.get_tensor("0/weight").dtype == np.float16
    for task in (t for t in TASKS.values() if t.behaviour == name):
        used, reached = replayed(snapshots, task)
        assert reached
        assert len(used) >= 8
        if task.environment != BEHAVIOURS[name].environment:
            assert all(task.name in s.tasks for s in snapshots)
    if is_reference(name):
        measured = reference(name)
        assert measured is not None
        assert (measured["actions"], measured["episodes"]) == ("deterministic", 100)
        assert measured["stderr"] == pytest.approx(measured["return_std"] / 10)
        assert len(snapshots) == 1


def test_what_ships_is_small() -> None:
    assert sum(path.stat().st_size for path in POLICIES.rglob("*") if path.is_file()) < 12e6


def returns(*means: float) -> list[dict[str, float]]:
    return [{"return": mean, "return_best": mean + 500.0} for mean in means]


def test_a_replay_ends_at_the_first_near_a_mean_or_with_a_best_return() -> None:
    hopper, ant = TASKS["hopper-medium"], TASKS["ant-angle"]
    assert hopper.target == ("mean", 1422.0)
    assert ant.target == ("best", 2312.0)
    assert replay_end(hopper, returns(100, 1300, 1800, 1422)) == (
        1,
        True,
    )  # what comes after the first to reach it is not asked
    assert replay_end(hopper, returns(100, 1000, 1450, 900)) == (2, True)
    assert replay_end(hopper, returns(100, 1000, 700)) == (1, False)
    assert replay_end(hopper, returns(100, 100)) == (1, False)  # of two alike the later
    assert replay_end(ant, returns(100, 1811, 1813, 2312)) == (2, True)
    assert replay_end(ant, returns(100, 1700, 300)) == (2, False)


def test_medium_is_the_snapshot_nearest_to_its_return_early_or_late() -> None:
    task = TASKS["hopper-medium"]
    snapshots = [
        Snapshot(step, Path("unused"), 0, measured, {})
        for step, measured in enumerate(returns(100, 1300, 1800, 3000, 1410, 900))
    ]
    assert medium(snapshots, task).step == 4
    used, reached = replayed(snapshots, task)
    assert ([s.step for s in used], reached) == ([0, 1], True)


def test_a_recorded_return_is_what_the_shipped_policy_gets() -> None:
    snapshot = next(s for s in ladder("halfcheetah") if s.step == 90_000)
    env = envs.make("HalfCheetah-v5")
    returns = run_episodes(env, snapshot.policy(), 5, ("test", "remeasured")).returns
    standard_error = snapshot.measured["return_std"] * (1 / 5 + 1 / 20) ** 0.5
    assert abs(returns.mean() - snapshot.measured["return"]) < 5 * standard_error


def test_geometric_spacing() -> None:
    steps = list(range(10, 1010, 10))
    chosen = geometric(steps, 10, 600, 12)
    assert chosen[0] == 10
    assert chosen[-1] == 600
    assert len(chosen) >= 12
    assert set(chosen) <= set(steps)
    gaps = np.diff(chosen)
    assert (np.diff(gaps) >= -10).all()  # ever wider, but for the rounding to what there is
    assert geometric(steps, 10, 50, 12) == [10, 20, 30, 40, 50]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ladder_selection, "EPISODES", 2)
    monkeypatch.setattr(ladder_selection, "REFERENCE_EPISODES", 4)


def copied(source: Path, returns: dict[int, float], stand_ins: dict[int, int] | None = None) -> Path:
    """A training run's folder: half-cheetah snapshots, each said to have had this return in training; those of steps that do not
    ship are played by others."""
    shipped = {snapshot.step: snapshot for snapshot in ladder("halfcheetah")}
    for step, value in returns.items():
        policy = shipped[(stand_ins or {}).get(step, step)].policy()
        metadata = {**policy.metadata, "return": value, "step": step}
        dataclasses.replace(policy, metadata=metadata).save(source / f"{step:07d}.safetensors")
    return source


@pytest.mark.usefixtures("quick")
def test_a_ladder_from_a_folder_of_snapshots(tmp_path: Path) -> None:
    source, target = tmp_path / "run", tmp_path / "ladder"
    copied(source, {10_000: -400, 30_000: 1100, 90_000: 4900, 170_000: 6200})
    target.mkdir()
    (target / "stale").write_text("")
    select_ladder(source, "halfcheetah", target, random_steps=7000)
    chosen = ladder("halfcheetah", target)
    assert [s.step for s in chosen] == [10_000, 30_000, 90_000, 170_000]
    used, reached = replayed(chosen, TASKS["halfcheetah-medium-replay"])
    assert [s.step for s in used] == [10_000, 30_000, 90_000]
    assert reached
    assert chosen[0].random_steps == 7000
    about = json.loads((target / LADDER).read_text())
    assert [(row["step"], row["return"]) for row in about["curve"]][2:] == [(90_000, 4900), (170_000, 6200)]
    assert about["environment"] == "HalfCheetah-v5"
    assert {p.name for p in target.iterdir()} == {LADDER, *(s.path.name for s in chosen)}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.usefixtures("quick")
def test_a_ladder_chosen_anew_keeps_the_files_of_the_policies_that_it_has(tmp_path: Path) -> None:
    """The digest in a dataset's manifest is over the files: what a header says beside the weights may change meanwhile."""
    source, target = copied(tmp_path / "run", {10_000: -400, 90_000: 4900}), tmp_path / "ladder"
    select_ladder(source, "halfcheetah", target, random_steps=10_000)
    before = digest(ladder("halfcheetah", target))
    for path in source.iterdir():
        policy = Policy.load(path)
        dataclasses.replace(policy, metadata={"told": "later", **policy.metadata}).save(path)
    select_ladder(source, "halfcheetah", target, random_steps=10_000)
    assert digest(ladder("halfcheetah", target)) == before
    (source / "0090000.safetensors").write_bytes((source / "0010000.safetensors").read_bytes())
    select_ladder(source, "halfcheetah", target, random_steps=10_000)
    assert digest(ladder("halfcheetah", target)) != before


@pytest.mark.usefixtures("quick")
def test_the_best_of_the_later_snapshots_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six come after the target; 180 000 is the best of them in fact, and among the three that were best in training."""
    monkeypatch.setattr(ladder_selection, "AFTER_TARGET", 2)
    evaluated = {90_000: 4900, 100_000: 5000, 120_000: 5100, 130_000: 6300, 150_000: 5900, 180_000: 6100, 200_000: 6000}
    stand_ins = {100_000: 80_000, 120_000: 70_000, 130_000: 170_000, 150_000: 60_000, 180_000: 320_000, 200_000: 50_000}
    source = copied(tmp_path / "run", evaluated, stand_ins)
    select_ladder(source, "halfcheetah", tmp_path / "ladder", random_steps=10_000)
    chosen = ladder("halfcheetah", tmp_path / "ladder")
    assert [s.step for s in chosen if s.step > 90_000] == [130_000, 180_000]
    assert expert(chosen, TASKS["halfcheetah-expert"]).step == 180_000


@pytest.mark.usefixtures("quick")
def test_of_an_online_reference_the_best_deterministic_policy_is_kept(tmp_path: Path) -> None:
    # The task's own reward decides: jumping and running at 3 m/s at most, not the speed that these policies were trained for.
    assert is_reference("halfcheetah-jump")
    evaluated = {10_000: 9000, 20_000: 8000, 30_000: 7000, 50_000: 6000, 90_000: 5000, 580_000: -5000}
    target = tmp_path / "ladder"
    assert len(select_ladder(copied(tmp_path / "run", evaluated), "halfcheetah-jump", target, random_steps=10_000)) == 1
    (kept,) = ladder("halfcheetah-jump", target)
    assert kept.step == 90_000  # the last is the best, and no candidate: five others did better in training
    measured = reference("halfcheetah-jump", target)
    assert measured is not None
    env = envs.make("mopo/HalfCheetahJump-v0")
    stream = ("reference", "halfcheetah-jump", 90_000)
    own = run_episodes(env, deterministic(kept.policy()), 4, stream).returns
    assert measured["return"] == pytest.approx(own.mean())
    assert measured["stderr"] == pytest.approx(own.std(ddof=1) / 2)
    assert measured["episodes"] == 4
    curve = json.loads((target / LADDER).read_text())["curve"]
    assert [row["step"] for row in curve] == sorted(evaluated)
    assert reference("halfcheetah-jump", tmp_path / "none") is None


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "engine.data.behaviours", str(tmp_path), "ant", "--target", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: {tmp_path}: no snapshots NNNNNNN.safetensors"


@pytest.mark.parametrize("text", ["", "{}", '{"trained": {"random_steps": 1}, "snapshots": []}'])
def test_a_damaged_ladder_is_one_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / LADDER).write_text(text)
    with pytest.raises(DatasetError, match=r"ladder\.json"):
        ladder("ant", tmp_path)


def test_a_damaged_policy_is_one_clear_error(tmp_path: Path) -> None:
    for path in (POLICIES / "halfcheetah").iterdir():
        (tmp_path / path.name).write_bytes(
            path.read_bytes()[:1000] if path.name.startswith("0010000") else path.read_bytes()
        )
    with pytest.raises(DatasetError, match=r"0010000\.safetensors: not a policy file"):
        ladder("halfcheetah", tmp_path)[0].policy()
