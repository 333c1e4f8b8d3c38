"""Going on with a finished run, and the fitted ensembles that are kept: what the manager does before any engine runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine import record
from engine.config import resolve
from engine.plan import expected_bytes, expected_seconds
from mopo_tui.manager import Run, RunState, Store, StoreError
from mopo_tui.manager.attempts import can_start
from mopo_tui.manager.ensembles import find_ensemble, kept_ensembles, remove_ensemble
from mopo_tui.manager.settings import read_settings

FINISH = """
from engine.record import Recorder
recorder = Recorder(folder, echo=print)
recorder.update = 150  # three epochs of 50, as smoke has them
recorder.summary(force=True)
recorder.result(final={"return": 5.0}, wall_s=1.0)
"""


@pytest.fixture
def finished(
    supervised: Callable[..., Run], make_run: Callable[..., Run], state_within: Callable[..., Run]
) -> Callable[..., Run]:
    def make(**values: object) -> Run:
        run = make_run(**values)
        (run.folder / record.CHECKPOINTS / "state.safetensors").write_bytes(b"state")
        supervised(FINISH, run)
        return state_within(run, RunState.FINISHED, seconds=20.0)

    return make


def test_a_finished_run_is_extended_once_and_keeps_its_result(finished: Callable[..., Run], store: Store) -> None:
    run = finished()
    with pytest.raises(StoreError, match="finished and cannot be started"):
        store.launch(run)
    store.extend(run, 10)
    assert record.read_json(run.folder / "result-1.json") == run.result
    extension = record.read_json(run.folder / record.EXTENSION)
    assert extension is not None
    assert extension["epochs"] == 10
    assert can_start(store.run(run.id))
    assert read_settings(run.folder)["policy.epochs"] == 10
    store.extend(run, 8)  # a slip of the finger can be taken back
    assert read_settings(run.folder)["policy.epochs"] == 8
    assert not (run.folder / "result-2.json").exists()


@pytest.mark.parametrize("algorithm", ["awac", "bc"])
def test_a_schedule_that_the_algorithm_does_not_have_keeps_nothing_from_going_on(
    finished: Callable[..., Run], store: Store, algorithm: str
) -> None:
    store.extend(finished(**{"algorithm": algorithm, "sac.actor_schedule": "cosine"}), 10)


def test_mb2po_goes_on_with_its_second_stage(finished: Callable[..., Run], store: Store) -> None:
    """Three epochs of updates are recorded, of which two were stage 1's."""
    run = finished(algorithm="mb2po")
    result = record.read_json(run.folder / record.RESULT) or {}
    record.write_json(run.folder / record.RESULT, {**result, "policies": {"stage1": {}, "stage2": {}}})
    with pytest.raises(StoreError, match="trained for 1 epochs already"):
        store.extend(run, 1)
    store.extend(run, 2)


@pytest.mark.parametrize(
    ("values", "epochs", "why"),
    [
        ({}, 3, "trained for 3 epochs already: --epochs must be more"),
        ({"sac.actor_schedule": "cosine"}, 10, "sac.actor_schedule = cosine brought the actor's step size to 0 over 3"),
        ({"algorithm": "mb2po"}, 10, "ended with stage 1, as its gate decided"),
    ],
)
def test_what_cannot_go_on_is_refused_with_its_reason(
    finished: Callable[..., Run], store: Store, values: dict[str, object], epochs: int, why: str
) -> None:
    run = finished(**values)
    with pytest.raises(StoreError, match=why):
        store.extend(run, epochs)
    assert not (run.folder / record.EXTENSION).exists()


def test_only_finished_training_runs_with_a_checkpoint_go_on(
    finished: Callable[..., Run], make_run: Callable[..., Run], store: Store
) -> None:
    with pytest.raises(StoreError, match="is queued: --epochs continues finished training runs"):
        store.extend(make_run(), 10)
    run = finished()
    (run.folder / record.CHECKPOINTS / "state.safetensors").unlink()
    with pytest.raises(StoreError, match="no checkpoint to go on from"):
        store.extend(run, 10)


def test_kept_ensembles_are_listed_found_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOPO_DATA", str(tmp_path / "data"))
    assert kept_ensembles() == []
    root = tmp_path / "data" / "ensembles"
    for name in ("aaaa1111", "aaaa2222", "torn"):
        (root / name).mkdir(parents=True)
        (root / name / "model.safetensors").write_bytes(bytes(50))
    key = {"fingerprint": "f" * 64, "seed": 3, "dynamics": {"members": 7}}
    about = {"key": key, "fitted_by": "run", "val_loss": [0.2, 0.1]}
    record.write_json(root / "aaaa1111" / "fit.json", {**about, "t": 5.0})
    record.write_json(root / "aaaa2222" / "fit.json", {**about, "t": 9.0})
    found = kept_ensembles()
    assert [kept.key for kept in found] == ["aaaa2222", "aaaa1111", "torn"]
    assert (found[0].seed, found[0].dynamics, found[0].val_loss) == (3, {"members": 7}, (0.2, 0.1))
    with pytest.raises(StoreError, match="2 kept ensembles"):
        find_ensemble("aaaa", found)
    with pytest.raises(StoreError, match="no kept ensemble"):
        find_ensemble("b", found)
    remove_ensemble(find_ensemble("aaaa1", found))
    assert [kept.key for kept in kept_ensembles()] == ["aaaa2222", "torn"]


def test_what_a_run_takes_grows_with_what_it_does() -> None:
    def config(**values: object) -> object:
        return resolve([("test", {"compute.threads": 1, **values})]).config

    quick, standard = config(preset="quick"), config(preset="standard")
    assert 5 * 60 < expected_seconds(quick, True) < 30 * 60  # type: ignore[arg-type]
    assert expected_seconds(standard, True) > 4 * expected_seconds(quick, True)  # type: ignore[arg-type]
    assert expected_seconds(quick, True) > expected_seconds(quick, False)  # type: ignore[arg-type]
    free = config(preset="quick", algorithm="bc")
    assert expected_seconds(free, False) < expected_seconds(quick, False) / 2  # type: ignore[arg-type]
    assert expected_bytes(standard) > expected_bytes(quick) > 5e8  # type: ignore[arg-type]
