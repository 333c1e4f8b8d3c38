"""Datasets as the manager sees them: found by many names, counted to the byte, removed whole and nowhere else."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine import record
from engine.data.dataset import in_memory, write
from engine.data.report import report
from mopo_tui.manager import Run, RunState, Store, StoreError
from mopo_tui.manager.datasets import (
    DatasetStatus,
    DatasetUnavailable,
    datasets,
    find_dataset,
    not_imported,
    parts_of,
    read_manifest,
    remove,
    users_of,
)

Make = Callable[..., DatasetStatus]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MOPO_DATA", str(tmp_path / "root"))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "root"


@pytest.fixture
def make(root: Path) -> Make:
    """Writes a real flat cache of Hopper's sizes."""

    def make(identifier: str, task: str = "hopper-medium", source: str = "ours") -> DatasetStatus:
        rows = np.random.default_rng(0).normal(size=(200, 2 * 11 + 3 + 2)).astype(np.float32)
        rows[:, -1] = 0
        manifest = {
            "id": identifier,
            "task": task,
            "environment": "Hopper-v5",
            "max_episode_steps": 100,
            "source": {"name": source, "stamp": {}},
            "references": {},
        }
        dataset = in_memory(rows, np.array([100, 200]), 11, 3, manifest)
        dataset.manifest["report"] = report(dataset)
        write(dataset, root / "datasets" / identifier)
        return next(status for status in datasets() if status.id == identifier)

    return make


@pytest.fixture
def minari_set(tmp_path: Path) -> Callable[..., Path]:
    def make(identifier: str, ours: bool = True) -> Path:
        folder = tmp_path / "minari" / identifier
        (folder / "data").mkdir(parents=True)
        record.write_json(folder / "data" / "metadata.json", {"total_steps": 200} | ({"mopo_tui": {}} if ours else {}))
        (folder / "data" / "main_data.hdf5").write_bytes(bytes(1000))
        return folder

    return make


def test_a_status_says_what_the_manifest_and_the_disk_say(
    make: Make, root: Path, minari_set: Callable[..., Path]
) -> None:
    copy = minari_set("mopo/hopper-medium/200-v0")
    status = make("mopo/hopper-medium/200-v0")
    assert (status.size, status.episodes, status.environment, status.task) == (200, 2, "Hopper-v5", "hopper-medium")
    assert status.mean_return == pytest.approx(read_manifest(status)["report"]["mean_return"])
    assert status.bytes == sum(file.stat().st_size for file in status.folder.iterdir()) > 200 * 27 * 4
    assert status.minari_bytes == sum(file.stat().st_size for file in (copy / "data").iterdir())
    document = status.to_json()
    assert (document["folder"], document["download"]) == (str(root / "datasets/mopo/hopper-medium/200-v0"), None)


