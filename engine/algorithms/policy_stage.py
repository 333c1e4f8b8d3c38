"""The stages "policy" and "finetune": an agent improved on batches, epoch by epoch.

Each goes on where an earlier attempt of the run stopped, with the same numbers as if it had not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.algorithms.batches import Batches
from engine.algorithms.evaluating import evaluate
from engine.algorithms.online_sac import snapshot
from engine.algorithms.training import Agent, Training
from engine.control import Diverged
from engine.dynamics.rollouts import Roller, Round
from engine.dynamics.uncertainty import histogram_counts
from engine.policy import Policy
from engine.record import CHECKPOINTS

# The policy that a run ends with, in its folder of checkpoints.
FINAL = "final.safetensors"
# u on the data is measured on this many rows.
DATA_UNCERTAINTY_ROWS = 10_000
# Losses are looked at this often: a NaN is found near its step, and a device is seldom waited for.
CHECK_EVERY = 100


def improve_policy(
    t: Training,
    agent: Agent,
    batches: Batches,
    roller: Roller | None,
    what: str,
    stage: str = "policy",
    epochs: int | None = None,
) -> Policy:
    """Train `agent` on `batches`, an epoch at a time, with an evaluation every few; returns the final policy.

    Args:
        roller: the model, where there is one: u is then held against the data's, and the model against the real environment.
        what: the agent and its data in a few words.
        stage: what it is called in the run folder; its random streams are keyed by it.
        epochs: instead of the run's own number.
    """
    recorder, begun, device = t.recorder, t.clock(), t.rows.device
    epochs = epochs or t.epochs
    updates, discount = t.config.policy.updates_per_epoch, agent.networks.settings.discount
    largest_reward = float(abs(t.dataset.rewards).max())
    earlier = t.seconds.get(stage, 0.0)
    saved = t.under_way(stage)
    done = int(saved.about["epoch"]) if saved is not None else 0
    t.progress.begin(stage, f"{what}, {epochs} epochs of {updates} updates", done / epochs)
    if saved is not None:
        agent.load_state(saved.under("agent"))
        batches.load_state(saved.under("batches"), lambda epoch: t.generator(stage, epoch), t.stop)
    elif roller is not None:
        record_uncertainty_of_data(t, roller)

    for epoch in range(done + 1, epochs + 1):
        generator = t.generator(stage, epoch)
        agent.anneal((epoch - 1) / epochs)
        start = t.clock()
        rolled = batches.begin(epoch, agent.actor, generator, t.stop)
        rolling = t.clock() - start

        start = t.clock()
        batches.draw(updates, generator)
        sums = torch.zeros(len(agent.metrics), device=device)
        for i in range(updates):
            rows = batches.batch(i)
            noise = tuple(draws.to(device) for draws in agent.noise(len(rows), generator))
            sums += agent.update(rows, noise)
            if (i + 1) % CHECK_EVERY == 0 or i + 1 == updates:
                check_finite(agent, sums, epoch, i + 1)
            t.stop()
            t.progress.update((epoch - 1 + (i + 1) / updates) / epochs, f"epoch {epoch}/{epochs}")
        rate = updates / (t.clock() - start)

        recorder.step += updates
        recorder.update += updates
        metrics = dict(zip(agent.metrics, (sums / updates).tolist(), strict=True))
        speeds = {"speed/updates_per_s": rate}
        if rolled is not None:
            metrics |= rollout_metrics(rolled)
            speeds["speed/rollout_transitions_per_s"] = rolled.transitions / rolling
            recorder.histograms({"rollout": rolled.u_counts}, epoch)
        recorder.metrics({**metrics, **speeds}, epoch)
        recorder.summary(speed=rate, speed_unit="updates/s")
        t.watch.epoch(epoch, metrics, largest_reward, discount, t.data_p95)
        # The last epoch is none of its own, so that a run that goes on has the evaluations of one planned whole; but there is one.
        if epoch % t.config.evaluation.every == 0 or (epoch == epochs and epochs < t.config.evaluation.every):
            evaluate(t, agent, roller, epoch, epochs)
        t.seconds[stage] = earlier + t.clock() - begun
        state = {f"agent/{k}": v for k, v in agent.state().items()}
        t.keep_state(stage, epoch, state | {f"batches/{k}": v for k, v in batches.state().items()})
        t.stop.after(recorder.update)

    final = snapshot(agent, **t.provenance(epochs))
    final.save(t.folder / CHECKPOINTS / FINAL)
    return final


def check_finite(agent: Agent, sums: Tensor, epoch: int, updates: int) -> None:
    """Raise Diverged where a loss of the last updates was NaN or infinite."""
    if bool(torch.isfinite(sums).all()):
        return
    bad = [name for name, ok in zip(agent.metrics, torch.isfinite(sums).tolist(), strict=True) if not ok]
    first = (updates - 1) // CHECK_EVERY * CHECK_EVERY + 1
    raise Diverged(f"policy epoch {epoch}, updates {first} to {updates}: {', '.join(bad)} became NaN or infinite")


def uncertainty_of_data(t: Training, roller: Roller) -> Tensor:
    """u on 10 000 rows of the batch, always the same."""
    generator = t.generator("uncertainty", "data")
    index = torch.randint(len(t.rows), (min(DATA_UNCERTAINTY_ROWS, len(t.rows)),), generator=generator)
    rows, o = t.rows[index], t.task.observation_dim
    return roller.uncertainty(rows[:, :o], rows[:, o : o + t.task.action_dim])


def record_uncertainty_of_data(t: Training, roller: Roller) -> None:
    """u on rows of the batch: what u on rollouts is held against."""
    u = uncertainty_of_data(t, roller)
    p50, p95 = torch.quantile(u, torch.tensor([0.5, 0.95], device=u.device)).tolist()
    t.data_p95 = p95
    t.recorder.metrics({"uncertainty/data_p50": p50, "uncertainty/data_p95": p95})
    t.recorder.histograms({"data": histogram_counts(u)})


def rollout_metrics(rolled: Round) -> dict[str, float]:
    return {
        "uncertainty/mean": rolled.u_mean,
        "uncertainty/p50": rolled.u_p50,
        "uncertainty/p95": rolled.u_p95,
        "rollout/reward": rolled.mean_reward,
        "rollout/penalty": rolled.mean_penalty,
        "rollout/length": rolled.mean_length,
        "rollout/terminal_fraction": rolled.terminal_fraction,
        "rollout/dropped_fraction": rolled.dropped_fraction,
        "rollout/cut_fraction": rolled.cut_fraction,
    }
