"""Collecting datasets from real policies in real environments."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import envs
from engine.config import Sac
from engine.control import Stopped
from engine.data import behaviours
from engine.data.behaviours import LADDER, allot, digest, ladder, replayed, training_shares
from engine.data.collect import _expected_episodes, _shares, build_dataset, dataset_folder, open_dataset, references
from engine.data.dataset import DatasetError, TransitionDataset, in_memory
from engine.data.locking import locked
from engine.data.minari_io import expected_bytes, location
from engine.policy import Policy
from engine.randomness import key, numpy_generator
from engine.tasks import TASKS, dataset_id

CHEETAH, ANT, JUMP = TASKS["halfcheetah-medium-replay"], TASKS["ant-angle"], TASKS["halfcheetah-jump"]


@pytest.fixture(autouse=True)
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "minari"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    return root


def make_ladder(folder: Path, sizes: tuple[int, ...], returns: dict[int, float]) -> Path:
    """Untrained policies of these layer sizes, said to have these mean returns at these steps."""
    entries = []
    for step, value in returns.items():
        rng = numpy_generator("test ladder", step)
        weights = tuple(rng.normal(0, 0.3, (a, b)).astype(np.float32) for a, b in itertools.pairwise(sizes))
        biases = tuple(np.zeros(b, np.float32) for b in sizes[1:])
        bounds = (Sac().log_std_min, Sac().log_std_max)
        Policy(weights, biases, bounds, {"step": step}).save(folder / f"{step:07d}.safetensors", dtype=np.float16)
        measured = {"return": value, "return_std": 1.0, "return_best": value + 2.0, "length": 100.0, "episodes": 2}
        entries.append({"file": f"{step:07d}.safetensors", "step": step, **measured, "tasks": {}})
    (folder / LADDER).write_text(json.dumps({"trained": {"random_steps": 500}, "snapshots": entries}))
    return folder


@pytest.fixture
def ant_ladder(tmp_path: Path) -> Path:
    """Three policies of the ant's sizes: they fall, which is what the terminals are tested on."""
    return make_ladder(tmp_path / "ladder", (27, 16, 16), {1000: 0.0, 2000: 0.0, 4000: 0.0})


@pytest.fixture
def hopper_ladder(tmp_path: Path) -> Path:
    """The third is the first to reach the target of 1422, the second nearer, the fourth nearest of all, the last the best."""
    returns = {1000: 200.0, 2000: 1300.0, 3000: 1800.0, 4000: 1420.0, 5000: 3000.0}
    return make_ladder(tmp_path / "hopper", (11, 16, 6), returns)


def test_shares_follow_the_steps_of_training(ant_ladder: Path) -> None:
    snapshots = ladder("ant", ant_ladder)
    # Random steps 500, then half-way points 1500 and 3000, and the end at 4000.
    assert training_shares(snapshots) == [500, 1000, 1500, 1000]
    assert allot(1001, [500, 1000, 1500, 1000]) == [125, 250, 376, 250]
    assert sum(allot(4999, [1, 1, 1, 0.001])) == 4999


def test_a_replay_ends_with_the_first_snapshot_whose_best_return_reaches_the_target(ant_ladder: Path) -> None:
    about = json.loads((ant_ladder / LADDER).read_text())
    about["snapshots"][1]["tasks"] = {"ant-angle": {"return": 100.0, "return_std": 0.0, "return_best": 2400.0}}
    (ant_ladder / LADDER).write_text(json.dumps(about))
    used, reached = replayed(ladder("ant", ant_ladder), ANT)
    assert [s.step for s in used] == [1000, 2000]
    assert reached


