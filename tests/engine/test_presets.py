"""The presets, constant for constant: what each of them trains with, as published or as the README says it departs."""

from __future__ import annotations

import pytest

from engine.config import flat, resolve
from engine.presets import Value
from engine.tasks import TASKS

ROBOTS = {"halfcheetah": 6, "hopper": 3, "walker2d": 6}  # and how many actions each has
PRESETS = ("smoke", "quick", "standard", "reference", "paper")


def resolved(task: str, preset: str, algorithm: str = "mopo") -> dict[str, Value]:
    return flat(resolve([("test", {"task": task, "preset": preset, "algorithm": algorithm})]).config)


def only(values: dict[str, Value], keys: dict[str, Value]) -> dict[str, Value]:
    """Of `values` those that `keys` names: a key that a later version adds is none of the table's."""
    return {key: values[key] for key in keys}


# The paper's appendix and its official code. Where both are silent the entry says so.
PAPER: dict[str, Value] = {
    # the ensemble
    "dynamics.members": 7,
    "dynamics.elites": 5,
    "dynamics.hidden": (200, 200, 200, 200),
    "dynamics.weight_decay": (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4, 1e-4),
    "dynamics.lr": 1e-3,
    "dynamics.batch_size": 256,
    "dynamics.holdout_fraction": 0.2,
    "dynamics.holdout_max": 1000,
    "dynamics.max_epochs": 0,
    "dynamics.patience": 5,
    "dynamics.improvement": 0.01,
    "dynamics.steps": 0,
    "dynamics.spectral_norm": False,  # only the paper's first version has it
    "dynamics.layer_norm": False,
    "dynamics.normalise_targets": False,
    # rollouts and the penalty
    "rollout.starts": 50_000,
    "rollout.retain_rounds": 5,
    "rollout.real_fraction": 0.05,
    "rollout.uncertainty": "max_aleatoric",
    "rollout.penalty": "reward",
    "rollout.transitions": 0,
    "rollout.cut_quantile": 0.0,
    "rollout.clip": False,
    "rollout.initial_length": 0,
    "rollout.growth_epochs": 0,
    # SAC
    "sac.hidden": (256, 256),
    "sac.actor_lr": 3e-4,
    "sac.critic_lr": 3e-4,
    "sac.temperature_lr": 3e-4,
    "sac.discount": 0.99,
    "sac.polyak": 0.005,
    "sac.batch_size": 256,
    "sac.target_entropy": -3.0,  # for every robot, however many actions it has
    "sac.critics": 2,
    "sac.diversity": 0.0,
    "sac.entropy_backup": True,
    "sac.initial_log_temperature": 0.0,
    "sac.max_temperature": 0.0,
    "sac.log_std_min": -20.0,
    "sac.log_std_max": 2.0,
    "sac.actor_schedule": "constant",
    # budget and evaluation
    "policy.epochs": 1000,
    "policy.updates_per_epoch": 1000,
    "evaluation.every": 1,
    "evaluation.episodes": 10,
    "evaluation.final_episodes": 100,  # ours, on top of the official ten
    "evaluation.calibration": False,
    # the data, as the official code reads D4RL's v0 files
    "dataset.next_observations": "shifted",
}

# What AWAC is in MB2PO's paper; no preset changes it, and where the paper is silent these are ours.
AWAC: dict[str, Value] = {
    "awac.hidden": (256, 256),
    "awac.components": 5,
    "awac.actor_lr": 3e-4,
    "awac.critic_lr": 3e-4,
    "awac.discount": 0.99,
    "awac.polyak": 0.005,
    "awac.batch_size": 256,
    "awac.temperature": 1.0,
    "awac.max_weight": 20.0,
    "awac.advantage_samples": 4,
    "awac.critics": 2,
    "awac.critic": "expected",
}

