"""MB2PO's gate: whether the policy goes on in the model, and which of the two policies to use then.

Stage 2 lifts policies that were learnt from mixed data and ruins those that are near an expert's already (Villaflor et al. 2020,
table 1), and nobody who has only the batch can try which it is. The paper decides by the name of the dataset. `auto` decides by
what the batch and the models say. Wherever there is a model its evidence is recorded, whoever decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.agents.fitted_q import fitted_q
from engine.agents.networks import Networks
from engine.compute import Compute
from engine.control import Diverged
from engine.dynamics.calibration import MOST_DROPPED, model_returns
from engine.dynamics.rollouts import ModelBuffer, Roller
from engine.pessimism import BellmanPenalty
from engine.record import number, read_json, write_json

Generators = Callable[[str], torch.Generator]
Poll = Callable[[], None]

# Batch states on which actions are compared, and rollouts that are.
STATES, ROLLOUTS = 10_000, 1000
# Where uniformly random actions are this many times as uncertain as the batch's own, the batch is narrow, and what the model says
# beside it is a guess; likewise where the policy's own rollouts are.
MOST_RANDOM_U, MOST_ROLLOUT_U = 2.0, 1.5
# After stage 2 the policy's median u may be at most so many times the data's 95th percentile.
MOST_FINAL_U = 1.0
# Fitted Q evaluation: faster targets than an agent's, since value has to spread over 1/(1 − γ) steps within its updates.
FITTED_Q_LR, FITTED_Q_POLYAK, FITTED_Q_BATCH = 3e-4, 0.02, 256


@dataclass(frozen=True)
class Decision:
    """What was decided, why in a few words, and by which figures."""

    yes: bool
    why: str
    evidence: dict[str, float]


def keep(file: Path, which: str, decision: Decision) -> None:
    """Write a decision beside those that `file` has: a later attempt of the run stands by it."""
    decisions = read_json(file) or {}
    write_json(file, decisions | {which: {"yes": decision.yes, "why": decision.why, "evidence": decision.evidence}})


def kept(file: Path, which: str) -> Decision | None:
    """What an earlier attempt of the run decided; None where it did not come so far."""
    recorded = (read_json(file) or {}).get(which)
    if not isinstance(recorded, dict):
        return None
    evidence = {name: number(value) for name, value in recorded["evidence"].items()}
    return Decision(bool(recorded["yes"]), str(recorded["why"]), evidence)


# --- before stage 2 ---------------------------------------------------------------------------------------------------------------


def entry_evidence(
    networks: Networks, actor: Tensor, roller: Roller, rows: Tensor, length: int, generator: torch.Generator, poll: Poll
) -> dict[str, float]:
    """How wide the batch is, and how far stage 1's policy leaves it.

    Args:
        actor: stage 1's, flat.
        rows: the dataset, packed.
        length: h of the rollouts.

    Returns:
        action_spread: RMS of a − mode π(s) over the batch.
        policy_u: median u(s, a ~ π) over that of the batch's own pairs.
        random_u: the same with uniformly random actions: how soon trust ends beside the batch.
        rollout_u: the same along rollouts of h steps; infinite where none stayed within the divergence guards.
    """
    o, end = networks.observation_dim, networks.observation_dim + networks.action_dim
    drawn = rows[torch.randint(len(rows), (STATES,), generator=generator).to(rows.device)]
    s, a = drawn[:, :o], drawn[:, o:end]
    noise = torch.randn(STATES, networks.noise_dim, generator=generator).to(s.device)
    uniform = (2 * torch.rand(a.shape, generator=generator) - 1).to(s.device)
    sampled, _ = networks.sample(actor, s, noise)
    of_the_data = float(roller.uncertainty(s, a).median())
    return {
        "action_spread": float((a - networks.mode(actor, s)).square().mean().sqrt()),
        "policy_u": ratio(float(roller.uncertainty(s, sampled).median()), of_the_data),
        "random_u": ratio(float(roller.uncertainty(s, uniform).median()), of_the_data),
        "rollout_u": ratio(rollouts_u(roller, actor, rows, o, length, generator, poll), of_the_data),
    }


def may_enter(evidence: dict[str, float]) -> Decision:
    """The rule before stage 2: the batch is wide, and the policy's rollouts stay in it."""
    random, rollout = evidence["random_u"], evidence["rollout_u"]
    if not random <= MOST_RANDOM_U:
        why = f"the batch is narrow: u of random actions is {random:.2f} times the data's (at most {MOST_RANDOM_U:g})"
        return Decision(False, why, evidence)
    if not rollout <= MOST_ROLLOUT_U:
        why = f"rollouts leave the batch: u is {rollout:.2f} times the data's (at most {MOST_ROLLOUT_U:g})"
        return Decision(False, why, evidence)
    why = f"the batch is wide: u of random actions {random:.2f}, of rollouts {rollout:.2f} times the data's"
    return Decision(True, why, evidence)


# --- after stage 2 ----------------------------------------------------------------------------------------------------------------