def test_found_by_id_source_task_alias_and_part(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = make("mopo/hopper-medium-replay/200-v0", "hopper-medium-replay")
    fetched = make("d4rl/hopper-medium-replay-v0", "hopper-medium", "d4rl:hopper-medium-replay-v0")
    read = make("file/mine-1234abcd", "hopper-random", str(tmp_path / "mine.hdf5"))
    here = [ours, fetched, read]
    monkeypatch.chdir(tmp_path)
    for reference, found in (
        (ours.id, ours),
        ("hopper-medium-replay", ours),
        ("hopper-mixed", ours),
        ("d4rl:hopper-mixed-v0", fetched),
        ("d4rl/", fetched),
        ("hopper-medium", fetched),  # a task's name before a part of an id
        ("mine.hdf5", read),
        ("1234", read),
    ):
        assert find_dataset(reference, here).id == found.id, reference
    with pytest.raises(
        DatasetUnavailable, match=r"2 datasets go by 'medium': d4rl/hopper-medium-replay-v0, mopo/hopper"
    ):
        find_dataset("medium", sorted(here, key=lambda s: s.id))
    with pytest.raises(DatasetUnavailable, match="no dataset '~nobody/x'"):
        find_dataset("~nobody/x", here)


def test_downloads_that_nothing_was_read_from(make: Make, root: Path) -> None:
    folder = root / "downloads" / "d4rl"
    folder.mkdir(parents=True)
    for name, size in (("walker_mixed.hdf5", 30), ("hopper_medium-v2.hdf5", 50), ("ant_random-v2.hdf5.part", 7)):
        (folder / name).write_bytes(bytes(size))
    (folder / "walker_mixed.hdf5.sha256").write_bytes(bytes(5))
    (folder / ".walker_mixed.hdf5.lock").touch()
    used = make("d4rl/hopper-medium-v2", source="d4rl:hopper-medium-v2")
    assert used.download_bytes == 50
    waiting = not_imported(datasets())
    assert [(s.id, s.source, s.download_bytes, s.problem) for s in waiting] == [
        ("d4rl/ant-random-v2", "d4rl:ant-random-v2", 7, "downloaded in part"),
        ("d4rl/walker2d-medium-replay-v0", "d4rl:walker2d-medium-replay-v0", 35, "downloaded, not imported"),
    ]
    with pytest.raises(DatasetUnavailable, match="d4rl/ant-random-v2: downloaded in part"):
        read_manifest(waiting[0])
    assert parts_of(waiting[1]) == []
    remove(waiting[1], parts_of(waiting[1], download=True))
    assert sorted(p.name for p in folder.iterdir()) == ["ant_random-v2.hdf5.part", "hopper_medium-v2.hdf5"]


def test_removing_takes_all_of_it_and_nothing_else(make: Make, root: Path, minari_set: Callable[..., Path]) -> None:
    going, staying = make("mopo/hopper-medium/200-v0"), make("mopo/hopper-medium/300-v0")
    minari_set(going.id)
    kept = minari_set(staying.id)
    (root / "datasets/mopo/hopper-medium/.200-v0.lock").touch()
    parts = parts_of(going)
    assert [part.what for part in parts] == ["flat cache", "Minari copy"]
    remove(going, parts)
    assert [status.id for status in datasets()] == [staying.id]
    assert [p.name for p in (root / "datasets/mopo/hopper-medium").iterdir()] == ["300-v0"]
    assert [p.name for p in kept.parent.iterdir()] == ["300-v0"]


def test_minari_sets_of_others_stay(make: Make, minari_set: Callable[..., Path]) -> None:
    foreign = minari_set("mopo/hopper-medium/200-v0", ours=False)
    official = minari_set("mujoco/hopper/medium-v0")
    status = make("mopo/hopper-medium/200-v0")
    fetched = make("minari/mujoco/hopper/medium-v0", source="minari:mujoco/hopper/medium-v0")
    assert status.minari_bytes == 0
    for one in (status, fetched):
        assert [part.what for part in parts_of(one)] == ["flat cache"]
    assert foreign.exists()
    assert official.exists()


@pytest.mark.parametrize("linked", ["dataset", "parent", "minari"])
def test_what_lies_outside_the_roots_is_never_removed(
    make: Make, tmp_path: Path, minari_set: Callable[..., Path], linked: str
) -> None:
    status = make("mopo/hopper-medium/200-v0")
    copy = minari_set(status.id)
    place = {"dataset": status.folder, "parent": status.folder.parent, "minari": copy}[linked]
    elsewhere = tmp_path / "elsewhere"
    os.rename(place, elsewhere)
    place.symlink_to(elsewhere)
    [found] = datasets()
    assert found.size == 200
    with pytest.raises(DatasetUnavailable, match=r"is a link to .*elsewhere.*remove it by hand"):
        parts_of(found)
    assert any(elsewhere.rglob("*.json"))


def test_a_root_that_is_a_link_is_a_root(make: Make, root: Path, tmp_path: Path) -> None:
    make("mopo/hopper-medium/200-v0")
    os.rename(root, tmp_path / "disk")
    root.symlink_to(tmp_path / "disk")
    [status] = datasets()
    remove(status, parts_of(status))
    assert datasets() == []
    assert not (tmp_path / "disk/datasets/mopo/hopper-medium/200-v0").exists()


def test_links_in_a_circle_are_not_followed_for_ever(make: Make, root: Path) -> None:
    make("mopo/hopper-medium/200-v0")
    (root / "datasets" / "mopo" / "round").symlink_to(root / "datasets")
    assert [s.id for s in datasets() if "round" not in s.id] == ["mopo/hopper-medium/200-v0"]


def test_a_torn_manifest_is_told_and_can_be_removed(make: Make) -> None:
    status = make("mopo/hopper-medium/200-v0")
    (status.folder / "dataset.json").write_text('{"id": ')
    [torn] = datasets()
    assert (torn.present, torn.problem, torn.bytes > 0) == (False, "dataset.json cannot be read", True)
    with pytest.raises(DatasetUnavailable, match="cannot be read"):
        read_manifest(torn)
    remove(torn, parts_of(torn))
    assert datasets() == []


def test_a_dataset_that_is_being_made_ready_is_left_alone(make: Make) -> None:
    status = make("mopo/hopper-medium/200-v0")
    lock = status.folder.with_name(".200-v0.lock")
    with open(lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="being made ready by another process"):
            remove(status, parts_of(status))
        assert [s.id for s in datasets()] == [status.id]
        assert lock.exists()
    remove(status, parts_of(status))
    assert datasets() == []


def test_runs_that_use_a_dataset(
    make: Make,
    store: Store,
    make_run: Callable[..., Run],
    supervised: Callable[..., Run],
    state_within: Callable[..., Run],
) -> None:
    by_configuration = make("mopo/halfcheetah-medium-replay/5k-v0")
    by_record, unused = make("d4rl/hopper-medium-v2"), make("mopo/halfcheetah-medium-replay/6k-v0")
    run = make_run(task="halfcheetah-medium-replay")
    assert users_of(by_configuration, store) == []  # queued
    record.write_json(run.folder / record.ENVIRONMENT, {"dataset": {"id": by_record.id}})
    supervised("import time; time.sleep(60)", run)
    state_within(run, RunState.RUNNING)
    assert [user.id for user in users_of(by_configuration, store)] == [run.id]
    assert [user.id for user in users_of(by_record, store)] == [run.id]
    assert users_of(unused, store) == []
    about = record.read_json(run.folder / record.RUN) or {}
    record.write_json(run.folder / record.RUN, {**about, "paths": {"data": "/another/root"}})
    assert users_of(by_configuration, store) == []
    record.write_json(run.folder / record.RUN, about)
    store.abort(run)
    state_within(run, RunState.STOPPED, RunState.FAILED, seconds=6)
    assert users_of(by_configuration, store) == []
