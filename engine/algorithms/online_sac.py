"""Online SAC: how the behaviour policies are made (D4RL's locomotion data come from online SAC, too).

The run advances in chunks of environment steps. Each chunk starts a fresh episode and draws from streams keyed by
(seed, chunk), and ends with a checkpoint; so a run resumed at a chunk's start does what an uninterrupted one would have done.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import gymnasium
import numpy as np
import torch
from torch import Tensor

from engine.agents.networks import Networks, layers
from engine.agents.sac import METRICS, SAC
from engine.compute import Compute
from engine.config import BehaviourConfig, Sac
from engine.data.episodes import pack
from engine.data.replay import Replay
from engine.data.training_replay import CHECKPOINT, REPLAY, TASK_REWARDS
from engine.evaluation import run_episodes, spread
from engine.policy import Policy
from engine.randomness import key, numpy_generator, torch_generator


@dataclass(frozen=True)
class Chunk:
    """What one chunk of online training gave: environment steps and gradient steps so far, the policy, means over the chunk."""

    step: int
    updates: int
    snapshot: Policy
    metrics: dict[str, float]


class Acts(Protocol):
    """An agent with a squashed Gaussian policy, or a mixture of them."""

    networks: Networks

    @property
    def actor(self) -> Tensor:
        """The policy's flat parameters."""


def snapshot(agent: Acts, **metadata: Any) -> Policy:
    """The agent's policy as it is now, in numpy."""
    networks = agent.networks
    pairs = layers(networks.actor, agent.actor.detach().cpu().clone())
    bounds = (networks.settings.log_std_min, networks.settings.log_std_max)
    weights, biases = tuple(w.numpy() for w, _ in pairs), tuple(b.numpy() for _, b in pairs)
    return Policy(weights, biases, bounds, metadata, networks.components)


def checkpointed_step(folder: Path) -> int:
    """Environment steps of the checkpoint in `folder`; 0 where there is none."""
    from safetensors import safe_open

    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as f:
        return int(f.get_tensor("step"))


def train_online(
    make_env: Callable[[], gymnasium.Env[Any, Any]],
    settings: BehaviourConfig,
    sac_settings: Sac,
    compute: Compute,
    folder: Path,
    after_step: Callable[[int], None] = lambda _: None,
    make_task_env: Callable[[], gymnasium.Env[Any, Any]] | None = None,
    keep_half: Callable[[Policy], None] = lambda _: None,
) -> Iterator[Chunk]:
    """Train until `settings.steps`, yielding after each chunk; resumes from the checkpoint in `folder` if there is one.

    Args:
        make_env: gives a new environment; its reward is what is learnt.
        folder: where checkpoint.safetensors, replay.f32 and task_rewards.f32 live.
        after_step: called with the steps done after each; may raise to stop. The chunk under way is then done again by the next
            attempt.
        make_task_env: gives an environment with the same dynamics whose own reward is wanted beside the replay. It is stepped in
            place of `make_env`'s, and its info["behaviour_reward"], which is that one's reward, is learnt. Not done in a run that
            was begun without.
        keep_half: gets the policy in the middle of each of the first `settings.half_chunks` chunks, while learning is fast; nothing
            else depends on whether it is asked for.
    """
    from safetensors.torch import load_file, save_file

    env, evaluation_env = make_env(), make_env()
    observation_dim, action_dim = env.observation_space.shape[0], env.action_space.shape[0]  # type: ignore[index]
    seed, chunk_size = settings.seed, settings.chunk
    agent = SAC(observation_dim, action_dim, sac_settings, compute, torch_generator(seed, "online", "init"))
    checkpoint = folder / CHECKPOINT
    step = 0
    if checkpoint.exists():
        state = load_file(checkpoint)
        step = int(state.pop("step"))
        agent.load_state(state)
    replay = Replay(folder / REPLAY, settings.steps, 2 * observation_dim + action_dim + 2, step)
    task_rewards: Replay | None = None
    if make_task_env is not None and (step == 0 or (folder / TASK_REWARDS).exists()):
        env, task_rewards = make_task_env(), Replay(folder / TASK_REWARDS, settings.steps, 1, step)

    def measured(policy: Policy, at: int) -> tuple[Policy, dict[str, float]]:
        """The policy with its stochastic return in its metadata."""
        stream = (seed, "online", "evaluation", at)
        scores = spread(
            run_episodes(evaluation_env, policy, settings.episodes, stream, lambda _: after_step(at)).returns
        )
        about = {"step": at, "return": scores["return"], "return_std": scores["return_std"], "seed": seed}
        return dataclasses.replace(policy, metadata=about), scores

    while step < settings.steps:
        chunk = step // chunk_size
        rng = numpy_generator(seed, "online", chunk)
        generator = torch_generator(seed, "online", chunk)
        observation, _ = env.reset(seed=key(seed, "online", "env", chunk) % 2**31)
        sums, updates, returns, episode_return = torch.zeros(len(METRICS)), 0, [], 0.0
        policy = snapshot(agent)
        for _ in range(min(chunk_size, settings.steps - step)):
            action = (
                rng.uniform(-1, 1, action_dim).astype(np.float32)
                if step < settings.random_steps
                else policy(observation, rng)
            )
            next_observation, reward, terminated, truncated, info = env.step(action)
            if task_rewards is not None:
                task_rewards.add(np.array([reward]))
                reward = info["behaviour_reward"]
            replay.add(pack(observation, action, float(reward), next_observation, terminated))
            episode_return += float(reward)
            observation = next_observation
            if terminated or truncated:
                returns.append(episode_return)
                episode_return = 0.0
                observation, _ = env.reset()
            step += 1
            if step >= settings.random_steps:
                rows = replay.sample(torch.rand(sac_settings.batch_size, generator=generator))
                sums += agent.update(rows, agent.noise(len(rows), generator))
                updates += 1
                policy = snapshot(agent)
            after_step(step)
            if updates and step - chunk * chunk_size == chunk_size // 2 and chunk < settings.half_chunks:
                keep_half(measured(policy, step)[0])

        policy, scores = measured(policy, step)
        metrics = dict(zip(METRICS, (sums / updates).tolist(), strict=True)) if updates else {}
        metrics |= {"eval/return": scores["return"], "eval/return_std": scores["return_std"]}
        if returns:
            metrics["train/return"] = float(np.mean(returns))
        # The caller keeps the snapshot before the checkpoint says that this chunk is done: a kill between the two repeats the
        # chunk, and loses nothing.
        yield Chunk(step, agent.updates, policy, metrics)
        replay.flush()
        if task_rewards is not None:
            task_rewards.flush()
        state = {**agent.state(), "step": torch.tensor(step)}
        temporary = checkpoint.with_suffix(".tmp")
        save_file(state, temporary)
        temporary.replace(checkpoint)
