"""The shipped ladders say what their policies do, and how a ladder is chosen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from engine import envs
from engine.data import ladder_selection
from engine.data.behaviours import LADDER, POLICIES, ladder, up_to_target
from engine.data.dataset import DatasetError
from engine.data.ladder_selection import geometric, select_ladder
from engine.evaluation import run_episodes
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
        used, reached = up_to_target(snapshots, task)
        assert reached
        assert len(used) >= 8
        if task.environment != BEHAVIOURS[name].environment:
            assert all(task.name in s.tasks for s in snapshots)


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


def test_a_ladder_from_a_folder_of_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = tmp_path / "run", tmp_path / "ladder"
    source.mkdir()
    for snapshot in ladder("halfcheetah"):
        if snapshot.step in (10_000, 30_000, 90_000, 100_000):
            (source / snapshot.path.name).write_bytes(snapshot.path.read_bytes())
    monkeypatch.setattr(ladder_selection, "EPISODES", 2)
    target.mkdir()
    (target / "stale").write_text("")
    select_ladder(source, "halfcheetah", target, random_steps=7000)
    chosen = ladder("halfcheetah", target)
    assert [s.step for s in chosen] == [10_000, 30_000, 90_000, 100_000]
    used, reached = up_to_target(chosen, TASKS["halfcheetah-medium-replay"])
    assert [s.step for s in used] == [10_000, 30_000, 90_000]
    assert reached
    assert chosen[0].random_steps == 7000
    about = json.loads((target / LADDER).read_text())
    assert [row["step"] for row in about["curve"]] == [10_000, 30_000, 90_000, 100_000]
    assert about["environment"] == "HalfCheetah-v5"
    assert {p.name for p in target.iterdir()} == {LADDER, *(s.path.name for s in chosen)}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


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
