"""Calibration in worlds whose truth is known: a linear environment, and ensembles that represent linear dynamics exactly."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from engine.agents.networks import Networks, layers
from engine.compute import Compute
from engine.config import Dynamics, Sac
from engine.control import Stopped
from engine.data.dataset import TransitionDataset, in_memory
from engine.dynamics.calibration import (
    calibrate,
    evenly,
    model_returns,
    one_step_errors,
    open_loop_errors,
    rank_correlation,
    ranks,
)
from engine.dynamics.ensemble import Ensemble, Model, Normaliser
from engine.dynamics.rollouts import Roller
from engine.evaluation import Episodes, Recorded, deterministic, discounted_return, run_episodes
from engine.pessimism import BellmanPenalty
from engine.policy import Policy

OBS, ACT, GAMMA = 4, 2, 0.9
CPU = torch.device("cpu")
NETWORKS = Networks(OBS, ACT, Sac(hidden=(8,)))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    Compute.choose(threads=1, gemm="stock", compiled=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear(rng: np.random.Generator) -> np.ndarray:
    """A matrix G, (obs + act, 1 + obs), of a stable system: (r, s' − s) = (s, a) G."""
    matrix: np.ndarray = 0.1 * rng.standard_normal((OBS + ACT, 1 + OBS))
    matrix[:OBS, 1:] -= 0.2 * np.eye(OBS)
    return matrix


class Linear(gymnasium.Env[np.ndarray, np.ndarray]):
    """(r, s' − s) = (s, a) G from standard normal states; terminated where s'[0] > `limit`, truncated after `steps`."""

    def __init__(self, matrix: np.ndarray, steps: int = 30, limit: float = np.inf) -> None:
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBS,))
        self.action_space = gymnasium.spaces.Box(-1, 1, (ACT,))
        self._matrix, self._steps, self._limit = matrix, steps, limit

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        self._state, self._taken = self.np_random.standard_normal(OBS), 0
        return self._state, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        outcome = np.concatenate([self._state, action]) @ self._matrix
        self._state, self._taken = self._state + outcome[1:], self._taken + 1
        return self._state, float(outcome[0]), bool(self._state[0] > self._limit), self._taken >= self._steps, {}


def linear_model(
    matrices: np.ndarray,
    biases: np.ndarray | float = 0.0,
    log_variance: np.ndarray | float = 0.0,
    log_variance_bias: float = -45.0,
    elites: tuple[int, ...] | None = None,
    std: float = 1.0,
) -> Model:
    """Member i says that (r, s' − s) = (s, a) G_i + b_i: silu(x) − silu(−x) = x, so two units an input carry it through the trunk.

    Args:
        matrices: (members, obs + act, 1 + obs).
        biases: (members, 1 + obs) or a number.
        log_variance: (obs + act, 1 + obs), log σ² as a linear function of the inputs.
        std: of every input over the batch.
    """
    members, inputs = len(matrices), OBS + ACT
    settings = Dynamics(members=members, elites=1, hidden=(2 * inputs,), weight_decay=(0.0,) * 3)
    ensemble = Ensemble(OBS, ACT, settings)
    flat = torch.zeros(ensemble.layout.size)
    views = ensemble.layout.views(flat)
    views["trunk0/weight"].copy_(torch.cat([torch.eye(inputs), -torch.eye(inputs)], 1).expand(members, -1, -1))

    def head(name: str, matrix: np.ndarray, bias: np.ndarray | float) -> None:
        scaled = torch.from_numpy(
            np.broadcast_to(std * np.asarray(matrix), (members, inputs, 1 + OBS)).astype(np.float32)
        )
        views[f"{name}/weight"].copy_(torch.cat([scaled, -scaled], 1))
        rows = np.broadcast_to(np.asarray(bias, dtype=np.float32), (members, 1 + OBS))
        views[f"{name}/bias"].copy_(torch.from_numpy(rows.copy())[:, None])

    head("mean", matrices, biases)
    head("log_variance", np.zeros((inputs, 1 + OBS)) + log_variance, log_variance_bias)
    views["max_log_variance"].fill_(20.0)
    views["min_log_variance"].fill_(-50.0)
    normaliser = Normaliser(torch.zeros(inputs), torch.full((inputs,), std))
    return Model(ensemble, flat, normaliser, elites or tuple(range(members)))


