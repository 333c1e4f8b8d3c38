"""Presets: named settings and budgets. A preset changes only what it names; λ and h come from the task (standard library only).

`paper` is the published setting, constant for constant: the defaults of `engine.config`. The others share what is known to be
better and differ in their budget; the README's table has each departure with its reason.
"""

from __future__ import annotations

Value = str | int | float | bool | tuple[float, ...] | tuple[int, ...]

_PAPER: dict[str, Value] = {
    "dataset.next_observations": "shifted",
    "evaluation.calibration": False,
}
# What is known to be better than the published setting.
_BETTER: dict[str, Value] = {
    "sac.target_entropy": 0.0,
    "sac.actor_lr": 1e-4,
    "sac.actor_schedule": "cosine",
    "sac.temperature_lr": 1e-4,
    "sac.max_temperature": 1.0,
    "sac.log_std_min": -5.0,
}
_STANDARD: dict[str, Value] = {
    **_BETTER,
    "dataset.size": 300_000,
    "dynamics.max_epochs": 50,
    "rollout.starts": 50_000,
    "policy.epochs": 500,
    "policy.updates_per_epoch": 1000,
    "evaluation.every": 10,
    "evaluation.episodes": 10,
    "evaluation.final_episodes": 100,
}
_REFERENCE: dict[str, Value] = {
    **_STANDARD,
    "dynamics.max_epochs": 30,
    "rollout.starts": 20_000,
    "policy.epochs": 300,
    "evaluation.every": 5,
}
_QUICK: dict[str, Value] = {
    "dataset.size": 100_000,
    "dynamics.max_epochs": 30,
    "rollout.starts": 10_000,
    "policy.epochs": 100,
    "policy.updates_per_epoch": 1000,
    "evaluation.every": 5,
    "evaluation.episodes": 10,
    "evaluation.final_episodes": 100,
    "evaluation.calibration_starts": 20,
    "sac.target_entropy": 0.0,
}
_SMOKE: dict[str, Value] = {
    **_QUICK,
    "dataset.size": 5_000,
    "dynamics.max_epochs": 2,
    "rollout.starts": 500,
    "policy.epochs": 3,
    "policy.updates_per_epoch": 50,
    "evaluation.every": 1,
    "evaluation.episodes": 1,
    "evaluation.final_episodes": 2,
    "evaluation.calibration_starts": 10,
    "evaluation.calibration_steps": 50,
    "compute.compile": False,  # compiling takes longer than the whole run
}

PRESET_VALUES: dict[str, dict[str, Value]] = {
    "smoke": _SMOKE,
    "quick": _QUICK,
    "standard": _STANDARD,
    "reference": _REFERENCE,
    "paper": _PAPER,
}

# MB2PO's ensemble has no elites, and its buffer is of the last ten rounds.
_MB2PO: dict[str, Value] = {
    "dynamics.members": 5,
    "dynamics.elites": 5,
    "rollout.retain_rounds": 10,
    "rollout.transitions": 100_000,
}
# What an algorithm changes of a preset: MB2PO's first stage and its iterations.
ALGORITHM_VALUES: dict[str, dict[str, dict[str, Value]]] = {
    "mb2po": {
        "smoke": {
            **_MB2PO,
            "mb2po.stage1_epochs": 2,
            "policy.epochs": 2,
            "rollout.transitions": 2500,
            "mb2po.fitted_q_updates": 50,
        },
        "quick": {**_MB2PO, "mb2po.stage1_epochs": 50, "policy.epochs": 50, "rollout.transitions": 50_000},
        "standard": {**_MB2PO, "mb2po.stage1_epochs": 100, "policy.epochs": 400},
        "reference": {**_MB2PO, "mb2po.stage1_epochs": 100, "policy.epochs": 300},
        "paper": {
            **_MB2PO,
            "mb2po.enter": "paper",
            "mb2po.stage1_epochs": 100,
            "policy.epochs": 500,
            "dynamics.steps": 500_000,
        },
    },
    "mbpo": {preset: {"rollout.coefficient": 0.0} for preset in PRESET_VALUES},
}
