"""Why a panel has nothing to show yet, or never will."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config import MODEL_BASED
from mopo_tui.widgets.seeds import Group


def why_empty(groups: Sequence[Group], awaited: str, needs_model: bool = False) -> str:
    """Why the first run of `groups` has nothing to show yet, or never will."""
    run, view = groups[0].read[0]
    if run.job in ("dataset", "behaviour"):
        return f"a {run.job} job has no {awaited}"
    if needs_model and run.algorithm and run.algorithm not in MODEL_BASED:
        return f"{run.algorithm.upper()} fits no model"
    if run.state == "queued":
        return "queued: waits to be started"
    in_stage_1 = run.algorithm == "mb2po" and not any(stage == "dynamics" for stage, _ in view.stages)
    if run.state in ("running", "paused"):
        if needs_model and in_stage_1 and any(stage == "policy" for stage, _ in view.stages):
            return "stage 1 learns from the batch alone; the model comes after it"
        every = view.config.get("evaluation.every")
        if awaited == "evaluation" and isinstance(every, int):
            return f"no evaluation yet: the first comes after epoch {every}"
        return f"waits for the first {awaited}"
    if needs_model and view.gate and run.state == "finished":
        return f"no {awaited}: the gate {view.gate[-1]}"
    return f"the run ended before the first {awaited}"
