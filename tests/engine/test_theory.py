"""The bounds that MOPO rests on, in small MDPs where each quantity solves a linear system (Yu et al. 2020, section 4).

    M = (S, A, T, r, μ₀, γ)    the true MDP, |r| ≤ r_max
    M̂ = (S, A, T̂, r, μ₀, γ)    the model's: r is known, T̂ is not T
    M̃ = (S, A, T̂, r̃, μ₀, γ)    the penalised one, r̃ = r − λu with λ = γc, c = r_max/(1 − γ)
    u(s, a) ≥ sup over |f| ≤ 1 of |E_T̂ f − E_T f| = ‖T̂(·|s, a) − T(·|s, a)‖₁

The paper calls this supremum the total variation. It is twice what most texts give that name, and with the half nothing here holds.
Policies are arrays π(a|s) of shape (policies, S, A); rewards, u and G are (S, A), or (policies, S, A) where they depend on π.

This is the theory; r − λu is taken by the trainer's own function, and test_engine_dynamics.py tests that its rollouts store it.
The trainer's u is a heuristic that promises no such bound.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from engine.dynamics.rollouts import penalised
from engine.pessimism import bellman_inconsistency

ROUNDING = 1e-9


@dataclass(frozen=True)
class MDP:
    """T is (S, A, S), r is (S, A), μ₀ is (S,)."""

    T: np.ndarray
    r: np.ndarray
    mu0: np.ndarray
    gamma: float

    def _system(self, pi: np.ndarray) -> np.ndarray:
        """I − γP_π, (policies, S, S)."""
        P_pi: np.ndarray = np.einsum("psa,sat->pst", pi, self.T)
        return np.eye(len(self.mu0)) - self.gamma * P_pi

    def V(self, pi: np.ndarray) -> np.ndarray:
        """V^π(s): (I − γP_π) V = r_π, (policies, S)."""
        r_pi = np.einsum("psa,sa->ps", pi, self.r)
        V: np.ndarray = np.linalg.solve(self._system(pi), r_pi[..., None])[..., 0]
        return V

    def rho(self, pi: np.ndarray) -> np.ndarray:
        """ρ^π(s, a) = π(a|s) Σ_t γ^t P(s_t = s), not normalised: its sum is 1/(1 − γ). (policies, S, A)."""
        transposed = self._system(pi).swapaxes(1, 2)
        start = np.broadcast_to(self.mu0[:, None], (len(pi), len(self.mu0), 1))
        rho: np.ndarray = np.linalg.solve(transposed, start) * pi
        return rho

    def eta(self, pi: np.ndarray) -> np.ndarray:
        """η(π) = E[Σ_t γ^t r(s_t, a_t)] from μ₀, (policies,)."""
        eta: np.ndarray = self.V(pi) @ self.mu0
        return eta


@dataclass(frozen=True)
class Pair:
    """The true MDP M and the model's M̂, which differ in T alone."""

    M: MDP
    M_hat: MDP
    r_max: float

    @property
    def c(self) -> float:
        """Bounds |V^π| for every π."""
        return self.r_max / (1 - self.M.gamma)

    @property
    def lam(self) -> float:
        return self.M.gamma * self.c

    @property
    def l1(self) -> np.ndarray:
        """‖T̂(·|s, a) − T(·|s, a)‖₁, the least u that the theory admits."""
        l1: np.ndarray = np.abs(self.M_hat.T - self.M.T).sum(-1)
        return l1

    @property
    def total_variation(self) -> np.ndarray:
        """The largest difference in the probability of an event, half the L1 norm."""
        return self.l1 / 2

    def G(self, pi: np.ndarray) -> np.ndarray:
        """G(s, a) = E_{s'~T̂}[V_M^π(s')] − E_{s'~T}[V_M^π(s')]: the model's error, seen by the true value function."""
        G: np.ndarray = np.einsum("sat,pt->psa", self.M_hat.T - self.M.T, self.M.V(pi))
        return G

    def M_tilde(self, u: np.ndarray, lam: float) -> MDP:
        return replace(self.M_hat, r=penalised(self.M_hat.r, u, lam))

    def pessimism(self, pi: np.ndarray, u: np.ndarray, lam: float) -> np.ndarray:
        """η_M(π) − η_M̃(π), (policies,): below 0 where the penalised return is no lower bound."""
        pessimism: np.ndarray = self.M.eta(pi) - self.M_tilde(u, lam).eta(pi)
        return pessimism

    def pi_hat(self, u: np.ndarray, lam: float) -> np.ndarray:
        """The optimal policy of M̃, (1, S, A): a finite MDP has a deterministic one."""
        candidates = deterministic(self)
        best = int(self.M_tilde(u, lam).eta(candidates).argmax())
        return candidates[best : best + 1]

    def margin(self, pi: np.ndarray, u: np.ndarray, lam: float, occupied: MDP | None = None) -> float:
        """η_M(π̂) − max_π [η_M(π) − 2λ ε_u(π)]: below 0 where the guarantee fails.

        ε_u(π) = Σ ρ(s, a) u(s, a), ρ of π in `occupied`: the model's dynamics T̂, unless told otherwise.
        """
        rho = (occupied or self.M_hat).rho(pi)
        epsilon_u = np.einsum("psa,sa->p", rho, u)
        promised = (self.M.eta(pi) - 2 * lam * epsilon_u).max()
        return float(self.M.eta(self.pi_hat(u, lam))[0] - promised)


