"""How far a run is and how long it still takes, from the work each stage has to do."""

from __future__ import annotations

import time

from engine.record import Recorder


class Progress:
    """Keeps summary.json's progress, ETA and speed.

    The remaining stages are estimated from their planned work at the rate seen so far; the stage under way from its own rate. Time
    in which the run was paused does not count.
    """

    def __init__(self, recorder: Recorder, work: dict[str, float]) -> None:
        self._recorder, self._work, self._total = recorder, work, sum(work.values())
        self._done, self._stage, self._started, self._begun = 0.0, "", self._now(), self._now()
        self._earlier, self._earlier_work = 0.0, 0.0
        self._earlier_shares: dict[str, float] = {}

    def begin(self, stage: str, message: str, earlier: float = 0.0) -> None:
        """Enter a stage of which an earlier attempt did the share `earlier`."""
        before = list(self._work)[: list(self._work).index(stage)]
        self._earlier_shares[stage] = earlier
        self._done = sum(self._work[other] for other in before)
        # What this attempt has not done itself, as it was done before or is not needed, says nothing of how fast it is.
        self._earlier_work = sum(self._work[other] * self._earlier_shares.get(other, 1.0) for other in (*before, stage))
        self._stage, self._begun, self._earlier = stage, self._now(), earlier
        self._recorder.enter(stage, message)

    def update(self, fraction: float, detail: str) -> None:
        """`fraction` of the current stage is done. Cheap enough for every gradient step: it works once in two seconds."""
        if not self._recorder.summary_due():
            return
        now, work = self._now(), self._work[self._stage]
        done = self._done + fraction * work
        eta = None
        if fraction > self._earlier:
            here = (now - self._begun) * (1 - fraction) / (fraction - self._earlier)
            later = self._total - self._done - work
            eta = here + (now - self._started) * later / max(done - self._earlier_work, 1e-9)
        self._recorder.summary(
            stage_progress=round(fraction, 4),
            progress=round(done / self._total, 4),
            eta_s=eta,
            detail=detail,
        )

    def _now(self) -> float:
        return time.monotonic() - self._recorder.paused

    def of_data(self, done: int, total: int) -> None:
        """Progress of the stage "data", in transitions or in bytes; the reference episodes after them are its last tenth."""
        self.update(0.9 * done / total, f"{done}/{total}")

    def finish(self) -> None:
        self._recorder.summary(force=True, stage_progress=1.0, progress=1.0, eta_s=0.0, stage=self._stage)
