"""MB2PO's gate: whether the policy goes on in the model, and which of the two policies to use then.

Stage 2 lifts policies that were learnt from mixed data and ruins those that are near an expert's already (Villaflor et al. 2020,
table 1), and nobody who has only the batch can try which it is. The paper decides by the name of the dataset. `auto` decides by
what the batch and the models say; whatever it decides, its evidence is recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.agents.awac import AWAC
from engine.agents.fitted_q import fitted_q
from engine.algorithms.stages import Training, uncertainty_of_data
from engine.dynamics.calibration import model_returns
from engine.dynamics.rollouts import ModelBuffer, Roller
from engine.tasks import Task

# Batch states on which actions are compared, and start states of the rollouts that are.
STATES, ROLLOUTS = 10_000, 1000
# Where uniformly random actions are this many times as uncertain as the batch's own, the batch is narrow, and what the model says
# beside it is a guess; likewise where the policy's own rollouts are.
MOST_RANDOM_U, MOST_ROLLOUT_U = 2.0, 1.5
# After stage 2 the policy's median u may be at most so many times the data's 95th percentile.
MOST_FINAL_U = 1.0


@dataclass(frozen=True)
class Decision:
    """What was decided, why in a few words, and by which figures."""

    yes: bool
    why: str
    evidence: dict[str, float]


def entered_by_name(task: Task) -> bool:
    """The paper's choice: mixed datasets, halfcheetah-random and halfcheetah-medium; ant-angle and halfcheetah-jump are replay
    buffers, so they count as mixed."""
    return task.name.endswith("-medium-replay") or task.name in (
        "halfcheetah-random",
        "halfcheetah-medium",
        "ant-angle",
        "halfcheetah-jump",
    )


def enter_as_told(t: Training) -> Decision | None:
    """The decision of `always`, `never`, and `paper` on a task of the paper; None where the evidence decides."""
    how = t.config.mb2po.enter
    if how in ("always", "never"):
        return Decision(how == "always", f"mb2po.enter = {how}", {})
    if how == "paper":
        if not t.task.own:
            return Decision(entered_by_name(t.task), f"the paper's choice for {t.task.name}", {})
        t.recorder.event(
            "gate", f"{t.task.name} is a task of your own, of which the paper says nothing: decided as auto"
        )
    return None


def enter(t: Training, agent: AWAC, roller: Roller, told: Decision | None) -> Decision:
    """Before stage 2: is the batch wide enough for the model to be trusted beside it?

    Where the decision is `told` already, the evidence and what `auto` would have made of it are given beside it.

    Evidence:
        action_spread: RMS of a − mode π(s) over the batch.
        policy_u: median u(s, a ~ π) over that of the batch's own pairs.
        random_u: the same with uniformly random actions: how soon trust ends beside the batch.
        rollout_u: the same along rollouts of h steps.
    """
    generator, o = t.generator("gate", "enter"), t.task.observation_dim
    rows = t.rows[torch.randint(len(t.rows), (STATES,), generator=generator).to(t.rows.device)]
    s, a = rows[:, :o], rows[:, o : o + t.task.action_dim]
    noise = torch.randn(STATES, agent.networks.noise_dim, generator=generator).to(s.device)
    sampled, _ = agent.networks.sample(agent.actor, s, noise)
    uniform = (2 * torch.rand(a.shape, generator=generator) - 1).to(s.device)
    length = t.config.rollout.length
    buffer = ModelBuffer(1, ROLLOUTS * length, t.rows.shape[1], str(t.rows.device))
    rolled = roller.roll(agent.actor, s[:ROLLOUTS], length, buffer, generator, t.stop)
    data_u = median(roller.uncertainty(s, a))
    evidence = {
        "action_spread": float((a - agent.networks.mode(agent.actor, s)).square().mean().sqrt()),
        "policy_u": median(roller.uncertainty(s, sampled)) / data_u,
        "random_u": median(roller.uncertainty(s, uniform)) / data_u,
        "rollout_u": rolled.u_p50 / data_u,
    }
    auto = may_enter(evidence)
    if told is None:
        return auto
    return Decision(told.yes, f"{told.why} (auto: {'yes' if auto.yes else 'no'}, {auto.why})", evidence)


def may_enter(evidence: dict[str, float]) -> Decision:
    """The rule of `enter`."""
    narrow = evidence["random_u"] > MOST_RANDOM_U
    leaves = evidence["rollout_u"] > MOST_ROLLOUT_U
    if narrow:
        why = f"the batch is narrow: u of random actions is {evidence['random_u']:.2f} times the data's (at most {MOST_RANDOM_U:g})"
    elif leaves:
        why = (
            f"rollouts leave the batch: u is {evidence['rollout_u']:.2f} times the data's (at most {MOST_ROLLOUT_U:g})"
        )
    else:
        why = (
            f"the batch is wide: u of random actions {evidence['random_u']:.2f}, of rollouts {evidence['rollout_u']:.2f} times "
            "the data's"
        )
    return Decision(not (narrow or leaves), why, evidence)


def recommend(t: Training, agent: AWAC, roller: Roller, first: Tensor, second: Tensor) -> Decision:
    """After stage 2: is its policy the one to use? By the data and the models alone; yes for stage 2.

    Evidence, of stage 1 and stage 2 each:
        bound_1, bound_2: penalised discounted model return from the batch's start states.
        fitted_q_1, fitted_q_2: fitted Q evaluation on the batch, at its start states.
        u_2: median u of stage 2's rollouts over the data's 95th percentile.

    Args:
        first, second: flat actors.
    """
    settings, awac = t.config.evaluation, t.config.awac
    starts = torch.from_numpy(t.dataset.start_states).to(t.rows.device)
    evidence: dict[str, float] = {}
    for name, actor in (("1", first), ("2", second)):
        generator = t.generator("gate", "recommend")  # the same for both: they are compared
        drawn = starts[
            torch.randint(len(starts), (settings.calibration_starts,), generator=generator).to(starts.device)
        ]
        steps = settings.calibration_steps
        returns = model_returns(roller, actor, drawn, steps, awac.discount, generator, t.stop)
        kept = returns.penalised[~returns.dropped]
        evidence[f"bound_{name}"] = float(np.mean(kept)) if len(kept) else float("-inf")
        updates, sizes = t.config.mb2po.fitted_q_updates, (awac.critic_lr, awac.polyak, awac.batch_size)
        critic = fitted_q(agent.networks, actor, t.rows, *sizes, updates, t.compute, generator, t.stop)
        values = agent.networks.q(critic, starts, agent.networks.mode(actor, starts))
        evidence[f"fitted_q_{name}"] = float(values.mean())
    generator, length = t.generator("gate", "rollouts"), t.config.rollout.length
    buffer = ModelBuffer(1, ROLLOUTS * length, t.rows.shape[1], str(t.rows.device))
    begin = t.rows[torch.randint(len(t.rows), (ROLLOUTS,), generator=generator).to(t.rows.device)]
    rolled = roller.roll(second, begin[:, : t.task.observation_dim], length, buffer, generator, t.stop)
    evidence["u_2"] = rolled.u_p50 / float(torch.quantile(uncertainty_of_data(t, roller), 0.95))
    return may_recommend(evidence)


def may_recommend(evidence: dict[str, float]) -> Decision:
    """The rule of `recommend`."""
    bounds = f"penalised model return {evidence['bound_1']:.4g} → {evidence['bound_2']:.4g}"
    fitted = f"fitted Q {evidence['fitted_q_1']:.4g} → {evidence['fitted_q_2']:.4g}"
    if evidence["u_2"] > MOST_FINAL_U:
        return Decision(
            False, f"stage 2 lives where the model is unsure: u {evidence['u_2']:.2f} of the data's p95", evidence
        )
    yes = evidence["bound_2"] > evidence["bound_1"] and evidence["fitted_q_2"] > evidence["fitted_q_1"]
    return Decision(yes, f"{bounds}, {fitted}", evidence)


def median(u: Tensor) -> float:
    return float(u.median())