@pytest.mark.parametrize(
    ("quality", "steps"),
    [
        ("random", [0]),
        ("medium", [4000]),
        ("medium-replay", [0, 1000, 2000]),
        ("medium-expert", [4000, 5000]),
        ("expert", [5000]),
    ],
)
def test_each_kind_of_collection_takes_its_policies(
    tmp_path: Path, hopper_ladder: Path, quality: str, steps: list[int]
) -> None:
    task = TASKS[f"hopper-{quality}"]
    dataset = build_dataset(task, 1001, 0, tmp_path, ladder_folder=hopper_ladder)
    manifest = dataset.manifest
    policies = manifest["policies"]
    assert [p["step"] for p in policies] == steps
    assert sum(p["rows"] for p in policies) == 1001
    if quality == "medium-expert":
        assert [p["rows"] for p in policies] == [500, 501]
    if quality == "medium-replay":
        assert [p["rows"] for p in policies] == allot(1001, [500, 1000, 500])
    assert manifest["reached_target"]
    assert manifest["environment_options"] == {}
    by_step = {s.step: s for s in ladder("hopper", hopper_ladder)}
    used = [by_step[step] for step in steps if step]
    assert manifest["ladder"] == (digest(used) if used else "")
    # It says what it is: of which snapshots, what these get, and what the literature's get.
    for snapshot in used[-1:]:
        assert f"step {snapshot.step:,} with mean return {snapshot.measured['return']:.0f}" in manifest["description"]
    if quality in ("medium", "medium-replay", "medium-expert"):
        assert "the mean return from the literature that it stands for is 1422" in manifest["description"]
    if "expert" in quality:
        assert "100 on the task's scale is 3234.3" in manifest["description"]
    found = build_dataset(task, 1001, 0, tmp_path, ladder_folder=hopper_ladder)
    assert found.fingerprint == dataset.fingerprint


def test_the_rows_of_a_snapshot_are_those_of_its_policy(tmp_path: Path, hopper_ladder: Path) -> None:
    dataset = build_dataset(TASKS["hopper-expert"], 300, 0, tmp_path, ladder_folder=hopper_ladder)
    best = ladder("hopper", hopper_ladder)[-1].policy()
    rng = numpy_generator(0, "hopper-expert", 5000, 0, "actions")
    length = int(dataset.episode_lengths[0])
    env = envs.make("Hopper-v5")
    observation, _ = env.reset(seed=key(0, "hopper-expert", 5000, 0) % 2**31)
    for row in range(length):
        action = best(observation, rng)
        np.testing.assert_array_equal(dataset.actions[row], action)
        observation, reward, _, _, _ = env.step(action)
        assert dataset.rewards[row] == np.float32(reward)


def test_where_no_policy_reaches_the_target_the_nearest_is_taken_and_it_is_said(tmp_path: Path) -> None:
    folder = make_ladder(tmp_path / "weak", (11, 16, 6), {1000: 100.0, 2000: 900.0, 3000: 700.0})
    dataset = build_dataset(TASKS["hopper-medium-expert"], 200, 0, tmp_path, ladder_folder=folder)
    assert not dataset.manifest["reached_target"]
    assert [p["step"] for p in dataset.manifest["policies"]] == [2000]  # nearest to medium, and the best
    assert "which no snapshot reaches" in dataset.manifest["description"]


