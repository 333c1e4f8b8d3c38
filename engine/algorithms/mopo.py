"""MOPO (Yu et al. 2020, arXiv 2005.13239, algorithm 2), and MBPO on a fixed batch (Janner et al. 2019) as MOPO with λ = 0."""

from __future__ import annotations

from engine.algorithms.batches import ModelBatches
from engine.algorithms.model_free import make_sac
from engine.algorithms.stages import Training, final_evaluation, fit_dynamics, improve_policy
from engine.dynamics.rollouts import Roller, data_range


def mopo(t: Training) -> None:
    """Fit the ensemble to the batch; optimise r − λu in it; score the final policy."""
    in_the_model(t, t.config.rollout.coefficient)


def mbpo(t: Training) -> None:
    """The same without the penalty."""
    in_the_model(t, 0.0)


def in_the_model(t: Training, coefficient: float) -> None:
    """SAC on real and model transitions whose reward is penalised by λ = `coefficient`."""
    settings = t.config.rollout
    model = fit_dynamics(t)
    agent = make_sac(t)
    limits = data_range(t.rows, t.task.observation_dim, t.task.action_dim) if settings.clip else None
    roller = Roller(agent.networks, model, t.task.termination, settings.uncertainty, coefficient, t.compute, limits)
    batches = ModelBatches(t.rows, t.task.observation_dim, roller, settings, t.config.sac.batch_size)
    policy = improve_policy(t, agent, batches, roller, f"SAC in the model, λ = {coefficient:g}, h = {settings.length}")
    final_evaluation(t, policy)