def deterministic(pair: Pair) -> np.ndarray:
    """All deterministic policies, (A^S, S, A)."""
    states, actions = pair.M.r.shape
    policies: np.ndarray = np.eye(actions)[list(itertools.product(range(actions), repeat=states))]
    return policies


def random_pairs(count: int = 100) -> Iterator[tuple[Pair, np.ndarray, np.ndarray]]:
    """Random pairs, each with an admissible u and policies: all deterministic ones and 40 stochastic ones.

    Some transitions are near-certain, others spread; the model knows some (s, a) exactly and is wrong to any degree at others.
    Every second u is the L1 norm itself, the others exceed it.
    """
    for seed in range(count):
        rng = np.random.default_rng(seed)
        states, actions = int(rng.integers(2, 5)), int(rng.integers(2, 4))
        gamma, r_max = float(rng.choice([0.5, 0.9, 0.98])), float(rng.choice([0.3, 1.0, 2.0]))
        concentration = np.full(states, rng.choice([0.1, 1.0]))
        T, elsewhere = rng.dirichlet(concentration, (2, states, actions))
        wrong = rng.choice([0.0, 0.1, 1.0], (states, actions, 1)) * rng.random((states, actions, 1))
        r = r_max * rng.choice([rng.uniform(-1, 1, (states, actions)), rng.choice([-1.0, 1.0], (states, actions))])
        M = MDP(T, r, rng.dirichlet(np.ones(states)), gamma)
        pair = Pair(M, replace(M, T=(1 - wrong) * T + wrong * elsewhere), r_max)
        u = pair.l1 + (seed % 2) * rng.exponential(0.1, (states, actions))
        stochastic = rng.dirichlet(np.full(actions, 0.5), (40, states))
        yield pair, u, np.concatenate([deterministic(pair), stochastic])


def disagreement(T_i: np.ndarray, V: np.ndarray) -> np.ndarray:
    """The trainer's own b: std over the members of E_T_i[V], (policies, S, A). T_i is (members, S, A, S), V (policies, S)."""
    values = torch.from_numpy(np.einsum("isat,pt->ipsa", T_i, V))
    b: np.ndarray = bellman_inconsistency(values.flatten(1)[None]).view(values.shape[1:]).numpy()
    return b


SAFE, RISK = 0, 1


def always(action: int, states: int) -> np.ndarray:
    """The policy that takes one of two actions everywhere, (1, S, A)."""
    pi: np.ndarray = np.eye(2)[np.full((1, states), action)]
    return pi


def absorbing(states: int) -> np.ndarray:
    """Two actions that stay where they are, (S, 2, S)."""
    return np.repeat(np.eye(states)[:, None], 2, axis=1)


def gamble() -> Pair:
    """The worst case of the theory: a model that takes the worst state for the best.

    From the start SAFE leads to a state of reward −r_max/10 for ever, which the model knows. RISK leads to −r_max for ever;
    the model says +r_max. In the units of λ = γ r_max/(1 − γ): η_M = −0.1 and −1, η_M̂ = −0.1 and +1.
    """
    start, poor, lose, win = range(4)
    r_max = 2.0
    T = absorbing(4)
    T[start] = np.eye(4)[[poor, lose]]
    T_hat = T.copy()
    T_hat[start, RISK] = np.eye(4)[win]
    r = np.repeat(np.array([[0.0], [-r_max / 10], [-r_max], [r_max]]), 2, axis=1)
    M = MDP(T, r, np.eye(4)[start], gamma=0.9)
    return Pair(M, replace(M, T=T_hat), r_max)


def test_value_and_occupancy_are_the_discounted_sums_they_stand_for() -> None:
    for pair, _, pi in random_pairs(6):
        M = pair.M
        at, discount = np.repeat(M.mu0[None], len(pi), axis=0), 1.0
        rho = np.zeros_like(pi)
        while discount > 1e-12:
            rho += discount * at[..., None] * pi
            at = np.einsum("ps,psa,sat->pt", at, pi, M.T)
            discount *= M.gamma
        assert M.rho(pi) == pytest.approx(rho, abs=1e-9)
        assert M.eta(pi) == pytest.approx(np.einsum("psa,sa->p", rho, M.r), abs=1e-9)


