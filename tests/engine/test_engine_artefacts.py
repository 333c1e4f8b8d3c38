"""Fitted ensembles taken by later runs, damaged checkpoints, runs that are continued, and alerts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_process import new_run, small, start
from test_engine_resume import config, killed, learnt, scores

from engine.algorithms.alerts import Watch
from engine.artefacts import DYNAMICS_VERSION
from engine.compute import Compute
from engine.config import Dynamics, TrainConfig
from engine.dynamics.training import fit
from engine.record import EVENTS, Recorder, read_json, read_rows


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def tiny(**more: object) -> TrainConfig:
    return small(**{"dataset.size": 3000, "policy.epochs": 2, "evaluation.calibration": False, **more})


def events(folder: Path, kind: str) -> list[str]:
    return [row["message"] for row in read_rows(folder / EVENTS)[0] if row["kind"] == kind]


def dynamics_of(folder: Path) -> dict[tuple[int, str], object]:
    return {key: value for key, value in learnt(folder).items() if key[1].startswith("dynamics/")}


def test_runs_with_the_same_data_settings_and_seed_share_an_ensemble(home: Path, tmp_path: Path) -> None:
    mopo = new_run(home, tmp_path / "mopo", tiny())
    assert start(home, mopo).wait(timeout=120) == 0
    assert events(mopo, "ensemble") == []
    kept = list((home / "data" / "ensembles").iterdir())
    folders = [path for path in kept if path.is_dir()]
    assert len(folders) == 1
    fit = json.loads((folders[0] / "fit.json").read_text())
    assert (fit["key"]["seed"], fit["key"]["version"], fit["fitted_by"]) == (0, DYNAMICS_VERSION, "mopo")

    mbpo = new_run(home, tmp_path / "mbpo", tiny(algorithm="mbpo"))
    assert start(home, mbpo).wait(timeout=120) == 0
    assert "taken from mopo" in events(mbpo, "ensemble")[0]
    assert dynamics_of(mbpo) == dynamics_of(mopo)

    for name, other in (
        ("anew", tiny(**{"compute.reuse": False})),
        ("seed", tiny(seed=1)),
        ("settings", tiny(**{"dynamics.lr": 5e-4})),
        ("data", tiny(**{"dataset.seed": 1})),
    ):
        folder = new_run(home, tmp_path / name, other)
        assert start(home, folder).wait(timeout=120) == 0
        assert events(folder, "ensemble") == [], name
    assert learnt(tmp_path / "anew") == learnt(mopo)
    assert json.loads((folders[0] / "fit.json").read_text()) == fit  # what is kept stays, whoever fits the same anew


def test_a_fit_that_was_begun_goes_on_whatever_another_run_keeps_meanwhile(home: Path, tmp_path: Path) -> None:
    settings = {"seed": 8, "dynamics.max_epochs": 4, "dynamics.patience": 10}
    broken, other = (
        new_run(home, tmp_path / "broken", tiny(**settings)),
        new_run(home, tmp_path / "other", tiny(**settings)),
    )
    killed(home, broken, "dynamics", 2, 0.0)
    assert start(home, other).wait(timeout=120) == 0
    assert start(home, broken).wait(timeout=120) == 0
    assert events(broken, "ensemble") == []
    assert learnt(broken) == learnt(other)


def test_a_run_does_without_sharing_where_nothing_can_be_kept(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "run", tiny(seed=9))
    ensembles = home / "data" / "ensembles"
    kept = ensembles.with_name("put aside")
    if ensembles.exists():
        ensembles.rename(kept)
    ensembles.write_text("a file is in the way")
    try:
        assert start(home, folder).wait(timeout=120) == 0
    finally:
        ensembles.unlink()
        if kept.exists():
            kept.rename(ensembles)
    assert "it is not shared with other runs" in events(folder, "ensemble")[0]


def test_a_damaged_kept_ensemble_is_fitted_again(home: Path, tmp_path: Path) -> None:
    first = new_run(home, tmp_path / "first", tiny(seed=7))
    assert start(home, first).wait(timeout=120) == 0
    for path in (home / "data" / "ensembles").glob("*/model.safetensors"):
        path.write_bytes(path.read_bytes()[:1000])
    second = new_run(home, tmp_path / "second", tiny(seed=7))
    assert start(home, second).wait(timeout=120) == 0
    assert events(second, "ensemble") == []
    assert learnt(second) == learnt(first)


def test_a_torn_checkpoint_is_one_clear_line_and_harms_nothing(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "run", config())
    killed(home, folder, "policy", 2, 0.0)
    state = folder / "checkpoints" / "state.safetensors"
    whole = state.read_bytes()
    for data in (b"", whole[:7], whole[:300], whole[: len(whole) // 2], b"\xff" * 100):
        state.write_bytes(data)
        process = start(home, folder)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 1
        assert "Traceback" not in output
        assert f"{state}: damaged" in events(folder, "failed")[-1]
        assert state.read_bytes() == data
    state.write_bytes(whole)
    assert start(home, folder).wait(timeout=180) == 0


def test_a_finished_run_goes_on_to_more_epochs_as_if_they_had_been_planned(home: Path, tmp_path: Path) -> None:
    every = {"evaluation.every": 3}  # the short run's last epoch is none of them
    short = new_run(home, tmp_path / "short", config(**{**every, "policy.epochs": 4}))
    assert start(home, short).wait(timeout=180) == 0
    before = scores(short)
    (short / "extension.json").write_text('{"epochs": 8}')
    assert start(home, short).wait(timeout=180) == 0
    long = new_run(home, tmp_path / "long", config(**every))
    assert start(home, long).wait(timeout=180) == 0
    assert scores(short) == scores(long)
    assert read_json(long / "result.json")["mean_last_10"]["evaluations"] == 2  # type: ignore[index]
    assert scores(short) != before


def test_other_data_under_a_run_is_refused(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "run", config())
    killed(home, folder, "policy", 2, 0.0)
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("size = 6000", "size = 5000"))
    process = start(home, folder)
    process.communicate(timeout=120)
    assert process.returncode == 1
    assert "began with other data" in events(folder, "failed")[-1]


def test_a_changed_configuration_under_a_run_is_refused_and_the_old_one_goes_on(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "run", config(algorithm="sac"))
    killed(home, folder, "policy", 2, 0.0)
    text = (folder / "config.toml").read_text()
    assert "discount = 0.99" in text
    (folder / "config.toml").write_text(text.replace("discount = 0.99", "discount = 0.9"))
    assert start(home, folder).wait(timeout=120) == 1
    assert "config.toml was changed after the run began" in events(folder, "failed")[-1]
    (folder / "config.toml").write_text(text)
    assert start(home, folder).wait(timeout=180) == 0


def test_a_run_shorter_than_its_evaluations_apart_has_one_all_the_same(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "run", tiny(algorithm="bc", **{"evaluation.every": 10}))
    assert start(home, folder).wait(timeout=120) == 0
    assert read_json(folder / "result.json")["mean_last_10"]["evaluations"] == 1  # type: ignore[index]


def test_a_fit_gives_what_its_version_gave() -> None:
    """Kept ensembles are taken by the key; where this fails on purpose, raise DYNAMICS_VERSION and write the new losses here."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1000, 2 * 3 + 2 + 2)).astype(np.float32)
    rows[:, 6:9] = rows[:, :3] + 0.1 * rows[:, 3:4]
    rows[:, -1] = 0
    settings = Dynamics(members=2, elites=1, hidden=(8, 8), weight_decay=(1e-4,) * 4, max_epochs=3, batch_size=64)
    compute = Compute("cpu", 1, "stock", False)
    model, losses, best = fit(
        torch.from_numpy(rows), 3, 2, settings, 0, compute, lambda _epoch: None, lambda _done, _share: None
    )
    assert (DYNAMICS_VERSION, best) == (1, [1, 1])
    assert losses == pytest.approx([0.26734, 0.267215], rel=1e-4)
    assert float(model.parameters.double().abs().sum()) == pytest.approx(84.69823, rel=1e-4)