def constant_model(changes: np.ndarray, **options: Any) -> Model:
    """Member i says that (r, s' − s) = changes[i] everywhere, (members, 1 + obs)."""
    return linear_model(np.zeros((len(changes), OBS + ACT, 1 + OBS)), np.asarray(changes), **options)


def roller(
    model: Model, uncertainty: str = "max_disagreement", coefficient: float = 1.0, termination: str = "never"
) -> Roller:
    return Roller(NETWORKS, model, termination, uncertainty, coefficient, Compute.choose(compiled=False))


def random_actor() -> torch.Tensor:
    return torch.randn(NETWORKS.actor.size, generator=seeded(3))


def policy_of(actor: torch.Tensor) -> Policy:
    pairs = layers(NETWORKS.actor, actor)
    return Policy(tuple(w.numpy() for w, _ in pairs), tuple(b.numpy() for _, b in pairs), (-20.0, 2.0), {})


def batch(starts: np.ndarray) -> TransitionDataset:
    """A dataset of one-step episodes that begin in `starts`."""
    rows = np.zeros((len(starts), 2 * OBS + ACT + 2), dtype=np.float32)
    rows[:, :OBS] = starts
    return in_memory(rows, np.arange(1, len(starts) + 1), OBS, ACT, {})


def returns_of(r: Roller, starts: np.ndarray, steps: int, actor: torch.Tensor | None = None) -> Any:
    tensor = torch.from_numpy(np.asarray(starts, dtype=np.float32))
    return model_returns(r, random_actor() if actor is None else actor, tensor, steps, GAMMA, seeded(7), lambda: None)


def geometric(steps: int) -> float:
    return (1 - GAMMA**steps) / (1 - GAMMA)


# --- evaluation's records ---------------------------------------------------------------------------------------------------------


def test_episodes_are_discounted_and_kept_as_they_were_stepped() -> None:
    env, policy = Linear(linear(np.random.default_rng(0)), steps=30, limit=1.5), policy_of(random_actor())
    stream = (0, "test")
    plain = run_episodes(env, deterministic(policy), 6, stream)
    kept = run_episodes(env, deterministic(policy), 6, stream, keep=True)
    assert plain.recorded == ()
    assert kept.returns.tolist() == plain.returns.tolist()
    ends = []
    for i, episode in enumerate(kept.recorded):
        assert len(episode) == kept.lengths[i]
        assert episode.observations.shape == (len(episode) + 1, OBS)
        np.testing.assert_allclose(episode.actions, policy(episode.observations[:-1]), atol=1e-6)
        assert sum(episode.rewards) == pytest.approx(kept.returns[i])
        by_hand = sum(GAMMA**t * r for t, r in enumerate(episode.rewards))
        assert discounted_return(episode.rewards, GAMMA) == pytest.approx(by_hand)
        assert episode.terminated == (episode.observations[-1, 0] > 1.5)
        assert episode.terminated or len(episode) == 30
        ends.append(episode.terminated)
    assert {True, False} == set(ends)


# --- the model's return -----------------------------------------------------------------------------------------------------------


def test_returns_in_a_model_that_always_says_the_same_are_geometric_sums() -> None:
    """Two members that differ by 2·0.6 in one dimension: each is 0.6 off their average, which is u."""
    r = roller(constant_model(np.array([[2.0, 0.6, 0, 0, 0], [2.0, -0.6, 0, 0, 0]])), coefficient=0.5)
    found = returns_of(r, np.zeros((50, OBS)), 40)
    np.testing.assert_allclose(found.plain, 2 * geometric(40), rtol=1e-6)
    np.testing.assert_allclose(found.penalised, (2 - 0.5 * 0.6) * geometric(40), rtol=1e-6)
    assert found.penalty_share == pytest.approx(0.5 * 0.6 / 2, rel=1e-6)
    assert not found.dropped.any()


def test_returns_in_an_exact_model_are_those_of_the_environment() -> None:
    matrix = linear(np.random.default_rng(1))
    real = run_episodes(Linear(matrix), deterministic(policy_of(random_actor())), 8, (0, "t"), keep=True)
    starts = np.stack([episode.observations[0] for episode in real.recorded])
    found = returns_of(roller(linear_model(np.stack([matrix, matrix]))), starts, 30)
    discounted = [discounted_return(episode.rewards, GAMMA) for episode in real.recorded]
    assert np.ptp(discounted) > 0.5
    np.testing.assert_allclose(found.plain, discounted, atol=1e-4)
    np.testing.assert_allclose(found.penalised, found.plain, atol=1e-4)  # members agree: u = 0