# What the README's tables give as departures from `paper`, beside λ, h, the size of the data and the target entropy.
STANDARD: dict[str, Value] = {
    "dataset.next_observations": "true",
    "evaluation.calibration": True,
    "sac.actor_lr": 1e-4,
    "sac.actor_schedule": "cosine",
    "sac.temperature_lr": 1e-4,
    "sac.max_temperature": 1.0,
    "sac.log_std_min": -5.0,
    "dynamics.max_epochs": 50,
    "policy.epochs": 500,
    "evaluation.every": 10,
}
REFERENCE: dict[str, Value] = {
    "dataset.next_observations": "true",
    "evaluation.calibration": True,
    "sac.actor_lr": 1e-4,
    "sac.actor_schedule": "cosine",
    "sac.temperature_lr": 1e-4,
    "sac.max_temperature": 1.0,
    "sac.log_std_min": -5.0,
    "dynamics.max_epochs": 30,
    "rollout.starts": 20_000,
    "policy.epochs": 300,
    "evaluation.every": 5,
}
QUICK: dict[str, Value] = {
    "dataset.next_observations": "true",
    "evaluation.calibration": True,
    "evaluation.calibration_starts": 20,
    "dynamics.max_epochs": 30,
    "rollout.starts": 10_000,
    "policy.epochs": 100,
    "evaluation.every": 5,
}
SMOKE: dict[str, Value] = {
    "dataset.next_observations": "true",
    "evaluation.calibration": True,
    "evaluation.calibration_starts": 10,
    "evaluation.calibration_steps": 50,
    "dynamics.max_epochs": 2,
    "rollout.starts": 500,
    "policy.epochs": 3,
    "policy.updates_per_epoch": 50,
    "evaluation.episodes": 1,
    "evaluation.final_episodes": 2,
    "compute.compile": False,
}
# preset: rows of the data, departures
DEPARTURES: dict[str, tuple[int, dict[str, Value]]] = {
    "standard": (300_000, STANDARD),
    "reference": (300_000, REFERENCE),
    "quick": (100_000, QUICK),
    "smoke": (5_000, SMOKE),
}

# (λ, h): of the preset `paper`, the official code's, and of all others, OfflineRL-Kit's where it has any. For expert
# data and the two tasks that are not D4RL's none was published: the former go by medium-expert, the latter by ORPO's of
# the jump.
ROLLOUTS: dict[str, tuple[tuple[float, int], tuple[float, int]]] = {
    "ant-angle": ((1.0, 5), (1.0, 5)),
    "halfcheetah-jump": ((1.0, 5), (1.0, 5)),
    "halfcheetah-random": ((0.5, 5), (0.5, 5)),
    "hopper-random": ((1.0, 5), (1.0, 5)),
    "walker2d-random": ((1.0, 1), (1.0, 1)),
    "halfcheetah-medium": ((1.0, 1), (0.5, 5)),
    "hopper-medium": ((5.0, 5), (5.0, 5)),
    "walker2d-medium": ((5.0, 5), (0.5, 5)),
    "halfcheetah-medium-replay": ((1.0, 5), (0.5, 5)),
    "hopper-medium-replay": ((1.0, 5), (2.5, 5)),
    "walker2d-medium-replay": ((1.0, 1), (2.5, 1)),
    "halfcheetah-medium-expert": ((5.0, 5), (2.5, 5)),
    "hopper-medium-expert": ((1.0, 5), (5.0, 5)),
    "walker2d-medium-expert": ((2.0, 1), (2.5, 1)),
    "halfcheetah-expert": ((5.0, 5), (2.5, 5)),
    "hopper-expert": ((1.0, 5), (5.0, 5)),
    "walker2d-expert": ((2.0, 1), (2.5, 1)),
}

# Rows of a task's own data, which `paper` takes: D4RL v2's numbers, and a million of the replays of a whole training.
SIZES: dict[str, int] = {
    "ant-angle": 1_000_000,
    "halfcheetah-jump": 1_000_000,
    "halfcheetah-medium-replay": 202_000,
    "hopper-medium-replay": 402_000,
    "walker2d-medium-replay": 302_000,
    **{f"{robot}-medium-expert": 2_000_000 for robot in ROBOTS},
    **{f"{robot}-{quality}": 1_000_000 for robot in ROBOTS for quality in ("random", "medium", "expert")},
}


# --- MOPO -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["halfcheetah-medium", "hopper-random", "walker2d-medium-replay", "ant-angle"])
def test_paper_is_the_published_setting_constant_for_constant(task: str) -> None:
    assert only(resolved(task, "paper"), PAPER) == PAPER


@pytest.mark.parametrize("preset", list(DEPARTURES))
@pytest.mark.parametrize(
    ("task", "actions"), [("halfcheetah-medium-replay", 6), ("hopper-medium-replay", 3), ("ant-angle", 8)]
)
def test_the_other_presets_depart_from_paper_in_just_what_the_readme_says(task: str, actions: int, preset: str) -> None:
    size, departures = DEPARTURES[preset]
    coefficient, length = ROLLOUTS[task][1]
    paper, values = resolved(task, "paper"), resolved(task, preset)
    everything: dict[str, Value] = {
        **departures,
        "preset": preset,
        "dataset.size": size,
        "sac.target_entropy": -float(actions),
        "rollout.coefficient": coefficient,
        "rollout.length": length,
    }
    assert only(values, everything) == everything
    assert {key for key in values if values[key] != paper[key]} <= set(everything)


