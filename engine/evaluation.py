"""Episodes in a real environment, and what they are worth on the task's scale."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from engine import envs
from engine.policy import Policy
from engine.randomness import key, numpy_generator
from engine.tasks import Task
from engine.workers import team

# (observation, random stream) -> action. A Policy is one: it samples its action.
Actor = Callable[[NDArray[Any], np.random.Generator], NDArray[np.float32]]
POLL_STEPS = 100
POLL_SECONDS = 0.1
# Episodes for each process from which on it is worth starting others.
FEWEST_EPISODES = 4


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


@dataclass(frozen=True)
class Played:
    """One complete episode: the sums of `Episodes`' four figures, and what happened where it was kept."""

    totals: tuple[float, float, float, float]
    recorded: Recorded | None


def play(
    env: gymnasium.Env[Any, Any], actor: Actor, stream: tuple[object, ...], keep: bool, tick: Callable[[], object]
) -> Played:
    """The episode that `stream` names: its seed and its random numbers.

    Args:
        tick: called every 100 steps; may raise to stop.
    """
    rng = numpy_generator(*stream, "actions")
    observation, _ = env.reset(seed=key(*stream) % 2**31)
    observations = [np.array(observation, dtype=np.float32)]
    actions: list[NDArray[np.float32]] = []
    rewards: list[float] = []
    totals = np.zeros(4)
    done = terminated = False
    while not done:
        action = actor(observation, rng)
        observation, reward, terminated, truncated, info = env.step(action)
        value = float(reward)
        rewards.append(value)
        if keep:
            observations.append(np.array(observation, dtype=np.float32))
            actions.append(np.array(action, dtype=np.float32))
        totals += (
            value,
            float(info.get("behaviour_reward", value)),
            value - float(info.get("reward_survive", 0.0)),
            1.0,
        )
        if len(rewards) % POLL_STEPS == 0:
            tick()
        done = terminated or truncated
    recorded = None
    if keep:
        recorded = Recorded(np.stack(observations), np.stack(actions), np.array(rewards), bool(terminated))
    one, two, three, four = map(float, totals)
    return Played((one, two, three, four), recorded)


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
    played: list[Played] = []
    for episode in range(episodes):
        played.append(play(env, actor, (*stream, episode), keep, lambda: after_steps(len(played))))
        after_steps(len(played))
    return _together(played)


def _together(played: Sequence[Played]) -> Episodes:
    returns, behaviour_returns, progress, lengths = np.array([one.totals for one in played]).T.copy()
    recorded = tuple(one.recorded for one in played if one.recorded is not None)
    return Episodes(returns, behaviour_returns, progress, lengths, recorded)


class Evaluator:
    """An environment in which policies are scored by their mode, here and in processes that take a share of the episodes.

    Who plays an episode changes no bit of it: all its randomness is named by its number.

    Args:
        environment, options: id and keywords of `engine.envs.make`.
        helpers: processes beside this one. They are started with the first evaluation that has enough episodes for them.
    """

    def __init__(self, environment: str, options: Mapping[str, Any], helpers: int = 0) -> None:
        self._world, self._helpers = (environment, dict(options)), helpers
        self._env: gymnasium.Env[Any, Any] = envs.make(environment, **options)
        self._team: dict[Connection, BaseProcess] = {}
        self._open = contextlib.ExitStack()

    def run(
        self,
        policy: Policy,
        episodes: int,
        stream: tuple[object, ...],
        after_steps: Callable[[int], object] = lambda _: None,
        keep: bool = False,
    ) -> Episodes:
        """What `run_episodes` gives for the policy's mode; a helper that is killed is done without."""
        helpers = min(self._helpers, episodes // FEWEST_EPISODES - 1)
        if helpers < 1:
            return run_episodes(self._env, deterministic(policy), episodes, stream, after_steps, keep)
        if helpers > len(self._team):
            self._team |= self._open.enter_context(team(helpers - len(self._team), _player, *self._world))
        waiting, done = deque(range(episodes)), dict[int, Played]()
        under_way: dict[Connection, int] = {}

        def lost(helper: Connection, episode: int) -> None:
            waiting.appendleft(episode)
            self._helpers -= 1
            del self._team[helper]

        def hand_out() -> None:
            for helper in [each for each in self._team if each not in under_way]:
                if waiting:
                    episode = waiting.popleft()
                    try:
                        helper.send((policy, (*stream, episode), keep))
                        under_way[helper] = episode
                    except OSError:
                        lost(helper, episode)

        def collect(seconds: float) -> None:
            for helper in wait(list(under_way), seconds):
                assert isinstance(helper, Connection)
                episode = under_way.pop(helper)
                try:
                    answer = helper.recv()
                except (EOFError, OSError):
                    lost(helper, episode)
                    continue
                if isinstance(answer, BaseException):
                    raise answer
                done[episode] = answer

        def tick() -> None:
            after_steps(len(done))
            collect(0)
            hand_out()

        while len(done) < episodes:
            hand_out()
            if waiting:
                episode = waiting.popleft()
                done[episode] = play(self._env, deterministic(policy), (*stream, episode), keep, tick)
            else:
                collect(POLL_SECONDS)
            after_steps(len(done))
        return _together([done[episode] for episode in range(episodes)])

    def close(self) -> None:
        """End the helpers."""
        self._team = {}
        self._open.close()
        self._env.close()


def _player(environment: str, options: Mapping[str, Any]) -> Callable[[Policy, tuple[object, ...], bool], Played]:
    """What a helper does: an episode of a policy's mode."""
    env = envs.make(environment, **options)
    return lambda policy, stream, keep: play(env, deterministic(policy), stream, keep, lambda: None)


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
