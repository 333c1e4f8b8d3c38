"""Penalties and guards beyond the paper's, each against a plain formula or a world in which the truth is known."""

from __future__ import annotations

import dataclasses
import itertools
import math

import pytest
import torch
from torch import Tensor

from engine.agents.awac import AWAC
from engine.agents.networks import Batch, Networks
from engine.agents.sac import METRICS, SAC, critic_loss
from engine.algorithms.batches import ModelBatches
from engine.compute import Compute
from engine.config import Awac, Dynamics, Rollout, Sac
from engine.dynamics.ensemble import Ensemble, Model, Normaliser
from engine.dynamics.rollouts import ModelBuffer, Roller
from engine.dynamics.termination import TERMINATIONS
from engine.dynamics.training import fit
from engine.pessimism import (
    BellmanPenalty,
    bellman_inconsistency,
    critic_diversity,
    layer_norm,
    pessimistic_value,
    to_raw_units,
    uncertainty_limit,
)

OBS, ACT, ROWS, REAL = 4, 2, 10, 3
WIDTH = 2 * OBS + ACT + 2
PLAIN = Compute("cpu", 1, "stock", False)
SMALL = Dynamics(members=3, elites=2, hidden=(16, 16), weight_decay=(0.0,) * 4, max_epochs=3, batch_size=32)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(elites: tuple[int, ...] = (2, 0), seed: int = 1) -> Model:
    ensemble = Ensemble(OBS, ACT, SMALL)
    parameters = ensemble.initial_parameters(seeded(seed))
    return Model(ensemble, parameters, Normaliser(torch.zeros(OBS + ACT), torch.ones(OBS + ACT)), elites)


def transitions(seed: int, rows: int = ROWS) -> Tensor:
    packed = torch.randn(rows, WIDTH, generator=seeded(seed))
    packed[:, OBS : OBS + ACT].tanh_()
    packed[:, -1] = (packed[:, -1] > 1).float()
    return packed


# --- the Bellman penalty ----------------------------------------------------------------------------------------------------------


def test_inconsistency_is_the_spread_over_members_of_the_mean_over_samples() -> None:
    values = torch.randn(4, 3, 5, generator=seeded(2))
    for b in range(5):
        means = [float(values[:, i, b].mean()) for i in range(3)]
        centre = sum(means) / 3
        std = math.sqrt(sum((m - centre) ** 2 for m in means) / 2)
        assert float(bellman_inconsistency(values)[b]) == pytest.approx(std, rel=1e-5)


def test_the_penalty_against_loops_over_rows_elites_and_samples() -> None:
    model, networks = model_of(), Networks(OBS, ACT, Sac(hidden=(8,)))
    actor = 0.3 * torch.randn(networks.actor.size, generator=seeded(3))
    critic = 0.3 * torch.randn(networks.critic.size, generator=seeded(4))
    penalty = BellmanPenalty(model, 2.0, 3, REAL)
    batch = Batch.of_rows(transitions(5), OBS, ACT)
    states, actions = penalty.noise(ROWS, ACT, seeded(6))
    assert states.shape == (3, 2, ROWS - REAL, OBS)
    got = penalty(networks, actor, critic, batch.observation, batch.action, (states, actions))
    assert got[:REAL].tolist() == [0.0] * REAL
    for row in range(REAL, ROWS):
        s, a = batch.observation[row : row + 1], batch.action[row : row + 1]
        mean, log_variance = model.predict(s, a)
        values = []
        for e, member in enumerate(model.elites):
            total = 0.0
            for k in range(3):
                std = torch.sqrt(torch.exp(log_variance[member, :, 1:]))
                s_next = mean[member, :, 1:] + std * states[k, e, row - REAL]
                a_next, _ = networks.sample(actor, s_next, actions[k, e, row - REAL][None])
                q = networks.q(critic, s_next, a_next)
                total += min(float(q[0, 0]), float(q[1, 0])) / 3
            values.append(total)
        centre = sum(values) / 2
        expected = 2.0 * math.sqrt(sum((v - centre) ** 2 for v in values))
        assert float(got[row]) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_members_that_agree_about_what_comes_next_cost_nothing() -> None:
    model = model_of()
    for view in model.ensemble.member_views(model.parameters):
        view[:] = view[:1].clone()
    model.ensemble.layout.views(model.parameters)["max_log_variance"].fill_(-60)
    model.ensemble.layout.views(model.parameters)["min_log_variance"].fill_(-61)
    networks = Networks(OBS, ACT, Sac(hidden=(8,)))
    actor, critic = torch.zeros(networks.actor.size), torch.randn(networks.critic.size, generator=seeded(4))
    penalty, batch = BellmanPenalty(model, 5.0, 2, 0), Batch.of_rows(transitions(5), OBS, ACT)
    states, actions = penalty.noise(ROWS, ACT, seeded(6))
    alike = actions[:, :1].expand_as(actions).contiguous()  # the policy's noise is no disagreement of the members
    got = penalty(networks, actor, critic, batch.observation, batch.action, (states, alike))
    assert float(got.abs().max()) < 1e-4


