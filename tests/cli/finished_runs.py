"""Run folders of training runs as they lie there when training is over, written by the real Recorder."""

from __future__ import annotations

from typing import Any

from engine import record
from engine.config import resolve
from engine.record import Recorder
from mopo_tui.manager import Run, Store

CHEETAH = "halfcheetah-medium-replay"
SCALE = {"min": -280.178953, "max": 12135.0, "origin": "D4RL's constants"}


def environment(**values: Any) -> dict[str, Any]:
    """environment.json, with `values` instead of what is usual."""
    return {
        "host": "node",
        "cpu": "a CPU",
        "python": "3.11.7",
        "versions": {"torch": "2.13.0", "gymnasium": "1.4.0", "mujoco": "4.0.0"},
        "git_commit": "0123456789ab",
        "compute": {"device": "cpu", "threads": 1, "gemm": "stock", "compiled": False},
        "environment": {"id": "HalfCheetah-v5", "options": {}},
        "dataset": {"id": f"mopo/{CHEETAH}/100k-v0", "fingerprint": "f" * 64},
        "references": {"random": {"return": -282.0}, "batch_mean": {"return": 3093.0}, "scale": SCALE},
        **values,
    }


def write(
    store: Store, final: float | None, *, name: str | None = None, origin: dict[str, Any] | None = None, **values: Any
) -> Run:
    """A run with four evaluations that rise to `final`, its return; None: it was stopped before the end."""
    settings = {"task": CHEETAH, "preset": "smoke", "compute.threads": 1, **values}
    run = store.create(resolve([("test", settings)]).config, name=name)
    recorder = Recorder(run.folder, echo=lambda _: None)
    recorder.environment(**(origin or environment()))
    recorder.stage = "dynamics"
    for epoch in (1, 2):
        recorder.step += 10
        recorder.metrics({f"dynamics/val_loss/{i}": 1 / epoch + i for i in range(3)}, epoch)
    recorder.histograms({"data": [0] * 60 + [5] * 20 + [0] * 82})
    recorder.stage = "policy"
    level = final if final is not None else 100.0
    for epoch in range(1, 5):
        recorder.step, recorder.update = recorder.step + 50, recorder.update + 50
        value = level * epoch / 4
        recorder.metrics({"policy/q": epoch, "uncertainty/mean": 0.5 + epoch, "speed/updates_per_s": 200.0}, epoch)
        recorder.metrics({"eval/return": value, "eval/return_std": 1.0}, epoch)
        real = {"eval/discounted_return": 10.0, "eval/model_return": 12.0 + epoch, "eval/model_return_penalised": 9.0}
        recorder.metrics({**real, "calibration/lower_bound": 1.0}, epoch)
        recorder.histograms({"rollout": [0] * 70 + [7] * 20 + [0] * 72}, epoch)
    recorder.event("alert", "no better score <script>alert(1)</script>")
    if final is None:
        record.write_json(run.folder / record.PROCESS, {"attempt": 1, "started": 0.0})
        record.write_json(run.folder / record.EXIT, {"attempt": 1, "returncode": 143, "signal": None})
        return store.run(run.id)
    score = {"return": final, "return_std": 20.0, "episodes": 100, "length": 1000.0}
    score["normalized_score"] = 100 * (final - SCALE["min"]) / (SCALE["max"] - SCALE["min"])
    recorder.result(
        final=score, mean_last_10={"return": 0.8 * final, "evaluations": 4}, best={"return": final}, wall_s=90.0
    )
    return store.run(run.id)