def test_the_models_noise_is_sampled() -> None:
    """Rewards N(1, 0.5²): the discounted sum over 20 steps has variance 0.25 (1 − γ^40)/(1 − γ²)."""
    bias = np.full(1 + OBS, -45.0)
    bias[0] = np.log(0.25)
    model = constant_model(np.array([[1.0, 0, 0, 0, 0]]), log_variance_bias=bias)
    found = returns_of(roller(model), np.zeros((4000, OBS)), 20)
    variance = 0.25 * (1 - GAMMA**40) / (1 - GAMMA**2)
    assert found.plain.mean() == pytest.approx(geometric(20), abs=5 * (variance / 4000) ** 0.5)
    assert found.plain.var() == pytest.approx(variance, rel=0.1)


def test_the_bellman_penalty_off_each_step_gives_the_pessimistic_q_of_the_agents_targets() -> None:
    """r = s_1, which the two members move by ±c: s_1 is a random walk, so V(s) = s_1/(1 − γ) + V_0. The members' values of s' lie
    2c/(1 − γ) apart, the penalty is β√2 c/(1 − γ) everywhere, and V_0 is −penalty/(1 − γ). That V is the fixed point of the very
    targets that agents have with the penalty, and the penalised model return is V of its start states."""
    c, beta, spread = 0.3, 0.2, 20.0
    reward = np.zeros((2, OBS + ACT, 1 + OBS))
    reward[:, 1, 0] = 1.0
    model = linear_model(reward, np.array([[0, 0, c, 0, 0], [0, 0, -c, 0, 0]]))
    off = beta * math.sqrt(2) * c / (1 - GAMMA)
    critic = torch.zeros(NETWORKS.critic.size)
    (w0, b0), (w1, b1) = layers(NETWORKS.critic, critic)
    w0[:, 1, 0], b0[:, 0, 0] = 1.0, spread  # the unit's ReLU is linear where s_1 > −20
    w1[:, 0, 0], b1[:, 0, 0] = 1 / (1 - GAMMA), -(spread + off) / (1 - GAMMA)
    actor, starts = random_actor(), np.random.default_rng(2).standard_normal((4000, OBS))
    s = torch.from_numpy(starts[:100].astype(np.float32))
    a, penalty = NETWORKS.mode(actor, s), BellmanPenalty(model, beta, 2, real=60)
    of_policy = penalty.of_policy(NETWORKS, actor, critic, seeded(4))
    assert of_policy(s, a).tolist() == pytest.approx([off] * 100, rel=1e-3)  # of model rows, whatever a batch has
    for moved in (c, -c):
        s_next = s.clone()
        s_next[:, 1] += moved
        y = s[:, 1] + GAMMA * NETWORKS.q(critic, s_next, NETWORKS.mode(actor, s_next))[0] - of_policy(s, a)
        q = NETWORKS.q(critic, s, a)[0] + GAMMA * moved / (1 - GAMMA)  # of one member; of their mean it is Q
        torch.testing.assert_close(y, q, rtol=1e-3, atol=1e-3)
    steps, drawn = 60, torch.from_numpy(starts.astype(np.float32))
    free = roller(model, coefficient=0.0)
    found = model_returns(free, actor, drawn, steps, GAMMA, seeded(7), lambda: None, of_policy)
    np.testing.assert_allclose(found.plain - found.penalised, off * geometric(steps), rtol=1e-3)
    np.testing.assert_array_equal(
        found.plain, returns_of(free, starts, steps, actor).plain
    )  # the same rollouts as without
    promised = float(NETWORKS.q(critic, drawn, NETWORKS.mode(actor, drawn)).mean())
    assert found.penalised.mean() == pytest.approx(promised, abs=0.5)
    assert found.penalised.mean() < found.plain.mean() - 5
    assert found.penalty_share is not None
    assert found.penalty_share > 0