def _critic(agent: SAC | AWAC) -> Tensor:
    n_actor, n_critic = agent.networks.actor.size, agent.networks.critic.size
    return agent.parameters[n_actor : n_actor + n_critic]


@pytest.mark.parametrize("kind", ["sac", "awac"])
def test_agents_take_the_penalty_off_the_targets_of_model_rows(kind: str) -> None:
    """Two agents begin alike, so in the first update Q and y are the same but for the penalty p: the critics' loss says which p."""
    penalty, rows, agents = BellmanPenalty(model_of(), 20.0, 2, REAL), transitions(7), []
    rows[:, -1] = 1  # y = r
    for p in (penalty, None):
        made: SAC | AWAC = (
            SAC(OBS, ACT, Sac(hidden=(8,)), PLAIN, seeded(1), p)
            if kind == "sac"
            else AWAC(OBS, ACT, Awac(hidden=(8,)), PLAIN, seeded(1), p)
        )
        agents.append(made)
    agent, plain = agents
    batch, noise, networks = Batch.of_rows(rows, OBS, ACT), agent.noise(ROWS, seeded(2)), agent.networks
    s, a = batch.observation, batch.action
    off = penalty(networks, agent.actor.clone(), agent.target_critic.clone(), s, a, (noise[1], noise[2]))
    q = networks.q(_critic(agent), s, a)
    expected = [float(0.5 * (q - y).square().mean(1).sum()) for y in (batch.reward - off, batch.reward)]
    got = [float(agent.update(rows, noise)[1]), float(plain.update(rows, noise[:1])[1])]
    assert got == pytest.approx(expected, rel=1e-5)
    assert float(off[REAL:].min()) > 0.01


def test_an_update_with_the_penalty_compiles_to_the_same_update() -> None:
    penalty, compute = BellmanPenalty(model_of(), 1.0, 2, REAL), Compute.choose(compiled=True, gemm="stock")
    eager, compiled = (SAC(OBS, ACT, Sac(hidden=(8,)), c, seeded(1), penalty) for c in (PLAIN, compute))
    for step in range(2):
        rows, noise = transitions(step), eager.noise(ROWS, seeded(step))
        torch.testing.assert_close(eager.update(rows, noise), compiled.update(rows, noise), rtol=1e-4, atol=1e-5)


# --- critics ----------------------------------------------------------------------------------------------------------------------


def test_the_value_of_many_critics_is_their_least() -> None:
    q = torch.randn(5, 7, generator=seeded(8))
    assert pessimistic_value(q).tolist() == [min(column) for column in q.T.tolist()]


def test_diversity_against_a_loop_over_pairs() -> None:
    g = torch.randn(4, 6, 3, generator=seeded(9), dtype=torch.float64)
    total = sum(
        float((g[i, b] @ g[j, b]) / (g[i, b].norm() * g[j, b].norm()))
        for i, j in itertools.permutations(range(4), 2)
        for b in range(6)
    )
    assert float(critic_diversity(g)) == pytest.approx(total / 6 / 3)


def test_action_gradients_and_their_own_gradient_are_those_of_autograd() -> None:
    networks = Networks(OBS, ACT, Sac(hidden=(8, 8), critics=3))
    critic = (0.5 * torch.randn(networks.critic.size, generator=seeded(10))).double().requires_grad_()
    batch = Batch.of_rows(transitions(11).double(), OBS, ACT)
    action = batch.action.clone().requires_grad_()
    rows = [
        torch.autograd.grad(networks.q(critic, batch.observation, action)[j].sum(), action, create_graph=True)[0]
        for j in range(3)
    ]
    theirs = torch.stack(rows)
    ours = networks.action_gradients(critic, batch.observation, batch.action)
    torch.testing.assert_close(ours, theirs)
    (gradient,) = torch.autograd.grad(critic_diversity(ours), critic, retain_graph=True)
    (expected,) = torch.autograd.grad(critic_diversity(theirs), critic)
    torch.testing.assert_close(gradient, expected)


