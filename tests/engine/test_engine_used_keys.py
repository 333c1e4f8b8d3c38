"""Which keys an algorithm reads: a run is the same, digit for digit, whatever the others say."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_process import learning_metrics, new_run, smoke, start

from engine.config import ALGORITHMS, TrainConfig, fields_of, flat
from engine.used_keys import uses


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def changed(algorithm: str) -> dict[str, object]:
    """Another value for each key that the algorithm does not read."""
    found: dict[str, object] = {}
    for key, value in flat(TrainConfig()).items():
        limits = fields_of(TrainConfig)[key].metadata
        if uses(algorithm, key):
            continue
        if limits["choices"]:
            found[key] = next(choice for choice in limits["choices"] if choice != value)
        elif isinstance(value, bool):
            found[key] = not value
        elif isinstance(value, tuple):
            found[key] = (*value[:-1], value[-1] * 2)
        elif isinstance(value, (int, float)):
            found[key] = value + 1 if limits["maximum"] is None else limits["maximum"] / 2
    return found


@pytest.mark.parametrize("algorithm", ["awac", "bc"])
def test_a_run_does_not_depend_on_keys_that_its_algorithm_does_not_read(
    algorithm: str, home: Path, tmp_path: Path
) -> None:
    small = {"algorithm": algorithm, "policy.epochs": 1, "policy.updates_per_epoch": 5, "evaluation.final_episodes": 1}
    others = changed(algorithm)
    assert {key.partition(".")[0] for key in others} >= {"dynamics", "rollout", "mb2po"}
    folders = [new_run(home, tmp_path / name, smoke(**more)) for name, more in (("a", small), ("b", others | small))]
    for folder in folders:
        process = start(home, folder)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    assert learning_metrics(folders[0]) == learning_metrics(folders[1])


def test_every_key_is_read_by_some_algorithm() -> None:
    unread = [key for key in fields_of(TrainConfig) if not any(uses(algorithm, key) for algorithm in ALGORITHMS)]
    assert unread == []
    assert uses("an algorithm of later", "sac.polyak")
    assert uses("bc", "a_key.of_later")