def test_a_rollout_earns_its_terminal_step_and_nothing_after_it() -> None:
    """A hopper that sinks by 0.1 a step ends below 0.7: from 1.25 with the sixth step, from 1.05 with the fourth."""
    r = roller(constant_model(np.array([[1.0, -0.1, 0, 0, 0]])), termination="hopper")
    starts = np.zeros((3, OBS))
    starts[:, 0] = 1.25, 1.05, 1.25
    found = returns_of(r, starts, 50)
    np.testing.assert_allclose(found.plain, [geometric(6), geometric(4), geometric(6)], rtol=1e-6)
    assert not found.dropped.any()


def test_a_rollout_that_a_guard_ends_counts_as_dropped() -> None:
    r = roller(constant_model(np.array([[1.0, 10.0, 0, 0, 0]])))
    starts = np.zeros((10, OBS))
    starts[:3, 0] = 60.0  # reaches 100 with the fourth step; the others in 10
    found = returns_of(r, starts, 8)
    assert found.dropped.tolist() == [True] * 3 + [False] * 7
    np.testing.assert_allclose(found.plain[3:], geometric(8), rtol=1e-6)
    assert returns_of(r, starts, 12).dropped.all()
    assert returns_of(r, np.full((2, OBS), np.nan), 3).penalty_share is None


# --- ranks ------------------------------------------------------------------------------------------------------------------------


def test_ranks_with_ties_are_the_mean_of_the_places_that_equal_values_take() -> None:
    values = np.random.default_rng(0).integers(0, 6, 40).astype(float)
    ordered = sorted(values)
    expected = [np.mean([place for place, v in enumerate(ordered, 1) if v == value]) for value in values]
    np.testing.assert_allclose(ranks(values), expected)


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(50)
    y = x + rng.standard_normal(50)
    d = np.argsort(np.argsort(x)) - np.argsort(np.argsort(y))
    assert rank_correlation(x, y) == pytest.approx(1 - 6 * (d**2).sum() / (50 * (50**2 - 1)))
    assert rank_correlation(x, np.exp(x)) == pytest.approx(1)
    assert rank_correlation(x, -(x**3)) == pytest.approx(-1)
    tied = np.round(x)
    assert rank_correlation(tied, y) == pytest.approx(np.corrcoef(ranks(tied), ranks(y))[0, 1])


def test_a_rank_correlation_that_does_not_exist_is_none() -> None:
    x = np.arange(5.0)
    assert rank_correlation(x, np.ones(5)) is None
    assert rank_correlation(np.full(5, 0.1), x) is None
    assert rank_correlation(x[:1], x[:1]) is None
    assert rank_correlation(np.full(3, np.nan), np.arange(3.0)) is None
    assert rank_correlation(np.array([1.0, np.nan, 2.0, np.inf]), np.array([5.0, 9.0, 6.0, 1.0])) == pytest.approx(1)


def test_evenly_takes_from_end_to_end_without_repetition() -> None:
    assert evenly(3, 10).tolist() == [0, 1, 2]
    assert evenly(1, 10).tolist() == [0]
    taken = evenly(10_001, 2000)
    assert (len(set(taken.tolist())), taken[0], taken[-1]) == (2000, 0, 10_000)
    assert set(np.diff(taken)) <= {5, 6}


# --- errors along real episodes ---------------------------------------------------------------------------------------------------


def wandering(lengths: tuple[int, ...], drift: np.ndarray | None = None, scale: float = 1.0) -> tuple[Recorded, ...]:
    """Episodes of random actions in s' = s + `drift`, r = 0, each from a start of its own."""
    rng = np.random.default_rng(4)
    episodes = []
    for length in lengths:
        steps = np.zeros((length + 1, OBS)) if drift is None else np.arange(length + 1)[:, None] * drift
        observations = scale * rng.standard_normal(OBS) + steps
        actions = rng.uniform(-1, 1, (length, ACT)).astype(np.float32)
        episodes.append(Recorded(observations.astype(np.float32), actions, np.zeros(length), False))
    return tuple(episodes)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rank_correlation_is_one_where_u_orders_the_errors_and_minus_one_where_it_turns_them_round(sign: float) -> None:
    """The truth moves by exp(s₀), the model stands still; its log σ² is ± s₀."""
    s = np.random.default_rng(2).uniform(-2, 2, (300, OBS)).astype(np.float32)
    episodes = tuple(
        Recorded(np.stack([row, row + np.exp(row[0])]), np.zeros((1, ACT), np.float32), np.zeros(1), False) for row in s
    )
    log_variance = np.zeros((OBS + ACT, 1 + OBS))
    log_variance[0] = sign
    model = linear_model(np.zeros((1, OBS + ACT, 1 + OBS)), log_variance=log_variance, log_variance_bias=0.0)
    u, errors = one_step_errors(roller(model, "max_aleatoric"), episodes, CPU)
    np.testing.assert_allclose(errors, 2 * np.exp(s[:, 0]), rtol=1e-5)
    np.testing.assert_allclose(u, np.sqrt(5) * np.exp(sign * s[:, 0] / 2), rtol=1e-4)
    assert rank_correlation(u, errors) == pytest.approx(sign)