def test_random_data_needs_no_ladder_and_any_other_says_how_to_train_one(tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    dataset = build_dataset(TASKS["walker2d-random"], 500, 0, tmp_path, ladder_folder=nowhere)
    assert dataset.manifest["behaviour"] == ""
    assert abs(dataset.actions.mean()) < 0.1
    assert dataset.actions.std() == pytest.approx(12**-0.5 * 2, abs=0.03)
    with pytest.raises(
        DatasetError, match=r"^no behaviour policies for 'walker2d': .*train-behaviour walker2d` trains"
    ):
        build_dataset(TASKS["walker2d-medium"], 500, 0, tmp_path, ladder_folder=nowhere)
    assert not dataset_folder(tmp_path, dataset_id(TASKS["walker2d-medium"], 500)).exists()


def test_a_variant_of_the_environment_has_other_rewards_and_its_own_name(tmp_path: Path) -> None:
    folder = make_ladder(tmp_path / "cheetah", (17, 16, 12), {1000: 0.0})
    usual = build_dataset(JUMP, 300, 0, tmp_path, ladder_folder=folder)
    higher = build_dataset(JUMP.with_options(height_weight=20.0), 300, 0, tmp_path, ladder_folder=folder)
    np.testing.assert_array_equal(usual.observations, higher.observations)
    gained = 5.0 * usual.next_observations[:, 0]  # 5 more for each metre above the start, which is at 0
    np.testing.assert_allclose(higher.rewards - usual.rewards, gained, atol=1e-5)
    assert higher.manifest["environment_options"] == {"height_weight": 20.0}
    assert higher.id != usual.id


def test_same_seed_same_content_and_another_seed_other_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = []
    for place, seed in (("a", 0), ("b", 0), ("c", 1)):
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / place / "minari"))
        sets.append(build_dataset(CHEETAH, 1500, seed, tmp_path / place))
    same, again, other = sets
    assert same.fingerprint == again.fingerprint
    np.testing.assert_array_equal(same.rows, again.rows)
    assert same.fingerprint != other.fingerprint
    assert same.references["random"] == other.references["random"]
    assert other.id.endswith("-seed1-v0")


def test_rows_are_a_trajectory_and_time_outs_are_not_terminal(tmp_path: Path) -> None:
    told: list[int] = []
    dataset = build_dataset(CHEETAH, 12_000, 0, tmp_path, lambda done, _size: told.append(done))
    assert len(dataset) == 12_000
    assert dataset.rows.shape == (12_000, 2 * 17 + 6 + 2)
    assert told[-1] == 12_000
    assert told == sorted(told)
    inside = np.ones(len(dataset), dtype=bool)
    inside[dataset.episode_ends - 1] = False
    np.testing.assert_array_equal(dataset.next_observations[inside], dataset.observations[np.flatnonzero(inside) + 1])
    assert not dataset.terminals.any()
    assert (np.abs(dataset.actions) <= 1).all()
    complete = dataset.complete_episodes
    assert (dataset.episode_lengths[complete] == 1000).all()
    assert 0 < complete.sum() < len(complete)
    policies = dataset.manifest["policies"]
    assert sum(p["rows"] for p in policies) == 12_000
    assert sum(p["episodes"] for p in policies) == len(dataset.episode_ends)
    # The reference of the batch is the mean over whole episodes, from the rewards themselves.
    ends = dataset.episode_ends[complete]
    returns = [float(dataset.rewards[end - 1000 : end].astype(np.float64).sum()) for end in ends]
    assert dataset.references["batch_mean"]["return"] == pytest.approx(np.mean(returns))
    assert dataset.references["batch_best"]["return"] == pytest.approx(np.max(returns))
    assert dataset.report["best_return"] == pytest.approx(np.max(returns))


def test_terminals_are_where_the_ant_fell_and_nowhere_else(tmp_path: Path, ant_ladder: Path) -> None:
    dataset = build_dataset(ANT, 4000, 0, tmp_path, ladder_folder=ant_ladder)
    height = dataset.next_observations[:, 0]
    fallen = ~((height >= 0.2) & (height <= 1.0))
    assert fallen.sum() > 5
    np.testing.assert_array_equal(dataset.terminals > 0, fallen)
    assert set(np.flatnonzero(fallen)) <= set(dataset.episode_ends - 1)
    # Each policy's last episode is cut: truncated, not terminal, and not counted as a whole episode.
    rows = [p["rows"] for p in dataset.manifest["policies"]]
    cuts = [i for i in np.cumsum(rows) - 1 if not fallen[i]]
    assert cuts
    assert (~dataset.complete_episodes).sum() == len([c for c in cuts if c in dataset.episode_ends - 1])
    idle = dataset.references["do_nothing"]
    assert idle["return"] == pytest.approx(995, abs=15)
    assert idle["progress"] == pytest.approx(idle["return"] - 1000, abs=1e-6)
    assert dataset.references["scale"] == ANT.scale
    assert not dataset.manifest["reached_target"]


