"""Alerts: what a researcher would want to be told while a run goes on, each with its reason, each once a run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence

from engine.record import EVENTS, Recorder, read_rows

# A member whose holdout error is this many times the median's has left the others.
MEMBER_RATIO = 10.0
# |Q| this many times what the batch's largest reward could earn for ever: |r|max / (1 − γ).
Q_RATIO = 3.0
# The median u on rollouts against the 95th percentile on the data.
UNCERTAINTY_RATIO = 3.0
# Evaluations without a new best, as a share of all that are planned, and how many at least.
FLAT_SHARE, FLAT_LEAST = 0.4, 10
FREE_BYTES = 1_000_000_000


class Watch:
    """Raises alerts on one run; what an earlier attempt said is not said again."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        rows, _ = read_rows(recorder.folder / EVENTS)
        self._said = {str(row["cause"]) for row in rows if row.get("kind") == "alert" and "cause" in row}

    def _say(self, cause: str, message: str) -> None:
        if cause not in self._said:
            self._said.add(cause)
            self._recorder.alert(message, cause=cause)

    def member_losses(self, epoch: int, losses: Sequence[float]) -> None:
        """Holdout MSE of each member after a dynamics epoch."""
        median = sorted(losses)[len(losses) // 2]
        for i, loss in enumerate(losses):
            if loss > MEMBER_RATIO * median:
                self._say(
                    f"member {i}",
                    f"member {i} diverges from the others: holdout MSE {loss:.3g} in dynamics epoch {epoch}, "
                    f"{loss / median:.0f} times the median",
                )

    def q(self, epoch: int, q: float, largest_reward: float, discount: float) -> None:
        """The mean Q of an epoch's batches."""
        bound = largest_reward / max(1 - discount, 1e-3)
        if abs(q) > Q_RATIO * bound:
            self._say(
                "q",
                f"Q explodes: mean {q:.4g} in policy epoch {epoch}; the batch's largest reward for ever is worth {bound:.4g}",
            )

    def uncertainty(self, epoch: int, rollout_p50: float, data_p95: float) -> None:
        """u on an epoch's rollouts against u on the data."""
        if rollout_p50 > UNCERTAINTY_RATIO * data_p95:
            self._say(
                "uncertainty",
                f"rollouts leave the data: half of them have u above {rollout_p50:.3g} in policy epoch {epoch}, "
                f"95 % of the data below {data_p95:.3g}",
            )

    def score(self, returns: Sequence[float], planned: int) -> None:
        """Mean returns of a stage's evaluations so far, and how many are planned for it."""
        best = max(range(len(returns)), key=lambda i: returns[i])
        since = len(returns) - 1 - best
        if since >= max(FLAT_LEAST, FLAT_SHARE * planned):
            self._say("flat", f"no better score for {since} evaluations (best return {returns[best]:.1f})")

    def disk(self) -> None:
        """Free space where the run folder lies."""
        free = shutil.disk_usage(self._recorder.folder).free
        if free < FREE_BYTES:
            self._say("disk", f"the disk of {self._recorder.folder} is nearly full: {free / 1e6:.0f} MB free")

    def fit_epoch(self, epoch: int, losses: Sequence[float]) -> None:
        """All that an epoch of the dynamics tells: `losses` are each member's holdout MSE."""
        self.member_losses(epoch, losses)
        self.disk()

    def epoch(
        self, epoch: int, metrics: Mapping[str, float], largest_reward: float, discount: float, data_p95: float | None
    ) -> None:
        """All that an epoch of a policy stage tells."""
        if "policy/q" in metrics:
            self.q(epoch, metrics["policy/q"], largest_reward, discount)
        if data_p95 is not None and "uncertainty/p50" in metrics:
            self.uncertainty(epoch, metrics["uncertainty/p50"], data_p95)
        self.disk()
