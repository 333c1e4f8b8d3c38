"""Real engine processes on real data: a smoke run from nothing, stopping, a kill, unusable folders."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engine_process import learning_metrics, new_run, small, smoke, start, start_anew, wait_for

from engine.config import BehaviourConfig
from engine.config import make as make_config
from engine.record import METRICS, metric, read_json, read_rows


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data root and Minari folder for all of these runs: the dataset is built by the first that needs it."""
    return tmp_path_factory.mktemp("home")


def test_a_smoke_run_from_nothing_finishes_within_20_s_and_records_all_of_it(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "first", smoke())
    begun = time.monotonic()
    process = start_anew(home, folder)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert time.monotonic() - begun < 40  # 20 s on a free machine; twice that where the tests share it
    names = {name for row in read_rows(folder / METRICS)[0] for name in row["m"]}
    assert {f"dynamics/val_loss/{i}" for i in range(7)} <= names
    assert {
        "uncertainty/p95",
        "uncertainty/data_p95",
        "policy/q",
        "eval/normalized_score",
        "speed/updates_per_s",
    } <= names
    assert [name for name in sorted(names) if metric(name) is None] == []  # the table knows all that is recorded
    counts = [row["counts"] for row in read_rows(folder / "histograms.jsonl")[0]]
    assert sum(counts[0]["data"]) == 5000
    assert [sum(c["rollout"]) for c in counts[1:]] == [2500, 2500, 2500]
    result, summary = read_json(folder / "result.json"), read_json(folder / "summary.json")
    assert result is not None
    assert summary is not None
    assert result["update"] == 150
    assert summary["progress"] == 1.0
    assert result["final"]["episodes"] == 2
    about = read_json(folder / "environment.json")
    assert about is not None
    assert about["dataset"]["size"] == 5000
    assert about["references"]["scale"]["max"] == 12135.0
    assert about["compute"]["threads"] == 1
    stages = [row["stage"] for row in read_rows(folder / "events.jsonl")[0] if row["kind"] == "stage"]
    assert stages == ["data", "dynamics", "policy", "evaluation"]
    score = result["final"]["normalized_score"]
    assert score == pytest.approx(100 * (result["final"]["return"] + 280.178953) / (12135.0 + 280.178953))


def test_the_same_run_again_has_the_same_numbers_and_without_the_penalty_the_policys_differ(
    home: Path, tmp_path: Path
) -> None:
    apart = {"compute.reuse": False}
    configs = {"first": small(**apart), "again": small(**apart), "mbpo": small(algorithm="mbpo", **apart)}
    for name, chosen in configs.items():
        process = start(home, new_run(home, tmp_path / name, chosen))
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    ours, again, theirs = (learning_metrics(tmp_path / name) for name in configs)
    assert again == ours  # digit for digit
    assert [r for r in ours if r[1] == "dynamics"] == [r for r in theirs if r[1] == "dynamics"]
    policy = [r[2] for r in theirs if r[1] == "policy" and "rollout/penalty" in r[2]]
    assert all(row["rollout/penalty"] == 0 for row in policy)
    assert [r[2] for r in ours if r[1] == "policy" and "rollout/penalty" in r[2]][-1]["rollout/penalty"] > 0


LONG = {"policy.epochs": 100_000}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (None, 143)])
def test_a_run_stops_on_a_signal_or_request_and_says_so(
    home: Path, tmp_path: Path, number: signal.Signals | None, code: int
) -> None:
    folder = new_run(home, tmp_path / "run", smoke(**LONG))
    process = start(home, folder)
    wait_for(lambda: any("policy/q" in row["m"] for row in read_rows(folder / METRICS)[0]))
    if number is None:
        (folder / "control" / "stop").touch()
    else:
        process.send_signal(number)
    assert process.wait(timeout=20) == code
    assert read_rows(folder / "events.jsonl")[0][-1]["kind"] == "stopped"
    assert not (folder / "result.json").exists()