def test_references_of_data_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured in the data's own environment; the online reference stands for the task's own alone."""
    rows = np.zeros((6, 17 + 6 + 1 + 17 + 1), np.float32)
    rows[:, 17 + 6] = [1, 2, 3, 10, 20, 30]
    rows[2, -1] = 1.0  # the first episode has ended, the second was cut
    dataset = in_memory(rows, np.array([3, 6], dtype=np.int64), 17, 6, {"id": "elsewhere", "max_episode_steps": 1000})
    shipped = {"return": 3000.0, "return_std": 100.0, "stderr": 10.0, "episodes": 100, "actions": "deterministic"}
    (tmp_path / "halfcheetah-jump").mkdir()
    (tmp_path / "halfcheetah-jump" / LADDER).write_text(json.dumps({"measured": shipped, "snapshots": []}))
    monkeypatch.setattr(behaviours, "POLICIES", tmp_path)
    polled: list[None] = []
    own = references(JUMP, JUMP.environment, JUMP.environment_options, dataset, lambda: polled.append(None))
    assert own["batch_mean"] == {"return": 6.0, "stderr": 0.0, "episodes": 1}
    assert own["batch_best"] == {"return": 6.0}
    assert own["reference"] == {"return": 3000.0, "stderr": 10.0, "episodes": 100}
    assert own["random"]["episodes"] == 5
    assert own["scale"] == JUMP.scale
    assert polled
    other = references(JUMP, JUMP.environment, {"height_weight": 0.0}, dataset, lambda: None)
    assert "reference" not in other
    assert other["random"] != own["random"]
    (tmp_path / "halfcheetah-jump" / LADDER).write_text("{}")
    with pytest.raises(DatasetError, match=r"ladder\.json does not tell the return of .* 'halfcheetah-jump'"):
        references(JUMP, JUMP.environment, JUMP.environment_options, dataset, lambda: None)


def test_a_built_dataset_is_opened_and_not_built_again(tmp_path: Path) -> None:
    assert open_dataset(CHEETAH, 1000, 0, tmp_path) is None
    built = build_dataset(CHEETAH, 1000, 0, tmp_path)

    def never(*_: object) -> None:
        raise AssertionError("collected again")

    assert build_dataset(CHEETAH, 1000, 0, tmp_path, never).fingerprint == built.fingerprint
    found = open_dataset(CHEETAH, 1000, 0, tmp_path)
    assert found is not None
    found.verify()


def test_a_dataset_of_other_behaviour_policies_is_not_taken_for_ours(tmp_path: Path, ant_ladder: Path) -> None:
    build_dataset(ANT, 300, 0, tmp_path, ladder_folder=ant_ladder)
    for again in (lambda: open_dataset(ANT, 300, 0, tmp_path), lambda: build_dataset(ANT, 300, 0, tmp_path)):
        with pytest.raises(DatasetError, match="other behaviour policies"):
            again()
    shutil.rmtree(tmp_path / "datasets")  # the Minari dataset alone is not taken either
    with pytest.raises(DatasetError, match="other behaviour policies"):
        build_dataset(ANT, 300, 0, tmp_path)


def test_stopping_leaves_nothing(tmp_path: Path, minari_root: Path) -> None:
    calls = iter(range(1000))
    with pytest.raises(Stopped):
        build_dataset(CHEETAH, 3000, 0, tmp_path, stop=lambda: next(calls) > 10)
    left = [p.name for p in tmp_path.rglob("*") if p.is_file()]
    assert left == [".3k-v0.lock"]
    assert not minari_root.exists()


def test_a_damaged_dataset_is_reported(tmp_path: Path) -> None:
    folder = dataset_folder(tmp_path, dataset_id(CHEETAH, 1000))
    build_dataset(CHEETAH, 1000, 0, tmp_path)
    with open(folder / "rows.f32", "r+b") as f:
        f.truncate(12_345)
    with pytest.raises(DatasetError, match=r"rows\.f32 has 12,345 bytes, not 168,000; delete .*1k-v0"):
        build_dataset(CHEETAH, 1000, 0, tmp_path)


def test_an_unwritable_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"cannot write below .*file"):
        build_dataset(CHEETAH, 1000, 0, tmp_path / "file")


_BUILD = """
import resource, sys
from pathlib import Path
from engine.data.collect import build_dataset
from engine.tasks import TASKS
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
told = []
try:
    dataset = build_dataset(TASKS["halfcheetah-medium-replay"], 4000, 0, Path(sys.argv[1]), lambda n, _: told.append(n))
    print(len(told) > 0, dataset.fingerprint)
