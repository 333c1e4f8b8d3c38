"""From a source that a configuration names to the flat cache, the environment and the references that a run uses."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_data_d4rl import rollout, store, without

from engine.config import ConfigError, DatasetConfig, TrainConfig, make, resolve
from engine.data.dataset import DatasetError, TransitionDataset, in_memory, write
from engine.data.sources import chosen_episodes, open_ready, prepare
from engine.data_source import Wanted, wanted
from engine.tasks import task


@pytest.fixture(autouse=True)
def minari_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))


@pytest.fixture(scope="module")
def hopper_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand random steps of Hopper-v4, with the contacts of D4RL's time, in D4RL's form."""
    return store(tmp_path_factory.mktemp("files") / "mine.hdf5", rollout("Hopper-v4", 2000, legacy_contacts=True))


def asked(task_name: str, source: Path | str, **values: Any) -> Wanted:
    settings = {"task": task_name, "dataset.source": str(source), **values}
    config = make(DatasetConfig, settings)
    return wanted(task(config.task), config.dataset, config.environment)


def ready(w: Wanted, root: Path) -> TransitionDataset:
    return prepare(w, root, lambda _done, _total: None, lambda: None)


def test_a_file_in_d4rls_form_becomes_a_cache_with_everything_a_run_needs(tmp_path: Path, hopper_file: Path) -> None:
    w = asked("hopper-medium", hopper_file)
    assert open_ready(w, tmp_path) is None
    dataset = ready(w, tmp_path)
    manifest = dataset.manifest
    assert (len(dataset), manifest["origin"], manifest["id"]) == (2000, "file", w.id)
    assert (manifest["environment"], manifest["environment_options"]) == ("Hopper-v4", {"legacy_contacts": True})
    assert manifest["source"]["name"] == str(hopper_file)
    references = dataset.references
    assert references["scale"] == {
        "min": -20.272305,
        "max": 3234.3,
        "origin": "D4RL's constants (gym v2, MuJoCo 2.0)",
    }
    assert 5 < references["random"]["return"] < 40
    assert references["batch_mean"]["return"] == pytest.approx(
        dataset.episode_returns[dataset.complete_episodes].mean()
    )
    assert dataset.report["size"] == 2000
    again = open_ready(w, tmp_path)
    assert again is not None
    assert again.fingerprint == dataset.fingerprint


def test_a_changed_file_is_read_again_and_a_lost_one_is_not_missed(tmp_path: Path) -> None:
    path = store(tmp_path / "mine.hdf5", rollout("Hopper-v4", 400))
    w = asked("hopper-medium", path)
    first = ready(w, tmp_path).fingerprint
    changed = rollout("Hopper-v4", 500)
    store(path, changed)
    assert open_ready(w, tmp_path) is None
    second = ready(w, tmp_path)
    assert (len(second), second.fingerprint == first) == (500, False)
    path.unlink()
    kept = open_ready(w, tmp_path)
    assert kept is not None
    assert kept.fingerprint == second.fingerprint


def test_the_evaluation_environment_can_be_another_and_has_references_of_its_own(
    tmp_path: Path, hopper_file: Path
) -> None:
    theirs = ready(asked("hopper-medium", hopper_file), tmp_path)
    other = ready(asked("hopper-medium", hopper_file, **{"environment.id": "Hopper-v5"}), tmp_path)
    assert (other.manifest["environment"], other.manifest["environment_options"]) == ("Hopper-v5", {})
    assert other.fingerprint == theirs.fingerprint
    # v5 pays no survive reward on the step that falls: one reward less an episode.
    gap = theirs.references["random"]["return"] - other.references["random"]["return"]
    assert 0.2 < gap < 5
    modern = ready(asked("hopper-medium", hopper_file, **{"environment.legacy_contacts": "off"}), tmp_path)
    assert modern.manifest["environment_options"] == {"legacy_contacts": False}


