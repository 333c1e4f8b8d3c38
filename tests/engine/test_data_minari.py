"""The Minari dataset as others see it, and the way back from it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.data import minari_io
from engine.data.collect import build_dataset, dataset_folder
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, row_width
from engine.tasks import TASKS

CHEETAH, ANT = TASKS["halfcheetah-medium-replay"], TASKS["ant-angle"]


@pytest.fixture(autouse=True)
def minari_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "minari"
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(root))
    return root


@pytest.fixture
def cheetah(tmp_path: Path) -> TransitionDataset:
    return build_dataset(CHEETAH, 1200, 0, tmp_path)


def ant(**instead: Any) -> TransitionDataset:
    """Rows of the ant's dimensions; only their container is tested here."""
    rows = np.random.default_rng(0).normal(size=(30, row_width(27, 8))).astype(np.float32)
    rows[:, -1] = 0
    rows[9, -1] = 1
    for start, end in ((0, 10), (10, 30)):
        rows[start : end - 1, 27 + 9 : -1] = rows[start + 1 : end, :27]
    manifest = {
        "id": "mopo/ant-angle/30-v0",
        "environment": ANT.environment,
        "algorithm": "none",
        "description": "a test",
        "versions": {"gymnasium": "1.4.0", "mujoco": "4.0.0"},
        "references": {"scale": None},
        "report": {},
    } | instead
    return in_memory(rows, np.array([10, 30]), 27, 8, manifest)


_READ = """
import json, sys
import minari
dataset = minari.load_dataset(sys.argv[1])
episodes = list(dataset.iterate_episodes())
repr(episodes[0])
try:
    score = float(minari.get_normalized_score(dataset, 12135.0))
except ValueError:
    score = None
spec = dataset.spec
print(json.dumps({
    "engine": "engine" in sys.modules,
    "listed": list(minari.list_local_datasets()),
    "env": spec.env_spec.id,
    "steps": spec.total_steps,
    "lengths": [len(e) for e in episodes],
    "terminations": [bool(e.terminations[-1]) for e in episodes],
    "truncations": [bool(e.truncations[-1]) for e in episodes],
    "ends": sum(int(e.terminations[:-1].sum() + e.truncations[:-1].sum()) for e in episodes),
    "first": episodes[0].observations[0].tolist(),
    "shapes": [list(episodes[0].observations.shape), list(episodes[0].actions.shape)],
    "description": dataset.storage.metadata["description"],
    "score": score,
}))
"""