except ValueError as error:
    print(type(error).__name__, error)
"""


def test_two_builders_of_one_dataset_build_it_once(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _BUILD, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    lines = [process.communicate(timeout=120)[0].split() for process in both]
    assert sorted(line[0] for line in lines) == ["False", "True"]
    assert lines[0][1] == lines[1][1]


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(tmp_path: Path, minari_root: Path) -> None:
    command = [sys.executable, "-c", _BUILD, str(tmp_path), "100000"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert said.stdout.startswith("DatasetError cannot write the Minari dataset"), said
    assert not location(dataset_id(CHEETAH, 4000)).exists()
    assert not list(tmp_path.rglob("*building*"))
    assert not dataset_folder(tmp_path, dataset_id(CHEETAH, 4000)).exists()
    assert not list(minari_root.glob(".mopo*"))


def test_who_waits_for_another_builder_is_told(tmp_path: Path) -> None:
    told: list[str] = []

    def stop() -> bool:  # asked in turns with looking for the lock
        return bool(told)

    with (
        locked(dataset_folder(tmp_path, dataset_id(CHEETAH, 1000)), lambda: None),
        pytest.raises(Stopped),
    ):
        build_dataset(CHEETAH, 1000, 0, tmp_path, stop=stop, waiting=lambda: told.append("waits"))
    assert told == ["waits"]


def test_short_episodes_take_far_more_of_minaris_disk_than_their_values() -> None:
    """Measured: hopper-random's million rows are 108 MB in the flat cache and 736 MB in Minari's file."""
    task = TASKS["hopper-random"]
    episodes = _expected_episodes(task, _shares(task, [], 1_000_000))
    assert 35_000 < episodes < 60_000
    assert 736e6 < expected_bytes(1_000_000, task.observation_dim, task.action_dim, episodes) < 1.4e9
    cheetah = TASKS["halfcheetah-random"]
    assert _expected_episodes(cheetah, _shares(cheetah, [], 1_000_000)) == 1000


def test_too_small_a_disk_for_minari_is_told_before_collecting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        monkeypatch.setenv("MINARI_DATASETS_PATH", str(disk))
        done: list[int] = []
        with pytest.raises(DatasetError, match=r"the disk of Minari \(.*disk\) has 1 MB free; [2-4] MB are needed"):
            build_dataset(TASKS["hopper-random"], 2000, 0, tmp_path, lambda n, _: done.append(n))
        assert (done, list(disk.iterdir())) == ([], [])
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_opening_is_a_mapping(tmp_path: Path) -> None:
    dataset = build_dataset(CHEETAH, 1000, 0, tmp_path)
    assert isinstance(dataset.rows, np.memmap)
    dataset.rows[0, 0] = 1e9  # private: reaches neither the file nor another reader
    other = TransitionDataset.open(dataset_folder(tmp_path, dataset.id))
    assert other.rows[0, 0] != 1e9
