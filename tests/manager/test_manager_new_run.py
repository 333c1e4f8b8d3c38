"""Where a configuration's values come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.config import ConfigError, resolve
from mopo_tui.manager import locations
from mopo_tui.manager.datasets import dataset_status, datasets
from mopo_tui.manager.new_run import cores, ignored, resolve_run


def test_precedence_and_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def coefficient(layers: list[tuple[str, dict[str, float]]], file: Path | None = None) -> tuple[object, str]:
        resolved = resolve_run(layers, file)
        return resolved.config.rollout.coefficient, resolved.origins["rollout.coefficient"]

    assert coefficient([]) == (1.0, "task ant-angle")
    locations.user_config().parent.mkdir(parents=True)
    locations.user_config().write_text('rollout.coefficient = 2\n[paths]\ndata = "x"\n')
    assert coefficient([]) == (2.0, str(locations.user_config()))
    project = Path.cwd() / "mopo.toml"
    project.write_text("[rollout]\ncoefficient = 3\n")
    assert coefficient([]) == (3.0, str(project))
    named = tmp_path / "named.toml"
    named.write_text("rollout.coefficient = 4\n")
    assert coefficient([], named) == (4.0, str(named))
    monkeypatch.setenv("MOPO_ROLLOUT_COEFFICIENT", "5")
    assert coefficient([], named) == (5.0, "MOPO_ROLLOUT_COEFFICIENT")
    layers = [("--set", {"rollout.coefficient": 6.0}), ("--other", {"rollout.coefficient": 7.0})]
    assert coefficient(layers, named) == (7.0, "--other")


def test_short_variables_and_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    resolved = resolve_run([])
    assert resolved.config.compute.threads == min(cores(), 2)
    assert f"{cores()} cores" in resolved.origins["compute.threads"]
    monkeypatch.setenv("MOPO_THREADS", "5")
    monkeypatch.setenv("MOPO_SEED", "4")
    config = resolve_run([]).config
    assert (config.compute.threads, config.seed) == (5, 4)


def test_no_size_is_the_tasks_own_and_says_so() -> None:
    resolved = resolve_run([("--size", {"dataset.size": 0})])
    assert resolved.config.dataset.size == 1_000_000
    assert resolved.origins["dataset.size"] == "--size: 0, the task's own number"
    with pytest.raises(ConfigError, match="at least 100 transitions, or 0: the task's own number, or all"):
        resolve_run([("--size", {"dataset.size": 50})])


def test_a_choice_that_toml_takes_for_a_truth_value_is_meant_as_the_word() -> None:
    resolved = resolve_run([("--set", {"dataset.next_observations": True})])
    assert resolved.config.dataset.next_observations == "true"
    with pytest.raises(ConfigError, match="is not a text"):
        resolve_run([("--set", {"dataset.next_observations": False})])


def test_mistakes_name_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    (Path.cwd() / "mopo.toml").write_text("[rollout]\ncoeficient = 3\n")
    with pytest.raises(ConfigError, match=r"mopo\.toml:2: unknown key 'rollout\.coeficient'.*'rollout\.coefficient'"):
        resolve_run([])
    (Path.cwd() / "mopo.toml").write_text("[rollout\n")
    with pytest.raises(ConfigError, match=r"mopo\.toml: not TOML"):
        resolve_run([])
    (Path.cwd() / "mopo.toml").unlink()
    with pytest.raises(ConfigError, match="No such file"):
        resolve_run([], Path("missing.toml"))
    monkeypatch.setenv("MOPO_SED", "4")
    with pytest.raises(ConfigError, match="MOPO_SED; did you mean MOPO_SEED"):
        resolve_run([])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\ntask = "hoper-medium"', "2: unknown task 'hoper-medium'; did you mean 'hopper-medium'?"),
        ('preset = "quik"', "1: preset = 'quik' is not one of"),
        ("# length = 3\nrollout.length = 0", "2: rollout.length = 0 is not at least 1"),
        ("[dynamics]\nhidden = [\n200, 0]", "2: dynamics.hidden = [200, 0] is not at least 1 in each entry"),
        ("seed = 1\n\n[dataset]\nsize = 100", "4: dataset.size = 100 is too few"),
        # The layers of this hidden are two: the defaults of weight_decay are for four.
        ("[dynamics]\nhidden = [64, 64]", "2: dynamics.weight_decay needs 4 values"),
        ("seed = 1\n[experiment]\nseeds = [1]", "2: [experiment] counts only in a file that is named"),
        ('seed = 1\non_finish = "true"', "2: on_finish counts only in your own file"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    for path in (Path.cwd() / "mopo.toml", locations.user_config()):
        if path == locations.user_config() and "on_finish" in text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        with pytest.raises(ConfigError) as caught:
            resolve_run([])
        assert str(caught.value).startswith(f"{path}:{message}")
        path.unlink()
    named = tmp_path / "exp.toml"
    named.write_text("rollout.coeficient = 2")
    with pytest.raises(ConfigError) as caught:
        resolve_run([], named)
    assert str(caught.value) == f"{named}:1: unknown key 'rollout.coeficient'; did you mean 'rollout.coefficient'?"
    # What the command line says wrong stands in no file, whatever the file says of the same key.
    named.write_text("rollout.length = 2")
    with pytest.raises(ConfigError, match=r"^--set: rollout.length = 0"):
        resolve_run([("--set", {"rollout.length": 0})], named)


def test_dataset_status_reads_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOPO_DATA", str(tmp_path / "data"))
    status = dataset_status(resolve([("test", {"dataset.size": 5000})]).config)
    assert (status.id, status.present, datasets()) == ("mopo/ant-angle/5k-v0", False, [])
    folder = tmp_path / "data" / "datasets" / "mopo" / "ant-angle" / "5k-v0"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text('{"fingerprint": "abc", "size": 5000, "episodes": 7}')
    (folder / "rows.f32").write_bytes(bytes(100))
    half = folder.parent / ".6k-v0.partial"
    half.mkdir()
    (half / "dataset.json").write_text("{}")
    status = dataset_status(resolve([("test", {"dataset.size": 5000})]).config)
    assert status.present
    assert (status.fingerprint, status.size, status.episodes) == ("abc", 5000, 7)
    assert [found.id for found in datasets()] == ["mopo/ant-angle/5k-v0"]


def test_settings_that_an_algorithm_does_not_use_are_told_unless_they_are_meant_for_all_runs() -> None:
    Path("mopo.toml").write_text("[sac]\nhidden = [32, 32]\n")
    given = {"sac.discount": 0.9, "awac.discount": 0.9, "bc.lr": 1e-3, "seed": 3}

    def told(*algorithms: str) -> list[str]:
        return ignored([resolve_run([("--set", {"algorithm": each, **given})]) for each in algorithms])

    end = "not use it"
    assert told("mb2po") == [f"{key} (--set) changes nothing: mb2po does {end}" for key in ("sac.discount", "bc.lr")]
    assert told("sac") == [f"{key} (--set) changes nothing: sac does {end}" for key in ("awac.discount", "bc.lr")]
    assert told("mopo", "awac") == [f"bc.lr (--set) changes nothing: mopo and awac do {end}"]
    # A whole configuration of another run's is not what somebody gave for this one.
    like = resolve_run([("--set", {"algorithm": "awac"})], like=("like x", {"sac.discount": 0.9, "bc.lr": 1e-3}))
    assert ignored([like]) == []
