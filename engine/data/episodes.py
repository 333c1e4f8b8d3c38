"""Episodes of real environments as packed rows: in this process, or in several that share the work and change no bit of it.

Every episode draws from streams of its own, keyed by the policy and the episode's number. So it does not matter which process runs
it; the rows are put together in the order of these numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from engine import envs
from engine.data.behaviours import load_policy
from engine.data.dataset import DatasetError
from engine.evaluation import POLL_STEPS, Actor, uniform_actor
from engine.randomness import key, numpy_generator
from engine.workers import team

Rows = NDArray[np.float32]
# A worker with a second episode waiting never idles while the first one's rows travel.
EPISODES_PER_WORKER = 2
POLL_SECONDS = 0.1


def pack(
    observation: NDArray[Any], action: NDArray[Any], reward: float, next_observation: NDArray[Any], terminal: bool
) -> Rows:
    """One packed row, shape (2·obs + act + 2,)."""
    return np.concatenate([observation, action, (reward,), next_observation, (float(terminal),)], dtype=np.float32)


@dataclass(frozen=True)
class Share:
    """The rows that one policy fills.

    Attributes:
        step: names its random streams: the environment steps of its training, 0 for the random policy.
        policy: its file; None for uniform actions.
        rows: how many.
    """

    step: int
    policy: Path | None
    rows: int

    def actor(self, action_dim: int) -> Actor:
        """What acts.

        Raises:
            DatasetError: the policy's file is missing or damaged.
        """
        return uniform_actor(action_dim) if self.policy is None else load_policy(self.policy)


@dataclass(frozen=True)
class Source:
    """Where rows come from.

    Attributes:
        environment, options: id and keywords of `engine.envs.make`.
        max_episode_steps: its time limit; None where it has none.
        stream: prefix of the random streams, such as (seed, task).
    """

    environment: str
    options: Mapping[str, Any]
    max_episode_steps: int | None
    stream: tuple[object, ...]


def run_episode(
    env: gymnasium.Env[Any, Any],
    actor: Actor,
    stream: tuple[object, ...],
    rows: Rows,
    tick: Callable[[int], object] = lambda _: None,
) -> int:
    """Fill `rows` from their first with the episode that `stream` names, until it or they end; returns its steps.

    Args:
        tick: called with the steps so far every hundred; may raise to stop.
    """
    rng = numpy_generator(*stream, "actions")
    observation, _ = env.reset(seed=key(*stream) % 2**31)
    steps, done, limit = 0, False, len(rows)
    while not done and steps < limit:
        action = actor(observation, rng)
        next_observation, reward, terminated, truncated, _ = env.step(action)
        rows[steps] = pack(observation, action, float(reward), next_observation, terminated)
        observation, done = next_observation, terminated or truncated
        steps += 1
        if steps % POLL_STEPS == 0:
            tick(steps)
    return steps


def fill(
    rows: Rows,
    action_dim: int,
    source: Source,
    shares: Sequence[Share],
    poll: Callable[[], object],
    progress: Callable[[int], object],
    workers: int = 1,
) -> list[list[int]]:
    """Fill `rows` with the shares, one after the other; each with whole episodes but the last, which is cut.

    Args:
        rows: (N, 2·obs + act + 2), N the sum of the shares, each of which has some.
        poll: called often; may raise to stop.
        progress: called as often, with the rows filled so far.
        workers: processes that run episodes beside this one, which puts them together; 1: this process does all of it.

    Returns:
        The row after each episode's last, for each share.

    Raises:
        DatasetError: a policy's file is damaged, or a worker was killed.
    """
    if workers > 1:
        return _fill_with_workers(rows, action_dim, source, shares, poll, progress, workers)

    def tick(filled: int) -> None:
        poll()
        progress(filled)

    env = envs.make(source.environment, **source.options)
    ends: list[list[int]] = []
    at = 0
    for share in shares:
        actor, end = share.actor(action_dim), at + share.rows
        ends.append([])
        while at < end:
            stream = (*source.stream, share.step, len(ends[-1]))
            at += run_episode(env, actor, stream, rows[at:end], lambda steps: tick(at + steps))  # noqa: B023
            ends[-1].append(at)
    env.close()
    return ends


# --- several processes ------------------------------------------------------------------------------------------------------------


@dataclass
class _Part:
    """What is known of a share while workers run its episodes."""

    share: Share
    longest: int
    start: int
    end: int
    at: int = field(init=False)
    ends: list[int] = field(default_factory=list)
    asked: int = 0
    got: int = 0
    steps: int = 0
    waiting: dict[int, Rows] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.at = self.start

    @property
    def open(self) -> bool:
        """Whether the episodes asked for so far are likely to be too few: those under way are taken to be of mean length."""
        mean = self.steps / self.got if self.got else self.longest
        return self.steps + (self.asked - self.got) * mean < self.share.rows

    @property
    def full(self) -> bool:
        return self.at == self.end

    def ask(self) -> tuple[int, int]:
        """The next episode's number, and the steps after which it would be cut in any case."""
        self.asked += 1
        return self.asked - 1, min(self.longest, self.share.rows - self.steps)

    def receive(self, episode: int, block: Rows, rows: Rows) -> None:
        """Put into `rows` whatever is next in order."""
        self.got += 1
        self.steps += len(block)
        self.waiting[episode] = block
        while not self.full and len(self.ends) in self.waiting:
            block = self.waiting.pop(len(self.ends))[: self.end - self.at]
            rows[self.at : self.at + len(block)] = block
            self.at += len(block)
            self.ends.append(self.at)
        if self.full:
            self.waiting.clear()