def test_tasks_of_one_robot_share_a_cache_and_another_robots_task_is_refused(tmp_path: Path, hopper_file: Path) -> None:
    first = ready(asked("hopper-medium", hopper_file), tmp_path)
    same = open_ready(asked("hopper-expert", hopper_file), tmp_path)
    assert same is not None
    assert same.fingerprint == first.fingerprint
    for other in ("walker2d-medium", "halfcheetah-medium"):
        for root in (tmp_path, tmp_path / "new"):
            with pytest.raises(DatasetError, match=r"another environment's|Hopper"):
                open_ready(asked(other, hopper_file), root) or ready(asked(other, hopper_file), root)
    cheetah = store(tmp_path / "cheetah.hdf5", rollout("HalfCheetah-v4", 1500))
    with pytest.raises(DatasetError, match="HalfCheetah"):
        ready(asked("walker2d-medium", cheetah), tmp_path)
    ready(asked("halfcheetah-medium", cheetah), tmp_path)
    with pytest.raises(DatasetError, match="looks like data of HalfCheetah"):  # from the cache, too
        open_ready(asked("walker2d-medium", cheetah), tmp_path)


def test_published_data_of_a_robot_is_refused_for_a_task_with_a_reward_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="own rewards, not those of halfcheetah-jump"):
        ready(asked("halfcheetah-jump", "d4rl:halfcheetah-medium-v2"), tmp_path)
    with pytest.raises(DatasetError, match="d4rl:walker2d-medium-v2 is data of Walker2d; hopper-medium needs Hopper"):
        ready(asked("hopper-medium", "d4rl:walker2d-medium-v2"), tmp_path)
    assert not (tmp_path / "downloads").exists()


def test_a_file_for_a_task_with_its_own_reward_is_evaluated_on_that_reward(tmp_path: Path) -> None:
    path = store(tmp_path / "jump.hdf5", rollout("mopo/HalfCheetahJump-v0", 1500))
    dataset = ready(asked("halfcheetah-jump", path), tmp_path)
    assert dataset.manifest["environment"] == "mopo/HalfCheetahJump-v0"
    assert dataset.references["random"]["return"] < -500


def test_data_with_another_reward_is_refused_for_a_task_with_its_own(tmp_path: Path) -> None:
    path = store(tmp_path / "ant.hdf5", rollout("Ant-v5", 1500, include_cfrc_ext_in_observation=False))
    with pytest.raises(DatasetError, match=r"its rewards are those of Ant-v5, not of ant-angle"):
        ready(asked("ant-angle", path), tmp_path)


def test_an_environment_of_another_size_is_refused_before_anything_is_learnt(tmp_path: Path, hopper_file: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"environment Ant-v5 has observations \(105,\) and actions \(8,\), the data 11"
    ):
        ready(asked("hopper-medium", hopper_file, **{"environment.id": "Ant-v5"}), tmp_path)


