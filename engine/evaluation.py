"""Episodes in a real environment, and what they are worth on the task's scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from engine.policy import Policy
from engine.randomness import key, numpy_generator
from engine.tasks import Task

# (observation, random stream) -> action. A Policy is one: it samples its action.
Actor = Callable[[NDArray[Any], np.random.Generator], NDArray[np.float32]]
POLL_STEPS = 100


def uniform_actor(action_dim: int) -> Actor:
    """Actions uniform in [−1, 1]: the random policy."""
    return lambda _, rng: rng.uniform(-1, 1, action_dim).astype(np.float32)


def idle_actor(action_dim: int) -> Actor:
    """The zero action: doing nothing."""
    return lambda _observation, _rng: np.zeros(action_dim, dtype=np.float32)


def deterministic(policy: Policy) -> Actor:
    """The policy's mode, tanh(μ(s)): how policies are scored."""
    return lambda observation, _: policy(observation)


@dataclass(frozen=True)
class Recorded:
    """What happened in one episode of T steps.

    Attributes:
        observations: s_0 … s_T, (T + 1, obs) float32.
        actions: (T, act) float32.
        rewards: (T,) float64.
        terminated: whether the environment ended it; else the time limit did.
    """

    observations: NDArray[np.float32]
    actions: NDArray[np.float32]
    rewards: NDArray[np.float64]
    terminated: bool

    def __len__(self) -> int:
        return len(self.rewards)


@dataclass(frozen=True)
class Episodes:
    """Undiscounted returns of complete episodes, each (episodes,).

    Attributes:
        returns: on the environment's own reward.
        behaviour_returns: on the reward the behaviour was trained on, where the environment tells it apart
            (info["behaviour_reward"]); else the same.
        progress: the return less the survive reward.
        lengths: steps.
        recorded: the episodes themselves, where they were kept.
    """

    returns: NDArray[np.float64]
    behaviour_returns: NDArray[np.float64]
    progress: NDArray[np.float64]
    lengths: NDArray[np.float64]
    recorded: tuple[Recorded, ...] = ()


def discounted_return(rewards: NDArray[np.float64], discount: float) -> float:
    """Σ_t γ^t r_t of the rewards (T,) of one episode."""
    return float(rewards @ discount ** np.arange(len(rewards)))


def run_episodes(
    env: gymnasium.Env[Any, Any],
    actor: Actor,
    episodes: int,
    stream: tuple[object, ...],
    after_steps: Callable[[int], object] = lambda _: None,
    keep: bool = False,
) -> Episodes:
    """Run `episodes` complete episodes, each from its own seed and with its own random stream.

    Args:
        stream: names the seeds, such as (seed, "evaluation", epoch).
        after_steps: called with the number of finished episodes every 100 steps and after each episode; may raise to stop.
        keep: whether to keep what happened: observations, actions and rewards.
    """
    totals = np.zeros((4, episodes))
    recorded: list[Recorded] = []
    for episode in range(episodes):
        rng = numpy_generator(*stream, episode, "actions")
        observation, _ = env.reset(seed=key(*stream, episode) % 2**31)
        observations = [np.array(observation, dtype=np.float32)]
        actions: list[NDArray[np.float32]] = []
        rewards: list[float] = []
        done = False
        while not done:
            action = actor(observation, rng)
            observation, reward, terminated, truncated, info = env.step(action)
            value = float(reward)
            rewards.append(value)
            if keep:
                observations.append(np.array(observation, dtype=np.float32))
                actions.append(np.array(action, dtype=np.float32))
            totals[:, episode] += (
                value,
                float(info.get("behaviour_reward", value)),
                value - float(info.get("reward_survive", 0.0)),
                1.0,
            )
            if len(rewards) % POLL_STEPS == 0:
                after_steps(episode)
            done = terminated or truncated
        if keep:
            recorded.append(Recorded(np.stack(observations), np.stack(actions), np.array(rewards), bool(terminated)))
        after_steps(episode + 1)
    returns, behaviour_returns, progress, lengths = totals
    return Episodes(returns, behaviour_returns, progress, lengths, tuple(recorded))


def spread(returns: NDArray[np.float64]) -> dict[str, float]:
    """Mean, standard deviation (n − 1; 0 for one episode) and maximum of returns (episodes,)."""
    std = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return {"return": float(returns.mean()), "return_std": std, "return_best": float(returns.max())}


def score(episodes: Episodes, task: Task) -> dict[str, float | None]:
    """What is recorded of an evaluation: the return's mean, standard deviation and standard error over episodes, mean length, the
    normalized score, and progress where the task has a survive reward."""
    n, returns = len(episodes.returns), spread(episodes.returns)
    return {
        "return": returns["return"],
        "return_std": returns["return_std"],
        "return_stderr": returns["return_std"] / n**0.5,
        "episodes": n,
        "length": float(episodes.lengths.mean()),
        "normalized_score": task.normalized_score(returns["return"]),
        "progress": float(episodes.progress.mean()) if task.survive_reward else None,
    }
