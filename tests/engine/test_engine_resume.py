"""Exact resume: a run that is killed at random moments of every stage ends with the numbers of one that is not."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest
from engine_process import new_run, small, start, wait_for

from engine.config import TrainConfig
from engine.record import EVENTS, HISTOGRAMS, METRICS, read_json, read_rows


def config(**more: object) -> TrainConfig:
    return small(
        **{
            "dataset.size": 6000,
            "dynamics.max_epochs": 4,
            "dynamics.patience": 10,
            "policy.epochs": 8,
            "policy.updates_per_epoch": 60,
            "rollout.retain_rounds": 3,
            "evaluation.every": 2,
            "evaluation.final_episodes": 3,
            "compute.reuse": False,
            "mb2po.enter": "paper",
            "mb2po.stage1_epochs": 4,
            "mb2po.fitted_q_updates": 20,
            **more,
        }
    )


def learnt(folder: Path) -> dict[tuple[int, str], object]:
    """What a reader keeps: the last value of each learning metric and histogram per step."""
    kept: dict[tuple[int, str], object] = {}
    for row in read_rows(folder / METRICS)[0]:
        for name, value in row["m"].items():
            if not name.startswith("speed/"):
                kept[row["step"], name] = (value, row.get("update"), row["epoch"])
    for row in read_rows(folder / HISTOGRAMS)[0]:
        for name, counts in row["counts"].items():
            kept[row["step"], f"histogram {name}"] = counts
    return kept


def scores(folder: Path) -> dict[str, object]:
    result = read_json(folder / "result.json")
    assert result is not None
    known = ("final", "mean_last_10", "best", "step", "update", "policies", "recommended", "gate")
    return {key: result[key] for key in known if key in result}


def killed(home: Path, folder: Path, stage: str, epoch: int, after: float, number: int = signal.SIGKILL) -> None:
    """One attempt that is ended `after` seconds after it recorded so many epochs of `stage` (0: entered it)."""
    begun = len(read_rows(folder / EVENTS)[0])
    process = start(home, folder)

    def there() -> bool:
        if process.poll() is not None:
            return True
        if epoch:
            rows = read_rows(folder / METRICS)[0]
            return any(row["stage"] == stage and row["epoch"] >= epoch for row in rows)
        rows = read_rows(folder / EVENTS)[0][begun:]
        return any(row["kind"] == "stage" and row["stage"] == stage for row in rows)

    wait_for(there, 120)
    time.sleep(after)
    process.send_signal(number)
    assert process.wait(timeout=60) in (-signal.SIGKILL, 143, 130, 0)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize(
    ("algorithm", "moments"),
    [
        ("mopo", (("dynamics", 0), ("dynamics", 2), ("policy", 0), ("policy", 2), ("policy", 6), ("evaluation", 0))),
        (
            "mb2po",
            (("policy", 2), ("dynamics", 0), ("dynamics", 2), ("finetune", 0), ("finetune", 3), ("evaluation", 0)),
        ),
        ("sac", (("policy", 5),)),
        ("awac", (("policy", 4),)),
        ("bc", (("policy", 3),)),
    ],
)
def test_a_run_killed_in_every_stage_ends_with_the_same_numbers(
    home: Path, tmp_path: Path, algorithm: str, moments: tuple[tuple[str, int], ...]
) -> None:
    more = {"sac.actor_schedule": "cosine", "rollout.initial_length": 2, "rollout.growth_epochs": 5}
    chosen = config(algorithm=algorithm, **more)
    whole, broken = new_run(home, tmp_path / "whole", chosen), new_run(home, tmp_path / "broken", chosen)
    assert start(home, whole).wait(timeout=180) == 0
    delays = random.Random()
    for stage, epoch in moments:
        killed(home, broken, stage, epoch, delays.uniform(0.0, 0.3))
    assert start(home, broken).wait(timeout=180) == 0
    assert learnt(broken) == learnt(whole)
    assert scores(broken) == scores(whole)
    for name in ("final.safetensors", "best.safetensors"):
        assert (broken / "checkpoints" / name).read_bytes() == (whole / "checkpoints" / name).read_bytes()
    assert (broken / "checkpoints" / "state.safetensors").stat().st_size < 30e6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_goes_on_too(home: Path, tmp_path: Path, number: signal.Signals) -> None:
    chosen = config(**{"dataset.size": 3000, "policy.epochs": 5, "evaluation.calibration": False})
    whole, broken = new_run(home, tmp_path / "whole", chosen), new_run(home, tmp_path / "broken", chosen)
    assert start(home, whole).wait(timeout=180) == 0
    killed(home, broken, "policy", 3, 0.0, number)
    assert start(home, broken).wait(timeout=180) == 0
    assert learnt(broken) == learnt(whole)
    assert scores(broken) == scores(whole)
