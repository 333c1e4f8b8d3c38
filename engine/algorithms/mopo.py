"""MOPO (Yu et al. 2020, arXiv 2005.13239, algorithm 2), and MBPO on a fixed batch (Janner et al. 2019) as MOPO with λ = 0."""

from __future__ import annotations

from engine.agents.networks import Networks
from engine.algorithms.batches import ModelBatches, real_rows
from engine.algorithms.dynamics_stage import fit_dynamics
from engine.algorithms.evaluating import final_evaluation
from engine.algorithms.model_free import make_sac
from engine.algorithms.policy_stage import improve_policy, uncertainty_of_data
from engine.algorithms.training import Training
from engine.dynamics.ensemble import Model
from engine.dynamics.rollouts import Roller, data_range
from engine.pessimism import BellmanPenalty, uncertainty_limit


def mopo(t: Training) -> None:
    """Fit the ensemble to the batch; optimise r − λu in it; score the final policy."""
    in_the_model(t, t.config.rollout.coefficient)


def mbpo(t: Training) -> None:
    """The same without the penalty."""
    in_the_model(t, 0.0)


def in_the_model(t: Training, coefficient: float) -> None:
    """SAC on real and model transitions that are penalised with λ = `coefficient`."""
    model = fit_dynamics(t)
    agent = make_sac(t, bellman_penalty(t, model, coefficient, t.config.sac.batch_size))
    roller = make_roller(t, model, agent.networks, coefficient)
    batches = ModelBatches(t.rows, t.task.observation_dim, roller, t.config.rollout, t.config.sac.batch_size)
    what = f"SAC in the model, λ = {coefficient:g}, h = {t.config.rollout.length}"
    policy = improve_policy(t, agent, batches, roller, what)
    final_evaluation(t, policy)


def bellman_penalty(t: Training, model: Model, coefficient: float, batch_size: int) -> BellmanPenalty | None:
    """The penalty on targets, where the configuration has the penalty there."""
    settings = t.config.rollout
    if settings.penalty != "bellman" or coefficient == 0:
        return None
    return BellmanPenalty(model, coefficient, settings.penalty_samples, real_rows(settings, batch_size))


def make_roller(t: Training, model: Model, networks: Networks, coefficient: float, for_training: bool = True) -> Roller:
    """Rollouts of an agent's policies in the model.

    Args:
        coefficient: λ; the rollouts' own is 0 where the configuration has the penalty on the Bellman target.
        for_training: with the limit on u; else, for judging a policy, rollouts go wherever they lead.
    """
    settings = t.config.rollout
    limits = data_range(t.rows, t.task.observation_dim, t.task.action_dim) if settings.clip else None
    off_the_reward = coefficient if settings.penalty == "reward" else 0.0
    roller = Roller(networks, model, t.task.termination, settings.uncertainty, off_the_reward, t.compute, limits)
    if settings.cut_quantile and for_training:
        roller.limit = uncertainty_limit(uncertainty_of_data(t, roller), settings.cut_quantile)
    return roller
