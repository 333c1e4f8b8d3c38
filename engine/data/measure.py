"""What a sampled policy, the random policy and doing nothing are worth in the real environment."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from engine.randomness import key, numpy_generator

# An actor maps an observation (obs,) and a random stream to an action (act,), float32 in [−1, 1]; a Policy is one.
Actor = Callable[[NDArray[Any], np.random.Generator], NDArray[np.float32]]
POLL_STEPS = 100


def uniform_actor(action_dim: int) -> Actor:
    """Actions uniform in [−1, 1]: the random policy."""
    return lambda _, rng: rng.uniform(-1, 1, action_dim).astype(np.float32)


def idle_actor(action_dim: int) -> Actor:
    """The zero action: doing nothing."""
    return lambda _observation, _rng: np.zeros(action_dim, dtype=np.float32)


@dataclass(frozen=True)
class Measured:
    """Undiscounted returns of complete episodes, each (episodes,).

    Attributes:
        returns: on the environment's own reward.
        behaviour_returns: on the reward the behaviour was trained on, where the environment tells it apart
            (info["behaviour_reward"]); else the same.
        progress: the return less the survive reward.
        lengths: steps.
    """

    returns: NDArray[np.float64]
    behaviour_returns: NDArray[np.float64]
    progress: NDArray[np.float64]
    lengths: NDArray[np.float64]


def spread(returns: NDArray[np.float64]) -> dict[str, float]:
    """Mean, standard deviation (n − 1; 0 for one episode) and maximum of returns (episodes,)."""
    std = float(returns.std(ddof=1)) if len(returns) > 1 else 0.0
    return {"return": float(returns.mean()), "return_std": std, "return_best": float(returns.max())}


def measure(
    env: gymnasium.Env[Any, Any],
    actor: Actor,
    episodes: int,
    stream: tuple[object, ...],
    after_steps: Callable[[], object] = lambda: None,
) -> Measured:
    """Run `episodes` complete episodes, each drawing from streams keyed by (stream, episode).

    Args:
        after_steps: called every 100 steps and after each episode; may raise to stop.
    """
    totals = np.zeros((4, episodes))
    for episode in range(episodes):
        rng = numpy_generator(*stream, episode, "actions")
        observation, _ = env.reset(seed=key(*stream, episode) % 2**31)
        steps, done = 0, False
        while not done:
            observation, reward, terminated, truncated, info = env.step(actor(observation, rng))
            value = float(reward)
            totals[:, episode] += (
                value,
                float(info.get("behaviour_reward", value)),
                value - float(info.get("reward_survive", 0.0)),
                1.0,
            )
            steps += 1
            if steps % POLL_STEPS == 0:
                after_steps()
            done = terminated or truncated
        after_steps()
    return Measured(*totals)