def test_the_l1_norm_is_the_supremum_over_bounded_functions_and_total_variation_the_one_over_events() -> None:
    """Both suprema are attained at corners: f in {−1, 1}^S and the indicators of the events."""
    for pair, _, _ in random_pairs(20):
        events = np.array(list(itertools.product([0.0, 1.0], repeat=len(pair.M.mu0))))
        difference = pair.M_hat.T - pair.M.T
        assert np.abs(difference @ (2 * events - 1).T).max(-1) == pytest.approx(pair.l1, abs=1e-12)
        assert np.abs(difference @ events.T).max(-1) == pytest.approx(pair.total_variation, abs=1e-12)


def test_telescoping_lemma() -> None:
    """η_M̂(π) − η_M(π) = Σ_t γ^{t+1} E_{T̂,π}[G(s_t, a_t)]    (lemma 4.1, eq. 1)."""
    largest = 0.0
    for pair, _, pi in random_pairs():
        difference = pair.M_hat.eta(pi) - pair.M.eta(pi)
        telescoped = pair.M.gamma * (pair.M_hat.rho(pi) * pair.G(pi)).sum((1, 2))
        assert difference == pytest.approx(telescoped, rel=0, abs=1e-10)
        largest = max(largest, float(np.abs(difference).max()))
    assert largest > 1  # the models err enough for the equality to say something


def test_an_admissible_u_bounds_what_the_error_does_to_the_value() -> None:
    """|G(s, a)| ≤ c u(s, a), for |V^π| ≤ c = r_max/(1 − γ)    (section 4.1)."""
    for pair, u, pi in random_pairs():
        assert np.abs(pair.M.V(pi)).max() <= pair.c + ROUNDING
        assert (np.abs(pair.G(pi)) <= pair.c * u + ROUNDING).all()


def test_the_penalised_return_is_a_lower_bound_of_the_true_return() -> None:
    """η_M(π) ≥ η_M̃(π) for every π    (section 4.1)."""
    for pair, u, pi in random_pairs():
        assert pair.pessimism(pi, u, pair.lam).min() >= -ROUNDING


def test_the_optimal_policy_of_the_penalised_model_is_as_good_as_promised() -> None:
    """η_M(π̂) ≥ max_π [η_M(π) − 2λ ε_u(π)]    (section 4.2)."""
    for pair, u, pi in random_pairs():
        M_tilde = pair.M_tilde(u, pair.lam)
        assert M_tilde.eta(pair.pi_hat(u, pair.lam))[0] >= M_tilde.eta(pi).max() - ROUNDING
        assert pair.margin(pi, u, pair.lam) >= -ROUNDING


def random_ensembles(count: int = 30) -> Iterator[tuple[Pair, np.ndarray, np.ndarray, np.ndarray]]:
    """Random pairs whose model is the average of three, with u, those three, (3, S, A, S), and policies."""
    for seed, (pair, _, pi) in enumerate(random_pairs(count)):
        elsewhere = np.random.default_rng(seed).dirichlet(np.ones(len(pair.M.mu0)), (3, *pair.M.r.shape))
        T_i = 0.9 * pair.M_hat.T + 0.1 * elsewhere
        of_members = replace(pair, M_hat=replace(pair.M_hat, T=T_i.mean(0)))
        yield of_members, of_members.l1, T_i, pi


def test_the_fixed_point_of_targets_less_a_penalty_is_the_return_less_the_penalty_of_each_step() -> None:
    """Q = r + γ E_T̂[Q(s', π)] − βb, b the members' std of E_T_i[Q(s', π)] as the agents take it off their targets (MOBILE):

        η of that Q  =  Σ_t γ^t E_T̂[r − βb(s_t, a_t)],

    so the penalised model return takes βb off each step, with the reward's γ^t; neither u nor γb. β is small enough for a fixed
    point: b grows with Q.
    """
    farthest = np.zeros(2)
    for pair, u, T_i, pi in random_ensembles():
        M_hat, beta = pair.M_hat, 1 - pair.M.gamma
        Q = np.zeros_like(pi)
        for _ in range(int(40 / (1 - M_hat.gamma))):
            V = (pi * Q).sum(-1)
            b = disagreement(T_i, V)
            Q = M_hat.r + M_hat.gamma * np.einsum("sat,pt->psa", M_hat.T, V) - beta * b
        eta, rho = (pi * Q).sum(-1) @ M_hat.mu0, M_hat.rho(pi)
        right, *wrong = ((rho * (M_hat.r - beta * off)).sum((1, 2)) for off in (b, M_hat.gamma * b, u))
        assert eta == pytest.approx(right, rel=1e-6, abs=1e-9)
        farthest = np.maximum(farthest, [np.abs(eta - other).max() for other in wrong])
    assert farthest[0] > 0.01
    assert farthest[1] > 0.5


