"""Run folders with realistic content, written by the real Recorder at fixed times: what screens look like is pinned on them."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np

from engine import record
from engine.config import TrainConfig, flat, resolve, to_toml
from engine.tasks import Task, task
from mopo_tui.manager import identity
from mopo_tui.manager.state import QUEUED_MARK

START = 1_790_000_000.0
REFERENCES = {
    "random": {"return": -58.4, "stderr": 3.1, "episodes": 100},
    "do_nothing": {"return": 1001.7, "stderr": 0.4, "episodes": 20},
    "batch_mean": {"return": 874.2},
    "batch_best": {"return": 2331.6},
    "scale": None,
}
HALFCHEETAH_REFERENCES = {
    "random": {"return": -282.0, "stderr": 6.0, "episodes": 100},
    "do_nothing": {"return": -0.4, "stderr": 0.1, "episodes": 20},
    "batch_mean": {"return": 3093.0},
    "batch_best": {"return": 4985.0},
    "scale": {"min": -280.178953, "max": 12135.0, "origin": "D4RL's constants"},
}


@contextmanager
def fixed_clock() -> Iterator[None]:
    """Recorded times begin at START and go on by a second a row."""
    seconds = iter(range(10_000_000))
    with mock.patch("engine.record.time.time", side_effect=lambda: START + next(seconds)):
        yield


def make_run(
    root: Path,
    run_id: str,
    *,
    task_name: str = "ant-angle",
    algorithm: str = "mopo",
    seed: int = 0,
    created: float = START,
    until: float = 1.0,
    ending: str = "finished",
    settings: dict[str, object] | None = None,
    name: str = "",
    fingerprint: str = "3f8a1c",
) -> Path:
    """One training run with the content of its first `until` part of the policy stage.

    Args:
        until: share of the policy stage that is recorded; negative: the dynamics stage alone, up to 1 + until of it.
        ending: "finished", "running" (this test's own process), "failed", "killed", "queued".
    """
    values = {"task": task_name, "algorithm": algorithm, "preset": "quick", "seed": seed, **(settings or {})}
    config = resolve([("test", values)]).config
    folder = root / run_id
    about = {
        "id": run_id, "kind": "train", "job": "train", "name": name or f"{task_name}-{algorithm}-s{seed}", "group": "",
        "task": task_name, "algorithm": algorithm, "preset": "quick", "seed": seed, "owner": "someone",
        "created": created, "command": ["mopo", "run"], "paths": {"data": str(root.parent / "data")},
    }  # fmt: skip
    record.create_run(folder, about, to_toml(config))
    if ending == "queued":
        (folder / QUEUED_MARK).parent.mkdir(exist_ok=True)
        record.write_json(folder / QUEUED_MARK, {"after": 0})
        return folder
    process = {
        "attempt": 1, "pid": os.getpid(), "pgid": os.getpid(), "start_time": identity.start_time(os.getpid()),
        "boot_id": identity.boot_id(), "host": identity.host(), "supervisor_pid": os.getpid(), "started": START - 1, "threads": 1,
    }  # fmt: skip
    if ending in ("failed", "killed"):
        process["start_time"] = "1"  # a process that is gone
    record.write_json(folder / record.PROCESS, process)
    with fixed_clock():
        if config.algorithm == "mb2po":
            _write_stages(folder, config, until, fingerprint)
        else:
            _write(folder, config, until, ending, fingerprint)
    if ending == "failed":
        record.write_json(folder / record.EXIT, {"attempt": 1, "returncode": 1, "signal": None, "t": START + 900})
    if ending == "killed":
        record.write_json(folder / record.EXIT, {"attempt": 1, "returncode": -9, "signal": 9, "t": START + 900})
    return folder


def _task(name: str) -> Task:
    """The task; ant-angle's runs are of the time before it had its reference for 100: raw returns."""
    return dataclasses.replace(task(name), score_scale=None) if name == "ant-angle" else task(name)


def _references(config: TrainConfig) -> dict[str, object]:
    scale = _task(config.task).score_scale
    if scale is None or config.task.startswith("halfcheetah"):
        return dict(REFERENCES if scale is None else HALFCHEETAH_REFERENCES)
    shares = {"random": 0.003, "do_nothing": 0.01, "batch_mean": 0.15, "batch_best": 0.95}
    returns = {name: {"return": scale[0] + share * (scale[1] - scale[0])} for name, share in shares.items()}
    return {**returns, "scale": {"min": scale[0], "max": scale[1], "origin": "D4RL's constants"}}


def _environment(recorder: record.Recorder, config: TrainConfig, fingerprint: str) -> None:
    recorder.environment(
        host="node", platform="Linux", cpu="a CPU", python="3.11",
        versions={"torch": "2.13", "numpy": "2.4", "gymnasium": "1.4", "mujoco": "4.0", "minari": "0.5.4"},
        compute={"device": "cpu", "threads": 1, "gemm": "default", "compiled": False}, git_commit=None,
        environment={"id": task(config.task).environment},
        dataset={"id": f"mopo/{config.task}/100k-v0", "fingerprint": fingerprint, "size": 100_000, "episodes": 104},
        references=_references(config),
    )  # fmt: skip


def _write(folder: Path, config: TrainConfig, until: float, ending: str, fingerprint: str) -> None:
    rng = np.random.default_rng(config.seed + (7 if config.algorithm == "mbpo" else 0))
    recorder = record.Recorder(folder, echo=lambda _line: None)
    _environment(recorder, config, fingerprint)

    recorder.enter("dynamics", "fits the ensemble")
    epochs = 24 if until >= 0 else round(24 * (1 + until))
    loss = _fit(recorder, epochs, rng)
    recorder.summary(
        force=True, stage_progress=epochs / 30, progress=0.2 * epochs / 30, eta_s=612.0, detail=f"epoch {epochs}/30",
        speed=52.1, speed_unit="steps/s",
    )  # fmt: skip
    if until < 0:
        return
    elites = [int(m) for m in np.argsort(loss)[:5]]
    recorder.event("elites", f"elites {elites}", elites=elites, val_loss=[float(v) for v in loss], best_epoch=[24] * 7)
    recorder.histograms({"data": _counts(-0.55, 0.16, rng)})
    recorder.enter("policy", "improves the policy")
    level = 2150.0 if config.algorithm == "mopo" else 1500.0
    if (scale := _task(config.task).score_scale) is not None:
        level = 6400.0 if config.algorithm == "mopo" else 5100.0
        level *= scale[1] / 12135.0 if not config.task.startswith("halfcheetah") else 1.0
    best = last = -math.inf
    returns: list[float] = []
    count = round(100 * until)
    for epoch in range(1, count + 1):
        recorder.step += 1000
        recorder.update += 1000
        center = -0.25 + 0.15 * math.exp(-epoch / 20)
        penalty = config.rollout.coefficient * (0.62 + 0.3 * math.exp(-epoch / 20))
        recorder.metrics(
            {
                "uncertainty/mean": 0.7, "uncertainty/p50": 10**center, "uncertainty/p95": 10 ** (center + 0.5),
                "uncertainty/data_p50": 10**-0.55, "uncertainty/data_p95": 10 ** (-0.55 + 0.27),
                "rollout/penalty": penalty, "rollout/reward": 1.4, "rollout/length": 4.9, "policy/q": 30.0 + epoch,
                "speed/updates_per_s": 212.0, **_updates(epoch, config.seed),
            },
            epoch=epoch,
        )  # fmt: skip
        recorder.histograms({"rollout": _counts(center, 0.28, rng)}, epoch=epoch)
        if epoch % 5 == 0:
            last = 300.0 + (level - 300.0) * (1 - math.exp(-epoch / 28)) + float(rng.normal(0, 70))
            best = max(best, last)
            returns.append(last)
            recorder.metrics(_evaluation(config, last), epoch=epoch)
            recorder.metrics(_calibration(last, penalty, epoch, config.seed), epoch=epoch)
    scores = {"return_last": last, "return_best": best} if returns else {}
    if returns and (score := _task(config.task).normalized_score(last)) is not None:
        scores |= {"score_last": score, "score_best": _task(config.task).normalized_score(best) or 0.0}
    recorder.summary(
        force=True, stage_progress=until, progress=0.2 + 0.75 * until, eta_s=(1 - until) * 470.0,
        detail=f"epoch {count}/100", speed=212.4, speed_unit="updates/s", **scores,
    )  # fmt: skip
    if ending == "failed":
        recorder.event("failed", "the critic's loss is not finite after 31000 updates")
    if ending != "finished":
        return
    recorder.enter("evaluation", "100 episodes of the final policy")
    scale = _task(config.task).normalized_score
    recorder.result(
        final={
            "return": last + 12, "return_std": 160.0, "return_stderr": 16.0, "episodes": 100, "length": 1000.0,
            "normalized_score": scale(last + 12), "progress": last - 988 if task(config.task).survive_reward else None,
        },
        mean_last_10={
            "return": float(np.mean(returns[-10:])), "normalized_score": scale(float(np.mean(returns[-10:]))),
            "evaluations": min(len(returns), 10),
        },
        best={"return": best, "normalized_score": scale(best), "update": 95_000},
        wall_s=731.0, stages={"dynamics": 95.0, "policy": 588.0, "evaluation": 48.0},
    )  # fmt: skip
    recorder.summary(force=True, stage_progress=1.0, progress=1.0, eta_s=0.0, detail="100/100 episodes")
    assert flat(config)


def _fit(recorder: record.Recorder, epochs: int, rng: np.random.Generator) -> np.ndarray:
    """The fit's rows; the members' last losses."""
    final = 0.016 + 0.006 * rng.random(7)
    loss = np.zeros(7)
    for epoch in range(1, epochs + 1):
        recorder.step += 313
        loss = final + 0.35 * np.exp(-epoch / (2.5 + 0.3 * np.arange(7))) + 0.002 * rng.random(7)
        row = {f"dynamics/val_loss/{m}": float(loss[m]) for m in range(7)}
        recorder.metrics({**row, "dynamics/train_loss": -40.0 - epoch}, epoch=epoch)
    return loss


def _write_stages(folder: Path, config: TrainConfig, until: float, fingerprint: str) -> None:
    """MB2PO: AWAC on the batch, the ensemble, the gate, AWAC in the model; `until` is the share of the last stage."""
    rng = np.random.default_rng(config.seed + 11)
    recorder = record.Recorder(folder, echo=lambda _line: None)
    _environment(recorder, config, fingerprint)
    recorder.enter("policy", "AWAC on the batch")
    for epoch in range(1, 51):
        recorder.step += 1000
        recorder.update += 1000
        recorder.metrics({**_weights(epoch, config.seed), "speed/updates_per_s": 96.0}, epoch=epoch)
        if epoch % 5 == 0:
            recorder.metrics(
                _evaluation(config, 4400 * (1 - math.exp(-epoch / 12)) + float(rng.normal(0, 120))), epoch=epoch
            )
    recorder.enter("dynamics", "fits the ensemble")
    loss = _fit(recorder, 24, rng)
    elites = [int(m) for m in np.argsort(loss)[:5]]
    recorder.event("elites", f"elites {elites}", elites=elites, val_loss=[float(v) for v in loss], best_epoch=[24] * 7)
    why = "the batch is wide: u of random actions 1.42, of rollouts 1.08 times the data's"
    recorder.event("gate", f"enters stage 2: {why}", which="enter", yes=True)
    recorder.metrics(
        {
            "gate/action_spread": 0.31,
            "gate/policy_u": 0.97,
            "gate/random_u": 1.42,
            "gate/rollout_u": 1.08,
            "gate/enter": 1.0,
        }
    )
    recorder.histograms({"data": _counts(-0.55, 0.16, rng)})
    recorder.enter("finetune", "AWAC in the model")
    count = round(100 * until)
    for epoch in range(1, count + 1):
        recorder.step += 1000
        recorder.update += 1000
        center = -0.3 + 0.2 * math.exp(-epoch / 20)
        model = {
            "uncertainty/p50": 10**center,
            "uncertainty/p95": 10 ** (center + 0.5),
            "rollout/penalty": 0.6,
            "rollout/reward": 4.4,
        }
        data = {"uncertainty/data_p50": 10**-0.55, "uncertainty/data_p95": 10 ** (-0.55 + 0.27)}
        recorder.metrics({**_weights(50 + epoch, config.seed), **model, **data}, epoch=epoch)
        recorder.histograms({"rollout": _counts(center, 0.28, rng)}, epoch=epoch)
        if epoch % 5 == 0:
            value = 4400 + 1500 * (1 - math.exp(-epoch / 30)) + float(rng.normal(0, 120))
            recorder.metrics(_evaluation(config, value), epoch=epoch)
            recorder.metrics(_calibration(value, 0.6, epoch, config.seed), epoch=epoch)


def _updates(epoch: int, seed: int) -> dict[str, float]:
    """SAC's own metrics, from random numbers of their own."""
    rng = np.random.default_rng((seed, epoch, 1))
    return {
        "policy/critic_loss": 4.0 * math.exp(-epoch / 30) + 0.6 + 0.3 * float(rng.random()),
        "policy/actor_loss": -30.0 - epoch + float(rng.normal(0, 1)),
        "policy/temperature": 0.2 * math.exp(-epoch / 25) + 0.02,
        "policy/entropy": 8.0 * math.exp(-epoch / 40) - 4.0 + 0.2 * float(rng.normal()),
        "rollout/terminal_fraction": 0.01 * float(rng.random()),
        "rollout/dropped_fraction": 0.0,
    }


def _weights(epoch: int, seed: int) -> dict[str, float]:
    """AWAC's own metrics."""
    rng = np.random.default_rng((seed, epoch, 2))
    return {
        "policy/q": 60.0 * (1 - math.exp(-epoch / 30)),
        "policy/critic_loss": 2.0 + 0.4 * float(rng.random()),
        "policy/advantage": -0.4 + 0.05 * float(rng.normal()),
        "policy/weight": 0.8 + 0.1 * float(rng.normal()),
        "policy/weight_clipped": 0.004 * float(rng.random()),
    }


def _calibration(value: float, penalty: float, epoch: int, seed: int) -> dict[str, float]:
    """Model against reality after an evaluation of that return; the discount is 0.99."""
    rng = np.random.default_rng((seed, epoch, 3))
    real = value / 10 + float(rng.normal(0, 3))
    model = real * (1.06 + 0.3 * math.exp(-epoch / 20)) + float(rng.normal(0, 3))
    bound = model - 100 * penalty
    errors = {f"calibration/open_loop/{h}": 0.05 * h**0.45 * (1 + 0.4 * math.exp(-epoch / 25)) for h in (1, 5, 10, 20)}
    return {
        "eval/discounted_return": real, "eval/model_return": model, "eval/model_return_penalised": bound,
        "calibration/lower_bound": float(bound <= real), "calibration/margin": real - bound,
        "calibration/rank_correlation": 0.9 - 0.2 * math.exp(-epoch / 15) + 0.02 * float(rng.normal()),
        "calibration/penalty_share": penalty / 1.4, "calibration/u_on_policy": 0.6, **errors,
    }  # fmt: skip


def _evaluation(config: TrainConfig, value: float) -> dict[str, float]:
    row = {"eval/return": value, "eval/return_std": 140.0, "eval/length": 1000.0}
    chosen = _task(config.task)
    if chosen.survive_reward:
        row["eval/progress"] = value - 1000.0
    if (score := chosen.normalized_score(value)) is not None:
        row["eval/normalized_score"] = score
    return row


def _counts(center: float, width: float, rng: np.random.Generator) -> list[int]:
    """Counts over the format's edges of 50 000 log-normal values, as the engine bins them."""
    values = 10 ** rng.normal(center, width, 50_000)
    edges = np.array(record.histogram_edges())
    return [int(n) for n in np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)]


