"""Finding, naming and making runs; where the store is; folders that are torn or foreign."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from engine import record
from engine.config import BehaviourConfig, DatasetConfig, TrainConfig, from_toml, make
from mopo_tui.manager import Run, RunNotFound, RunState, Store, StoreError, launcher, locations


def test_new_run_is_queued_and_whole(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run("λ sweep / näher ../x", seed=3)
    assert (run.state, run.reason) == (RunState.QUEUED, "never launched: mopo resume starts it")
    assert re.fullmatch(r"\d{8}-\d{6}-ant-angle-mopo-s3-[a-z0-9]{4}", run.id)
    assert run.folder == store.root / run.id
    assert run.name == "λ sweep / näher ../x"
    assert (run.kind, run.job, run.task, run.algorithm, run.seed) == ("train", "train", "ant-angle", "mopo", 3)
    config = from_toml(TrainConfig, (run.folder / record.CONFIG).read_text(), "config.toml")
    assert (config.seed, config.preset, config.compute.threads) == (3, "smoke", 1)
    about = record.read_json(run.folder / record.RUN)
    assert about is not None
    assert Path(about["paths"]["data"]).is_absolute()


def test_threads_are_resolved_when_a_run_is_made(store: Store) -> None:
    train = store.create(TrainConfig())
    behaviour = store.create(make(BehaviourConfig, {"behaviour": "ant"}))
    assert from_toml(TrainConfig, (train.folder / record.CONFIG).read_text(), "").compute.threads in (1, 2)
    assert from_toml(BehaviourConfig, (behaviour.folder / record.CONFIG).read_text(), "").compute.threads == 1
    assert (behaviour.kind, behaviour.job, behaviour.task) == ("data", "behaviour", "ant")
    dataset = store.create(make(DatasetConfig, {"task": "ant-angle", "dataset.seed": 2}))
    assert (dataset.kind, dataset.job, dataset.seed, dataset.name) == ("data", "dataset", 2, "ant-angle-dataset-s2")


@pytest.mark.parametrize("name", ["two\nlines", "\x1b[2J", "latest", "x" * 101])
def test_names_that_would_mislead_are_refused(make_run: Callable[..., Run], name: str) -> None:
    with pytest.raises(StoreError):
        make_run(name)


def test_a_run_is_found_by_id_prefix_tail_name_and_latest(make_run: Callable[..., Run], store: Store) -> None:
    first, second = make_run("the first one"), make_run(task="halfcheetah-medium-replay")
    assert store.find(first.id).id == first.id
    assert store.find("the first one").id == first.id
    assert store.find(first.id[-4:]).id == first.id
    assert store.find("latest").id == second.id
    assert [run.id for run in store.runs()] == [second.id, first.id]
    with pytest.raises(RunNotFound, match="2 runs go by '20'"):
        store.find("20")


@pytest.mark.parametrize("reference", ["../x", "..", ".", "", "nope", "/etc", "x/../y"])
def test_references_never_leave_the_store(make_run: Callable[..., Run], store: Store, reference: str) -> None:
    inside = make_run()
    shutil.copytree(inside.folder, store.root.parent / "x")  # a real run, outside
    with pytest.raises(RunNotFound):
        store.find(reference)
    with pytest.raises(RunNotFound):
        store.run(reference)


def test_torn_and_foreign_folders_show_their_problem(make_run: Callable[..., Run], store: Store) -> None:
    sound, torn, newer, half = make_run(), make_run(), make_run(), make_run()
    (torn.folder / record.RUN).write_text('{"format": 1, "na')
    record.write_json(newer.folder / record.RUN, {"format": 2})
    (half.folder / record.PROCESS).write_text("[")
    (store.root / "photos").mkdir()
    (store.root / ".hidden").mkdir()
    (store.root / "queue").mkdir()
    found = {run.id: run for run in store.runs()}
    assert set(found) == {sound.id, torn.id, newer.id, half.id, "photos"}
    assert found[sound.id].problem == ""
    assert found[torn.id].problem == "run.json is no JSON object"
    assert "format 2" in found[newer.id].problem
    assert "not a run folder" in found["photos"].problem
    assert {run.state for run in found.values() if run.problem} == {RunState.UNREADABLE}
    assert found[half.id].state is RunState.UNREADABLE
    assert store.find("latest").id == sound.id


def test_wrong_types_in_a_folder_are_survived(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run()
    about = record.read_json(run.folder / record.RUN) or {}
    record.write_json(run.folder / record.RUN, {**about, "seed": "x", "created": None, "name": "a\x1b[31mb"})
    record.write_json(
        run.folder / record.SUMMARY,
        {"progress": "Infinity", "eta_s": [], "score_last": float("nan"), "return_last": 12, "stage": 5},
    )
    now = store.run(run.id)
    assert (now.seed, now.progress, now.eta_s, now.score_last, now.return_last, now.stage) == (
        0,
        0.0,
        None,
        None,
        12.0,
        "",
    )
    assert now.name == "a [31mb"


def test_reference_runs_are_listed_and_finished(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run("shipped")
    record.write_json(run.folder / record.RESULT, {"t": 1.0, "final": {"return": 5.0}})
    (store.root / "reference").mkdir()
    shutil.move(run.folder, store.root / "reference" / run.id)
    assert [(r.id, r.state) for r in store.runs()] == [(run.id, RunState.FINISHED)]
    assert store.find("shipped").folder.parent.name == "reference"


def test_which_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_run: Callable[..., Run]) -> None:
    cwd = Path.cwd()
    assert locations.store_root() == tmp_path / "data" / "mopo-tui" / "runs"
    (cwd / "runs" / "events").mkdir(parents=True)  # another program's folder of runs
    (cwd / "runs" / "README.md").write_text("# TensorBoard runs\n")
    assert locations.store_root() == tmp_path / "data" / "mopo-tui" / "runs"
    make_run()
    (cwd / "mine").mkdir()
    shutil.copytree(tmp_path / "runs", cwd / "mine", dirs_exist_ok=True)
    assert locations.is_store(cwd / "mine")
    (cwd / "runs" / "README.md").write_text(f"{locations.STORE_TITLE}\n")
    assert locations.store_root() == cwd / "runs"
    locations.user_config().parent.mkdir(parents=True)
    locations.user_config().write_text('[paths]\nruns = "/from/user"\n')
    assert locations.store_root() == Path("/from/user")
    (cwd / "mopo.toml").write_text('[paths]\nruns = "here"\n')
    assert locations.store_root() == cwd / "here"
    monkeypatch.setenv("MOPO_RUNS", "/from/variable")
    assert locations.store_root() == Path("/from/variable")
    assert locations.store_root(Path("given")) == cwd / "given"


def test_store_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used as run store"):
        Store.open(tmp_path / "file")


def test_stop_is_a_request_in_the_folder(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run()
    store.stop(run)
    assert (run.folder / record.CONTROL / "stop").exists()


def test_only_the_launcher_and_its_supervisor_know_processes_of_this_host() -> None:
    """Elsewhere nobody signals a process, asks for one, or starts a run: a second launcher would have nothing else to replace."""
    package = Path(locations.__file__).parents[1]
    know = {f"manager/{name}.py" for name in ("launcher", "supervisor", "identity")}
    children = {
        "manager/policy_process.py"
    }  # signals the engine that `mopo evaluate` and `mopo play` have themselves started
    for file in package.rglob("*.py"):
        name = file.relative_to(package).as_posix()
        text = file.read_text(encoding="utf-8")
        if name in know:
            continue
        assert "os.kill(" not in text, name
        assert "os.killpg(" not in text or name in children, name
        assert not re.search(r"\bidentity\.|import (start_time|same_process|boot_id|host)\b", text), name
        assert "manager.supervisor" not in text, name
        default = {"manager/queue.py": 2, "manager/store.py": 2}.get(
            name, 0
        )  # imported, and named once: what is used unless told
        assert text.count("THIS_HOST") == default, name


@pytest.mark.parametrize(("alive", "state"), [(True, RunState.RUNNING), (False, RunState.LOST)])
def test_a_run_computed_elsewhere_is_judged_by_the_place_that_knows_it(
    make_run: Callable[..., Run], store: Store, monkeypatch: pytest.MonkeyPatch, alive: bool, state: RunState
) -> None:
    class Cluster(launcher.ThisHost):
        def lives(self, process: Mapping[str, Any]) -> bool | None:
            return alive if process.get("host") == "cluster" else None

    run = make_run()
    record.write_json(run.folder / record.PROCESS, {"attempt": 1, "host": "cluster", "pid": 1, "start_time": "1"})
    monkeypatch.setattr(launcher, "PLACES", (launcher.THIS_HOST, Cluster()))
    when = time.time() - (3600 if alive else 0)  # what its heartbeat would say is the opposite
    os.utime(run.folder / record.PROCESS, (when, when))
    assert store.run(run.id).state is state
