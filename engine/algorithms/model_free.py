"""SAC, AWAC and behaviour cloning on the batch alone: what model-based learning is held against."""

from __future__ import annotations

import dataclasses

from engine.agents.awac import AWAC
from engine.agents.bc import BC
from engine.agents.sac import SAC
from engine.algorithms.batches import RealBatches
from engine.algorithms.evaluating import final_evaluation
from engine.algorithms.policy_stage import improve_policy
from engine.algorithms.training import Training
from engine.pessimism import BellmanPenalty


def sac(t: Training) -> None:
    """Soft actor-critic (Haarnoja et al. 2018) on the batch as if it were a replay buffer."""
    batches = RealBatches(t.rows, t.config.sac.batch_size)
    policy = improve_policy(t, make_sac(t), batches, None, "SAC on the batch")
    final_evaluation(t, policy)


def awac(t: Training) -> None:
    """Advantage-weighted actor-critic (Nair et al. 2020): stage 1 of MB2PO, for as long as the run's own epochs."""
    policy = improve_policy(t, make_awac(t), RealBatches(t.rows, t.config.awac.batch_size), None, "AWAC on the batch")
    final_evaluation(t, policy)


def bc(t: Training) -> None:
    """Behaviour cloning: the batch's actions by maximum likelihood."""
    agent = BC(
        t.task.observation_dim,
        t.task.action_dim,
        t.config.bc,
        t.config.sac,
        t.compute,
        t.generator("policy", "init"),
    )
    policy = improve_policy(t, agent, RealBatches(t.rows, t.config.bc.batch_size), None, "behaviour cloning")
    final_evaluation(t, policy)


def make_sac(t: Training, penalty: BellmanPenalty | None = None) -> SAC:
    """A fresh SAC agent; a target entropy of 0 stands for −|A|."""
    settings = t.config.sac
    settings = dataclasses.replace(settings, target_entropy=settings.target_entropy or -float(t.task.action_dim))
    return SAC(t.task.observation_dim, t.task.action_dim, settings, t.compute, t.generator("policy", "init"), penalty)


def make_awac(t: Training, penalty: BellmanPenalty | None = None) -> AWAC:
    """A fresh AWAC agent."""
    sizes = (t.task.observation_dim, t.task.action_dim)
    return AWAC(*sizes, t.config.awac, t.compute, t.generator("policy", "init"), penalty)
