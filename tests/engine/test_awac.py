"""AWAC, its mixture policy and its critics against plain formulas; MB2PO's gate by its rules."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.agents.awac import (
    AWAC,
    METRICS,
    actor_loss,
    advantage_weights,
    advantages,
    critic_loss,
    quantile_huber,
    td_target,
)
from engine.agents.fitted_q import fitted_q
from engine.agents.networks import Batch, Networks, mixture_log_density, sample_mixture
from engine.algorithms import gate
from engine.algorithms.gate import Decision, may_enter, may_recommend
from engine.algorithms.online_sac import snapshot
from engine.compute import Compute
from engine.config import Awac, Dynamics, TrainConfig, resolve
from engine.dynamics.ensemble import Ensemble, Model, Normaliser
from engine.dynamics.rollouts import Roller
from engine.plan import fine_tunes, planned_work
from engine.policy import Policy
from engine.tasks import TASKS

OBS, ACT, ROWS = 3, 2, 16
WIDTH = 2 * OBS + ACT + 2
SETTINGS = Awac(hidden=(8,), components=3, batch_size=ROWS, actor_lr=2.0**-8, critic_lr=2.0**-7, polyak=0.1)
PLAIN = Compute("cpu", 1, "stock", False)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=seeded(seed))


def transitions(seed: int, rows: int = ROWS) -> Tensor:
    packed = normal(rows, WIDTH, seed=seed)
    packed[:, OBS : OBS + ACT] = torch.tanh(packed[:, OBS : OBS + ACT])
    packed[:, -1] = (packed[:, -1] > 1).double()
    return packed


def agent_of(settings: Awac = SETTINGS) -> AWAC:
    agent = AWAC(OBS, ACT, settings, PLAIN, seeded(1))
    for name in ("parameters", "target_critic", "m", "v"):
        setattr(agent, name, getattr(agent, name).double())
    agent.parameters.add_(0.3 * normal(len(agent.parameters), seed=2))
    agent.target_critic.add_(0.3 * normal(len(agent.target_critic), seed=3))
    return agent


# --- the mixture ------------------------------------------------------------------------------------------------------------------


def test_the_density_of_a_mixture_integrates_to_one_over_the_actions() -> None:
    log_weights = torch.log_softmax(torch.tensor([[0.3, -1.0, 0.9]], dtype=torch.float64), -1)
    mean = torch.tensor([[[-0.8], [0.1], [0.7]]], dtype=torch.float64)
    log_std = torch.tensor([[[-1.0], [-0.3], [-2.0]]], dtype=torch.float64)
    u = torch.linspace(-6, 6, 8001, dtype=torch.float64)[:, None]
    each = [t.expand(len(u), *t.shape[1:]) for t in (log_weights, mean, log_std)]
    density = mixture_log_density(each[0], each[1], each[2], u).exp()
    a = torch.tanh(u[:, 0])
    assert float(((density[1:] + density[:-1]) / 2 * a.diff()).sum()) == pytest.approx(1, abs=1e-5)


def test_samples_of_a_mixture_follow_its_weights_and_its_normals() -> None:
    log_weights = torch.log(torch.tensor([[0.2, 0.5, 0.3]])).expand(60_000, 3)
    mean = torch.tensor([[[-2.0], [0.0], [2.0]]]).expand(60_000, 3, 1)
    log_std = torch.full((60_000, 3, 1), math.log(0.1))
    noise = torch.randn(60_000, 2, generator=seeded(4))
    action, log_density = sample_mixture(log_weights, mean, log_std, noise)
    u = torch.atanh(action[:, 0])
    for weight, centre in ((0.2, -2.0), (0.5, 0.0), (0.3, 2.0)):
        near = (u - centre).abs() < 0.6
        assert float(near.float().mean()) == pytest.approx(weight, abs=0.01)
        assert float(u[near].mean()) == pytest.approx(centre, abs=0.01)
        assert float(u[near].std()) == pytest.approx(0.1, abs=0.01)
    torch.testing.assert_close(
        log_density, mixture_log_density(log_weights, mean, log_std, u[:, None]), rtol=0, atol=1e-2
    )


def test_one_component_is_the_gaussian_policy() -> None:
    """The mixture's formulas and the reparametrised Gaussian's say the same of the same network."""
    networks = Networks(OBS, ACT, SETTINGS)
    actor, s = 0.3 * normal(networks.actor.size, seed=5), normal(ROWS, OBS, seed=6)
    noise = normal(ROWS, ACT, seed=7)
    action, log_density = networks.sample(actor, s, noise)
    same, same_density = sample_mixture(*networks.mixture(actor, s), noise)
    torch.testing.assert_close(action, same)
    torch.testing.assert_close(log_density, same_density)
    torch.testing.assert_close(log_density, networks.log_density(actor, s, action))
    torch.testing.assert_close(networks.mode(actor, s), networks.sample(actor, s, torch.zeros_like(noise))[0])


def test_the_numpy_policy_acts_as_the_agents_networks_do(tmp_path: Path) -> None:
    agent = AWAC(OBS, ACT, SETTINGS, PLAIN, seeded(1))
    agent.parameters.add_(0.5 * torch.randn(len(agent.parameters), generator=seeded(2)))
    s = torch.randn(200, OBS, generator=seeded(8))
    policy = snapshot(agent, task="x")
    policy.save(tmp_path / "p.safetensors")
    loaded = Policy.load(tmp_path / "p.safetensors")
    assert (loaded.components, loaded.action_dim, loaded.metadata) == (3, ACT, {"task": "x"})
    expected = agent.networks.mode(agent.actor, s).numpy()
    assert np.allclose(loaded(s.numpy()), expected, atol=2e-6)
    assert np.allclose(loaded(s[7].numpy()), expected[7], atol=2e-6)
    log_weights, _, _ = agent.networks.mixture(agent.actor, s[:1])
    rng = np.random.default_rng(0)
    drawn = np.stack([loaded(s[0].numpy(), rng) for _ in range(4000)])
    assert log_weights.exp().max() < 0.95  # so a draw of the likeliest component alone would not do
    sampled, _ = agent.networks.sample(
        agent.actor, s[:1].expand(20_000, OBS), torch.randn(20_000, ACT + 1, generator=seeded(9))
    )
    assert np.allclose(drawn.mean(0), sampled.numpy().mean(0), atol=0.05)
    assert np.allclose(drawn.std(0), sampled.numpy().std(0), atol=0.05)


# --- losses -----------------------------------------------------------------------------------------------------------------------


def test_weights_are_the_clipped_exponential_of_the_advantage() -> None:
    advantage = torch.tensor([-1e4, -2.0, 0.0, 1.0, 5.9, 6.1, 1e4])
    weights = advantage_weights(advantage, 2.0, 20.0)
    expected = [min(math.exp(min(a / 2, 700)), 20.0) for a in advantage.tolist()]
    assert weights.tolist() == pytest.approx(expected, rel=1e-5)
    assert bool(torch.isfinite(weights).all())


def test_the_advantage_is_the_lower_critic_over_the_mean_of_the_samples_lower_critics() -> None:
    q, sampled = normal(2, ROWS, seed=10), normal(2, 4, ROWS, seed=11)
    expected = [
        min(q[0, b], q[1, b]) - sum(min(sampled[0, m, b], sampled[1, m, b]) for m in range(4)) / 4 for b in range(ROWS)
    ]
    torch.testing.assert_close(advantages(q, sampled), torch.stack(expected))


def test_quantile_regression_against_a_loop() -> None:
    quantiles, target = normal(2, 4, 5, seed=12), 2 * normal(4, 3, seed=13)
    for j in range(2):
        for b in range(4):
            total = 0.0
            for i in range(5):
                tau = (i + 0.5) / 5
                for y in target[b].tolist():
                    error = y - float(quantiles[j, b, i])
                    huber = 0.5 * error**2 if abs(error) <= 1 else abs(error) - 0.5
                    total += abs(tau - (error < 0)) * huber / 3
            assert float(quantile_huber(quantiles, target)[j, b]) == pytest.approx(total)


def test_a_quantile_critic_finds_the_quantiles_of_its_targets() -> None:
    """Minimised over a constant, the loss has its quantiles at those of the target's distribution."""
    theta = torch.zeros(1, 1, 4, requires_grad=True)
    target = 20 * torch.linspace(-1, 1, 2001)[None]
    optimiser = torch.optim.Adam([theta], lr=0.05)
    for _ in range(1500):
        optimiser.zero_grad()
        quantile_huber(theta, target).sum().backward()
        optimiser.step()
    assert theta.detach().flatten().tolist() == pytest.approx([-15, -5, 5, 15], abs=0.5)