def test_less_the_bellman_penalty_the_model_return_is_a_lower_bound_where_it_covers_the_error_in_value() -> None:
    """η_M(π) ≥ Σ_t γ^t E_T̂[r − βb], b of the policy's real V_M^π, if βb ≥ γ|G|; without b it is not."""
    broken = 0
    for pair, _, T_i, pi in random_ensembles():
        b = disagreement(T_i, pair.M.V(pi))
        beta = (pair.M.gamma * np.abs(pair.G(pi)) / np.maximum(b, 1e-12)).max()
        eta, rho, r = pair.M.eta(pi), pair.M_hat.rho(pi), pair.M_hat.r
        assert ((rho * (r - beta * b)).sum((1, 2)) <= eta + 1e-7).all()
        broken += int(((rho * r).sum((1, 2)) > eta + 0.01).any())
    assert broken > 20


def test_in_the_worst_case_the_bound_is_an_equality() -> None:
    """So no smaller λ would do, and the sums of the gamble are as its docstring has them."""
    pair = gamble()
    safe, risk = always(SAFE, 4), always(RISK, 4)
    assert pair.M.eta(np.concatenate([safe, risk])) == pytest.approx([-0.1 * pair.lam, -pair.lam])
    assert pair.M_hat.eta(np.concatenate([safe, risk])) == pytest.approx([-0.1 * pair.lam, pair.lam])
    assert pair.pessimism(risk, pair.l1, pair.lam)[0] == pytest.approx(0, abs=ROUNDING)
    assert pair.pessimism(risk, pair.l1, 0.99 * pair.lam)[0] < -0.01 * pair.lam
    assert pair.pi_hat(pair.l1, pair.lam)[0, 0, SAFE] == 1
    assert pair.margin(deterministic(pair), pair.l1, pair.lam) >= -ROUNDING


def test_without_the_penalty_the_model_promises_what_it_cannot_keep() -> None:
    pair = gamble()
    assert pair.pessimism(always(RISK, 4), pair.l1, 0.0)[0] == pytest.approx(-2 * pair.lam)
    assert pair.pi_hat(pair.l1, 0.0)[0, 0, RISK] == 1
    assert pair.margin(deterministic(pair), pair.l1, 0.0) == pytest.approx(-0.9 * pair.lam)


def test_half_the_norm_breaks_both_bounds() -> None:
    """With the total variation for u the gamble seems worth 0, more than the safe −0.1 λ, and is worth −λ."""
    pair = gamble()
    assert pair.pessimism(always(RISK, 4), pair.total_variation, pair.lam)[0] == pytest.approx(-pair.lam)
    assert pair.pi_hat(pair.total_variation, pair.lam)[0, 0, RISK] == 1
    assert pair.margin(deterministic(pair), pair.total_variation, pair.lam) == pytest.approx(-0.9 * pair.lam)


def test_the_guarantee_counts_the_error_where_the_model_goes_not_where_the_truth_does() -> None:
    """ε_u is an expectation under T̂. Under T the promise would be too high for a model that strays into its own errors.

    From the start SAFE leads to reward 0 for ever, RISK to +r_max for ever. The model is wrong on RISK in a tenth of the cases,
    but these end in a state it never leaves, where it errs at every step and which the truth never visits.
    """
    start, nothing, good, astray = range(4)
    T = absorbing(4)
    T[start] = np.eye(4)[[nothing, good]]
    T[astray] = np.eye(4)[good]
    T_hat = T.copy()
    T_hat[start, RISK] = 0.9 * np.eye(4)[good] + 0.1 * np.eye(4)[astray]
    T_hat[astray] = np.eye(4)[astray]
    M = MDP(T, np.array([[0.0, 0.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]), np.eye(4)[start], gamma=0.9)
    pair = Pair(M, replace(M, T=T_hat), r_max=1.0)

    pi = deterministic(pair)
    assert pair.margin(pi, pair.l1, pair.lam) >= -ROUNDING
    # RISK returns γ/(1 − γ) = λ; the truth meets the error once, u = 0.2. π̂ takes SAFE and gets 0.
    assert pair.margin(pi, pair.l1, pair.lam, occupied=pair.M) == pytest.approx(-(1 - 2 * 0.2) * pair.lam)
