"""Ways to keep a policy from being paid for its model's errors, beyond the paper's penalty; each one formula, and off by default.

The paper's own u(s, a), which comes off the reward, and its relatives stand in `engine.dynamics.uncertainty`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from engine.agents.networks import Networks
    from engine.dynamics.ensemble import Model

LAYER_NORM_EPSILON = 1e-5
SMALLEST_GRADIENT = 1e-8


# --- off the Bellman target: `rollout.penalty = "bellman"` ------------------------------------------------------------------------


def bellman_inconsistency(values: Tensor) -> Tensor:
    """std over members i of the mean over samples of min_j Q̄_j(s'_i, a'), s'_i ~ p_i(·|s, a), a' ~ π(·|s'_i)  (Sun et al. 2023).

    MOBILE's reason: a model is wrong where it matters if its members disagree about the value of what comes next, not about its
    coordinates; u measures the coordinates, whose scale differs between tasks and dimensions. The standard deviation is the
    sample's, with n − 1. MOBILE clamps its targets at 0; nothing is clamped here, as returns may be negative.

    Args:
        values: (samples, members, batch); two members at least.

    Returns:
        (batch,)
    """
    return values.mean(0).std(0)


class BellmanPenalty:
    """β times the Bellman inconsistency of the model rows of a batch: y = r + γ(1 − d)·V(s') − β·std_i.

    The std is that of V(s'_i), not of γV(s'_i) as a difference of whole targets would be: β holds the γ. Nothing else scales or
    clamps it, so with b(s, a) = std_i the fixed point of the targets (there is one while β is not large: b grows with Q) solves
    Q = r − βb + γ E[Q(s', π)], and by unrolling

        Q(s_0, a_0) = E[Σ_t γ^t (r_t − β b(s_t, a_t))].

    So a policy's penalised return in the model is the same sum as with a penalty on the reward, of r − βb in place of r − λu; b is
    in Q's units, u in the model's, and one says nothing of the other. By the telescoping lemma (Yu et al. 2020, 4.1) that return is
    a lower bound of the real one where βb ≥ γ|E_T̂ V^π − E_T V^π| for the policy's real value function V^π: b measures just that
    error, as far as the members' disagreement is their error, and the critic V^π.

    Args:
        model: its elites, from which rollouts sample, give the s'_i.
        coefficient: β.
        samples: next states, each with its own action, per member.
        real: that many first rows of a batch are of the dataset and stay as they are.
    """

    def __init__(self, model: Model, coefficient: float, samples: int, real: int) -> None:
        self.model, self.coefficient, self.samples, self.real = model, coefficient, samples, real
        self._elites = torch.tensor(model.elites, device=model.parameters.device)

    def noise(self, rows: int, noise_dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The draws for a batch of so many rows: of the next states and of the actions there."""
        shape = (self.samples, len(self.model.elites), max(rows - self.real, 0))
        states = torch.randn(*shape, self.model.ensemble.observation_dim, generator=generator)
        return states, torch.randn(*shape, noise_dim, generator=generator)

    def __call__(
        self,
        networks: Networks,
        actor: Tensor,
        target_critic: Tensor,
        observation: Tensor,
        action: Tensor,
        noise: tuple[Tensor, Tensor],
    ) -> Tensor:
        """What comes off the targets of a batch, (batch,): 0 for its real rows."""
        s, a = observation[self.real :], action[self.real :]
        mean, log_variance = self.model.predict(s, a)
        mean, log_variance = mean[self._elites, :, 1:], log_variance[self._elites, :, 1:]
        s_next = mean + torch.exp(0.5 * log_variance) * noise[0]
        flat = s_next.flatten(0, 2)
        a_next, _ = networks.sample(actor, flat, noise[1].flatten(0, 2))
        values = networks.q_of_many(target_critic, flat, a_next).amin(0).view(s_next.shape[:3])
        penalty = self.coefficient * bellman_inconsistency(values)
        return torch.cat([torch.zeros_like(observation[: self.real, 0]), penalty])

    def of_policy(
        self, networks: Networks, actor: Tensor, critic: Tensor, generator: torch.Generator
    ) -> Callable[[Tensor, Tensor], Tensor]:
        """The penalty of a policy with its critics, both flat, as a function of (s, a): (batch, obs), (batch, act) -> (batch,)."""
        of_model = BellmanPenalty(self.model, self.coefficient, self.samples, real=0)

        def penalty(observation: Tensor, action: Tensor) -> Tensor:
            # Drawn on the CPU, so that every device sees the same stream.
            states, actions = of_model.noise(len(observation), networks.noise_dim, generator)
            noise = states.to(actor.device), actions.to(actor.device)
            return of_model(networks, actor, critic, observation, action, noise)

        return penalty


# --- critics: `sac.critics`, `sac.diversity`; `awac.critics` ----------------------------------------------------------------------


def pessimistic_value(q: Tensor) -> Tensor:
    """min_j Q_j of N critics, (critics, …) -> (…)  (SAC-N, An et al. 2021; with two, clipped double Q, Fujimoto et al. 2018).

    The minimum over many critics is a lower confidence bound, which sinks where the batch holds them least. In truncated rollouts
    that is at the edge of reach: states that are bootstrapped from and never trained on, where errors otherwise pile up whatever
    the model's quality (Sims et al. 2024).
    """
    return q.amin(0)


def critic_diversity(gradients: Tensor) -> Tensor:
    """1/(N − 1) Σ_{i≠j} E[⟨g_i, g_j⟩], g_i = ∇_a Q_i / ‖∇_a Q_i‖  (EDAC, An et al. 2021).

    Critics whose gradients point the same way fall and rise together off the data, and their minimum is no bound there; made to
    differ, fewer of them do.

    Args:
        gradients: ∇_a Q_i(s, a), (critics, batch, act); two critics at least.
    """
    g = gradients / gradients.norm(dim=-1, keepdim=True).clamp(min=SMALLEST_GRADIENT)
    pairs = g.sum(0).square().sum(-1) - g.square().sum((0, 2))
    diversity: Tensor = pairs.mean() / (len(g) - 1)
    return diversity


# --- models: `dynamics.layer_norm`, `dynamics.normalise_targets`, `rollout.cut_quantile` ------------------------------------------


def layer_norm(h: Tensor) -> Tensor:
    """(h − mean)/√(var + ε) over the units of a layer, without gain and bias (Ba et al. 2016); any leading shape.

    Bounded features bound what a network can say far off its data: predictions there saturate where they would grow without end,
    so long rollouts stay finite. The next layer's weights do what a gain would.
    """
    centred = h - h.mean(-1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(-1, keepdim=True) + LAYER_NORM_EPSILON)


def to_raw_units(mean: Tensor, log_variance: Tensor, centre: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """Gaussians of standardised targets as Gaussians of the targets: μ·scale + centre and log σ² + 2 log scale.

    Where the dimensions of (r, s' − s) differ by orders of magnitude, the small ones hardly count in a fit with shared decays and
    bounds of the variance. Standardised they all do. u is of the raw units in either case, so λ means the same.

    Args:
        mean, log_variance: (members, batch, 1 + obs).
        centre, scale: of the targets over the train split, (1 + obs,).
    """
    return mean * scale + centre, log_variance + 2 * scale.log()


def uncertainty_limit(u: Tensor, quantile: float) -> float:
    """The u beyond which a rollout is cut: that quantile of u on the data, (n,).

    A model that is right for a hundred steps in one place is wrong after two in another. Long rollouts take what there is to have
    where u stays within what the data show, and end where it does not; the step that crosses the limit is not learnt from.
    """
    return float(torch.quantile(u, quantile))
