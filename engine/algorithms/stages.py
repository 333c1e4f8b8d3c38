"""The two kinds of stage that make every algorithm: fit the dynamics, improve a policy."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import torch
from torch import Tensor

from engine import envs
from engine.agents.sac import METRICS, SAC
from engine.algorithms.online_sac import snapshot
from engine.compute import Compute
from engine.config import TrainConfig
from engine.control import Diverged, StopRequests
from engine.data.dataset import TransitionDataset
from engine.dynamics.ensemble import Model
from engine.dynamics.rollouts import ModelBuffer, Roller, Round
from engine.dynamics.training import DynamicsEpoch, fit
from engine.dynamics.uncertainty import histogram_counts
from engine.evaluation import deterministic, run_episodes, score
from engine.policy import Policy
from engine.progress import PLANNED_DYNAMICS_EPOCHS, Progress
from engine.randomness import torch_generator
from engine.record import CHECKPOINTS, Recorder
from engine.tasks import Task

# u on the data is measured on this many rows.
DATA_UNCERTAINTY_ROWS = 10_000
# The score of a run is also given as the mean of this many last evaluations.
LAST_EVALUATIONS = 10


@dataclass
class Training:
    """Everything a stage works with, and what the stages have found so far."""

    config: TrainConfig
    task: Task
    dataset: TransitionDataset
    recorder: Recorder
    progress: Progress
    compute: Compute
    stop: StopRequests
    folder: Path
    evaluations: list[dict[str, float | None]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    begun: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.rows: Tensor = torch.from_numpy(self.dataset.rows).to(self.compute.device)
        about = self.dataset.manifest
        self.env: gymnasium.Env[Any, Any] = envs.make(about["environment"], **about.get("environment_options", {}))

    def generator(self, *parts: object) -> torch.Generator:
        """The stream of (seed, stage, epoch)."""
        return torch_generator(self.config.seed, *parts)


def fit_dynamics(t: Training) -> Model:
    """Fit the ensemble to the batch and record the holdout error of each member."""
    settings, recorder, begun = t.config.dynamics, t.recorder, time.perf_counter()
    cap = f"at most {settings.max_epochs} epochs" if settings.max_epochs else "until no member improves"
    rows = t.rows if t.dataset.terminal_next_observations else t.rows[t.rows[:, -1] == 0]
    t.progress.begin("dynamics", f"fitting {settings.members} networks to {len(rows)} transitions, {cap}")
    last: list[DynamicsEpoch] = []

    def on_epoch(epoch: DynamicsEpoch) -> None:
        last[:] = [epoch]
        recorder.step += epoch.steps
        rate = epoch.steps / epoch.seconds
        losses = {f"dynamics/val_loss/{i}": loss for i, loss in enumerate(epoch.val_loss)}
        speed = {"speed/dynamics_steps_per_s": rate}
        recorder.metrics({**losses, "dynamics/train_loss": epoch.train_loss, **speed}, epoch.epoch)
        t.recorder.summary(speed=rate, speed_unit="steps/s")

    def after_step(finished: int, share: float) -> None:
        t.stop()
        planned = settings.max_epochs or max(PLANNED_DYNAMICS_EPOCHS, finished + settings.patience)
        t.progress.update((finished + share) / planned, f"epoch {finished + 1}/{planned}")

    model, val_loss = fit(
        rows, t.task.observation_dim, t.task.action_dim, settings, t.config.seed, t.compute, on_epoch, after_step
    )
    message = f"elites {list(model.elites)} after {last[0].epoch} epochs"
    best_epoch = last[0].best_epoch
    recorder.event("elites", message, elites=list(model.elites), val_loss=val_loss, best_epoch=best_epoch)
    t.seconds["dynamics"] = time.perf_counter() - begun
    return model


def improve_policy(t: Training, model: Model, coefficient: float) -> Policy:
    """SAC on real and penalised model transitions (Yu et al. 2020, algorithm 2); returns the final policy.

    Each epoch: h steps from random batch states with the current policy into the model buffer, then gradient steps on batches of
    5 % real and 95 % model transitions.
    """
    config, settings, recorder, begun = t.config, t.config.rollout, t.recorder, time.perf_counter()
    epochs, updates = config.policy.epochs, config.policy.updates_per_epoch
    observation_dim, action_dim = t.task.observation_dim, t.task.action_dim
    sac = dataclasses.replace(config.sac, target_entropy=config.sac.target_entropy or -float(action_dim))
    agent = SAC(observation_dim, action_dim, sac, t.compute, t.generator("policy", "init"))
    roller = Roller(agent.networks, model, t.task.termination, settings.uncertainty, coefficient, t.compute)
    capacity = settings.starts * settings.length
    buffer = ModelBuffer(settings.retain_rounds, capacity, t.rows.shape[1], t.compute.device)
    real = int(settings.real_fraction * config.sac.batch_size)
    t.progress.begin("policy", f"{epochs} epochs of {updates} updates; λ = {coefficient:g}, h = {settings.length}")
    record_uncertainty_of_data(t, roller)

    for epoch in range(1, epochs + 1):
        generator = t.generator("policy", epoch)
        start = time.perf_counter()
        starts = t.rows[torch.randint(len(t.rows), (settings.starts,), generator=generator), :observation_dim]
        rolled = roller.roll(agent.actor, starts, settings.length, buffer, generator, t.stop)
        rolling = time.perf_counter() - start

        start = time.perf_counter()
        real_index = torch.randint(len(t.rows), (updates, real), generator=generator).to(t.rows.device)
        draws = torch.rand(updates, config.sac.batch_size - real, generator=generator)
        model_index = buffer.indices(draws.to(t.rows.device))
        sums = torch.zeros(len(METRICS), device=t.rows.device)
        for i in range(updates):
            batch = torch.cat([t.rows.index_select(0, real_index[i]), buffer.gather(model_index[i])])
            noise = torch.randn(2, len(batch), action_dim, generator=generator).to(batch.device)
            sums += agent.update(batch, noise)
            t.stop()
            t.progress.update((epoch - 1 + (i + 1) / updates) / epochs, f"epoch {epoch}/{epochs}")
        training = time.perf_counter() - start

        recorder.step += updates
        recorder.update += updates
        losses = dict(zip(METRICS, (sums / updates).tolist(), strict=True))
        if not all(abs(value) < float("inf") for value in losses.values()):
            raise Diverged(
                f"policy epoch {epoch}: {', '.join(k for k, v in losses.items() if not abs(v) < float('inf'))}"
            )
        speeds = {
            "speed/updates_per_s": updates / training,
            "speed/rollout_transitions_per_s": rolled.transitions / rolling,
        }
        recorder.metrics({**losses, **rollout_metrics(rolled), **speeds}, epoch)
        recorder.histograms({"rollout": rolled.u_counts}, epoch)
        recorder.summary(speed=updates / training, speed_unit="updates/s")
        if epoch % config.evaluation.every == 0 or epoch == epochs:
            evaluate(t, snapshot(agent, **provenance(t, epoch)), epoch)

    final = snapshot(agent, **provenance(t, epochs))
    final.save(t.folder / CHECKPOINTS / "final.safetensors")
    t.seconds["policy"] = time.perf_counter() - begun
    return final


def record_uncertainty_of_data(t: Training, roller: Roller) -> None:
    """u on rows of the batch: what u on rollouts is held against."""
    generator = t.generator("uncertainty", "data")
    index = torch.randint(len(t.rows), (min(DATA_UNCERTAINTY_ROWS, len(t.rows)),), generator=generator)
    rows, o = t.rows[index], t.task.observation_dim
    u = roller.uncertainty(rows[:, :o], rows[:, o : o + t.task.action_dim])
    p50, p95 = torch.quantile(u, torch.tensor([0.5, 0.95], device=u.device)).tolist()
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
    }


def provenance(t: Training, epoch: int) -> dict[str, Any]:
    """What a policy file says of its origin."""
    return {"task": t.task.name, "algorithm": t.config.algorithm, "seed": t.config.seed, "epoch": epoch}


def evaluate(t: Training, policy: Policy, epoch: int) -> None:
    """Episodes in the real environment; the best policy so far is kept."""
    episodes = t.config.evaluation.episodes
    stream = (t.config.seed, "evaluation", epoch)
    scores = score(run_episodes(t.env, deterministic(policy), episodes, stream, lambda _: t.stop()), t.task)
    t.evaluations.append(scores)
    record_scores(t, scores, epoch)
    best = best_evaluation(t)
    if best is scores:
        policy.save(t.folder / CHECKPOINTS / "best.safetensors")
    t.recorder.summary(
        force=True,
        score_last=scores["normalized_score"],
        return_last=scores["return"],
        score_best=best["normalized_score"],
        return_best=best["return"],
    )
    t.recorder.event("evaluation", f"epoch {epoch}: {describe(scores)} ({episodes} episodes)")


def record_scores(t: Training, scores: dict[str, float | None], epoch: int) -> None:
    names = ("return", "return_std", "length", "progress", "normalized_score")
    t.recorder.metrics({f"eval/{n}": float(scores[n]) for n in names if scores[n] is not None}, epoch)  # type: ignore[arg-type]


def describe(scores: dict[str, float | None]) -> str:
    text = f"return {scores['return']:.1f} (std over episodes {scores['return_std']:.1f})"
    if scores["normalized_score"] is not None:
        text += f", normalized score {scores['normalized_score']:.1f}"
    if scores["progress"] is not None:
        text += f", progress {scores['progress']:.1f}"
    return text


def best_evaluation(t: Training) -> dict[str, float | None]:
    return max(t.evaluations, key=lambda scores: float(scores["return"] or 0.0))


def final_evaluation(t: Training, policy: Policy) -> None:
    """The final policy's score over many episodes, and result.json: the run is finished."""
    begun, episodes = time.perf_counter(), t.config.evaluation.final_episodes
    t.progress.begin("evaluation", f"{episodes} episodes of the final policy")

    def after_step(finished: int) -> None:
        t.stop()
        t.progress.update(finished / episodes, f"{finished}/{episodes} episodes")

    stream = (t.config.seed, "evaluation", "final")
    final = score(run_episodes(t.env, deterministic(policy), episodes, stream, after_step), t.task)
    record_scores(t, final, t.config.policy.epochs)
    t.recorder.event("evaluation", f"final policy: {describe(final)} ({episodes} episodes)")
    t.seconds["evaluation"] = time.perf_counter() - begun
    last = t.evaluations[-LAST_EVALUATIONS:]
    t.recorder.summary(force=True, score_last=final["normalized_score"], return_last=final["return"])
    t.progress.finish()
    t.recorder.result(
        final=final,
        mean_last_10={
            "return": mean_of(last, "return"),
            "normalized_score": mean_of(last, "normalized_score"),
            "evaluations": len(last),
        },
        best=best_evaluation(t),
        wall_s=time.perf_counter() - t.begun,
        stages=t.seconds,
    )


def mean_of(scores: list[dict[str, float | None]], name: str) -> float | None:
    values = [value for one in scores if (value := one[name]) is not None]
    return sum(values) / len(values) if values else None
