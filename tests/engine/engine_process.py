"""Engine processes for tests: real ones, on small runs, with one data root for all runs of a module."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from engine.config import BehaviourConfig, TrainConfig, resolve, to_toml
from engine.record import ENVIRONMENT, METRICS, create_run, read_rows, write_json


def environment(home: Path) -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "MINARI_DATASETS_PATH": str(home / "minari")}


def new_run(home: Path, folder: Path, config: TrainConfig | BehaviourConfig) -> Path:
    """A run folder for `config`, with the arithmetic that any machine has: a probe of speeds may tell two runs differently."""
    create_run(folder, {"id": folder.name, "job": config.kind, "paths": {"data": str(home / "data")}}, to_toml(config))
    write_json(folder / ENVIRONMENT, {"compute": {"gemm": "stock", "compiled": False}})
    return folder


def smoke(**overrides: object) -> TrainConfig:
    values = {"task": "halfcheetah-medium-replay", "preset": "smoke", "compute.threads": 1, **overrides}
    return resolve([("test", values)]).config


def small(**overrides: object) -> TrainConfig:
    """A hopper that soon falls, with networks so small that a run takes little more than its processes."""
    values = {"task": "hopper-medium-replay", "sac.hidden": (16, 16), "awac.hidden": (16, 16)}
    return smoke(**{**values, "dynamics.hidden": (16,) * 4, **overrides})


def start(home: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "engine", str(folder)],
        cwd=folder,
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def learning_metrics(folder: Path) -> list[tuple[int, str, dict[str, float]]]:
    rows, _ = read_rows(folder / METRICS)
    return [
        (row["step"], row["stage"], {k: v for k, v in row["m"].items() if not k.startswith("speed/")}) for row in rows
    ]
