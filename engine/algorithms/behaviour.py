"""Training a behaviour policy: online SAC recorded as a run, with a snapshot of the policy after every chunk."""

from __future__ import annotations

import dataclasses
import time

from engine import envs
from engine.algorithms.alerts import Watch
from engine.algorithms.online_sac import checkpointed_step, train_online
from engine.compute import Compute
from engine.config import BehaviourConfig, Sac
from engine.control import StopRequests
from engine.data.training_replay import fed_with_another_reward
from engine.policy import Policy
from engine.progress import Progress
from engine.provenance import library_versions
from engine.record import CHECKPOINTS, Recorder
from engine.tasks import behaviour


def train_behaviour(config: BehaviourConfig, compute: Compute, recorder: Recorder, stop: StopRequests) -> None:
    """Train until `config.steps`; goes on from the run folder's checkpoint if an earlier attempt left one.

    checkpoints/snapshots/ gets one policy per chunk, and more while learning is fast, each with its stochastic return in its
    header. Where the transitions are data for a task with another reward, that reward is kept beside the replay buffer.
    """
    chosen = behaviour(config.behaviour)
    progress = Progress(recorder, {"behaviour": float(config.steps)})
    folder = recorder.folder / CHECKPOINTS
    done = checkpointed_step(folder)
    where = f"going on at step {done} of {config.steps}" if done else f"for {config.steps} steps"
    progress.begin("behaviour", f"online SAC in {chosen.environment}, {where}")
    origin = {"environment": chosen.environment, "behaviour": chosen.name, "versions": library_versions()}
    # Target entropy −|A| as in the paper (Haarnoja et al. 2018, appendix D): here SAC acts, and explores, online.
    sac = Sac(target_entropy=-float(chosen.action_dim))
    kept = [Policy.load(path) for path in (folder / "snapshots").glob("[0-9]*.safetensors")]  # of earlier attempts
    best = max((float(policy.metadata["return"]) for policy in kept), default=float("-inf"))
    last = max(kept, key=lambda policy: int(policy.metadata["step"]), default=None)
    if last is not None:
        recorder.summary(return_last=last.metadata["return"], return_best=best)
    watch, begun = Watch(recorder), time.perf_counter()

    def after_step(step: int) -> None:
        stop()
        progress.update(step / config.steps, f"{step}/{config.steps} steps")

    def keep(policy: Policy) -> None:
        nonlocal best
        best = max(best, float(policy.metadata["return"]))
        told = dataclasses.replace(policy, metadata={**origin, **policy.metadata})
        told.save(folder / "snapshots" / f"{policy.metadata['step']:07d}.safetensors")

    fed = fed_with_another_reward(chosen)
    for chunk in train_online(
        lambda: envs.make(chosen.environment, **chosen.environment_options),
        config,
        sac,
        compute,
        folder,
        after_step,
        None if fed is None else lambda: envs.make(fed.environment, **fed.environment_options),
        keep,
    ):
        seconds, begun = time.perf_counter() - begun, time.perf_counter()
        recorder.step = recorder.update = chunk.updates
        keep(chunk.snapshot)
        rate = (chunk.step % config.chunk or config.chunk) / seconds
        recorder.metrics({**chunk.metrics, "speed/environment_steps_per_s": rate}, chunk.step // config.chunk)
        returns = {"return_last": chunk.metrics["eval/return"], "return_best": best}
        recorder.summary(force=True, **returns, speed=rate, speed_unit="steps/s")
        recorder.event("evaluation", f"step {chunk.step}: stochastic return {chunk.metrics['eval/return']:.1f}")
        watch.disk()
    progress.finish()
    recorder.result(steps=config.steps, best={"return": best})
