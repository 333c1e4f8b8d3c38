"""What a run will take: work by stage, and from it time and memory (standard library only).

Work is counted in seconds of one thread of the machine on which the constants were measured (a two-core AMD EPYC, torch 2.13); on
another one the ratios between stages hold better than the seconds.
"""

from __future__ import annotations

from engine.config import MODEL_BASED, TrainConfig
from engine.tasks import task

# Seconds at HalfCheetah's or Ant's sizes.
ENSEMBLE_STEP, SAC_UPDATE, BC_UPDATE, MODEL_TRANSITION = 0.017, 0.0045, 0.0012, 1.5e-5
ENVIRONMENT_STEP = {"Ant": 3e-4, "HalfCheetah": 1.1e-4, "Hopper": 1.6e-4, "Walker2d": 1.8e-4}
# Compiling and what a process loads before it begins.
START = 25.0
# What a second thread makes of updates and of everything else with matrices.
TWO_THREADS = 1.4
# What an unlimited fit is planned as: early stopping decides.
PLANNED_DYNAMICS_EPOCHS = 50
# What a source whose size is not known yet is planned as.
UNKNOWN_SIZE = 1_000_000
# Bytes of a process that has torch, Gymnasium and compiled updates loaded.
PROCESS_BYTES = 700_000_000


def planned_work(config: TrainConfig, build_data: bool) -> dict[str, float]:
    """Seconds of one thread by stage, in the order of the stages."""
    d, e, r = config.dynamics, config.evaluation, config.rollout
    chosen = task(config.task)
    step = ENVIRONMENT_STEP.get(chosen.family, 2e-4)
    size = config.dataset.size or UNKNOWN_SIZE
    evaluations = config.policy.epochs // e.every
    updates = config.policy.epochs * config.policy.updates_per_epoch
    work = {"data": size * step} if build_data else {}
    policy = updates * (BC_UPDATE if config.algorithm == "bc" else SAC_UPDATE) + evaluations * e.episodes * 1000 * step
    if config.algorithm in MODEL_BASED:
        work["dynamics"] = (d.max_epochs or PLANNED_DYNAMICS_EPOCHS) * size / d.batch_size * ENSEMBLE_STEP
        policy += config.policy.epochs * r.starts * r.length * MODEL_TRANSITION
        if e.calibration:
            policy += evaluations * e.calibration_starts * e.calibration_steps * MODEL_TRANSITION
    return work | {"policy": policy, "evaluation": e.final_episodes * 1000 * step}


def expected_seconds(config: TrainConfig, build_data: bool) -> float:
    """Wall time of a run on an idle machine like the one of the constants."""
    work = planned_work(config, build_data)
    threads = TWO_THREADS if config.compute.threads > 1 else 1.0
    matrices = work.get("dynamics", 0.0) + work["policy"]
    start = START if config.compute.compile else 5.0
    return start + matrices / threads + work["evaluation"] + work.get("data", 0.0) / min(config.compute.threads or 1, 2)


def expected_bytes(config: TrainConfig) -> float:
    """Memory of a run at its most: the process, the dataset, the fit's row numbers, the model buffer."""
    chosen = task(config.task)
    width = 4 * (2 * chosen.observation_dim + chosen.action_dim + 2)
    size = config.dataset.size or UNKNOWN_SIZE
    total = PROCESS_BYTES + size * width
    if config.algorithm in MODEL_BASED:
        fit = 4 * 8 * config.dynamics.members * size  # bootstrap, draws, order and index of an epoch
        buffer = config.rollout.retain_rounds * config.rollout.starts * config.rollout.length * width
        total += max(fit, buffer)
    return float(total)
