"""A store of many runs as training leaves them, written in a second: for timings, and for tests of listings."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine import record
from engine.config import TrainConfig, resolve, to_toml
from mopo_tui.manager import identity
from mopo_tui.manager.state import QUEUED_MARK

SEEDS = 5
_START = 1_790_000_000.0


def write_store(root: Path, count: int, rows: int = 60) -> list[Path]:
    """`count` runs under `root`, each setting with five seeds: mostly finished, some failed or stopped, the newest ones queued or
    lost. `rows` is the length of metrics.jsonl."""
    root.mkdir(parents=True, exist_ok=True)
    return [write_run(root, number, _ending(number, count), rows) for number in range(count)]


def _ending(number: int, count: int) -> str:
    if number >= count - 5:
        return "queued" if number >= count - 3 else "lost"
    return "failed" if number % 29 == 7 else "stopped" if number % 37 == 11 else "finished"


@functools.cache
def _config(setting: int) -> TrainConfig:
    task = ("ant-angle", "hopper-medium", "halfcheetah-medium-replay")[setting % 3]
    values: dict[str, Any] = {"task": task, "preset": "quick", "compute.threads": 1}
    more = {"algorithm": "mbpo"} if setting % 4 == 3 else {"rollout.coefficient": 0.5 + 0.25 * setting}
    return resolve([("many", values | more)]).config


def write_run(root: Path, number: int, ending: str, rows: int) -> Path:
    """One run folder; `ending` is the state that it shows."""
    setting, seed = divmod(number, SEEDS)
    shared = _config(setting)
    config, task, algorithm = replace(shared, seed=seed), shared.task, shared.algorithm
    tail = "".join("0123456789abcdefghijklmnopqrstuvwxyz"[(number * 7919 // 36**i) % 36] for i in range(4))
    created = _START + 600.0 * number
    folder = root / f"20260921-{number:06d}-{task}-{algorithm}-s{seed}-{tail}"
    (folder / record.CONTROL).mkdir(parents=True)
    (folder / record.CHECKPOINTS).mkdir()
    about = {
        "format": record.FORMAT,
        "id": folder.name,
        "kind": "train",
        "job": "train",
        "name": f"{task}-{algorithm}-s{seed}",
        "group": f"sweep {setting}",
        "task": task,
        "algorithm": algorithm,
        "preset": "quick",
        "seed": seed,
        "owner": "ada",
        "created": created,
        "command": ["mopo", "run", "--task", task, "--seeds", "0-4"],
        "paths": {"data": "/data"},
    }
    _write(folder / record.RUN, about)
    (folder / record.CONFIG).write_text(to_toml(config))
    if ending == "queued":
        (folder / QUEUED_MARK).parent.mkdir(exist_ok=True)
        _write(folder / QUEUED_MARK, {"after": 0})
        return folder
    scale = task != "ant-angle"
    score = 40.0 + 20.0 * math.sin(setting) + 3.0 * math.cos(7.0 * seed)
    value = 30.0 * score
    process = {
        "attempt": 1,
        "pid": 1,
        "start_time": "0",
        "boot_id": "before",
        "host": identity.host(),
        "started": created,
    }
    _write(folder / record.PROCESS, process)
    progress = 1.0 if ending == "finished" else 0.4
    _write(
        folder / record.SUMMARY,
        {
            "format": record.FORMAT,
            "step": 111_580,
            "update": 100_000,
            "t": created + 500.0,
            "stage": "evaluation" if ending == "finished" else "policy",
            "stage_progress": progress,
            "detail": "epoch 40/100",
            "progress": progress,
            "eta_s": 300.0,
            "score_last": score if scale else None,
            "score_best": score + 5.0 if scale else None,
            "return_last": value,
            "return_best": value + 150.0,
        },
    )
    with open(folder / record.METRICS, "w") as f:
        for row in range(rows):
            measured = dict.fromkeys(_METRICS, value * (row + 1) / rows)
            line = {"step": 1000 * row, "epoch": row, "stage": "policy", "t": created + row, "update": 1000 * row}
            f.write(json.dumps({**line, "m": measured}) + "\n")
    (folder / record.EVENTS).write_text("")
    (folder / record.CONSOLE).write_text("[policy] epoch 1\nit broke\n")
    if ending == "finished":
        final = {"return": value, "return_std": 12.0, "episodes": 100, "length": 1000.0, "normalized_score": score}
        result = {
            "t": created + 500.0,
            "step": 111_580,
            "update": 100_000,
            "final": final,
            "best": final,
            "wall_s": 500.0,
        }
        _write(
            folder / record.RESULT, {**result, "mean_last_10": final, "stages": {"dynamics": 100.0, "policy": 400.0}}
        )
    if ending != "lost":
        code = {"finished": 0, "failed": 1, "stopped": 143}[ending]
        _write(folder / record.EXIT, {"attempt": 1, "returncode": code, "signal": None, "t": created + 501.0})
    return folder


_METRICS = (
    "eval/return",
    "eval/length",
    "policy/q",
    "policy/critic_loss",
    "policy/actor_loss",
    "policy/temperature",
    "policy/entropy",
    "rollout/reward",
    "rollout/penalty",
    "uncertainty/mean",
    "uncertainty/p50",
    "uncertainty/p95",
)


def _write(path: Path, value: Any) -> None:
    path.write_text(record.dumps(value, indent=1) + "\n")
