"""What the stages of a training run work with: `Training`, and the agent that `improve_policy` trains."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from engine import checkpoint
from engine.agents.networks import Networks
from engine.algorithms.alerts import Watch
from engine.checkpoint import STATE, Saved
from engine.compute import Compute
from engine.config import TrainConfig
from engine.control import CheckpointError, StopRequests
from engine.data.dataset import TransitionDataset
from engine.evaluation import Evaluator
from engine.plan import planned_work
from engine.progress import Progress
from engine.provenance import describe_data
from engine.randomness import torch_generator
from engine.record import CHECKPOINTS, CONFIG, Recorder
from engine.tasks import Task

Scores = dict[str, float | None]


class Agent(Protocol):
    """What `improve_policy` trains: SAC, AWAC, BC."""

    metrics: tuple[str, ...]
    networks: Networks

    @property
    def actor(self) -> Tensor:
        """The policy's flat parameters."""

    def anneal(self, finished: float) -> None:
        """Set the step sizes for a run of which the share `finished` is done."""

    def noise(self, rows: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The random draws of one update."""

    def update(self, rows: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
        """One gradient step; the values of `metrics`."""

    def state(self) -> dict[str, Tensor]:
        """Everything a checkpoint needs."""

    def load_state(self, state: dict[str, Tensor]) -> None: ...


@dataclass
class Training:
    """Everything a stage works with, and what the stages have found so far.

    Attributes:
        folder: the run folder.
        data_root: where fitted ensembles are kept for other runs.
        epochs: of the policy stage; a finished run may be given more than its configuration says.
        saved: the state that an earlier attempt left.
    """

    config: TrainConfig
    task: Task
    dataset: TransitionDataset
    recorder: Recorder
    progress: Progress
    compute: Compute
    stop: StopRequests
    folder: Path
    data_root: Path
    epochs: int
    evaluations: list[Scores] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    begun: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.rows: Tensor = torch.from_numpy(self.dataset.learning_rows(self.config.dataset.next_observations)).to(
            self.compute.device
        )
        about = self.dataset.manifest
        self.evaluator = Evaluator(
            about["environment"], about.get("environment_options", {}), helpers=self.compute.threads - 1
        )
        self.watch = Watch(self.recorder)
        # Of the file as it stands, not of what it means: a later version of this program may know further keys.
        self._digest = hashlib.sha256((self.folder / CONFIG).read_bytes()).hexdigest()
        self.data_p95: float | None = None
        self.saved = self._restore()

    def _restore(self) -> Saved | None:
        saved = checkpoint.load(self.folder / CHECKPOINTS / STATE)
        if saved is None:
            return None
        about = saved.about
        if about["environment"] != self.world():
            raise CheckpointError(
                f"the run began with evaluations in {about['environment']}, now they would be in {self.world()}: it cannot go on"
            )
        if about["fingerprint"] != self.dataset.fingerprint:
            raise CheckpointError(
                f"the run began with other data (fingerprint {about['fingerprint'][:12]}, now "
                f"{self.dataset.fingerprint[:12]}): it cannot go on"
            )
        if about.get("configuration", self._digest) != self._digest:
            raise CheckpointError(
                "config.toml was changed after the run began: it cannot go on; put it back, or start another run with it"
            )
        self.recorder.step, self.recorder.update = int(about["step"]), int(about["update"])
        self.evaluations = list(about["evaluations"])
        self.seconds = {**about["seconds"], **self.seconds}
        self.begun -= float(about["wall_s"])
        self.data_p95 = about["data_p95"]
        if self.evaluations:
            self.summarise(force=False)
        self.recorder.event("resumed", f"going on after epoch {about['epoch']} of stage {about['stage']}")
        return saved

    def clock(self) -> float:
        """Seconds of work on a clock of its own: while the run is paused it stands still."""
        return time.perf_counter() - self.recorder.paused

    def world(self) -> dict[str, Any]:
        """Id and options of the environment in which policies are evaluated."""
        about: dict[str, Any] = describe_data(self.dataset)["environment"]
        return about

    def keep_state(self, stage: str, epoch: int, tensors: dict[str, Tensor], **more: Any) -> None:
        """Write the run's last complete state: what the next attempt goes on from."""
        about = {
            "stage": stage,
            "epoch": epoch,
            "step": self.recorder.step,
            "update": self.recorder.update,
            "fingerprint": self.dataset.fingerprint,
            "configuration": self._digest,
            "environment": self.world(),
            "evaluations": self.evaluations,
            "seconds": self.seconds,
            "wall_s": self.clock() - self.begun,
            "data_p95": self.data_p95,
            **more,
        }
        checkpoint.save(self.folder / CHECKPOINTS / STATE, tensors, about)

    def under_way(self, stage: str) -> Saved | None:
        """The state of that stage in which an earlier attempt stopped; None where it had not begun, or was done."""
        return (
            self.saved if self.saved is not None and self.saved.about["stage"] == stage and self.saved.tensors else None
        )

    def is_past(self, stage: str) -> bool:
        """Whether an earlier attempt came to a stage after that one."""
        order = list(planned_work(self.config, build_data=False))
        return self.saved is not None and order.index(self.saved.about["stage"]) > order.index(stage)

    def generator(self, *parts: object) -> torch.Generator:
        """The stream of (seed, stage, epoch)."""
        return torch_generator(self.config.seed, *parts)

    def summarise(self, force: bool = True) -> None:
        """The last and the best evaluation, for a list of runs."""
        last, best = self.evaluations[-1], self.best_evaluation()
        self.recorder.summary(
            force=force,
            score_last=last["normalized_score"],
            return_last=last["return"],
            score_best=best["normalized_score"],
            return_best=best["return"],
        )

    def best_evaluation(self) -> Scores:
        """The one with the highest return so far."""
        return max(self.evaluations, key=lambda scores: float(scores["return"] or 0.0))

    def provenance(self, epoch: int) -> dict[str, Any]:
        """What a policy file says of its origin."""
        about = {"task": self.task.name, "algorithm": self.config.algorithm, "seed": self.config.seed}
        return {**about, "stage": self.recorder.stage, "epoch": epoch}
