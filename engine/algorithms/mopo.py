"""MOPO (Yu et al. 2020, arXiv 2005.13239, algorithm 2), and MBPO on a fixed batch (Janner et al. 2019) as MOPO with λ = 0."""

from __future__ import annotations

from engine.algorithms.stages import Training, final_evaluation, fit_dynamics, improve_policy


def mopo(t: Training) -> None:
    """Fit the ensemble to the batch; optimise r − λu in it; score the final policy."""
    model = fit_dynamics(t)
    policy = improve_policy(t, model, coefficient=t.config.rollout.coefficient)
    final_evaluation(t, policy)


def mbpo(t: Training) -> None:
    """The same without the penalty."""
    model = fit_dynamics(t)
    policy = improve_policy(t, model, coefficient=0.0)
    final_evaluation(t, policy)