def test_progress_moves_within_a_long_epoch(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "run", smoke(**{"policy.updates_per_epoch": 100_000}))
    process = start(home, folder)

    def told() -> dict[str, object]:
        return read_json(folder / "summary.json") or {}

    try:
        wait_for(lambda: told().get("stage") == "policy" and bool(told().get("stage_progress")))
        first = told()["progress"]
        wait_for(lambda: told()["progress"] > first, 20)  # type: ignore[operator]
        assert told()["detail"] == "epoch 1/3"
    finally:
        process.kill()
        process.wait()


def test_a_killed_run_leaves_files_that_can_be_read(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "run", smoke(**LONG))
    process = start(home, folder)
    wait_for(lambda: any("policy/q" in row["m"] for row in read_rows(folder / METRICS)[0]))
    process.kill()
    assert process.wait() == -signal.SIGKILL
    for path in folder.glob("*.jsonl"):
        for line in path.read_text().splitlines()[:-1]:
            json.loads(line)
    assert read_json(folder / "summary.json") is not None


def test_a_behaviour_run_resumes_to_the_same_policy_as_an_uninterrupted_one(home: Path, tmp_path: Path) -> None:
    values = {"behaviour": "halfcheetah", "chunk": 100, "random_steps": 50, "episodes": 1, "compute.compile": False}
    # 325 steps: the last chunk is a shorter one.
    config = make_config(BehaviourConfig, {**values, "steps": 325, "compute.threads": 1})
    whole, broken = new_run(home, tmp_path / "whole", config), new_run(home, tmp_path / "broken", config)
    assert start(home, whole).wait(timeout=120) == 0
    process = start(home, broken)
    snapshots = broken / "checkpoints" / "snapshots"
    wait_for(lambda: (snapshots / "0000100.safetensors").exists())
    process.kill()
    process.wait()
    assert start(home, broken).wait(timeout=120) == 0
    stages = [row["message"] for row in read_rows(broken / "events.jsonl")[0] if row["kind"] == "stage"]
    assert "for 325 steps" in stages[0]
    assert "going on at step" in stages[1] or stages[1] == stages[0]  # the kill may come before the first checkpoint
    for name in ("0000300.safetensors", "0000325.safetensors"):
        ours = (whole / "checkpoints" / "snapshots" / name).read_bytes()
        assert ours == (snapshots / name).read_bytes()
    first, second = read_json(whole / "result.json"), read_json(broken / "result.json")
    assert first is not None
    assert second is not None
    assert first["best"] == second["best"]
    assert first["update"] == second["update"] == 276
    assert start(home, whole).wait(timeout=120) == 0  # a finished run, started again, has nothing left to do
    again = read_json(whole / "result.json")
    assert again is not None
    assert again["best"] == first["best"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "run.json").write_text("{"), "run.json"),
        (lambda f: (f / "run.json").write_text('{"job": "train"}'), "paths.data"),
        (lambda f: (f / "run.json").write_text('{"job": "none", "paths": {"data": "/"}}'), "unknown job"),
        (lambda f: (f / "config.toml").write_text('task = "ant-angl"'), "ant-angle"),
        (lambda f: (f / "config.toml").write_text("[rollout]\nlenght = 3"), "rollout.length"),
        (lambda f: (f / "config.toml").write_bytes(b"\xff"), "config"),
        (lambda f: (f / "config.toml").unlink(), "config.toml"),
    ],
)
def test_an_unusable_folder_is_one_clear_line_and_code_2(
    home: Path, tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    folder = new_run(home, tmp_path / "run", smoke())
    spoil(folder)
    process = start(home, folder)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words in output
    assert len(output.strip().splitlines()) == 1


def test_an_absent_device_is_one_clear_line_and_code_3(home: Path, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    folder = new_run(home, tmp_path / "run", smoke(**{"compute.device": "cuda"}))
    process = start(home, folder)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "sees no CUDA device" in output
    assert "Traceback" not in output