def _fill_with_workers(
    rows: Rows,
    action_dim: int,
    source: Source,
    shares: Sequence[Share],
    poll: Callable[[], object],
    progress: Callable[[int], object],
    count: int,
) -> list[list[int]]:
    parts, at = [], 0
    for share in shares:
        parts.append(_Part(share, min(source.max_episode_steps or share.rows, share.rows), at, at + share.rows))
        at += share.rows
    with team(count, _collector, source, tuple(shares), rows.shape[1], action_dim) as members:
        under_way = dict.fromkeys(members, 0)
        while not all(part.full for part in parts):
            for connection in members:
                while under_way[connection] < EPISODES_PER_WORKER:
                    number = next((i for i, part in enumerate(parts) if part.open), None)
                    if number is None:
                        break
                    with contextlib.suppress(ConnectionError):  # it has ended: what it said before is received below
                        connection.send((number, *parts[number].ask()))
                    under_way[connection] += 1
            for ready in wait(list(members), POLL_SECONDS):
                assert isinstance(ready, Connection)
                number, episode, block = _received(ready, members[ready], poll)
                under_way[ready] -= 1
                parts[number].receive(episode, block, rows)
            poll()
            progress(sum(part.at - part.start for part in parts))
    return [part.ends for part in parts]


def _received(connection: Connection, process: BaseProcess, poll: Callable[[], object]) -> tuple[int, int, Rows]:
    """A worker's next (share, episode, rows); what it raised is raised here."""
    try:
        answer = connection.recv()
    except (EOFError, OSError):
        poll()  # a signal to the whole process group may have ended both, and then this is a stop
        process.join(1)
        raise DatasetError(
            f"a process that collects episodes ended before its work was done (exit code {process.exitcode}); "
            "start again"
        ) from None
    if isinstance(answer, BaseException):
        raise answer
    number, episode, block = answer
    return int(number), int(episode), block


def _collector(
    source: Source, shares: Sequence[Share], width: int, action_dim: int
) -> Callable[[int, int, int], tuple[int, int, Rows]]:
    """What a worker does: the `episode` of a share, of `limit` rows at most."""
    env = envs.make(source.environment, **source.options)
    actors: dict[int, Actor] = {}

    def collect(number: int, episode: int, limit: int) -> tuple[int, int, Rows]:
        share = shares[number]
        if number not in actors:
            actors[number] = share.actor(action_dim)
        rows = np.empty((limit, width), dtype=np.float32)
        steps = run_episode(env, actors[number], (*source.stream, share.step, episode), rows)
        return number, episode, rows[:steps]

    return collect
