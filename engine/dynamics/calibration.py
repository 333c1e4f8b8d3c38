"""Is the penalty honest? What the model promises of a policy, held against episodes of that policy in the real environment.

The theory's claim is that the penalised model return is a lower bound of the real one, if u bounds the model's error. Neither is
given in practice, and both can be measured: the returns from the same kind of start states, the rank correlation of u with the
error it stands for, and how fast predictions drift from what happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.data.dataset import TransitionDataset
from engine.dynamics.rollouts import Roller
from engine.evaluation import Episodes, Recorded, discounted_return

Array = NDArray[np.float64]
# What comes off the reward of each of (s, a), (batch, obs) and (batch, act) -> (batch,).
Penalty = Callable[[Tensor, Tensor], Tensor]

# Real transitions on which u is held against the model's error, and segments replayed in the model: evenly taken at most.
TRANSITIONS, SEGMENTS = 2000, 500
HORIZONS = (1, 5, 10, 20)
# Where more of the rollouts than this diverged, the returns of those that are left say nothing of a lower bound.
MOST_DROPPED = 0.01


@dataclass(frozen=True)
class ModelReturns:
    """Discounted returns of rollouts in the model, each (starts,).

    Attributes:
        plain: of r̂.
        penalised: of r̂ − λu, or of r̂ − βb where the penalty comes off the Bellman target: what the policy's pessimistic Q stands
            for, see `engine.pessimism.BellmanPenalty`.
        dropped: which rollouts a divergence guard ended: their returns lack the rest and are to be left out.
        penalty_share: mean penalty / mean|r̂| over the model steps that no guard dropped; None where r̂ is 0 or there is none.
    """

    plain: Array
    penalised: Array
    dropped: NDArray[np.bool_]
    penalty_share: float | None


def model_returns(
    roller: Roller,
    actor: Tensor,
    starts: Tensor,
    steps: int,
    discount: float,
    generator: torch.Generator,
    stop_requested: Callable[[], None],
    penalty: Penalty | None = None,
) -> ModelReturns:
    """What the policy's mean action earns in the model, whose steps are sampled as in rollouts; from each of `starts` (n, obs).

    A terminal step's reward is the last that its rollout earns.

    Args:
        penalty: what comes off besides the roller's λu.
    """
    plain = torch.zeros(len(starts), dtype=torch.float64, device=starts.device)
    penalised, dropped = plain.clone(), torch.zeros(len(starts), dtype=torch.bool, device=starts.device)
    penalties, sizes = torch.zeros_like(plain[:1]), torch.zeros_like(plain[:1])
    s, alive = starts, torch.arange(len(starts), device=starts.device)
    for t in range(steps):
        if len(alive) == 0:
            break
        stop_requested()
        rows, u, reward, bad = roller.evaluation_step(actor, s, generator)
        dropped[alive[bad]] = True
        kept = ~bad
        alive, rows, u, reward = alive[kept], rows[kept], u[kept].double(), reward[kept].double()
        reward_column = -2 - starts.shape[1]  # of [s | a | r | s' | d]
        plain[alive] += discount**t * reward
        left, off = rows[:, reward_column].double(), roller.coefficient * u
        if penalty is not None:
            o = starts.shape[1]
            further = penalty(rows[:, :o], rows[:, o:reward_column]).double()
            left, off = left - further, off + further
        penalised[alive] += discount**t * left
        penalties += off.sum()
        sizes += reward.abs().sum()
        going = rows[:, -1] == 0
        s, alive = rows[going, reward_column + 1 : -1], alive[going]
    share = float(penalties / sizes) if float(sizes) > 0 else None
    return ModelReturns(plain.cpu().numpy(), penalised.cpu().numpy(), dropped.cpu().numpy(), share)


def evenly(size: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the numbers 0 … size − 1, evenly spaced, each once."""
    return np.linspace(0, size - 1, min(size, most)).round().astype(np.int64)


def ranks(values: Array) -> Array:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    shared: Array = (last - (counts - 1) / 2)[inverse]
    return shared


def rank_correlation(x: Array, y: Array) -> float | None:
    """Spearman's ρ, the correlation of the ranks, in [−1, 1]; None where one of them is constant or there are no two pairs.

    Pairs with a value that is not finite are left out.
    """
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.sum() < 2:
        return None
    a, b = ranks(x[finite]), ranks(y[finite])
    a, b = a - a.mean(), b - b.mean()
    width = float(np.sqrt((a @ a) * (b @ b)))
    return float(np.clip(a @ b / width, -1, 1)) if width > 0 else None