def test_a_changed_own_task_is_evaluated_in_its_new_environment(
    tmp_path: Path, hopper_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "tasks.toml"
    monkeypatch.setenv("MOPO_TASKS", str(file))
    like = f'[mine]\nlike = "hopper-medium"\ndataset = "{hopper_file}"\n'
    file.write_text(like)
    assert ready(asked("mine", hopper_file), tmp_path).manifest["environment"] == "Hopper-v4"  # the data's own
    file.write_text(like + 'environment = "Hopper-v5"\n')
    assert open_ready(asked("mine", hopper_file), tmp_path) is None
    assert ready(asked("mine", hopper_file), tmp_path).manifest["environment"] == "Hopper-v5"
    file.write_text(like + 'environment = "HalfCheetah-v5"\n')
    assert task("mine").score_scale is None  # D4RL's scale is of the environment that was left


def test_some_episodes_are_drawn_whole_and_in_order(tmp_path: Path, hopper_file: Path) -> None:
    whole = ready(asked("hopper-medium", hopper_file), tmp_path)
    some = ready(asked("hopper-medium", hopper_file, **{"dataset.size": 700}), tmp_path)
    assert len(some) == 700
    assert any("700 of 2,000 transitions" in note for note in some.manifest["notes"])
    starts = {whole.rows[a].tobytes(): i for i, a in enumerate(whole.episode_starts)}
    picked = [starts[some.rows[a].tobytes()] for a in some.episode_starts]
    assert picked == sorted(set(picked))
    cut = [n for n, i in zip(some.episode_lengths, picked, strict=True) if n != whole.episode_lengths[i]]
    assert len(cut) <= 1
    other = ready(asked("hopper-medium", hopper_file, **{"dataset.size": 700, "dataset.seed": 1}), tmp_path)
    assert other.fingerprint != some.fingerprint
    with pytest.raises(DatasetError, match="2,000 transitions; leave the size out"):
        chosen_episodes(whole, 2001, 0)


def test_terminal_rows_whose_next_state_is_not_told_train_no_model(tmp_path: Path) -> None:
    arrays = rollout("Hopper-v4", 1000)
    path = store(tmp_path / "v0.hdf5", without(arrays, "next_observations", "timeouts"))
    dataset = ready(asked("hopper-medium", path), tmp_path)
    assert not dataset.terminal_next_observations
    assert dataset.terminals.sum() > 10
    np.testing.assert_array_equal(
        dataset.next_observations[dataset.terminals > 0], dataset.observations[dataset.terminals > 0]
    )
    shifted = dataset.learning_rows("shifted")
    ended = np.flatnonzero(dataset.terminals[:-1])
    np.testing.assert_array_equal(shifted[ended, 15:26], dataset.observations[ended + 1])
    assert dataset.learning_rows("true") is dataset.rows


def test_an_own_task_brings_its_environment_and_its_scale(
    tmp_path: Path, hopper_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slippery.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Slippery-v0', entry_point='gymnasium.envs.mujoco.hopper_v5:HopperEnv', "
        "max_episode_steps=50)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    file = tmp_path / "tasks.toml"
    file.write_text(
        '[ice]\nenvironment = "slippery:Slippery-v0"\nenvironment_options = { forward_reward_weight = 2.0 }\n'
        'observation_dim = 11\naction_dim = 3\ntermination = "hopper"\n'
        f'dataset = "{hopper_file}"\nreferences = {{ min = 0, max = 50, origin = "us" }}\n'
    )
    monkeypatch.setenv("MOPO_TASKS", str(file))
    config = resolve([("test", {"task": "ice"})]).config
    assert isinstance(config, TrainConfig)
    dataset = ready(wanted(task("ice"), config.dataset, config.environment), tmp_path)
    assert dataset.manifest["environment"] == "slippery:Slippery-v0"
    assert dataset.manifest["max_episode_steps"] == 50
    assert dataset.references["scale"] == {"min": 0.0, "max": 50.0, "origin": "us"}


def test_no_configuration_or_dataset_makes_the_engine_import_a_module(tmp_path: Path, hopper_file: Path) -> None:
    with pytest.raises(ConfigError, match="own tasks only"):
        asked("hopper-medium", hopper_file, **{"environment.id": "os:Hopper-v4"})
    w = asked("hopper-medium", hopper_file)
    ready(w, tmp_path)
    manifest = tmp_path / "datasets" / w.id / "dataset.json"
    sound = manifest.read_text()
    for old, new in (
        ('"environment": "Hopper-v4"', '"environment": "antigravity:Hopper-v4"'),
        ('"legacy_contacts": true', '"legacy_contacts": true, "id": "antigravity:Hopper-v4"'),
    ):
        assert old in sound
        manifest.write_text(sound.replace(old, new))
        with pytest.raises(DatasetError, match="own tasks only"):
            open_ready(w, tmp_path)


def test_our_own_dataset_is_of_the_tasks_environment_whatever_a_manifest_says(tmp_path: Path) -> None:
    w = asked("halfcheetah-random", "ours", **{"dataset.size": 1000})
    ready(w, tmp_path)
    manifest = tmp_path / "datasets" / w.id / "dataset.json"
    manifest.write_text(manifest.read_text().replace('"HalfCheetah-v5"', '"antigravity:HalfCheetah-v5"'))
    again = open_ready(w, tmp_path)
    assert again is not None
    assert again.manifest["environment"] == "HalfCheetah-v5"


def test_opening_a_million_rows_again_takes_under_0_3_s(tmp_path: Path, hopper_file: Path) -> None:
    w = asked("hopper-medium", hopper_file)
    small = ready(w, tmp_path)
    rows = np.tile(small.rows, (500, 1))
    ends = np.concatenate([small.episode_ends + i * len(small) for i in range(500)])
    folder = tmp_path / "datasets" / w.id
    import shutil

    shutil.rmtree(folder)
    large = in_memory(rows, ends, 11, 3, small.manifest)
    write(dataclasses.replace(large, manifest={**large.manifest, "references": small.references}), folder)
    begun = time.process_time()
    opened = open_ready(w, tmp_path)
    taken = time.process_time() - begun
    assert opened is not None
    assert len(opened) == 1_000_000
    assert taken < 0.3