def test_the_one_step_error_counts_reward_and_state_of_the_elites_average() -> None:
    changes = np.array([[3.0, 0, 0, 0, 0], [5.0, 2.0, 0, 0, 0], [900.0, 0, 0, 0, 0]])
    _, errors = one_step_errors(roller(constant_model(changes, elites=(0, 1))), wandering((2500, 40)), CPU)
    np.testing.assert_allclose(errors, np.full(2000, (4.0**2 + 1.0**2) ** 0.5), rtol=1e-5)


def test_the_open_loop_error_of_an_exact_model_is_zero_at_every_horizon_and_across_no_episodes_end() -> None:
    matrix = linear(np.random.default_rng(1))
    env, policy = Linear(matrix, steps=40), policy_of(random_actor())
    real = run_episodes(env, lambda s, rng: policy(s, rng), 5, (0, "t"), keep=True)
    errors = open_loop_errors(roller(linear_model(matrix[None], std=0.5)), real.recorded, CPU)
    assert list(errors) == [1, 5, 10, 20]
    assert max(errors.values()) < 1e-5


def test_the_open_loop_error_of_a_biased_model_grows_by_the_bias_and_is_told_in_units_of_the_batch() -> None:
    """Off by 0.3 a step in one of four dimensions whose std over the batch is 0.5: k·0.3/0.5/√4 after k steps."""
    drift = np.array([0.1, 0.0, 0.0, -0.2])
    model = constant_model(np.array([[7.0, 0.4, 0.0, 0.0, -0.2]]), std=0.5)
    errors = open_loop_errors(roller(model), wandering((30, 25), drift), CPU)
    assert errors == pytest.approx({k: k * 0.3 for k in (1, 5, 10, 20)}, rel=1e-4)


def test_segments_that_end_before_a_horizon_do_not_count_in_it() -> None:
    model = constant_model(np.array([[0.0, 1.0, 0, 0, 0]]))
    assert list(open_loop_errors(roller(model), wandering((7, 3)), CPU)) == [1, 5]
    assert open_loop_errors(roller(model), wandering((1,)), CPU) == pytest.approx({1: 0.5})
    blown_up = constant_model(np.array([[0.0, 1e38, 0, 0, 0]]))
    assert list(open_loop_errors(roller(blown_up), wandering((30,)), CPU)) == [1]


# --- all of it --------------------------------------------------------------------------------------------------------------------


def calibrated(
    model: Model, real: Episodes, starts: np.ndarray, coefficient: float, seed: int = 7, steps: int = 30
) -> dict[str, float]:
    r = roller(model, coefficient=coefficient)
    return calibrate(r, random_actor(), batch(starts), real, 200, steps, GAMMA, seeded(seed))


