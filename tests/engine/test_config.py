"""What a configuration refuses, and where it says that the mistake stands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli

from engine.config import (
    ConfigError,
    DatasetConfig,
    TrainConfig,
    fields_of,
    flatten,
    from_toml,
    make,
    meaning,
    resolve,
)
from engine.dynamics.training import split_holdout
from engine.randomness import torch_generator
from engine.toml_lines import lines_of

TEXT = '''# a comment, [no.table] and no.key = 1
seed = 3 # lucky
note = """
rollout.length = 1
[dynamics]
"""

rollout . coefficient = 2
"sac".'discount' = 0.9
awac = { hidden = [64, 64], critics = 3 }
dynamics.weight_decay = [ # begins here
  1e-5,
  # seed = 4
  "]",
]

  [experiment]  # [sweep]
  seeds = "0-2"
[experiment.sweep]
rollout.length = [1, 5]
"sac.polyak" = [0.1]
[experiment.sweep.mb2po]
enter = ['always', QUOTES
bc.lr = 3QUOTES]
[keys."dash board"]
stop = "x"
[[list]]
one = 1
[[list]]
two = 2
'''.replace("QUOTES", "'''")
LINES = {
    "seed": 2,
    "note": 3,
    "rollout": 8,
    "rollout.coefficient": 8,
    "sac": 9,
    "sac.discount": 9,
    "awac": 10,
    "awac.hidden": 10,
    "awac.critics": 10,
    "dynamics": 11,
    "dynamics.weight_decay": 11,
    "experiment": 17,
    "experiment.seeds": 18,
    "experiment.sweep": 19,
    "experiment.sweep.rollout": 20,
    "experiment.sweep.rollout.length": 20,
    "experiment.sweep.sac.polyak": 21,
    "experiment.sweep.mb2po": 22,
    "experiment.sweep.mb2po.enter": 23,
    "keys": 25,
    "keys.dash board": 25,
    "keys.dash board.stop": 26,
    "list": 27,
    "list.one": 28,
    "list.two": 30,
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_line_of_every_key_is_found(end: str) -> None:
    assert lines_of(TEXT.replace("\n", end)) == LINES
    # No key that tomli reads is left out.
    assert set(flatten(tomli.loads(TEXT))) <= set(LINES)
    assert lines_of("") == {}


def test_a_run_folders_configuration_is_told_with_its_line() -> None:
    for text, message in (
        (
            "seed = 1\n[rollout]\ncoeficient = 2",
            "3: unknown key 'rollout.coeficient'; did you mean 'rollout.coefficient'?",
        ),
        ("[rollout]\n\nlength = 0", "3: rollout.length = 0 is not at least 1"),
        ('seed = 1\ntask = "hoper-medium"', "2: unknown task 'hoper-medium'; did you mean 'hopper-medium'?"),
        (
            'preset = "quik"',
            "1: preset = 'quik' is not one of smoke, quick, standard, reference, paper (did you mean 'quick'?)",
        ),
        ("[dynamics]\nmembers = 3", "2: dynamics.elites = 5 is more than dynamics.members = 3"),
    ):
        with pytest.raises(ConfigError) as caught:
            from_toml(TrainConfig, text, "runs/a/config.toml")
        assert str(caught.value) == f"runs/a/config.toml:{message}"
    with pytest.raises(ConfigError, match=r"^data\.toml:2: dataset\.size = 7: at least 100"):
        from_toml(DatasetConfig, "[dataset]\nsize = 7", "data.toml")


def test_what_does_not_go_together_is_blamed_on_the_strongest_layer() -> None:
    weak, strong = ("weak", {"dynamics.elites": 4}), ("strong", {"dynamics.members": 3})
    with pytest.raises(ConfigError, match=r"^strong: dynamics.elites = 4 is more than dynamics.members = 3$"):
        resolve([weak, strong])
    with pytest.raises(ConfigError, match=r"^other: mbpo has no penalty"):
        resolve([("given", {"algorithm": "mbpo"}), ("other", {"rollout.coefficient": 1.0})])


def test_a_fault_in_the_file_of_own_tasks_is_told_as_that_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tasks.toml"
    path.write_text("[mine]\nlik = 3\n")
    monkeypatch.setenv("MOPO_TASKS", str(path))
    with pytest.raises(ConfigError, match=r"tasks\.toml: \[mine\]: unknown key 'lik'") as caught:
        resolve([("exp.toml", {"task": "mine"})])
    assert str(caught.value).startswith(str(path))


SMOKE = {"preset": "smoke", "task": "hopper-medium"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sac.hidden": [256, 0]}, "sac.hidden = [256, 0] is not at least 1 in each entry"),
        ({"awac.hidden": (-1,)}, "awac.hidden = [-1] is not at least 1 in each entry"),
        ({"dynamics.hidden": [0, 0, 0, 0]}, "dynamics.hidden = [0, 0, 0, 0] is not at least 1 in each entry"),
        ({"sac.hidden": []}, "sac.hidden = [] is not a list of numbers, one at least"),
        ({"awac.hidden": []}, "awac.hidden = [] is not a list of numbers, one at least"),
        ({"dynamics.hidden": []}, "dynamics.hidden = [] is not a list of numbers, one at least"),
        ({"sac.log_std_min": 2.0}, "sac.log_std_min = 2 is not below sac.log_std_max = 2"),
        ({"sac.log_std_max": -30.0}, "sac.log_std_min = -20 is not below sac.log_std_max = -30"),
        ({"awac.log_std_max": -6}, "awac.log_std_min = -5 is not below awac.log_std_max = -6"),
        ({"dynamics.holdout_fraction": 0}, "dynamics.holdout_fraction = 0 is not more than 0"),
        ({"dynamics.holdout_fraction": 1e-4}, "dataset.size = 5000 is too few"),
        ({"dynamics.batch_size": 4001}, "at least dynamics.batch_size = 4001 and 1"),
        ({"dataset.size": 100}, "dataset.size = 100 is too few: dynamics.holdout_fraction = 0.2 leaves 80 to train"),
        ({"dataset.size": 318}, "dataset.size = 318 is too few"),
        ({"dataset.size": 318, "algorithm": "mb2po"}, "dataset.size = 318 is too few"),
        ({"dataset.size": 318, "dataset.source": "d4rl:hopper-medium-v2"}, "dataset.size = 318 is too few"),
        (
            {"rollout.real_fraction": 0.003},
            "of sac.batch_size = 256 is less than one row: it must be 0 or at least 1/256",
        ),
        ({"sac.batch_size": 19}, "rollout.real_fraction = 0.05 of sac.batch_size = 19 is less than one row"),
        ({"awac.batch_size": 19, "algorithm": "mb2po"}, "of awac.batch_size = 19 is less than one row"),
        # A step of 0 learns nothing, and says nothing.
        *(
            ({key: 0.0}, f"{key} = 0.0 is not more than 0")
            for section in ("sac", "awac")
            for key in (f"{section}.actor_lr", f"{section}.critic_lr", f"{section}.polyak")
        ),
        ({"dynamics.lr": 0}, "dynamics.lr = 0 is not more than 0"),
        ({"bc.lr": 0}, "bc.lr = 0 is not more than 0"),
        ({"compute.threads": 1025}, "compute.threads = 1025 is not at most 1024"),
        ({"policy.epochs": 2**63}, f"policy.epochs = {2**63} is not a whole number of 64 bits"),
        ({"seed": 1e30}, "is not a whole number of 64 bits"),
        ({"rollout.coefficient": 10**400}, "is not a finite number"),
    ],
)
def test_what_could_not_be_trained_is_refused(values: dict[str, Any], message: str) -> None:
    for refused in (lambda: resolve([("test", SMOKE | values)]), lambda: make(TrainConfig, PLAIN | values)):
        with pytest.raises(ConfigError) as caught:
            refused()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


PLAIN = {"task": "hopper-medium", "dataset.size": 5000}


@pytest.mark.parametrize(
    "values",
    [
        {"dataset.size": 319},
        {"dataset.size": 100, "algorithm": "sac"},
        {"dataset.size": 100, "algorithm": "mb2po", "mb2po.enter": "never"},
        {"dataset.size": 100, "dynamics.batch_size": 80},
        {"dataset.source": "d4rl:hopper-medium-v2"},  # how many rows it has is not known before it is there
        {"dynamics.holdout_fraction": 2e-4},
        {"rollout.real_fraction": 0},
        {"rollout.real_fraction": 1 / 256},
        {"rollout.real_fraction": 1},
        {"rollout.real_fraction": 0.001, "algorithm": "sac"},
        {"sac.temperature_lr": 0},  # a temperature that is given
        {"dynamics.weight_decay": [0, 0, 0, 0, 0, 0]},
        {"sac.hidden": [1]},
        {"seed": 2**63 - 1},
    ],
)
def test_what_lies_just_inside_the_ranges_is_taken(values: dict[str, Any]) -> None:
    resolve([("test", SMOKE | values)])


@pytest.mark.parametrize(
    ("size", "fraction"), [(318, 0.2), (319, 0.2), (512, 0.5), (511, 0.5), (999, 1e-3), (1000, 1e-3)]
)
def test_too_few_rows_are_those_that_the_fit_cannot_split(size: int, fraction: float) -> None:
    values = {**SMOKE, "dataset.size": size, "dynamics.holdout_fraction": fraction}
    train, holdout = split_holdout(
        size, make(TrainConfig, {"dynamics.holdout_fraction": fraction}).dynamics, torch_generator(0)
    )
    if len(train) >= 256 and len(holdout):
        resolve([("test", values)])
    else:
        with pytest.raises(ConfigError, match="too few"):
            resolve([("test", values)])


def test_the_help_says_what_is_allowed() -> None:
    known = fields_of(TrainConfig)
    assert meaning(known["dynamics.holdout_fraction"]) == "share of rows held out; more than 0; at most 0.5"
    assert meaning(known["sac.hidden"]).endswith("; at least 1")
