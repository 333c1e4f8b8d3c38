"""What a run will take: work by stage, and from it time and memory (standard library only).

Work is counted in seconds of one thread of the machine on which the constants were measured (a two-core AMD EPYC, torch 2.13); on
another one the ratios between stages hold better than the seconds.
"""

from __future__ import annotations

import re

from engine.config import MODEL_BASED, DatasetConfig, TrainConfig
from engine.tasks import OURS, task

# Seconds at HalfCheetah's or Ant's sizes.
ENSEMBLE_STEP, MODEL_TRANSITION = 0.017, 1.5e-5
UPDATE = {"bc": 0.0012, "awac": 0.0055, "mb2po": 0.0055}
SAC_UPDATE = 0.0045
ENSEMBLE_MEMBERS = 7  # of which ENSEMBLE_STEP is
# Estimated from the sizes of the products, not measured: the critics' share of an update, a step of fitted Q evaluation, and what
# the Bellman penalty adds to an update for each next state of each member.
CRITICS_SHARE, FITTED_Q_UPDATE, BELLMAN_STATE = 0.7, 0.0015, 0.0008
BELLMAN_ROWS = 256  # of an update
ENVIRONMENT_STEP = {"Ant": 3e-4, "HalfCheetah": 1.1e-4, "Hopper": 1.6e-4, "Walker2d": 1.8e-4}
# Compiling and what a process loads before it begins.
START = 25.0
# What a process that only collects data loads, and the episodes after which the references are known, of at most 1000 steps.
COLLECTING_START, REFERENCE_EPISODES = 5.0, 120
# What a second thread makes of updates and of everything else with matrices.
TWO_THREADS = 1.4
# What an unlimited fit is planned as: early stopping decides.
PLANNED_DYNAMICS_EPOCHS = 50
# What a source whose size is not known yet is planned as.
UNKNOWN_SIZE = 1_000_000
# Bytes of a process that has torch, Gymnasium and compiled updates loaded.
PROCESS_BYTES = 700_000_000


# Where the paper runs MB2PO's second stage; ant-angle and halfcheetah-jump are replay buffers, so they count as mixed.
FINE_TUNED = (
    "ant-angle",
    "halfcheetah-jump",
    "halfcheetah-random",
    "halfcheetah-medium",
    "halfcheetah-medium-replay",
    "hopper-medium-replay",
    "walker2d-medium-replay",
)


def fine_tunes(config: TrainConfig) -> bool | None:
    """Whether MB2PO's second stage is entered, as far as the configuration alone says; None where the evidence decides.

    `paper` goes by the name of the dataset, so of a person's own data it says nothing.
    """
    how, chosen = config.mb2po.enter, task(config.task)
    if how in ("always", "never"):
        return how == "always"
    source = config.dataset.source
    of_the_paper = not chosen.own and (source == OURS or re.fullmatch(rf"d4rl:{chosen.name}-v\d+", source) is not None)
    return chosen.name in FINE_TUNED if how == "paper" and of_the_paper else None


def stage1_evaluations(config: TrainConfig) -> int:
    """How often MB2PO's first stage is evaluated: after every `evaluation.every` epochs, once at least."""
    return max(1, config.mb2po.stage1_epochs // config.evaluation.every)


def planned_work(config: TrainConfig, build_data: bool) -> dict[str, float]:
    """Seconds of one thread by stage, in the order of the stages."""
    d, e, r = config.dynamics, config.evaluation, config.rollout
    chosen = task(config.task)
    step = ENVIRONMENT_STEP.get(chosen.family, 2e-4)
    size = config.dataset.size or UNKNOWN_SIZE
    work = {"data": size * step} if build_data else {}
    critics = config.awac.critics if config.algorithm in ("awac", "mb2po") else config.sac.critics
    update = UPDATE.get(config.algorithm, SAC_UPDATE) * (1 + CRITICS_SHARE * (critics - 2) / 2)

    def improving(epochs: int, in_the_model: bool) -> float:
        evaluations = epochs // e.every
        seconds = epochs * config.policy.updates_per_epoch * update + evaluations * e.episodes * 1000 * step
        if not in_the_model:
            return seconds
        bellman = r.penalty_samples * d.elites * BELLMAN_STATE if r.penalty == "bellman" and r.coefficient else 0.0
        seconds += epochs * config.policy.updates_per_epoch * bellman
        seconds += epochs * (r.transitions or r.starts * r.length) * MODEL_TRANSITION
        if e.calibration:
            step_of_one = MODEL_TRANSITION + bellman / BELLMAN_ROWS
            seconds += evaluations * e.calibration_starts * e.calibration_steps * step_of_one
        return seconds

    if config.algorithm == "mb2po":
        work["policy"] = improving(config.mb2po.stage1_epochs, in_the_model=False)
    if config.algorithm in MODEL_BASED:
        steps = d.steps or (d.max_epochs or PLANNED_DYNAMICS_EPOCHS) * size / d.batch_size
        work["dynamics"] = steps * ENSEMBLE_STEP * d.members / ENSEMBLE_MEMBERS
    if config.algorithm == "mb2po" and fine_tunes(config) is False:
        work |= {"dynamics": 0.0, "finetune": 0.0}
    elif config.algorithm == "mb2po":
        fitted_q = 2 * config.mb2po.fitted_q_updates * FITTED_Q_UPDATE
        work["finetune"] = improving(config.policy.epochs, in_the_model=True) + fitted_q
    else:
        work["policy"] = improving(config.policy.epochs, config.algorithm in MODEL_BASED)
    return work | {"evaluation": e.final_episodes * 1000 * step * (2 if config.algorithm == "mb2po" else 1)}


def expected_seconds(config: TrainConfig, build_data: bool) -> float:
    """Wall time of a run on an idle machine like the one of the constants."""
    work = planned_work(config, build_data)
    threads = TWO_THREADS if config.compute.threads > 1 else 1.0
    matrices = sum(work.get(stage, 0.0) for stage in ("policy", "dynamics", "finetune"))
    start = START if config.compute.compile else 5.0
    episodes = work["evaluation"] + work.get("data", 0.0)
    return start + matrices / threads + episodes / min(config.compute.threads or 1, 2)


def collecting_seconds(config: DatasetConfig) -> float:
    """Wall time of collecting a task's own dataset on an idle machine like the one of the constants."""
    step = ENVIRONMENT_STEP.get(task(config.task).family, 2e-4)
    size = config.dataset.size or UNKNOWN_SIZE
    references = min(REFERENCE_EPISODES, size / 500) * 1000
    return COLLECTING_START + step * (size / min(config.compute.threads or 2, 2) + references)


def expected_bytes(config: TrainConfig) -> float:
    """Memory of a run at its most: the process, the dataset, the fit's row numbers, the model buffer."""
    chosen = task(config.task)
    width = 4 * (2 * chosen.observation_dim + chosen.action_dim + 2)
    size = config.dataset.size or UNKNOWN_SIZE
    total = PROCESS_BYTES + size * width
    if config.algorithm in MODEL_BASED:
        fit = 4 * 8 * config.dynamics.members * size  # bootstrap, draws, order and index of an epoch
        r = config.rollout
        buffer = r.retain_rounds * (r.transitions or r.starts * r.length) * width
        total += max(fit, buffer)
    return float(total)