def make_store(root: Path) -> Path:
    """A store of six runs: running, finished (ant-angle and halfcheetah), failed, killed, queued."""
    root.mkdir(parents=True, exist_ok=True)
    ids = {
        "running": "20260921-141500-ant-angle-mopo-s1-k3v9",
        "queued": "20260921-141600-ant-angle-mopo-s2-p0d2",
        "mopo": "20260921-133000-ant-angle-mopo-s0-x7k2",
        "mbpo": "20260921-134500-ant-angle-mbpo-s0-m4q8",
        "cheetah": "20260921-120000-halfcheetah-medium-replay-mopo-s0-t5j1",
        "failed": "20260921-110000-ant-angle-mopo-s3-b8n6",
    }
    make_run(root, ids["queued"], seed=2, created=START + 60, ending="queued")
    make_run(root, ids["running"], seed=1, created=START, until=0.63, ending="running")
    make_run(root, ids["mbpo"], algorithm="mbpo", created=START - 1800)
    make_run(root, ids["mopo"], created=START - 2700)
    make_run(root, ids["cheetah"], task_name="halfcheetah-medium-replay", created=START - 8000)
    make_run(
        root, ids["failed"], seed=3, created=START - 11000, until=0.31, ending="failed",
        settings={"rollout.coefficient": 0.1}, name="weak penalty",
    )  # fmt: skip
    return root