@pytest.mark.parametrize("critic", ["expected", "quantile"])
def test_the_target_is_that_of_the_critic_that_says_less(critic: str) -> None:
    agent = agent_of(dataclasses.replace(SETTINGS, critic=critic, quantiles=4))
    networks, batch = agent.networks, Batch.of_rows(transitions(20), OBS, ACT)
    noise = normal(ROWS, ACT + 1, seed=21)
    target = td_target(networks, agent.actor, agent.target_critic, batch, noise)
    action, _ = networks.sample(agent.actor, batch.next_observation, noise)
    quantiles = networks.q_quantiles(agent.target_critic, batch.next_observation, action)
    for b in range(ROWS):
        lower = min((quantiles[j, b] for j in range(2)), key=lambda q: float(q.mean()))
        torch.testing.assert_close(target[b], batch.reward[b] + 0.99 * (1 - batch.terminal[b]) * lower)
    assert target.shape == (ROWS, 4 if critic == "quantile" else 1)


def test_twenty_updates_of_awac() -> None:
    """Against torch's Adam on plain losses; the gradient of the actor goes through log π alone, never through a sampled action."""
    agent = agent_of()
    networks, n_actor = agent.networks, agent.networks.actor.size
    actor = agent.parameters[:n_actor].clone().requires_grad_()
    critic = agent.parameters[n_actor:].clone().requires_grad_()
    target_critic = agent.target_critic.clone()
    groups = ((actor, SETTINGS.actor_lr), (critic, SETTINGS.critic_lr))
    optimiser = torch.optim.Adam([{"params": [p], "lr": lr} for p, lr in groups])
    for step in range(20):
        rows, (noise,) = transitions(100 + step), (normal(5, ROWS, ACT + 1, seed=200 + step),)
        got = dict(zip(METRICS, agent.update(rows, (noise,)).tolist(), strict=True))
        batch = Batch.of_rows(rows, OBS, ACT)
        with torch.no_grad():
            y = td_target(networks, actor, target_critic, batch, noise[0])[:, 0]
            sampled = []
            entropy = torch.zeros((), dtype=torch.float64)
            for m in range(4):
                action, log_density = networks.sample(actor, batch.observation, noise[1 + m])
                sampled.append(networks.q(critic, batch.observation, action))
                entropy -= log_density.mean() / 4
            advantage = advantages(networks.q(critic, batch.observation, batch.action), torch.stack(sampled, dim=1))
            weights = torch.exp(advantage).clamp(max=20)
        q = networks.q(critic, batch.observation, batch.action)
        j_q = 0.5 * ((q - y) ** 2).mean(1).sum()
        j_pi = -(weights * networks.log_density(actor, batch.observation, batch.action)).mean()
        expected = {
            "policy/q": float(q.detach().mean()),
            "policy/critic_loss": float(j_q.detach()),
            "policy/actor_loss": float(j_pi.detach()),
            "policy/advantage": float(advantage.mean()),
            "policy/weight": float(weights.mean()),
            "policy/weight_clipped": float((advantage >= math.log(20)).double().mean()),
            "policy/entropy": float(entropy),
        }
        assert got == pytest.approx(expected, rel=1e-5)
        critic.grad, actor.grad = torch.autograd.grad(j_q, critic)[0], torch.autograd.grad(j_pi, actor)[0]
        optimiser.step()
        target_critic = 0.9 * target_critic + 0.1 * critic.detach()
    torch.testing.assert_close(agent.parameters, torch.cat([actor, critic]).detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(agent.target_critic, target_critic, rtol=1e-5, atol=1e-7)


def test_the_actors_loss_weighs_each_action_of_the_batch() -> None:
    agent = agent_of()
    batch, noise = Batch.of_rows(transitions(30), OBS, ACT), normal(4, ROWS, ACT + 1, seed=31)
    q = agent.networks.q(agent.critic, batch.observation, batch.action)
    loss, (advantage, weights, _) = actor_loss(agent.actor, agent.networks, agent.critic, q, batch, noise, SETTINGS)
    torch.testing.assert_close(weights, advantage.exp().clamp(max=20))
    each = [
        float(
            weights[b] * agent.networks.log_density(agent.actor, batch.observation[b : b + 1], batch.action[b : b + 1])
        )
        for b in range(ROWS)
    ]
    assert float(loss) == pytest.approx(-sum(each) / ROWS)


def test_a_quantile_critic_learns_and_an_agent_is_restored_exactly() -> None:
    settings = dataclasses.replace(SETTINGS, critic="quantile", quantiles=4)
    agent = AWAC(OBS, ACT, settings, PLAIN, seeded(1))
    rows = transitions(40).float()
    rows[:, -1] = 1  # the target is the reward
    before, _ = critic_loss(agent.critic, agent.networks, Batch.of_rows(rows, OBS, ACT), rows[:, [OBS + ACT]])
    for step in range(200):
        agent.update(rows, agent.noise(ROWS, seeded(step)))
    after, _ = critic_loss(agent.critic, agent.networks, Batch.of_rows(rows, OBS, ACT), rows[:, [OBS + ACT]])
    assert float(after) < 0.2 * float(before)
    restored = AWAC(OBS, ACT, settings, PLAIN, seeded(2))
    restored.load_state(agent.state())
    noise = agent.noise(ROWS, seeded(7))
    assert agent.update(rows, noise).tolist() == restored.update(rows, noise).tolist()


def test_a_compiled_update_is_the_same_update() -> None:
    compute = Compute.choose(compiled=True, gemm="stock")
    eager, compiled = (AWAC(OBS, ACT, SETTINGS, c, seeded(1)) for c in (PLAIN, compute))
    for step in range(3):
        rows, noise = transitions(50 + step).float(), eager.noise(ROWS, seeded(step))
        torch.testing.assert_close(eager.update(rows, noise), compiled.update(rows, noise), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(eager.parameters, compiled.parameters, rtol=1e-4, atol=1e-5)


# --- fitted Q evaluation ----------------------------------------------------------------------------------------------------------


def constant_action(networks: Networks, action: float) -> Tensor:
    """A flat actor that always does tanh⁻¹'s image of `action`, with hardly any noise."""
    actor = torch.zeros(networks.actor.size)
    views = networks.actor.views(actor)
    last = views[max(name for name in views if name.endswith("bias"))]
    last[: networks.action_dim], last[networks.action_dim :] = math.atanh(action), -5.0
    return actor


def test_fitted_q_finds_the_value_of_a_policy_in_a_chain() -> None:
    """s' = s, r = −(a − ½)², γ = 0.9: a policy that always does a is worth r(a)/(1 − γ)."""
    settings = dataclasses.replace(SETTINGS, discount=0.9, hidden=(32,), components=1)
    networks = Networks(1, 1, settings)
    actor = constant_action(networks, 0.2)
    a = 2 * torch.rand(4000, 1, generator=seeded(3)) - 1
    s = torch.zeros(4000, 1)
    rows = torch.cat([s, a, -((a - 0.5) ** 2), s, torch.zeros(4000, 1)], dim=1)
    critic = fitted_q(networks, actor, rows, 3e-3, gate.FITTED_Q_POLYAK, 128, 4000, PLAIN, seeded(4), lambda: None)
    start = torch.zeros(1, 1)
    value = float(networks.q(critic, start, networks.mode(actor, start)).mean())
    assert value == pytest.approx(-(0.3**2) / 0.1, abs=0.1)


# --- the gate ---------------------------------------------------------------------------------------------------------------------


def configured(enter: str, name: str, source: str | None = None) -> TrainConfig:
    values = {"task": name, "algorithm": "mb2po", "mb2po.enter": enter}
    return resolve([("test", values | ({"dataset.source": source} if source else {}))]).config


def test_the_paper_enters_by_the_datasets_name_and_says_nothing_of_other_data() -> None:
    entered = {name for name in TASKS if fine_tunes(configured("paper", name))}
    assert entered == {
        "ant-angle",
        "halfcheetah-jump",
        "halfcheetah-random",
        "halfcheetah-medium",
        "halfcheetah-medium-replay",
        "hopper-medium-replay",
        "walker2d-medium-replay",
    }
    assert fine_tunes(configured("paper", "hopper-medium")) is False
    assert fine_tunes(configured("paper", "hopper-mixed", "d4rl:hopper-medium-replay-v2"))
    for source in (
        "/data/mine.hdf5",
        "training:/runs/x",
        "d4rl:hopper-medium-replay-v2",
        "minari:mujoco/hopper/medium-v0",
    ):
        assert fine_tunes(configured("paper", "hopper-medium", source)) is None
    assert fine_tunes(configured("auto", "ant-angle")) is None
    assert (fine_tunes(configured("always", "hopper-expert")), fine_tunes(configured("never", "ant-angle"))) == (
        True,
        False,
    )


def test_a_gate_that_is_known_to_stay_shut_costs_nothing() -> None:
    shut, auto = (planned_work(configured(enter, "hopper-medium"), False) for enter in ("never", "auto"))
    assert (shut["dynamics"], shut["finetune"]) == (0.0, 0.0)
    assert auto["dynamics"] > 0 < auto["finetune"]
    assert list(shut) == list(auto) == ["policy", "dynamics", "finetune", "evaluation"]


def test_a_narrow_batch_and_rollouts_that_leave_it_keep_the_gate_shut() -> None:
    wide = {"action_spread": 0.5, "policy_u": 1.0, "random_u": 1.2, "rollout_u": 1.1}
    assert may_enter(wide).yes
    for bad in (5.0, math.inf, math.nan):
        assert not may_enter({**wide, "random_u": bad}).yes
        assert not may_enter({**wide, "rollout_u": bad}).yes
    assert "narrow" in may_enter({**wide, "random_u": 5.0}).why


def test_stage_two_is_recommended_where_model_and_data_agree_on_it() -> None:
    better = {"bound_1": 10.0, "bound_2": 20.0, "bound_stderr": 1.0, "fitted_q_1": 12.0, "fitted_q_2": 22.0, "u_2": 0.5}
    assert may_recommend(better).yes
    assert "standard error of 1" in may_recommend(better | {"bound_2": 10.5}).why
    assert may_recommend(better | {"bound_2": 5.0}).why.endswith("the model finds it no better")
    assert may_recommend(better | {"fitted_q_2": 5.0}).why.endswith("the data find it no better")
    for worse in ({"bound_2": 5.0}, {"bound_2": 10.5}, {"fitted_q_2": 5.0}, {"u_2": 3.0}, {"u_2": math.nan}):
        assert not may_recommend(better | worse).yes
    for missing in ({"bound_2": -math.inf}, {"bound_1": math.nan}, {"fitted_q_2": math.nan}, {"fitted_q_2": -math.inf}):
        assert not may_recommend(better | missing).yes


def test_a_decision_is_kept_with_figures_of_any_size(tmp_path: Path) -> None:
    decision = Decision(True, "so", {"bound_1": -math.inf, "u_2": 0.25})
    gate.keep(tmp_path / "gate.json", "enter", decision)
    gate.keep(tmp_path / "gate.json", "recommend", dataclasses.replace(decision, yes=False))
    assert gate.kept(tmp_path / "gate.json", "enter") == decision
    assert gate.kept(tmp_path / "gate.json", "recommend") == dataclasses.replace(decision, yes=False)
    assert gate.kept(tmp_path / "none.json", "enter") is None


def world(noise_at_action: float = 0.0) -> tuple[Networks, Roller, Tensor]:
    """s' = s, r = a₀, in a fitted model's clothes; log σ² = −4 + `noise_at_action`·|a₀|. The data: |a₀| ≤ 0.3, all s near 0."""
    settings = dataclasses.replace(SETTINGS, discount=0.9, hidden=(32,), components=1)
    networks = Networks(OBS, ACT, settings)
    ensemble = Ensemble(OBS, ACT, Dynamics(members=1, elites=1, hidden=(2,), weight_decay=(0.0,) * 3))
    flat = torch.zeros(ensemble.layout.size)
    views = ensemble.layout.views(flat)
    # Two swish units see ±10·a₀, so that their sum is 10·|a₀| nearly and their difference 10·a₀ exactly.
    views["trunk0/weight"][0, OBS, 0], views["trunk0/weight"][0, OBS, 1] = 10.0, -10.0
    views["mean/weight"][0, 0, 0], views["mean/weight"][0, 1, 0] = 0.1, -0.1
    views["log_variance/weight"].fill_(noise_at_action / 10)
    views["log_variance/bias"].fill_(-4.0)
    views["max_log_variance"].fill_(20.0)
    views["min_log_variance"].fill_(-20.0)
    model = Model(ensemble, flat, Normaliser(torch.zeros(OBS + ACT), torch.ones(OBS + ACT)), (0,))
    roller = Roller(networks, model, "never", "max_aleatoric", 0.1, PLAIN)
    a = 0.6 * torch.rand(3000, ACT, generator=seeded(1)) - 0.3
    s = 0.01 * torch.randn(3000, OBS, generator=seeded(2))
    rows = torch.cat([s, a, a[:, :1], s, torch.zeros(3000, 1)], dim=1)
    return networks, roller, rows


def test_entry_evidence_in_a_world_that_grows_uncertain_with_the_action() -> None:
    networks, roller, rows = world(noise_at_action=5.0)
    near, far = constant_action(networks, 0.1), constant_action(networks, 0.9)
    stays, leaves = (
        gate.entry_evidence(networks, actor, roller, rows, 3, seeded(5), lambda: None) for actor in (near, far)
    )
    u = [float(roller.uncertainty(torch.zeros(1, OBS), torch.tensor([[a, 0.0]]))) for a in (0.1, 0.15, 0.5, 0.9)]
    assert stays["random_u"] == leaves["random_u"] == pytest.approx(u[2] / u[1], rel=0.1)  # the medians of |a₀|
    assert stays["policy_u"] == pytest.approx(u[0] / u[1], rel=0.1)
    assert leaves["policy_u"] == pytest.approx(u[3] / u[1], rel=0.1)
    assert leaves["rollout_u"] == pytest.approx(u[3] / u[1], rel=0.1)
    assert stays["action_spread"] == pytest.approx(math.sqrt((0.03 + 0.01 + 0.03 + 0.01) / 2), rel=0.05)
    diverging = torch.cat([torch.full((100, OBS), 1e6), rows[:100, OBS:]], dim=1)
    assert gate.entry_evidence(networks, near, roller, diverging, 3, seeded(5), lambda: None)["rollout_u"] == math.inf


def test_outcome_evidence_tells_the_better_policy_from_the_worse_one() -> None:
    networks, roller, rows = world()
    worse, better = constant_action(networks, -0.2), constant_action(networks, 0.2)
    u = float(roller.uncertainty(torch.zeros(1, OBS), torch.zeros(1, ACT)))

    def evidence(first: Tensor, second: Tensor) -> dict[str, float]:
        return gate.outcome_evidence(
            networks, first, second, roller, rows, rows[:50, :OBS], u, 3, (20, 30), 3000, 0.3, PLAIN,
            lambda name: seeded(len(name)), lambda: None,
        )  # fmt: skip

    found = evidence(worse, better)
    horizon = (1 - 0.9**30) / 0.1
    assert found["bound_1"] == pytest.approx((-0.2 - 0.1 * u) * horizon, abs=0.5)
    assert found["bound_2"] == pytest.approx((0.2 - 0.1 * u) * horizon, abs=0.5)
    assert found["fitted_q_1"] == pytest.approx(-2.0, abs=0.5)
    assert found["fitted_q_2"] == pytest.approx(2.0, abs=0.5)
    assert 0 < found["bound_stderr"] < 0.5
    assert found["u_2"] == pytest.approx(1.0, rel=0.01)
    assert (found["dropped_1"], found["dropped_2"]) == (0.0, 0.0)
    assert may_recommend(found | {"u_2": 0.9}).yes
    assert not may_recommend(evidence(better, worse) | {"u_2": 0.9}).yes
