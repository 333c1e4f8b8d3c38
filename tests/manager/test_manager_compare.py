"""Two runs side by side, from real folders."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from engine import record
from engine.record import Recorder
from mopo_tui.manager import Run, Store, compare

Finish = Callable[..., Run]


@pytest.fixture
def finish(make_run: Callable[..., Run], store: Store) -> Finish:
    def make(final: float | None, fingerprint: str = "f" * 64, torch: str = "2.11", **values: Any) -> Run:
        run = make_run(**values)
        recorder = Recorder(run.folder, echo=lambda _: None)
        recorder.stage = "policy"
        for i in range(12):
            recorder.step = recorder.update = i
            recorder.metrics({"eval/return": float(i)})
        recorder.environment(
            versions={"torch": torch, "gymnasium": "1.4.0", "mujoco": "4.0.0"},
            dataset={"id": "mopo/x", "fingerprint": fingerprint},
            environment={"id": "HalfCheetah-v5", "options": {}},
            references={"random": {"return": -280.0}, "scale": {"min": -280.178953, "max": 12135.0, "origin": "D4RL"}},
        )
        if final is not None:
            score = {
                "return": final,
                "return_std": 2.0,
                "normalized_score": 50.0,
                "episodes": 100,
                "progress": None,
                "length": 1000.0,
            }
            recorder.result(
                final=score, mean_last_10={"return": 6.5, "evaluations": 10}, best={"return": 11.0}, wall_s=60.0
            )
        return store.run(run.id)

    return make


def test_scores_and_differing_keys(finish: Finish) -> None:
    a = finish(100.0, task="halfcheetah-medium-replay")
    b = finish(90.0, task="halfcheetah-medium-replay", seed=1, **{"rollout.coefficient": 2.0})
    comparison = compare([a, b])
    first, second = comparison.runs
    assert first.final is not None
    assert second.final is not None
    assert (first.final.value, first.final.std, first.final.normalized, second.final.value) == (100.0, 2.0, 50.0, 90.0)
    assert first.final.progress is None
    assert first.references == {"random": -280.0}
    assert first.evaluated_in == "HalfCheetah-v5, gymnasium 1.4.0, mujoco 4.0.0"
    assert {d.key: d.values for d in comparison.differing} == {"seed": (0, 1), "rollout.coefficient": (0.5, 2.0)}
    assert comparison.warnings == ()
    json.loads(record.dumps(comparison.to_json()))


def test_unfinished_run_is_scored_by_its_evaluations(finish: Finish) -> None:
    a = finish(None, task="halfcheetah-medium-replay")
    entry = compare([a]).runs[0]
    assert entry.final is None
    assert entry.mean_last_10 is not None
    assert entry.best is not None
    assert (entry.mean_last_10.value, entry.mean_last_10.evaluations) == (6.5, 10)  # evaluations 2 to 11
    assert entry.best.value == 11.0
    assert entry.best.normalized == pytest.approx(100 * (11.0 + 280.178953) / (12135.0 + 280.178953))


def test_unfair_comparisons_are_called_so(finish: Finish) -> None:
    a = finish(1.0)
    b = finish(1.0, task="halfcheetah-medium-replay", fingerprint="e" * 64, torch="2.12")
    c = finish(None)
    d = finish(1.0, fingerprint="e" * 64)
    comparison = compare([a, b, c, d])
    text = "\n".join(comparison.warnings)
    assert "different tasks: ant-angle | halfcheetah-medium-replay; " in text
    assert f"different dataset fingerprints of ant-angle: {'f' * 12} | {'e' * 12}; they learned" in text
    assert "different versions of torch: 2.11 | 2.12" in text
    assert "is queued: its scores are those so far" in "\n".join(comparison.unfinished)
    assert compare([a, a]).warnings == ()
    assert compare([a, a]).differing == ()