def read_with_minari_alone(dataset_id: str, tmp_path: Path) -> dict[str, object]:
    """What a process that knows nothing of this project reads."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    command = [sys.executable, "-W", "error::UserWarning", "-c", _READ, dataset_id]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_minari_alone_opens_the_gym_task(cheetah: TransitionDataset, tmp_path: Path) -> None:
    seen = read_with_minari_alone(cheetah.id, tmp_path)
    assert seen["engine"] is False
    assert seen["listed"] == ["mopo/halfcheetah-medium-replay/1200-v0"]
    assert seen["env"] == "HalfCheetah-v5"
    assert seen["steps"] == 1200
    assert seen["lengths"] == cheetah.episode_lengths.tolist()
    assert seen["ends"] == 0
    assert not any(seen["terminations"])  # type: ignore[arg-type]
    assert all(seen["truncations"])  # type: ignore[arg-type]
    assert seen["first"] == cheetah.observations[0].tolist()
    assert seen["score"] == pytest.approx(1.0)
    assert "not the original replay buffer" in str(seen["description"])


def test_minari_alone_opens_ant_angle(tmp_path: Path) -> None:
    dataset = ant()
    minari_io.write(dataset)
    seen = read_with_minari_alone(dataset.id, tmp_path)
    assert seen["engine"] is False
    assert seen["env"] == "mopo/AntAngle-v0"
    assert seen["terminations"] == [True, False]
    assert seen["truncations"] == [False, True]
    assert seen["shapes"] == [[11, 27], [10, 8]]
    assert seen["score"] is None


def test_the_environment_is_recovered() -> None:
    import minari

    dataset = ant()
    minari_io.write(dataset)
    env = minari.load_dataset(dataset.id).recover_environment()
    observation, _ = env.reset(seed=0)
    assert observation.shape == (27,)
    assert "progress" in env.step(env.action_space.sample())[4]


def test_the_environment_is_recovered_with_its_options() -> None:
    import minari

    options = {"angle": 90.0, "reset_noise_scale": 0.0, "legacy_contacts": True}
    dataset = ant(environment_options=options)
    minari_io.write(dataset)
    stored = minari.load_dataset(dataset.id)
    assert stored.spec.env_spec.kwargs == {"angle": 90.0, "reset_noise_scale": 0.0}
    assert stored.storage.metadata["mopo_tui"]["environment_options"] == options
    env: Any = stored.recover_environment()
    env.reset(seed=0)
    assert (env.unwrapped.data.qvel == 0).all()  # no reset noise
    info = env.step(env.action_space.sample())[4]
    assert info["progress"] == pytest.approx(info["y_velocity"])  # an angle of 90°


# D4RL's constants (Farama-Foundation/D4RL, infos.py) for its random and its expert policy.
D4RL_SCALE = {
    "HalfCheetah": (-280.178953, 12135.0),
    "Hopper": (-20.272305, 3234.3),
    "Walker2d": (1.629008, 4592.3),
}


@pytest.mark.parametrize("name", ["halfcheetah-medium", "hopper-medium-replay", "walker2d-expert"])
def test_minari_normalizes_scores_on_d4rls_scale(name: str) -> None:
    import minari

    task = TASKS[name]
    low, high = D4RL_SCALE[task.environment.partition("-")[0]]
    dataset = ant(id=f"mopo/{name}/30-v0", references={"scale": task.scale})
    minari_io.write(dataset)
    scores = minari.get_normalized_score(minari.load_dataset(dataset.id), np.array([low, high, 1000.0]))
    assert scores.tolist() == pytest.approx([0.0, 1.0, (1000.0 - low) / (high - low)])


def test_without_a_scale_minari_says_so() -> None:
    import minari

    minari_io.write(ant())
    with pytest.raises(ValueError, match="Reference score not provided"):
        minari.get_normalized_score(minari.load_dataset(ant().id), np.array([1.0]))


def test_the_cache_is_rebuilt_from_minari(cheetah: TransitionDataset, tmp_path: Path) -> None:
    rows = np.array(cheetah.rows)
    shutil.rmtree(dataset_folder(tmp_path, cheetah.id))

    def never(*_: object) -> None:
        raise AssertionError("collected again")

    again = build_dataset(CHEETAH, 1200, 0, tmp_path, never)
    np.testing.assert_array_equal(again.rows, rows)
    assert again.fingerprint == cheetah.fingerprint
    assert again.references == cheetah.references
    assert again.report == cheetah.report
    assert again.manifest["policies"] == cheetah.manifest["policies"]


def test_a_lost_minari_dataset_is_written_again_from_the_cache(cheetah: TransitionDataset, tmp_path: Path) -> None:
    shutil.rmtree(minari_io.location(cheetah.id))
    build_dataset(CHEETAH, 1200, 0, tmp_path)
    assert minari_io.stored_fingerprint(cheetah.id) == cheetah.fingerprint


def test_other_data_under_the_id_is_never_overwritten(cheetah: TransitionDataset) -> None:
    changed = cheetah.rows.copy()
    changed[0, 0] += 1
    other = in_memory(changed, cheetah.episode_ends, 17, 6, cheetah.manifest)
    with pytest.raises(DatasetError, match="is other data than the one to write"):
        minari_io.write(other)
    assert minari_io.stored_fingerprint(cheetah.id) == cheetah.fingerprint


def test_a_foreign_minari_dataset_is_left_alone(cheetah: TransitionDataset, tmp_path: Path) -> None:
    path = minari_io.location(cheetah.id) / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["mopo_tui"]
    path.write_text(json.dumps(metadata))
    shutil.rmtree(dataset_folder(tmp_path, cheetah.id))
    with pytest.raises(DatasetError, match="this program did not write"):
        build_dataset(CHEETAH, 1200, 0, tmp_path)


def test_changed_content_is_found_on_the_way_back(cheetah: TransitionDataset, tmp_path: Path) -> None:
    import h5py

    with h5py.File(minari_io.location(cheetah.id) / "data" / "main_data.hdf5", "a") as f:
        f["episode_0/rewards"][0] += 1.0
    shutil.rmtree(dataset_folder(tmp_path, cheetah.id))
    with pytest.raises(DatasetError, match="are not those its manifest names"):
        build_dataset(CHEETAH, 1200, 0, tmp_path)


def test_what_a_killed_builder_left_is_removed(minari_root: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = minari_root / f".mopo-building-{socket.gethostname()}-{gone.pid}"
    working = minari_root / f".mopo-building-{socket.gethostname()}-{os.getppid()}"
    elsewhere = minari_root / ".mopo-building-elsewhere-1"
    for folder in (left, working, elsewhere):
        (folder / "mopo").mkdir(parents=True)
    minari_io.write(ant())
    assert not left.exists()
    assert working.exists()
    assert elsewhere.exists()


def test_what_we_wrote_is_removed_and_nothing_else(minari_root: Path) -> None:
    for identifier in ("mopo/ant-angle/30-v0", "mopo/ant-angle/31-v0", "mopo/other/30-v0"):
        minari_io.write(ant(id=identifier))
    minari_io.remove("mopo/ant-angle/30-v0")
    assert stored(minari_root) == {"mopo/ant-angle/31-v0", "mopo/other/30-v0"}
    minari_io.remove("mopo/ant-angle/31-v0")
    assert sorted(path.name for path in (minari_root / "mopo").iterdir()) == ["namespace_metadata.json", "other"]
    minari_io.remove("mopo/other/30-v0")
    assert list(minari_root.iterdir()) == []


def test_a_namespace_that_says_something_stays(minari_root: Path) -> None:
    minari_io.write(ant())
    (minari_root / "mopo" / "namespace_metadata.json").write_text('{"description": "mine"}')
    minari_io.remove(ant().id)
    assert [path.name for path in (minari_root / "mopo").iterdir()] == ["namespace_metadata.json"]


def stored(root: Path) -> set[str]:
    return {str(path.parent.parent.relative_to(root)) for path in root.rglob("main_data.hdf5")}


def test_what_others_wrote_is_not_removed(minari_root: Path) -> None:
    minari_io.write(ant())
    path = minari_io.location(ant().id) / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    del metadata["mopo_tui"]
    path.write_text(json.dumps(metadata))
    before = sorted(minari_root.rglob("*"))
    with pytest.raises(DatasetError, match=r"was not written by this program; delete .* yourself"):
        minari_io.remove(ant().id)
    for absent in ("mopo/ant-angle/31-v0", "mopo", "../minari/mopo/ant-angle/30-v0", ""):
        with pytest.raises(DatasetError, match="there is no Minari dataset"):
            minari_io.remove(absent)
    assert sorted(minari_root.rglob("*")) == before
