"""The table at the end of a run."""

from __future__ import annotations

import pytest
from many_runs import write_run

from engine import record
from mopo_tui.cli.result import print_result
from mopo_tui.manager import Store


def test_references_have_their_error_their_episodes_and_the_scale(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(store.root, 5, "finished", 20)
    environment = record.read_json(folder / record.ENVIRONMENT) or {}
    known = {
        "random": {"return": -283.9, "stderr": 7.25, "episodes": 100, "length": 1000.0},
        "scale": {"min": -280.178953, "max": 12135.0, "origin": "D4RL's constants"},
    }
    record.write_json(folder / record.ENVIRONMENT, {**environment, "references": known})
    print_result(store.run(folder.name))
    lines = capsys.readouterr().out.splitlines()
    [row] = [line.split() for line in lines if line.startswith("random policy (100 episodes)")]
    assert row[4:] == ["-283.9", "7.2", "–", "1000", "0.0", "–"]
    assert "score: 0 is a return of -280.179, 100 one of 12135 (D4RL's constants)" in lines


def test_a_run_of_two_stages_shows_both_and_what_the_gate_said(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(store.root, 5, "finished", 20)
    result = record.read_json(folder / record.RESULT)
    assert result is not None
    final = {"return": 1234.5, "return_std": 10.0, "episodes": 100, "normalized_score": 45.6, "length": 1000.0}
    policies = {"stage1": {**final, "return": 1111.5}, "stage2": final}
    gate = {
        "enter": {"yes": True, "why": "the batch is \x1b[31mwide", "evidence": {}},
        "recommend": {"yes": True, "why": "both agree", "evidence": {}},
    }
    record.write_json(
        folder / record.RESULT,
        {**result, "final": final, "policies": policies, "recommended": "stage2", "gate": gate},
    )
    print_result(store.run(folder.name))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("stage 1, AWAC on the batch (100 episodes)") and "1111.5" in line for line in lines)
    assert any(line.startswith("stage 2, AWAC in the model (100 episodes)") and "1234.5" in line for line in lines)
    assert any(line.startswith("final policy (100 episodes), stage 2") for line in lines)
    assert any(line.startswith("best evaluation") and "both stages" in line for line in lines)
    assert "gate: entered stage 2: the batch is  [31mwide" in lines
    assert "gate: recommends stage 2: both agree" in lines
