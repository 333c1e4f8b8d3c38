"""Episodes of a policy in the real environment, and what they are worth on the task's scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from engine.policy import Policy
from engine.randomness import key
from engine.tasks import Task


@dataclass(frozen=True)
class Episodes:
    """Undiscounted returns, lengths and progress (the return less the survive reward) of complete episodes, each (episodes,)."""

    returns: np.ndarray
    lengths: np.ndarray
    progress: np.ndarray

    def summary(self, task: Task) -> dict[str, float | None]:
        """Means with the return's standard deviation and standard error; progress only where the task has a survive reward."""
        n, mean = len(self.returns), float(self.returns.mean())
        std = float(self.returns.std(ddof=1)) if n > 1 else 0.0
        return {
            "return": mean,
            "return_std": std,
            "return_stderr": std / n**0.5,
            "episodes": n,
            "length": float(self.lengths.mean()),
            "normalized_score": task.normalized_score(mean),
            "progress": float(self.progress.mean()) if task.survive_reward else None,
        }


def run_episodes(
    env: gymnasium.Env[Any, Any],
    policy: Policy,
    episodes: int,
    stream: tuple[object, ...],
    after_step: Callable[[int], None] = lambda _: None,
) -> Episodes:
    """Deterministic episodes, each from its own seed.

    Args:
        stream: names the seeds, such as (seed, "evaluation", epoch).
        after_step: called with the number of finished episodes after every 100th step; may raise to stop.
    """
    returns, lengths, progress = np.zeros(episodes), np.zeros(episodes), np.zeros(episodes)
    for i in range(episodes):
        observation, _ = env.reset(seed=key(*stream, i) % 2**31)
        done = False
        while not done:
            observation, reward, terminated, truncated, info = env.step(policy(observation))
            returns[i] += float(reward)
            progress[i] += float(reward) - info.get("reward_survive", 0.0)
            lengths[i] += 1
            if lengths[i] % 100 == 0:
                after_step(i)
            done = terminated or truncated
    return Episodes(returns, lengths, progress)
