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

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from engine import checkpoint
from engine.agents.awac import AWAC
from engine.algorithms import gate
from engine.algorithms.batches import ModelBatches, RealBatches
from engine.algorithms.dynamics_stage import fit_dynamics
from engine.algorithms.evaluating import final_evaluation
from engine.algorithms.gate import Decision
from engine.algorithms.model_free import make_awac
from engine.algorithms.mopo import bellman_penalty, make_roller
from engine.algorithms.policy_stage import FINAL, improve_policy, uncertainty_of_data
from engine.algorithms.training import Training
from engine.dynamics.ensemble import Model
from engine.dynamics.rollouts import Roller
from engine.plan import fine_tunes, stage1_evaluations
from engine.policy import Policy
from engine.record import CHECKPOINTS

# What stage 1 leaves: the agent whole, and its policy; what stage 2 leaves; what the gate decided.
AGENT, STAGE1, STAGE2, GATE = "agent.safetensors", "stage1.safetensors", "stage2.safetensors", "gate.json"


def mb2po(t: Training) -> None:
    """Both stages and the gate between and after them; the recommended policy is the run's final one."""
    first_agent, first = behaviour_regularised(t)
    if fine_tunes(t.config) is False:
        entered = decided(t, "enter", lambda: Decision(False, told(t), {}))
        finish(t, {"stage1": first}, "stage1", {"enter": entered})
        return
    model = fit_dynamics(t)
    roller = make_roller(t, model, first_agent.networks, t.config.rollout.coefficient, for_training=False)
    entered = decided(t, "enter", lambda: enter(t, first_agent, roller))
    if not entered.yes:
        finish(t, {"stage1": first}, "stage1", {"enter": entered})
        return
    agent, second = fine_tuned(t, first_agent, model)
    # Of a run that was given more iterations the policy is another one.
    recommended = decided(t, "recommend", lambda: recommend(t, first_agent.actor, agent, roller), t.epochs)
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


def fine_tuned(t: Training, first: AWAC, model: Model) -> tuple[AWAC, Policy]:
    """Stage 2: policy and Q go on inside the penalised model; the agent, and its policy."""
    settings, size = t.config.rollout, t.config.awac.batch_size
    agent = make_awac(t, bellman_penalty(t, model, settings.coefficient, size))
    agent.load_state(first.state())
    roller = make_roller(t, model, agent.networks, settings.coefficient)
    batches = ModelBatches(t.rows, t.task.observation_dim, roller, settings, size)
    what = f"AWAC in the model, λ = {settings.coefficient:g}, h = {settings.length}"
    policy = improve_policy(t, agent, batches, roller, what, stage="finetune")
    policy.save(t.folder / CHECKPOINTS / STAGE2)
    return agent, policy


# --- the gate ---------------------------------------------------------------------------------------------------------------------


def told(t: Training) -> str:
    """Why the configuration alone decides."""
    how = t.config.mb2po.enter
    return f"the paper's choice for {t.task.name}" if how == "paper" else f"mb2po.enter = {how}"


def enter(t: Training, agent: AWAC, roller: Roller) -> Decision:
    """Before stage 2: by the configuration where that decides, else by the evidence, which is told in either case."""
    given, length = fine_tunes(t.config), t.config.rollout.length
    evidence = gate.entry_evidence(
        agent.networks, agent.actor, roller, t.rows, length, t.generator("gate", "enter"), t.stop
    )
    auto = gate.may_enter(evidence)
    if given is not None:
        return Decision(given, f"{told(t)} (auto: {'yes' if auto.yes else 'no'}, {auto.why})", evidence)
    if t.config.mb2po.enter == "paper":
        return Decision(auto.yes, f"the paper says nothing of your own data, so by the evidence: {auto.why}", evidence)
    return auto


def recommend(t: Training, first: Tensor, agent: AWAC, roller: Roller) -> Decision:
    """After stage 2: is its policy the one to use?"""
    settings = t.config.evaluation

    def poll() -> None:
        t.stop()
        t.progress.update(1.0, "weighing both policies")

    evidence = gate.outcome_evidence(
        agent.networks,
        first,
        agent.actor,
        roller,
        t.rows,
        torch.from_numpy(t.dataset.start_states).to(t.rows.device),
        float(torch.quantile(uncertainty_of_data(t, roller), 0.95)),
        t.config.rollout.length,
        (settings.calibration_starts, settings.calibration_steps),
        t.config.mb2po.fitted_q_updates,
        float(abs(t.dataset.rewards).max()),
        t.compute,
        functools.partial(t.generator, "gate"),
        poll,
        agent.penalty,
    )
    if agent.penalty is None:
        return gate.may_recommend(evidence)
    return gate.may_recommend(evidence, "model return less the Bellman penalty")


def decided(t: Training, which: str, decide: Callable[[], Decision], after: int = 0) -> Decision:
    """The decision of an earlier attempt (of the same number of iterations `after`), by which the run stands, or a new one, told as
    an event and by its figures."""
    file, name = t.folder / CHECKPOINTS / GATE, f"{which} {after}" if after else which
    if (earlier := gate.kept(file, name)) is not None:
        return earlier
    decision = decide()
    answer = {
        "enter": ("stays with stage 1", "enters stage 2"),
        "recommend": ("recommends stage 1", "recommends stage 2"),
    }
    t.recorder.event("gate", f"{answer[which][decision.yes]}: {decision.why}", which=which, yes=decision.yes)
    figures = {f"gate/{name}": value for name, value in decision.evidence.items()}
    t.recorder.metrics(figures | {f"gate/{which}": float(decision.yes)})
    gate.keep(file, name, decision)
    return decision


def finish(t: Training, policies: dict[str, Policy], recommended: str, decisions: dict[str, Decision]) -> None:
    """Score the policies of both stages; the recommended one is the run's."""
    policy, stage1_epochs = policies[recommended], t.config.mb2po.stage1_epochs
    policy.save(t.folder / CHECKPOINTS / FINAL)
    in_stage1 = stage1_evaluations(t.config)
    first = recommended == "stage1"
    evaluations = t.evaluations[:in_stage1] if first else t.evaluations[in_stage1:]
    epochs = t.epochs if "stage2" in policies else stage1_epochs
    said = {
        which: {"yes": decision.yes, "why": decision.why, "evidence": decision.evidence}
        for which, decision in decisions.items()
    }
    final_evaluation(t, policy, policies, evaluations, epochs, recommended=recommended, gate=said)
