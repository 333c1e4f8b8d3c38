"""MB2PO in real engine processes: both stages, the gate, and what the run folder says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_process import new_run, small, start

from engine import load_policy
from engine.config import ConfigError, resolve
from engine.policy import Policy
from engine.record import EVENTS, METRICS, metric, number, read_json, read_rows


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def finished(home: Path, folder: Path, **more: object) -> dict[str, object]:
    process = start(home, new_run(home, folder, small(algorithm="mb2po", **more)))
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    result = read_json(folder / "result.json")
    assert result is not None
    return result


def metrics_of(folder: Path, stage: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for row in read_rows(folder / METRICS)[0]:
        if row["stage"] == stage:
            for name, value in row["m"].items():
                values.setdefault(name, []).append(float(value))
    return values


def test_both_stages_are_run_scored_and_kept(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = finished(home, folder, **{"mb2po.enter": "always"})
    stages = [row["stage"] for row in read_rows(folder / EVENTS)[0] if row["kind"] == "stage"]
    assert [stage for stage in stages if stage != "data"] == ["policy", "dynamics", "finetune", "evaluation"]
    assert result["update"] == 4 * 50  # two epochs of 50 updates each
    policies, recommended = result["policies"], result["recommended"]
    assert isinstance(policies, dict)
    assert recommended in ("stage1", "stage2")
    assert result["final"] == policies[recommended]
    kept = {name: (folder / "checkpoints" / f"{name}.safetensors") for name in ("stage1", "stage2", "final")}
    final = Policy.load(kept["final"])
    assert np.array_equal(final.weights[0], Policy.load(kept[str(recommended)]).weights[0])
    assert not np.array_equal(Policy.load(kept["stage1"]).weights[0], Policy.load(kept["stage2"]).weights[0])
    assert final.components == 5
    assert load_policy(folder)(np.zeros(11)).shape == (3,)
    first, second = metrics_of(folder, "policy"), metrics_of(folder, "finetune")
    for values in (first, second):
        assert {"policy/weight_clipped", "policy/weight", "policy/entropy", "eval/return"} <= set(values)
        assert all(0 <= share <= 1 for share in values["policy/weight_clipped"])
    assert "rollout/penalty" not in first
    assert len(second["rollout/penalty"]) == 2
    histograms = [
        row["counts"]["rollout"] for row in read_rows(folder / "histograms.jsonl")[0] if "rollout" in row["counts"]
    ]
    assert [sum(counts) for counts in histograms] == [2500, 2500]  # exactly so many transitions a round
    assert [name for name in {**first, **second} if metric(name) is None] == []
    gate = result["gate"]
    assert isinstance(gate, dict)
    assert gate["enter"]["yes"] is True
    assert set(gate["recommend"]["evidence"]) == {
        "bound_1", "bound_2", "bound_stderr", "dropped_1", "dropped_2", "fitted_q_1", "fitted_q_2", "u_2",
    }  # fmt: skip
    assert gate["recommend"]["yes"] is (recommended == "stage2")
    told = [row for row in read_rows(folder / EVENTS)[0] if row["kind"] == "gate"]
    assert [row["which"] for row in told] == ["enter", "recommend"]
    assert second["gate/bound_2"] == [number(gate["recommend"]["evidence"]["bound_2"])]


def test_auto_records_its_evidence_and_decides_by_it(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = finished(home, folder)
    gate = result["gate"]
    assert isinstance(gate, dict)
    evidence = gate["enter"]["evidence"]
    assert set(evidence) == {"action_spread", "policy_u", "random_u", "rollout_u"}
    assert 0 < evidence["action_spread"] < 2
    recorded = metrics_of(folder, "dynamics")
    assert {name: recorded[f"gate/{name}"] for name in evidence} == {name: [value] for name, value in evidence.items()}
    stages = [row["stage"] for row in read_rows(folder / EVENTS)[0] if row["kind"] == "stage"]
    assert ("finetune" in stages) is gate["enter"]["yes"]


def test_a_shut_gate_ends_with_stage_one_and_fits_no_model(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = finished(home, folder, **{"mb2po.enter": "never"})
    assert result["recommended"] == "stage1"
    assert set(result["policies"]) == {"stage1"}  # type: ignore[call-overload]
    assert not (folder / "checkpoints" / "model.safetensors").exists()
    stages = [row["stage"] for row in read_rows(folder / EVENTS)[0] if row["kind"] == "stage"]
    assert [stage for stage in stages if stage != "data"] == ["policy", "evaluation"]
    assert result["mean_last_10"]["evaluations"] == 2  # type: ignore[index]


def test_the_papers_gate_on_a_task_of_ones_own_falls_to_auto_and_says_so(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = home / "data" / "datasets" / "mopo" / "hopper-medium-replay"
    if not source.exists():
        finished(home, tmp_path / "first", **{"mb2po.enter": "never"})
    minari = next((home / "minari").rglob("main_data.hdf5"))
    import h5py

    with h5py.File(minari) as f:
        episodes = [f[name] for name in sorted(f, key=lambda name: int(name.rpartition("_")[2]))]
        rows = {
            "observations": np.concatenate([e["observations"][:-1] for e in episodes]),
            "next_observations": np.concatenate([e["observations"][1:] for e in episodes]),
            "actions": np.concatenate([e["actions"][:] for e in episodes]),
            "rewards": np.concatenate([e["rewards"][:] for e in episodes]),
            "terminals": np.concatenate([e["terminations"][:] for e in episodes]),
            "timeouts": np.concatenate([e["truncations"][:] for e in episodes]),
        }
    with h5py.File(tmp_path / "own.hdf5", "w") as f:
        for name, values in rows.items():
            f[name] = values
    (tmp_path / "tasks.toml").write_text(
        '[mine]\nlike = "hopper-medium"\ndataset = "own.hdf5"\nenvironment = "Hopper-v5"\n'
    )
    monkeypatch.setenv("MOPO_TASKS", str(tmp_path / "tasks.toml"))
    folder = tmp_path / "run"
    result = finished(home, folder, task="mine", **{"mb2po.enter": "paper"})
    assert result["gate"]["enter"]["evidence"]  # type: ignore[index]
    messages = [row["message"] for row in read_rows(folder / EVENTS)[0] if row["kind"] == "gate"]
    assert "of your own data" in messages[0]


def test_presets_of_mb2po() -> None:
    def values(preset: str) -> tuple[int, int, int, int, int]:
        c = resolve([("test", {"task": "halfcheetah-medium-replay", "algorithm": "mb2po", "preset": preset})]).config
        assert (c.dynamics.members, c.dynamics.elites, c.rollout.retain_rounds) == (5, 5, 10)
        return (
            c.mb2po.stage1_epochs,
            c.policy.epochs,
            c.policy.updates_per_epoch,
            c.rollout.transitions,
            c.dynamics.steps,
        )

    assert values("paper") == (100, 500, 1000, 100_000, 500_000)
    assert values("standard") == (100, 400, 1000, 100_000, 0)
    assert values("reference") == (100, 300, 1000, 100_000, 0)
    assert values("quick") == (50, 50, 1000, 50_000, 0)
    gates = {
        preset: resolve([("test", {"task": "ant-angle", "algorithm": "mb2po", "preset": preset})]).config.mb2po.enter
        for preset in ("paper", "standard", "reference", "quick", "smoke")
    }
    assert gates == {**dict.fromkeys(gates, "auto"), "paper": "paper"}
    mopo = resolve([("test", {"task": "hopper-medium", "preset": "quick"})])
    assert mopo.config.dynamics.members == 7
    given = resolve([("test", {"task": "hopper-medium", "algorithm": "mb2po", "dynamics.members": 6})])
    assert (given.config.dynamics.members, given.origins["dynamics.elites"]) == (6, "algorithm mb2po, preset quick")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rollout.penalty": "bellman", "dynamics.elites": 1}, "at least 2"),
        ({"sac.diversity": 1.0, "sac.critics": 1}, "at least 2"),
        ({"mb2po.enter": "sometimes"}, "mb2po.enter"),
        ({"rollout.cut_quantile": 1.5}, "rollout.cut_quantile"),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve([("test", {"task": "hopper-medium", **values})])


def test_mopo_with_every_refinement_at_once(home: Path, tmp_path: Path) -> None:
    refinements = {
        "rollout.penalty": "bellman",
        "rollout.penalty_samples": 2,
        "rollout.cut_quantile": 0.95,
        "rollout.length": 8,
        "sac.critics": 4,
        "sac.diversity": 1.0,
        "sac.entropy_backup": False,
        "dynamics.layer_norm": True,
        "dynamics.normalise_targets": True,
    }
    folder = new_run(home, tmp_path / "run", small(**refinements))
    process = start(home, folder)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    values = metrics_of(folder, "policy")
    assert all(penalty > 0 for penalty in values["policy/bellman_penalty"])
    for plain, less in zip(values["eval/model_return"], values["eval/model_return_penalised"], strict=True):
        assert less < plain
    assert all(share > 0 for share in values["calibration/penalty_share"])
    assert values["rollout/penalty"] == [0.0] * 3  # it comes off the targets
    assert all(0 < share < 1 for share in values["rollout/cut_fraction"])
    again = new_run(home, tmp_path / "again", small(**refinements))  # with the ensemble that the first one left
    assert start(home, again).wait(timeout=180) == 0
    assert metrics_of(again, "policy")["policy/q"] == values["policy/q"]