# --- alerts -----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path, echo=lambda _: None)


def alerts(recorder: Recorder) -> list[str]:
    return events(recorder.folder, "alert")


def test_each_cause_is_told_once_with_its_reason(recorder: Recorder) -> None:
    watch = Watch(recorder)
    watch.member_losses(3, [0.1, 0.11, 0.12, 0.1, 5.0, 0.1, 0.1])
    watch.member_losses(4, [0.1, 0.11, 0.12, 0.1, 6.0, 0.1, 0.1])
    assert len(alerts(recorder)) == 1
    assert "member 4 diverges from the others: holdout MSE 5 in dynamics epoch 3" in alerts(recorder)[0]
    watch.epoch(2, {"policy/q": 299.0, "uncertainty/p50": 2.9}, 1.0, 0.99, 1.0)
    assert len(alerts(recorder)) == 1
    watch.epoch(9, {"policy/q": -301.0, "uncertainty/p50": 3.1}, 1.0, 0.99, 1.0)
    assert "Q explodes: mean -301 in policy epoch 9" in alerts(recorder)[1]
    assert "rollouts leave the data: half of them have u above 3.1 in policy epoch 9" in alerts(recorder)[2]
    watch.score([5.0] + [1.0] * 9, 20)
    assert len(alerts(recorder)) == 3
    watch.score([5.0] + [1.0] * 10, 20)
    assert "no better score for 10 evaluations (best return 5.0)" in alerts(recorder)[3]
    later = Watch(recorder)  # of a later attempt
    later.score([5.0] + [1.0] * 12, 20)
    later.member_losses(4, [0.1, 0.11, 0.12, 0.1, 6.0, 0.1, 0.1])
    assert len(alerts(recorder)) == 4
    summary = read_json(recorder.folder / "summary.json")
    assert summary is not None
    assert "no better score" in summary["alert"]


def test_a_nearly_full_disk_is_told(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    Watch(recorder).disk()
    told = alerts(recorder)
    monkeypatch.setattr("engine.algorithms.alerts.FREE_BYTES", 1e18)
    Watch(recorder).disk()
    assert len(alerts(recorder)) == len(told) + 1
    assert "nearly full" in alerts(recorder)[-1]


def test_a_nan_names_its_updates_and_the_last_good_state(home: Path, tmp_path: Path) -> None:
    folder = new_run(home, tmp_path / "nan", config(algorithm="sac", **{"sac.critic_lr": 1e30}))
    assert start(home, folder).wait(timeout=120) == 1
    said = events(folder, "failed")[-1]
    assert said.startswith("policy epoch 1, updates 1 to 60: ")
    assert "policy/critic_loss" in said
    assert "there is no checkpoint yet" in said
