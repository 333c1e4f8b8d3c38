"""How far a run is and how long it still takes, from the work each stage has to do."""

from __future__ import annotations

import time

from engine.config import TrainConfig
from engine.record import Recorder
from engine.tasks import task

# Work in units of 1e9 floating point operations at HalfCheetah's sizes, or the time worth as much; only ratios matter.
ENSEMBLE_STEP, SAC_UPDATE, MODEL_TRANSITION, ENVIRONMENT_STEP = 1.4, 0.6, 0.0025, 0.03
# What an unlimited fit is planned as: early stopping decides.
PLANNED_DYNAMICS_EPOCHS = 50


def planned_work(config: TrainConfig, build_data: bool) -> dict[str, float]:
    """Work by stage, in the order of the stages."""
    d, e, r = config.dynamics, config.evaluation, config.rollout
    epochs = d.max_epochs or PLANNED_DYNAMICS_EPOCHS
    evaluations = config.policy.epochs // e.every
    updates = config.policy.epochs * config.policy.updates_per_epoch
    model_steps = config.policy.epochs * r.starts * r.length
    episode = 1000 * ENVIRONMENT_STEP * (2 if task(config.task).action_dim == 8 else 1)
    work = {"data": config.dataset.size * ENVIRONMENT_STEP} if build_data else {}
    return work | {
        "dynamics": epochs * config.dataset.size / d.batch_size * ENSEMBLE_STEP,
        "policy": updates * SAC_UPDATE + model_steps * MODEL_TRANSITION + evaluations * e.episodes * episode,
        "evaluation": e.final_episodes * episode,
    }


class Progress:
    """Keeps summary.json's progress, ETA and speed.

    The remaining stages are estimated from their planned work at the rate seen so far; the stage under way from its own rate.
    """

    def __init__(self, recorder: Recorder, work: dict[str, float]) -> None:
        self._recorder, self._work, self._total = recorder, work, sum(work.values())
        self._done, self._stage, self._started, self._begun = 0.0, "", time.monotonic(), time.monotonic()

    def begin(self, stage: str, message: str) -> None:
        self._done += self._work.get(self._stage, 0.0)
        self._stage, self._begun = stage, time.monotonic()
        self._recorder.enter(stage, message)

    def update(self, fraction: float, detail: str) -> None:
        """`fraction` of the current stage is done. Cheap enough for every gradient step: it works once in two seconds."""
        if not self._recorder.summary_due():
            return
        now, work = time.monotonic(), self._work[self._stage]
        done = self._done + fraction * work
        eta = None
        if fraction > 0:
            here = (now - self._begun) * (1 - fraction) / fraction
            later = self._total - self._done - work
            eta = here + (now - self._started) * later / done
        self._recorder.summary(
            stage_progress=round(fraction, 4),
            progress=round(done / self._total, 4),
            eta_s=eta,
            detail=detail,
        )

    def of_data(self, done: int, total: int) -> None:
        """Progress of the stage "data", in transitions or in bytes; the reference episodes after them are its last tenth."""
        self.update(0.9 * done / total, f"{done}/{total}")

    def finish(self) -> None:
        self._recorder.summary(force=True, stage_progress=1.0, progress=1.0, eta_s=0.0, stage=self._stage)