def test_quick_is_what_a_run_has_that_names_no_preset() -> None:
    unnamed = resolve([("test", {"task": "hopper-medium"})]).config
    assert flat(unnamed) == resolved("hopper-medium", "quick")


def test_the_presets_are_these_five() -> None:
    from engine.config import PRESETS as known

    assert set(known) == set(PRESETS)


# --- λ, h and the size of the data ------------------------------------------------------------------------------------


def test_the_tables_have_every_task() -> None:
    assert set(ROLLOUTS) == set(SIZES) == set(TASKS)


@pytest.mark.parametrize("task", list(ROLLOUTS))
def test_lambda_and_h_of_paper_are_the_official_codes(task: str) -> None:
    values = resolved(task, "paper")
    assert (values["rollout.coefficient"], values["rollout.length"]) == ROLLOUTS[task][0]


@pytest.mark.parametrize("task", list(ROLLOUTS))
@pytest.mark.parametrize("preset", list(DEPARTURES))
def test_lambda_and_h_of_the_other_presets_are_the_ones_tuned_on_newer_data(preset: str, task: str) -> None:
    for algorithm in ("mopo", "mb2po"):
        values = resolved(task, preset, algorithm)
        assert (values["rollout.coefficient"], values["rollout.length"]) == ROLLOUTS[task][1]


@pytest.mark.parametrize("preset", PRESETS)
def test_mbpo_is_mopo_without_the_penalty_and_nothing_else(preset: str) -> None:
    mopo, mbpo = resolved("hopper-medium", preset), resolved("hopper-medium", preset, "mbpo")
    assert {key: mbpo[key] for key in mbpo if mbpo[key] != mopo[key]} == {"algorithm": "mbpo", "rollout.coefficient": 0}


@pytest.mark.parametrize("task", list(SIZES))
def test_paper_takes_as_many_rows_as_the_tasks_own_data_has(task: str) -> None:
    assert resolved(task, "paper")["dataset.size"] == SIZES[task]


# --- MB2PO ------------------------------------------------------------------------------------------------------------

# What MB2PO changes of each preset, beside how its gate is set.
OF_MB2PO: dict[str, dict[str, Value]] = {
    "paper": {"rollout.transitions": 100_000, "policy.epochs": 500, "dynamics.steps": 500_000},
    "standard": {"rollout.transitions": 100_000, "policy.epochs": 400},
    "reference": {"rollout.transitions": 100_000, "policy.epochs": 300},
    "quick": {"rollout.transitions": 50_000, "policy.epochs": 50, "mb2po.stage1_epochs": 50},
    "smoke": {
        "rollout.transitions": 2500,
        "policy.epochs": 2,
        "mb2po.stage1_epochs": 2,
        "mb2po.fitted_q_updates": 50,
    },
}


@pytest.mark.parametrize("preset", PRESETS)
def test_mb2po_changes_of_a_preset_just_its_ensemble_its_rollouts_and_its_iterations(preset: str) -> None:
    mopo, mb2po = resolved("walker2d-medium", preset), resolved("walker2d-medium", preset, "mb2po")
    always: dict[str, Value] = {"dynamics.members": 5, "dynamics.elites": 5, "rollout.retain_rounds": 10}
    expected: dict[str, Value] = {
        "mb2po.stage1_epochs": 100,
        "mb2po.fitted_q_updates": 20_000,
        **always,
        **OF_MB2PO[preset],
    }
    assert only(mb2po, expected) == expected
    changed = {key for key in mb2po if mb2po[key] != mopo[key]} - {"algorithm", "mb2po.enter"}
    assert changed <= set(expected)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("algorithm", ["awac", "mb2po"])
def test_awac_is_the_papers_in_every_preset(algorithm: str, preset: str) -> None:
    assert only(resolved("halfcheetah-medium-replay", preset, algorithm), AWAC) == AWAC


@pytest.mark.parametrize("preset", PRESETS)
def test_the_second_stage_has_five_per_cent_real_rows_and_the_published_penalty(preset: str) -> None:
    expected: dict[str, Value] = {
        "rollout.real_fraction": 0.05,
        "rollout.uncertainty": "max_aleatoric",
        "rollout.penalty": "reward",
        "policy.updates_per_epoch": 50 if preset == "smoke" else 1000,
    }
    assert only(resolved("halfcheetah-medium-replay", preset, "mb2po"), expected) == expected


@pytest.mark.parametrize("task", list(ROLLOUTS))
def test_mb2po_follows_mopos_lambda_and_h_in_the_preset_paper(task: str) -> None:
    values = resolved(task, "paper", "mb2po")
    assert (values["rollout.coefficient"], values["rollout.length"]) == ROLLOUTS[task][0]
