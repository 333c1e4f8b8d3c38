"""MB2PO (Villaflor, Dolan & Schneider 2020): AWAC on the batch, then AWAC inside the penalised model.

    π, Q   <- AWAC(D, stage 1)
    models <- fit(D)
    until the iterations are done:
        D_k <- rollouts of h steps from states of D, a ~ π, r − λu
        1000 times: a batch of 5 % D and 95 % of the last ten D_k; TD update of Q, AWAC update of π

The second stage lifts policies from mixed data and ruins good ones, so a gate decides whether it is entered, and which policy to
use after it.
"""

from __future__ import annotations

from torch import Tensor

from engine import checkpoint
from engine.agents.awac import AWAC
from engine.algorithms import gate
from engine.algorithms.batches import ModelBatches, RealBatches
from engine.algorithms.gate import Decision
from engine.algorithms.model_free import make_awac
from engine.algorithms.mopo import bellman_penalty, make_roller
from engine.algorithms.stages import FINAL, Training, final_evaluation, fit_dynamics, improve_policy
from engine.dynamics.ensemble import Model
from engine.policy import Policy
from engine.record import CHECKPOINTS

# What stage 1 leaves: the agent whole, and both stages' policies.
AGENT, STAGE1, STAGE2 = "agent.safetensors", "stage1.safetensors", "stage2.safetensors"


def mb2po(t: Training) -> None:
    """Both stages and the gate between and after them; the recommended policy is the run's final one."""
    agent, first = behaviour_regularised(t)
    told = gate.enter_as_told(t)
    if told is not None and not told.yes:
        tell(t, "enter", told)
        finish(t, {"stage1": first}, "stage1", {"enter": told})
        return
    model = fit_dynamics(t)
    roller = make_roller(t, model, agent.networks, t.config.rollout.coefficient)
    entered = gate.enter(t, agent, roller, told)
    tell(t, "enter", entered)
    if not entered.yes:
        finish(t, {"stage1": first}, "stage1", {"enter": entered})
        return
    first_actor = agent.actor.detach().clone()
    second, second_actor = fine_tuned(t, agent, model)
    recommended = gate.recommend(t, agent, roller, first_actor, second_actor)
    tell(t, "recommend", recommended)
    chosen = "stage2" if recommended.yes else "stage1"
    finish(t, {"stage1": first, "stage2": second}, chosen, {"enter": entered, "recommend": recommended})


def behaviour_regularised(t: Training) -> tuple[AWAC, Policy]:
    """Stage 1: AWAC on the batch; the agent, and its policy."""
    agent, folder = make_awac(t), t.folder / CHECKPOINTS
    saved = checkpoint.load(folder / AGENT) if t.is_past("policy") else None
    if saved is not None:
        agent.load_state(saved.tensors)
        return agent, Policy.load(folder / STAGE1)
    batches = RealBatches(t.rows, t.config.awac.batch_size)
    policy = improve_policy(t, agent, batches, None, "AWAC on the batch", epochs=t.config.mb2po.stage1_epochs)
    policy.save(folder / STAGE1)
    checkpoint.save(folder / AGENT, agent.state(), {})
    return agent, policy


def fine_tuned(t: Training, first: AWAC, model: Model) -> tuple[Policy, Tensor]:
    """Stage 2: policy and Q go on inside the penalised model; the policy, and its flat actor."""
    settings, size = t.config.rollout, t.config.awac.batch_size
    agent = make_awac(t, bellman_penalty(t, model, settings.coefficient, size))
    agent.load_state(first.state())
    roller = make_roller(t, model, agent.networks, settings.coefficient)
    batches = ModelBatches(t.rows, t.task.observation_dim, roller, settings, size)
    what = f"AWAC in the model, λ = {settings.coefficient:g}, h = {settings.length}"
    policy = improve_policy(t, agent, batches, roller, what, stage="finetune")
    policy.save(t.folder / CHECKPOINTS / STAGE2)
    return policy, agent.actor


def tell(t: Training, which: str, decision: Decision) -> None:
    """The gate's decision and its evidence, as an event and as metrics."""
    answer = {
        "enter": ("stays with stage 1", "enters stage 2"),
        "recommend": ("recommends stage 1", "recommends stage 2"),
    }
    if which == "enter" and t.is_past("dynamics"):
        return  # an earlier attempt said it
    t.recorder.event("gate", f"{answer[which][decision.yes]}: {decision.why}", which=which, yes=decision.yes)
    t.recorder.metrics(
        {f"gate/{name}": value for name, value in decision.evidence.items()} | {f"gate/{which}": float(decision.yes)}
    )


def finish(t: Training, policies: dict[str, Policy], recommended: str, decisions: dict[str, Decision]) -> None:
    """Score the policies of both stages; the recommended one is the run's."""
    policy = policies[recommended]
    policy.save(t.folder / CHECKPOINTS / FINAL)
    in_stage1 = -(-t.config.mb2po.stage1_epochs // t.config.evaluation.every)
    evaluations = t.evaluations[:in_stage1] if recommended == "stage1" else t.evaluations[in_stage1:]
    told = {
        which: {"yes": decision.yes, "why": decision.why, "evidence": decision.evidence}
        for which, decision in decisions.items()
    }
    final_evaluation(t, policy, policies, evaluations, recommended=recommended, gate=told)