def one_step_errors(roller: Roller, episodes: Sequence[Recorded], device: torch.device) -> tuple[Array, Array]:
    """u and ‖(r̂, ŝ') − (r, s')‖₂ along real episodes, two arrays of at most `TRANSITIONS`; r̂, ŝ' are the elites' average mean."""
    taken = evenly(sum(len(e) for e in episodes), TRANSITIONS)

    def gathered(arrays: list[NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.concatenate(arrays)[taken]).to(device)

    rewards = [e.rewards.astype(np.float32)[:, None] for e in episodes]
    outcome = torch.cat([gathered(rewards), gathered([e.observations[1:] for e in episodes])], dim=1)
    expected, u = roller.predict(
        gathered([e.observations[:-1] for e in episodes]), gathered([e.actions for e in episodes])
    )
    errors = (expected - outcome).double().norm(dim=1)
    return u.double().cpu().numpy(), errors.cpu().numpy()


def open_loop_errors(roller: Roller, episodes: Sequence[Recorded], device: torch.device) -> dict[int, float]:
    """How far the model drifts from what happened when the actions of real episodes are replayed in it, per horizon in steps.

    From at most `SEGMENTS` real states the elites' average mean is followed without noise. The error is the root mean square over
    segments and dimensions of (ŝ − s)/std, std that of the dimension over the batch. Segments that end before a horizon do not
    count in it; a horizon that none reaches, or at which the model has left the floats, is absent.
    """
    firsts = np.concatenate([[0], np.cumsum([len(e) + 1 for e in episodes])[:-1]])
    states = torch.from_numpy(np.concatenate([e.observations for e in episodes])).to(device)
    # One action to each state; nothing is done in an episode's last.
    idle = np.zeros_like(episodes[0].actions[:1])
    actions = torch.from_numpy(np.concatenate([a for e in episodes for a in (e.actions, idle)])).to(device)
    at = np.concatenate([first + np.arange(len(e)) for first, e in zip(firsts, episodes, strict=True)])
    left = np.concatenate([len(e) - np.arange(len(e)) for e in episodes])
    taken = evenly(len(at), SEGMENTS)
    position, remaining = torch.from_numpy(at[taken]).to(device), torch.from_numpy(left[taken]).to(device)
    predicted, std = states[position], roller.observation_std
    errors: dict[int, float] = {}
    for step in range(1, max(HORIZONS) + 1):
        going = remaining >= step
        if not bool(going.any()):
            break
        position, remaining, predicted = position[going], remaining[going], predicted[going]
        predicted = roller.predict(predicted, actions[position])[0][:, 1:]
        position = position + 1
        if step in HORIZONS:
            error = float(((predicted - states[position]) / std).double().square().mean().sqrt())
            if np.isfinite(error):
                errors[step] = error
    return errors


def calibrate(
    roller: Roller,
    actor: Tensor,
    dataset: TransitionDataset,
    real: Episodes,
    starts: int,
    steps: int,
    discount: float,
    generator: torch.Generator,
    stop_requested: Callable[[], None] = lambda: None,
    penalty: Penalty | None = None,
) -> dict[str, float]:
    """What the model says of a policy against what the policy did, as metrics by name; one that cannot be told is absent.

    Args:
        roller: model, penalty and λ as the policy was trained with.
        actor: the policy's flat parameters.
        dataset: the batch, whose start states the rollouts begin in.
        real: episodes of the same policy with its mean action in the real environment, kept.
        starts: rollouts in the model, from start states drawn with replacement.
        steps: model steps of each. Returns are compared over this many steps, fewer if the time limit cut a real episode before.
        discount: γ.
        generator: draws start states and model noise.
        stop_requested: called at each model step; may raise to stop.
        penalty: of a policy whose penalty comes off the Bellman target; the roller then has λ = 0.

    Returns:
        eval/model_return, eval/model_return_penalised: mean discounted returns of the rollouts that no guard dropped.
        eval/discounted_return: the same in the real environment.
        calibration/dropped_fraction: share of rollouts that a divergence guard ended.
        calibration/lower_bound: 1 where the penalised model return is at most the real one, else 0; absent where more than 1 % of
            the rollouts were dropped.
        calibration/margin: the real return less the penalised model return, absent likewise.
        calibration/penalty_share: mean penalty / mean|r̂| over the model steps.
        calibration/u_on_policy: mean u along the real episodes.
        calibration/rank_correlation: Spearman's ρ of u and the model's error along the real episodes.
        calibration/open_loop/1, /5, /10, /20: `open_loop_errors`.
    """
    episodes, device = real.recorded, actor.device
    start_states = torch.from_numpy(dataset.start_states).to(device)
    drawn = torch.randint(len(start_states), (starts,), generator=generator).to(device)
    horizon = min([steps, *(len(e) for e in episodes if not e.terminated)])
    model = model_returns(roller, actor, start_states[drawn], horizon, discount, generator, stop_requested, penalty)
    earned = float(np.mean([discounted_return(e.rewards[:horizon], discount) for e in episodes]))
    found: dict[str, float | None] = {
        "eval/discounted_return": earned,
        "calibration/dropped_fraction": float(model.dropped.mean()),
        "calibration/penalty_share": model.penalty_share,
    }
    kept = ~model.dropped
    if kept.any():
        promised = float(model.penalised[kept].mean())
        found["eval/model_return"] = float(model.plain[kept].mean())
        found["eval/model_return_penalised"] = promised
        if model.dropped.mean() <= MOST_DROPPED:
            found["calibration/lower_bound"] = float(promised <= earned)
            found["calibration/margin"] = earned - promised
    u, errors = one_step_errors(roller, episodes, device)
    found["calibration/u_on_policy"] = float(u.mean())
    found["calibration/rank_correlation"] = rank_correlation(u, errors)
    for step, error in open_loop_errors(roller, episodes, device).items():
        found[f"calibration/open_loop/{step}"] = error
    return {name: value for name, value in found.items() if value is not None}