def test_a_dishonest_model_is_told_from_an_honest_one() -> None:
    """The model promises 1 more a step than the truth pays. Its members disagree by ±0.4, so λ = 2 is too little, λ = 3 enough."""
    rng = np.random.default_rng(1)
    matrix = linear(rng)
    real = run_episodes(Linear(matrix), deterministic(policy_of(random_actor())), 40, (0, "t"), keep=True)
    biases = np.array([[1.0, 0.4, 0, 0, 0], [1.0, -0.4, 0, 0, 0]])
    starts = np.stack([e.observations[0] for e in real.recorded])
    found = {c: calibrated(linear_model(np.stack([matrix, matrix]), biases), real, starts, c) for c in (2.0, 3.0)}
    truth = float(np.mean([discounted_return(episode.rewards, GAMMA) for episode in real.recorded]))
    for c, metrics in found.items():
        assert metrics["eval/discounted_return"] == pytest.approx(truth)
        assert metrics["eval/model_return"] == pytest.approx(truth + geometric(30), abs=0.5)
        promised = metrics["eval/model_return"] - 0.4 * c * geometric(30)
        assert metrics["eval/model_return_penalised"] == pytest.approx(promised, abs=1e-4)
        assert metrics["calibration/margin"] == pytest.approx(
            metrics["eval/discounted_return"] - metrics["eval/model_return_penalised"]
        )
        assert metrics["calibration/u_on_policy"] == pytest.approx(0.4, rel=1e-4)
        assert metrics["calibration/dropped_fraction"] == 0
        assert metrics["calibration/open_loop/1"] < 1e-5
    assert found[2.0]["calibration/lower_bound"] == 0
    assert found[3.0]["calibration/lower_bound"] == 1
    assert found[3.0]["calibration/penalty_share"] == pytest.approx(1.5 * found[2.0]["calibration/penalty_share"])


def test_the_same_generator_gives_the_same_metrics() -> None:
    matrix = linear(np.random.default_rng(1))
    real = run_episodes(Linear(matrix), deterministic(policy_of(random_actor())), 3, (0, "t"), keep=True)
    starts = np.random.default_rng(3).standard_normal((30, OBS))
    model = linear_model(np.stack([matrix, 1.1 * matrix]), log_variance_bias=-4.0)
    assert calibrated(model, real, starts, 1.0) == calibrated(model, real, starts, 1.0)
    assert calibrated(model, real, starts, 1.0) != calibrated(model, real, starts, 1.0, seed=8)


def test_of_a_model_that_diverges_no_bound_is_claimed() -> None:
    real = Episodes(*np.zeros((4, 2)), recorded=wandering((20, 20)))
    model = constant_model(np.array([[1.0, 30.0, 0, 0, 0]]))
    starts = np.zeros((50, OBS))
    starts[:25] = -99.0
    some = calibrated(model, real, starts, 1.0, steps=5)
    assert some["calibration/dropped_fraction"] == pytest.approx(0.5, abs=0.1)
    assert some["eval/model_return"] == pytest.approx(geometric(5))
    assert "calibration/lower_bound" not in some
    assert "calibration/margin" not in some
    every = calibrated(model, real, starts, 1.0, steps=10)
    assert every["calibration/dropped_fraction"] == 1
    assert "eval/model_return" not in every
    assert every["eval/discounted_return"] == 0
    # u is 0 everywhere, so it has no rank correlation with anything.
    assert "calibration/rank_correlation" not in every


def test_returns_are_compared_over_the_same_number_of_steps() -> None:
    """The time limit cut a real episode after 12 steps: the model earns 12 steps too; an episode that ended itself is whole."""
    cut, ended = wandering((12, 4))
    cut = Recorded(cut.observations, cut.actions, np.ones(12), False)
    ended = Recorded(ended.observations, ended.actions, np.ones(4), True)
    real = Episodes(*np.zeros((4, 2)), recorded=(cut, ended))
    model = constant_model(np.array([[1.0, 0, 0, 0, 0]]))
    found = calibrated(model, real, np.zeros((5, OBS)), 1.0, steps=1000)
    assert found["eval/model_return"] == pytest.approx(geometric(12))
    assert found["eval/discounted_return"] == pytest.approx((geometric(12) + geometric(4)) / 2)
    short = calibrated(model, real, np.zeros((5, OBS)), 1.0, steps=3)
    assert short["eval/model_return"] == pytest.approx(geometric(3))
    assert short["eval/discounted_return"] == pytest.approx(discounted_return(np.ones(3), GAMMA))


def test_a_request_to_stop_is_heeded_at_once() -> None:
    def stop() -> None:
        raise Stopped(130, "asked to")

    real = Episodes(*np.zeros((4, 1)), recorded=wandering((20,)))
    r = roller(constant_model(np.array([[1.0, 0, 0, 0, 0]])))
    with pytest.raises(Stopped):
        calibrate(r, random_actor(), batch(np.zeros((5, OBS))), real, 5, 100, GAMMA, seeded(), stop)