def test_the_diversity_term_is_part_of_the_critics_loss_and_turns_gradients_apart() -> None:
    networks = Networks(OBS, ACT, Sac(hidden=(16,), critics=4))
    batch = Batch.of_rows(transitions(12), OBS, ACT)
    critic = torch.randn(networks.critic.size, generator=seeded(13))
    target = torch.zeros(ROWS)
    term = critic_diversity(networks.action_gradients(critic, batch.observation, batch.action))
    plain, with_term = (critic_loss(critic, networks, batch, target, eta)[0] for eta in (0.0, 2.0))
    torch.testing.assert_close(with_term, plain + 2 * term)
    settings = Sac(hidden=(16,), critics=4, critic_lr=3e-3)
    terms = []
    for eta in (0.0, 5.0):
        agent = SAC(OBS, ACT, dataclasses.replace(settings, diversity=eta), PLAIN, seeded(1))
        for step in range(200):
            agent.update(transitions(12), agent.noise(ROWS, seeded(step)))
        gradients = agent.networks.action_gradients(_critic(agent), batch.observation, batch.action)
        terms.append(float(critic_diversity(gradients)))
    assert terms[1] < terms[0] - 0.3


def test_without_entropy_backup_the_temperature_leaves_the_target_alone() -> None:
    """The entropy's share of the critics' loss goes, and nothing else of the first update."""
    rows = transitions(14)
    rows[:, -1] = 0
    losses = {}
    for backup, log_alpha in ((True, 0.0), (False, 0.0), (False, 3.0)):
        settings = Sac(hidden=(8,), entropy_backup=backup, initial_log_temperature=log_alpha)
        agent = SAC(OBS, ACT, settings, PLAIN, seeded(1))
        losses[backup, log_alpha] = dict(
            zip(METRICS, agent.update(rows, agent.noise(ROWS, seeded(1))).tolist(), strict=True)
        )
    assert losses[False, 0.0]["policy/critic_loss"] == losses[False, 3.0]["policy/critic_loss"]
    assert losses[True, 0.0]["policy/critic_loss"] != losses[False, 0.0]["policy/critic_loss"]
    assert losses[True, 0.0]["policy/actor_loss"] == losses[False, 0.0]["policy/actor_loss"]


# --- models -----------------------------------------------------------------------------------------------------------------------


def test_layer_norm_is_torchs_without_gain_and_bias() -> None:
    h = 5 + 3 * torch.randn(3, 7, 16, generator=seeded(15))
    torch.testing.assert_close(layer_norm(h), torch.nn.functional.layer_norm(h, (16,)))


def test_a_model_with_layer_norm_stays_bounded_far_from_its_data() -> None:
    inputs = torch.randn(8, OBS + ACT, generator=seeded(16))
    spread = {}
    for on in (False, True):
        ensemble = Ensemble(OBS, ACT, dataclasses.replace(SMALL, layer_norm=on))
        parameters = ensemble.initial_parameters(seeded(17))
        spread[on] = float(ensemble.forward(parameters, 1e4 * inputs)[0].abs().max())
    assert spread[True] < 10 < 100 < spread[False]


def test_raw_units_undo_the_standardisation() -> None:
    centre, scale = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 100.0])
    mean, log_variance = torch.randn(3, 5, 2, generator=seeded(18)), torch.randn(3, 5, 2, generator=seeded(19))
    raw_mean, raw_log_variance = to_raw_units(mean, log_variance, centre, scale)
    torch.testing.assert_close((raw_mean - centre) / scale, mean)
    torch.testing.assert_close(torch.exp(0.5 * raw_log_variance), torch.exp(0.5 * log_variance) * scale)


def linear_rows(size: int) -> Tensor:
    """s' = s + 100·a in one dimension, 0.01·a in another, so that their scales are far apart."""
    s, a = torch.randn(size, OBS, generator=seeded(20)), 2 * torch.rand(size, ACT, generator=seeded(21)) - 1
    change = torch.zeros(size, OBS)
    change[:, 0], change[:, 1] = 100 * a[:, 0], 0.01 * a[:, 1]
    return torch.cat([s, a, a[:, :1], s + change, torch.zeros(size, 1)], dim=1)


