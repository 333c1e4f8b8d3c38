"""Policies scored in the real environment, while they are trained and at the run's end; and with a model, its calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.agents.learner import Learner
from engine.algorithms.online_sac import snapshot
from engine.algorithms.training import Agent, Scores, Training
from engine.data.behaviours import environment_versions
from engine.dynamics.calibration import calibrate
from engine.dynamics.rollouts import Roller
from engine.evaluation import Episodes, score
from engine.plan import stage1_evaluations
from engine.policy import Policy
from engine.provenance import describe_data
from engine.record import CHECKPOINTS

# The score of a run is also given as the mean of this many last evaluations.
LAST_EVALUATIONS = 10


def evaluate(t: Training, agent: Agent, roller: Roller | None, epoch: int, epochs: int) -> None:
    """Episodes in the real environment; the best policy so far is kept. With a model: how far it tells the truth."""
    episodes, policy = t.config.evaluation.episodes, snapshot(agent, **t.provenance(epoch))
    stage = t.recorder.stage
    stream = (t.config.seed, "evaluation", epoch) if stage == "policy" else (t.config.seed, "evaluation", stage, epoch)
    honest = roller is not None and t.config.evaluation.calibration
    real = t.evaluator.run(policy, episodes, stream, lambda _: t.stop(), keep=honest)
    scores = score(real, t.task)
    t.evaluations.append(scores)
    record_scores(t, scores, epoch)
    if roller is not None and honest:
        record_calibration(t, agent, roller, real, epoch)
    if t.best_evaluation() is scores:
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
        best=t.best_evaluation(),
        **({"policies": scored} if scored else {}),
        **more,
        evaluated_in=describe_data(t.dataset)["environment"] | {"versions": environment_versions()},
        wall_s=t.clock() - t.begun,
        stages=t.seconds,
    )


def mean_of(scores: list[Scores], name: str) -> float | None:
    values = [value for one in scores if (value := one[name]) is not None]
    return sum(values) / len(values) if values else None
