"""The two kinds of stage that make every algorithm: fit the dynamics, improve a policy.

Each goes on where an earlier attempt of the run stopped, with the same numbers as if it had not.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from engine import checkpoint
from engine.agents.learner import Learner
from engine.agents.networks import Networks
from engine.algorithms.alerts import Watch
from engine.algorithms.batches import Batches
from engine.algorithms.online_sac import snapshot
from engine.artefacts import ensemble_folder, fit_key, keep_ensemble, kept_ensemble
from engine.checkpoint import MODEL, STATE, Saved
from engine.compute import Compute
from engine.config import TrainConfig
from engine.control import CheckpointError, Diverged, StopRequests
from engine.data.behaviours import environment_versions
from engine.data.dataset import DatasetError, TransitionDataset
from engine.data.locking import locked
from engine.dynamics.calibration import calibrate
from engine.dynamics.ensemble import Ensemble, Model, Normaliser
from engine.dynamics.rollouts import Roller, Round
from engine.dynamics.training import DynamicsEpoch, FitState, fit
from engine.dynamics.uncertainty import histogram_counts
from engine.evaluation import Episodes, Evaluator, score
from engine.plan import PLANNED_DYNAMICS_EPOCHS, planned_work, stage1_evaluations
from engine.policy import Policy
from engine.progress import Progress
from engine.provenance import describe_data
from engine.randomness import torch_generator
from engine.record import CHECKPOINTS, CONFIG, Recorder
from engine.tasks import Task

# u on the data is measured on this many rows.
DATA_UNCERTAINTY_ROWS = 10_000
# The score of a run is also given as the mean of this many last evaluations.
LAST_EVALUATIONS = 10
# The policy that a run ends with, in its folder of checkpoints.
FINAL = "final.safetensors"
# Losses are looked at this often: a NaN is found near its step, and a device is seldom waited for.
CHECK_EVERY = 100


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
        last, best = self.evaluations[-1], best_evaluation(self)
        self.recorder.summary(
            force=force,
            score_last=last["normalized_score"],
            return_last=last["return"],
            score_best=best["normalized_score"],
            return_best=best["return"],
        )


# --- fit dynamics -----------------------------------------------------------------------------------------------------------------


def fit_dynamics(t: Training) -> Model:
    """The ensemble fitted to the batch: this run's own of an earlier attempt, one that another run fitted to the same data with the
    same settings and seed, or a new one. Whichever it is, the run records the same course of the fit."""
    own = t.folder / CHECKPOINTS / MODEL
    saved = checkpoint.load(own)
    if saved is None:
        t.progress.begin(
            "dynamics", f"an ensemble of {t.config.dynamics.members} networks for {len(t.rows)} transitions"
        )
        saved = shared_ensemble(t, own) if t.config.compute.reuse else fit_ensemble(t, own)
        t.keep_state("dynamics", len(saved.about["epochs"]), {})
    else:
        t.recorder.step = max(t.recorder.step, int(saved.about["step"]))
    about, tensors = saved.about, {name: tensor.to(t.compute.device) for name, tensor in saved.tensors.items()}
    elites = tuple(about["elites"])
    message = f"elites {list(elites)} after {len(about['epochs'])} epochs"
    if not t.is_past("dynamics"):
        t.recorder.event(
            "elites", message, elites=list(elites), val_loss=about["val_loss"], best_epoch=about["best_epoch"]
        )
    ensemble = Ensemble(t.task.observation_dim, t.task.action_dim, t.config.dynamics)
    scale = Normaliser(tensors["target_mean"], tensors["target_std"]) if "target_mean" in tensors else None
    return Model(ensemble, tensors["parameters"], Normaliser(tensors["mean"], tensors["std"]), elites, scale)


def shared_ensemble(t: Training, own: Path) -> Saved:
    """One that is kept for the same data, settings and seed, or a new one, which is kept; where nothing can be kept, a new one.

    A fit that an earlier attempt began goes on: another run's would be told on top of it.
    """
    key = fit_key(t.config, t.dataset)
    folder = ensemble_folder(t.data_root, key)
    with contextlib.ExitStack() as lock:
        try:
            waiting = "waiting for a run that fits the same ensemble"
            lock.enter_context(locked(folder, t.stop, lambda: t.recorder.event("ensemble", waiting)))
        except DatasetError as error:
            t.recorder.event("ensemble", f"{error}: it is not shared with other runs")
            return fit_ensemble(t, own)
        kept = kept_ensemble(folder)
        if kept is not None and t.under_way("dynamics") is None:
            retell_fit(t, kept)
            checkpoint.save(own, kept.tensors, {**kept.about, "step": t.recorder.step})
            return kept
        saved = fit_ensemble(t, own)
        if kept is None:
            try:
                keep_ensemble(folder, saved, key, t.recorder.folder.name)
            except OSError as error:
                t.recorder.event("ensemble", f"{folder}: {error.strerror or error}: it is not shared with other runs")
        return saved


def fit_ensemble(t: Training, own: Path) -> Saved:
    """Fit, with a checkpoint after each epoch; the result is the run's own in the file `own`."""
    settings, begun, earlier = t.config.dynamics, t.clock(), t.seconds.get("dynamics", 0.0)
    resumed, course = None, []
    if (begun_before := t.under_way("dynamics")) is not None:
        resumed = FitState(begun_before.tensors, begun_before.about["fit"])
        course = list(begun_before.about["course"])

    def on_epoch(epoch: DynamicsEpoch) -> None:
        course.append({"steps": epoch.steps, "train_loss": epoch.train_loss, "val_loss": epoch.val_loss})
        record_fit_epoch(t, len(course), course[-1], epoch.steps / epoch.seconds)
        t.seconds["dynamics"] = earlier + t.clock() - begun
        t.keep_state("dynamics", epoch.epoch, epoch.state.tensors, fit=epoch.state.about, course=course)

    def after_step(finished: int, share: float) -> None:
        t.stop()
        planned = planned_epochs or max(PLANNED_DYNAMICS_EPOCHS, finished + settings.patience)
        t.progress.update(min(1.0, (finished + share) / planned), f"epoch {finished + 1}/{math.ceil(planned)}")

    # A row whose s' is not known trains no model.
    known = t.config.dataset.next_observations == "shifted" or t.dataset.terminal_next_observations
    rows = t.rows if known else t.rows[t.rows[:, -1] == 0]
    if known and not t.dataset.terminal_next_observations and bool(rows[-1, -1]):
        rows = rows[:-1]  # the last row has no next one from which its s' could be shifted
    planned_epochs: float = settings.max_epochs
    if settings.steps:
        held_out = min(int(len(rows) * settings.holdout_fraction), settings.holdout_max)
        planned_epochs = settings.steps / max(1, (len(rows) - held_out) // settings.batch_size)
    sizes = (t.task.observation_dim, t.task.action_dim)
    model, val_loss, best_epoch = fit(rows, *sizes, settings, t.config.seed, t.compute, on_epoch, after_step, resumed)
    tensors = {"parameters": model.parameters, "mean": model.normaliser.mean, "std": model.normaliser.std}
    if model.target_scale is not None:
        tensors |= {"target_mean": model.target_scale.mean, "target_std": model.target_scale.std}
    about = {"elites": list(model.elites), "val_loss": val_loss, "best_epoch": best_epoch, "epochs": course}
    about["fitted_with"] = {**t.compute.record(), "torch": torch.__version__}
    t.seconds["dynamics"] = earlier + t.clock() - begun
    checkpoint.save(own, tensors, {**about, "step": t.recorder.step})
    return Saved(tensors, about)


def retell_fit(t: Training, saved: Saved) -> None:
    """Record the course of a fit that another run made, as if it had been made here."""
    t.recorder.event("ensemble", f"taken from {saved.about['fitted_by']}, which fitted it to the same data")
    for epoch, row in enumerate(saved.about["epochs"], start=1):
        t.stop()
        record_fit_epoch(t, epoch, row, None)


def record_fit_epoch(t: Training, epoch: int, row: dict[str, Any], rate: float | None) -> None:
    t.recorder.step += row["steps"]
    metrics = {f"dynamics/val_loss/{i}": loss for i, loss in enumerate(row["val_loss"])}
    metrics["dynamics/train_loss"] = row["train_loss"]
    if rate is not None:
        metrics["speed/dynamics_steps_per_s"] = rate
        t.recorder.summary(speed=rate, speed_unit="steps/s")
    t.recorder.metrics(metrics, epoch)
    t.watch.fit_epoch(epoch, row["val_loss"])


# --- improve a policy -------------------------------------------------------------------------------------------------------------


def improve_policy(
    t: Training,
    agent: Agent,
    batches: Batches,
    roller: Roller | None,
    what: str,
    stage: str = "policy",
    epochs: int | None = None,
) -> Policy:
    """Train `agent` on `batches`, an epoch at a time, with an evaluation every few; returns the final policy.

    Args:
        roller: the model, where there is one: u is then held against the data's, and the model against the real environment.
        what: the agent and its data in a few words.
        stage: what it is called in the run folder; its random streams are keyed by it.
        epochs: instead of the run's own number.
    """
    recorder, begun, device = t.recorder, t.clock(), t.rows.device
    epochs = epochs or t.epochs
    updates, discount = t.config.policy.updates_per_epoch, agent.networks.settings.discount
    largest_reward = float(abs(t.dataset.rewards).max())
    earlier = t.seconds.get(stage, 0.0)
    saved = t.under_way(stage)
    done = int(saved.about["epoch"]) if saved is not None else 0
    t.progress.begin(stage, f"{what}, {epochs} epochs of {updates} updates", done / epochs)
    if saved is not None:
        agent.load_state(saved.under("agent"))
        batches.load_state(saved.under("batches"), lambda epoch: t.generator(stage, epoch), t.stop)
    elif roller is not None:
        record_uncertainty_of_data(t, roller)

    for epoch in range(done + 1, epochs + 1):
        generator = t.generator(stage, epoch)
        agent.anneal((epoch - 1) / epochs)
        start = t.clock()
        rolled = batches.begin(epoch, agent.actor, generator, t.stop)
        rolling = t.clock() - start

        start = t.clock()
        batches.draw(updates, generator)
        sums = torch.zeros(len(agent.metrics), device=device)
        for i in range(updates):
            rows = batches.batch(i)
            noise = tuple(draws.to(device) for draws in agent.noise(len(rows), generator))
            sums += agent.update(rows, noise)
            if (i + 1) % CHECK_EVERY == 0 or i + 1 == updates:
                check_finite(agent, sums, epoch, i + 1)
            t.stop()
            t.progress.update((epoch - 1 + (i + 1) / updates) / epochs, f"epoch {epoch}/{epochs}")
        rate = updates / (t.clock() - start)

        recorder.step += updates
        recorder.update += updates
        metrics = dict(zip(agent.metrics, (sums / updates).tolist(), strict=True))
        speeds = {"speed/updates_per_s": rate}
        if rolled is not None:
            metrics |= rollout_metrics(rolled)
            speeds["speed/rollout_transitions_per_s"] = rolled.transitions / rolling
            recorder.histograms({"rollout": rolled.u_counts}, epoch)
        recorder.metrics({**metrics, **speeds}, epoch)
        recorder.summary(speed=rate, speed_unit="updates/s")
        t.watch.epoch(epoch, metrics, largest_reward, discount, t.data_p95)
        # The last epoch is none of its own, so that a run that goes on has the evaluations of one planned whole; but there is one.
        if epoch % t.config.evaluation.every == 0 or (epoch == epochs and epochs < t.config.evaluation.every):
            evaluate(t, agent, roller, epoch, epochs)
        t.seconds[stage] = earlier + t.clock() - begun
        state = {f"agent/{k}": v for k, v in agent.state().items()}
        t.keep_state(stage, epoch, state | {f"batches/{k}": v for k, v in batches.state().items()})
        t.stop.after(recorder.update)

    final = snapshot(agent, **provenance(t, epochs))
    final.save(t.folder / CHECKPOINTS / FINAL)
    return final


def check_finite(agent: Agent, sums: Tensor, epoch: int, updates: int) -> None:
    """Raise Diverged where a loss of the last updates was NaN or infinite."""
    if bool(torch.isfinite(sums).all()):
        return
    bad = [name for name, ok in zip(agent.metrics, torch.isfinite(sums).tolist(), strict=True) if not ok]
    first = (updates - 1) // CHECK_EVERY * CHECK_EVERY + 1
    raise Diverged(f"policy epoch {epoch}, updates {first} to {updates}: {', '.join(bad)} became NaN or infinite")


def uncertainty_of_data(t: Training, roller: Roller) -> Tensor:
    """u on 10 000 rows of the batch, always the same."""
    generator = t.generator("uncertainty", "data")
    index = torch.randint(len(t.rows), (min(DATA_UNCERTAINTY_ROWS, len(t.rows)),), generator=generator)
    rows, o = t.rows[index], t.task.observation_dim
    return roller.uncertainty(rows[:, :o], rows[:, o : o + t.task.action_dim])


def record_uncertainty_of_data(t: Training, roller: Roller) -> None:
    """u on rows of the batch: what u on rollouts is held against."""
    u = uncertainty_of_data(t, roller)
    p50, p95 = torch.quantile(u, torch.tensor([0.5, 0.95], device=u.device)).tolist()
    t.data_p95 = p95
    t.recorder.metrics({"uncertainty/data_p50": p50, "uncertainty/data_p95": p95})
    t.recorder.histograms({"data": histogram_counts(u)})


def rollout_metrics(rolled: Round) -> dict[str, float]:
    return {
        "uncertainty/mean": rolled.u_mean,
        "uncertainty/p50": rolled.u_p50,
        "uncertainty/p95": rolled.u_p95,
        "rollout/reward": rolled.mean_reward,
        "rollout/penalty": rolled.mean_penalty,
        "rollout/length": rolled.mean_length,
        "rollout/terminal_fraction": rolled.terminal_fraction,
        "rollout/dropped_fraction": rolled.dropped_fraction,
        "rollout/cut_fraction": rolled.cut_fraction,
    }


def provenance(t: Training, epoch: int) -> dict[str, Any]:
    """What a policy file says of its origin."""
    about = {"task": t.task.name, "algorithm": t.config.algorithm, "seed": t.config.seed}
    return {**about, "stage": t.recorder.stage, "epoch": epoch}


# --- evaluate ---------------------------------------------------------------------------------------------------------------------


def evaluate(t: Training, agent: Agent, roller: Roller | None, epoch: int, epochs: int) -> None:
    """Episodes in the real environment; the best policy so far is kept. With a model: how far it tells the truth."""
    episodes, policy = t.config.evaluation.episodes, snapshot(agent, **provenance(t, epoch))
    stage = t.recorder.stage
    stream = (t.config.seed, "evaluation", epoch) if stage == "policy" else (t.config.seed, "evaluation", stage, epoch)
    honest = roller is not None and t.config.evaluation.calibration
    real = t.evaluator.run(policy, episodes, stream, lambda _: t.stop(), keep=honest)
    scores = score(real, t.task)
    t.evaluations.append(scores)
    record_scores(t, scores, epoch)
    if roller is not None and honest:
        record_calibration(t, agent, roller, real, epoch)
    if best_evaluation(t) is scores:
        policy.save(t.folder / CHECKPOINTS / "best.safetensors")
    t.summarise()
    t.recorder.event("evaluation", f"epoch {epoch}: {describe(scores)} ({episodes} episodes)")
    # A policy that goes on in the model is not flat because the batch alone gave a better one.
    of_stage = t.evaluations[stage1_evaluations(t.config) if stage == "finetune" else 0 :]
    t.watch.score([float(s["return"] or 0.0) for s in of_stage], epochs // t.config.evaluation.every)


def record_calibration(t: Training, agent: Agent, roller: Roller, real: Episodes, epoch: int) -> None:
    """How honest the model and its penalty are about the policy that was just evaluated."""
    settings = t.config.evaluation
    starts, steps = settings.calibration_starts, settings.calibration_steps
    discount, generator = agent.networks.settings.discount, t.generator("calibration", epoch)
    penalty = None
    if isinstance(agent, Learner) and agent.penalty is not None:
        draws = t.generator("calibration", "penalty", epoch)
        penalty = agent.penalty.of_policy(agent.networks, agent.actor, agent.target_critic, draws)
    found = calibrate(roller, agent.actor, t.dataset, real, starts, steps, discount, generator, t.stop, penalty)
    t.recorder.metrics(found, epoch)


def record_scores(t: Training, scores: Scores, epoch: int) -> None:
    names = ("return", "return_std", "length", "progress", "normalized_score")
    t.recorder.metrics({f"eval/{n}": float(scores[n]) for n in names if scores[n] is not None}, epoch)  # type: ignore[arg-type]


def describe(scores: Scores) -> str:
    text = f"return {scores['return']:.1f} (std over episodes {scores['return_std']:.1f})"
    if scores["normalized_score"] is not None:
        text += f", normalized score {scores['normalized_score']:.1f}"
    if scores["progress"] is not None:
        text += f", progress {scores['progress']:.1f}"
    return text


def best_evaluation(t: Training) -> Scores:
    return max(t.evaluations, key=lambda scores: float(scores["return"] or 0.0))


def final_evaluation(
    t: Training,
    policy: Policy,
    others: Mapping[str, Policy] | None = None,
    evaluations: Sequence[Scores] | None = None,
    epochs: int | None = None,
    **more: Any,
) -> None:
    """The final policy's score over many episodes, and result.json: the run is finished.

    Args:
        others: policies of the run by name, scored in the same way, for result.json's "policies"; the final one may be among them.
        evaluations, epochs: those of the final policy's stage, where not all are.
        more: what else result.json is to say.
    """
    begun, episodes = t.clock(), t.config.evaluation.final_episodes
    others = others or {}
    to_play = 1 + sum(other is not policy for other in others.values())
    t.progress.begin("evaluation", f"{episodes} episodes of the final policy")

    def played(policy: Policy, number: int, name: str) -> Scores:
        def after_step(finished: int) -> None:
            t.stop()
            t.progress.update((number + finished / episodes) / to_play, f"{finished}/{episodes} episodes of {name}")

        stream = (t.config.seed, "evaluation", "final")
        return score(t.evaluator.run(policy, episodes, stream, after_step), t.task)

    final, scored = played(policy, 0, "the final policy"), {}
    for name, other in others.items():
        scored[name] = final if other is policy else played(other, 1, name)
    for name, values in scored.items():
        t.recorder.event("evaluation", f"{name}: {describe(values)} ({episodes} episodes)")
    record_scores(t, final, t.epochs)
    t.recorder.event("evaluation", f"final policy: {describe(final)} ({episodes} episodes)")
    t.seconds["evaluation"] = t.clock() - begun
    last = list(t.evaluations if evaluations is None else evaluations)[-LAST_EVALUATIONS:]
    t.recorder.summary(force=True, score_last=final["normalized_score"], return_last=final["return"])
    t.progress.finish()
    t.recorder.result(
        epochs=epochs or t.epochs,
        final=final,
        mean_last_10={
            "return": mean_of(last, "return"),
            "normalized_score": mean_of(last, "normalized_score"),
            "evaluations": len(last),
        },
        best=best_evaluation(t),
        **({"policies": scored} if scored else {}),
        **more,
        evaluated_in=describe_data(t.dataset)["environment"] | {"versions": environment_versions()},
        wall_s=t.clock() - t.begun,
        stages=t.seconds,
    )


def mean_of(scores: list[Scores], name: str) -> float | None:
    values = [value for one in scores if (value := one[name]) is not None]
    return sum(values) / len(values) if values else None