def test_normalised_targets_let_a_small_dimension_count() -> None:
    rows = linear_rows(3000)
    s, a = rows[:200, :OBS], rows[:200, OBS : OBS + ACT]
    errors = {}
    for on in (False, True):
        settings = dataclasses.replace(SMALL, normalise_targets=on, steps=400)
        model, _, _ = fit(rows, OBS, ACT, settings, 0, PLAIN, lambda _: None, lambda *_: None)
        assert (model.target_scale is not None) is on
        mean, _ = model.predict(s, a)
        errors[on] = (mean[0, :, 1:] - rows[:200, OBS + ACT + 1 : -1]).abs().mean(0)
    assert float(errors[True][1]) < 0.5 * float(errors[False][1])
    assert float(errors[True][0]) < 20  # in raw units: the mean |change| is 50


def test_a_fit_of_so_many_steps_takes_exactly_those_without_early_stopping() -> None:
    rows, seen = linear_rows(400), []
    settings = dataclasses.replace(SMALL, steps=25, patience=0, max_epochs=1)
    fit(rows, OBS, ACT, settings, 0, PLAIN, lambda epoch: seen.append(epoch.steps), lambda *_: None)
    assert seen == [10, 10, 5]  # 320 rows of training are 10 batches of 32


# --- rollouts ---------------------------------------------------------------------------------------------------------------------


def roller_of(termination: str = "never", limit: float = float("inf")) -> tuple[Roller, Tensor]:
    networks = Networks(OBS, ACT, Sac(hidden=(8,)))
    actor = 0.3 * torch.randn(networks.actor.size, generator=seeded(22))
    return Roller(networks, model_of(), termination, "max_aleatoric", 1.0, PLAIN, limit=limit), actor


def test_the_limit_is_the_datas_quantile() -> None:
    assert uncertainty_limit(torch.arange(101.0), 0.9) == pytest.approx(90.0)


def test_a_rollout_ends_where_u_exceeds_the_limit_and_that_step_is_not_kept() -> None:
    free, actor = roller_of()
    starts = torch.randn(1000, OBS, generator=seeded(23))
    everything = ModelBuffer(1, 5000, WIDTH, "cpu")
    free.roll(actor, starts, 5, everything, seeded(24), lambda: None)
    rows = everything.gather(torch.arange(5000))
    u = free.uncertainty(rows[:, :OBS], rows[:, OBS : OBS + ACT])
    limit = uncertainty_limit(u, 0.8)
    cut, _ = roller_of(limit=limit)
    buffer = ModelBuffer(1, 5000, WIDTH, "cpu")
    rolled = cut.roll(actor, starts, 5, buffer, seeded(24), lambda: None)
    kept = buffer.gather(torch.arange(len(buffer)))
    assert float(cut.uncertainty(kept[:, :OBS], kept[:, OBS : OBS + ACT]).max()) <= limit * (1 + 1e-5)
    first = int((u[:1000] <= limit).sum())
    torch.testing.assert_close(
        kept[:first], rows[:1000][u[:1000] <= limit]
    )  # of the first step the same rows, less the cut
    assert float(kept[:, -1].sum()) == 0  # a cut is no terminal
    assert 0.1 < rolled.cut_fraction < 0.5
    assert rolled.mean_length < 5


def test_rounds_of_exactly_so_many_transitions_outlive_a_limit_that_cuts_many() -> None:
    """A few start states that are begun at the end to fill a round may all be cut: that is no divergence."""
    free, actor = roller_of()
    rows = transitions(28, 2000)
    u = free.uncertainty(rows[:, :OBS], rows[:, OBS : OBS + ACT])
    for seed in range(40):
        roller, _ = roller_of(limit=uncertainty_limit(u, 0.5))
        batches = ModelBatches(rows, OBS, roller, Rollout(transitions=500, length=5, retain_rounds=1), 256)
        assert batches.begin(1, actor, seeded(seed), lambda: None).transitions == 500


def test_rounds_of_exactly_so_many_transitions_whatever_ends_early() -> None:
    TERMINATIONS["half"] = lambda s: s[:, 0] > 0
    try:
        roller, _ = roller_of("half")
        rows = transitions(25, 500)
        settings = Rollout(transitions=1700, length=3, retain_rounds=2)
        batches = ModelBatches(rows, OBS, roller, settings, 256)
        networks = Networks(OBS, ACT, Sac(hidden=(8,)))
        actor = torch.zeros(networks.actor.size)
        rolled = batches.begin(1, actor, seeded(26), lambda: None)
        assert rolled.transitions == 1700
        assert rolled.terminal_fraction > 0.2
        again = ModelBatches(rows, OBS, roller, settings, 256)
        again.begin(1, actor, seeded(26), lambda: None)
        batches.draw(2, seeded(27))
        again.draw(2, seeded(27))
        assert torch.equal(batches.batch(1), again.batch(1))
    finally:
        del TERMINATIONS["half"]