def outcome_evidence(
    networks: Networks,
    first: Tensor,
    second: Tensor,
    roller: Roller,
    rows: Tensor,
    starts: Tensor,
    data_p95: float,
    length: int,
    returns: tuple[int, int],
    updates: int,
    largest_reward: float,
    compute: Compute,
    generators: Generators,
    poll: Poll,
    penalty: BellmanPenalty | None = None,
) -> dict[str, float]:
    """What model and data say of both stages' policies; the same start states, noise and initial critics for both.

    Args:
        first, second: flat actors.
        roller: the penalised model.
        starts: the batch's start states, (n, obs).
        data_p95: the 95th percentile of u on the data.
        length: h of the rollouts on which u is taken.
        returns: rollouts and steps of the model returns.
        updates: of each fitted Q evaluation.
        largest_reward: of the batch, in size.
        generators: a fresh stream by name.
        penalty: where stage 2 had it on the Bellman target (the roller's λ is 0 then). Each policy's is taken with the critics of
            its fitted Q evaluation: of the values at hand those are nearest its real V^π, and alike for both.

    Returns:
        bound_1, bound_2: mean penalised discounted model return; −inf where more than 1 % of the rollouts diverged.
        bound_stderr: standard error of their difference.
        dropped_1, dropped_2: shares that diverged.
        fitted_q_1, fitted_q_2: fitted Q evaluation at the start states; −inf where it exceeds what the rewards could ever be worth.
        u_2: median u of stage 2's rollouts over the data's 95th percentile.
    """
    count, steps = returns
    discount, evidence, variance = networks.settings.discount, dict[str, float](), 0.0
    most = largest_reward / (1 - discount) if discount < 1 else math.inf
    for name, actor in (("1", first), ("2", second)):
        generator = generators("model returns")
        drawn = starts[torch.randint(len(starts), (count,), generator=generator).to(starts.device)]
        sizes = (FITTED_Q_LR, FITTED_Q_POLYAK, FITTED_Q_BATCH)
        critic = fitted_q(networks, actor, rows, *sizes, updates, compute, generators("fitted Q"), poll)
        further = None if penalty is None else penalty.of_policy(networks, actor, critic, generators("penalty"))
        model = model_returns(roller, actor, drawn, steps, discount, generator, poll, further)
        whole = model.penalised[~model.dropped]
        believed = model.dropped.mean() <= MOST_DROPPED
        evidence[f"dropped_{name}"] = float(model.dropped.mean())
        evidence[f"bound_{name}"] = float(whole.mean()) if believed else -math.inf
        variance += float(whole.var(ddof=1)) / len(whole) if believed and len(whole) > 1 else 0.0
        value = float(networks.q(critic, starts, networks.mode(actor, starts)).mean())
        evidence[f"fitted_q_{name}"] = value if abs(value) <= most else -math.inf
    evidence["bound_stderr"] = float(np.sqrt(variance))
    lives = rollouts_u(roller, second, rows, networks.observation_dim, length, generators("rollouts"), poll)
    evidence["u_2"] = ratio(lives, data_p95)
    return evidence


def may_recommend(evidence: dict[str, float], bound: str = "penalised model return") -> Decision:
    """The rule after stage 2: its policy lives where the model is sure, and model and data both find it better.

    Args:
        bound: what the bounds are called in the reason.
    """
    if not evidence["u_2"] <= MOST_FINAL_U:
        why = f"stage 2 lives where the model is unsure: u is {evidence['u_2']:.2f} times the data's p95 (at most {MOST_FINAL_U:g})"
        return Decision(False, why, evidence)
    why = ", ".join(
        f"{title} {evidence[f'{name}_1']:.4g} → {evidence[f'{name}_2']:.4g}"
        for name, title in (("bound", bound), ("fitted_q", "fitted Q"))
    )
    if not evidence["bound_2"] > evidence["bound_1"]:
        return Decision(False, f"{why}; the model finds it no better", evidence)
    if not evidence["bound_2"] > evidence["bound_1"] + evidence["bound_stderr"]:
        return Decision(
            False, f"{why}; the model's gain is within its standard error of {evidence['bound_stderr']:.2g}", evidence
        )
    if not evidence["fitted_q_2"] > evidence["fitted_q_1"]:
        return Decision(False, f"{why}; the data find it no better", evidence)
    return Decision(True, f"{why}; both find it better", evidence)


# --- both -------------------------------------------------------------------------------------------------------------------------


def rollouts_u(
    roller: Roller,
    actor: Tensor,
    rows: Tensor,
    observation_dim: int,
    length: int,
    generator: torch.Generator,
    poll: Poll,
) -> float:
    """Median u of rollouts from batch states; infinite where none stayed within the divergence guards."""
    starts = rows[torch.randint(len(rows), (ROLLOUTS,), generator=generator).to(rows.device), :observation_dim]
    buffer = ModelBuffer(1, ROLLOUTS * length, rows.shape[1], str(rows.device))
    try:
        return roller.roll(actor, starts, length, buffer, generator, poll).u_p50
    except Diverged:
        return math.inf


def ratio(u: float, of: float) -> float:
    """u over another u; 1 where both are 0."""
    if of > 0:
        return u / of
    return 1.0 if u == 0 else math.inf
