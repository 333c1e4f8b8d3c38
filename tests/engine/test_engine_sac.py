"""SAC's targets, losses, Adam and Polyak step against plain float64 formulas; compiled against eager."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import torch

from engine.agents.adam import adam_, bias_corrections, correction
from engine.agents.networks import glorot_uniform, layers, mlp_layout
from engine.agents.sac import SAC, Batch, Networks, actor_loss, critic_loss, td_target, temperature_loss
from engine.compute import Compute, mm
from engine.config import Sac

OBS, ACT, N = 5, 2, 7
SETTINGS = Sac(hidden=(16, 16))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    Compute.choose(threads=1, compiled=False)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_mlp(pairs: list[tuple[np.ndarray, np.ndarray]], x: np.ndarray) -> np.ndarray:
    for w, b in pairs[:-1]:
        x = np.maximum(x @ w + b, 0)
    return x @ pairs[-1][0] + pairs[-1][1]


class Plain:
    """The formulas in float64 numpy."""

    def __init__(self, networks: Networks, actor: torch.Tensor, critic: torch.Tensor) -> None:
        self.actor = [(w.double().numpy(), b.double().numpy()) for w, b in layers(networks.actor, actor)]
        stacked = [(w.double().numpy(), b.double().numpy()) for w, b in layers(networks.critic, critic)]
        self.critics = [[(w[j], b[j, 0]) for w, b in stacked] for j in range(2)]

    def sample(self, s: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out = plain_mlp(self.actor, s)
        mean, log_std = out[:, :ACT], np.clip(out[:, ACT:], -20, 2)
        a = np.tanh(mean + np.exp(log_std) * noise)
        normal = -0.5 * noise**2 - log_std - 0.5 * math.log(2 * math.pi)
        return a, (normal - np.log(1 - a**2)).sum(1)

    def q(self, s: np.ndarray, a: np.ndarray) -> np.ndarray:
        return np.stack([plain_mlp(c, np.concatenate([s, a], 1))[:, 0] for c in self.critics])


@pytest.fixture
def setup() -> tuple[Networks, torch.Tensor, torch.Tensor, Batch, torch.Tensor, Plain]:
    networks = Networks(OBS, ACT, SETTINGS)
    actor = 0.3 * torch.randn(networks.actor.size, generator=seeded(0))
    critic = 0.3 * torch.randn(networks.critic.size, generator=seeded(1))
    rows = torch.randn(N, 2 * OBS + ACT + 2, generator=seeded(2))
    rows[:, -1] = torch.tensor([0, 1, 0, 0, 1, 0, 0.0])
    return (
        networks,
        actor,
        critic,
        Batch.of_rows(rows, OBS, ACT),
        torch.randn(N, ACT, generator=seeded(3)),
        Plain(networks, actor, critic),
    )


def test_packed_rows_are_taken_apart_in_order() -> None:
    row = torch.arange(2 * OBS + ACT + 2.0)[None]
    batch = Batch.of_rows(row, OBS, ACT)
    assert batch.observation.tolist() == [[0, 1, 2, 3, 4]]
    assert batch.action.tolist() == [[5, 6]]
    assert batch.reward.tolist() == [7]
    assert batch.next_observation.tolist() == [[8, 9, 10, 11, 12]]
    assert batch.terminal.tolist() == [13]


def test_target(setup: tuple) -> None:  # type: ignore[type-arg]
    networks, actor, critic, batch, noise, plain = setup
    a, log_pi = plain.sample(batch.next_observation.double().numpy(), noise.double().numpy())
    value = plain.q(batch.next_observation.double().numpy(), a).min(0) - 0.2 * log_pi
    expected = batch.reward.double().numpy() + 0.99 * (1 - batch.terminal.double().numpy()) * value
    got = td_target(networks, actor, critic, torch.tensor([0.2]), batch, noise)
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_critic_loss(setup: tuple) -> None:  # type: ignore[type-arg]
    networks, _, critic, batch, _, plain = setup
    target = torch.randn(N, generator=seeded(4))
    q = plain.q(batch.observation.double().numpy(), batch.action.double().numpy())
    expected = sum(0.5 * np.mean((q[j] - target.double().numpy()) ** 2) for j in range(2))
    loss, mean_q = critic_loss(critic, networks, batch, target)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(mean_q) == pytest.approx(q.mean(), rel=1e-5)


def test_actor_loss(setup: tuple) -> None:  # type: ignore[type-arg]
    networks, actor, critic, batch, noise, plain = setup
    s = batch.observation.double().numpy()
    a, log_pi = plain.sample(s, noise.double().numpy())
    expected = np.mean(0.2 * log_pi - plain.q(s, a).min(0))
    loss, log_density = actor_loss(actor, networks, critic, torch.tensor([0.2]), batch, noise)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert float(log_density) == pytest.approx(log_pi.mean(), rel=1e-4)


def test_temperature_rises_when_entropy_is_below_its_target() -> None:
    def slope(log_density: float) -> float:
        gradient = torch.func.grad(temperature_loss)(torch.zeros(1), torch.tensor(log_density), -3.0)
        return float(gradient)

    assert slope(5.0) == pytest.approx(-2.0)  # entropy −5 < −3: descent raises log α
    assert slope(1.0) == pytest.approx(2.0)


def test_adam_agrees_with_torch() -> None:
    ours = torch.randn(50, generator=seeded(0))
    theirs = ours.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=3e-4)
    m, v, table = torch.zeros(50), torch.zeros(50), bias_corrections()
    for step in range(30):
        gradient = torch.randn(50, generator=seeded(100 + step))
        theirs.grad = gradient.clone()
        optimiser.step()
        adam_(ours, gradient, m, v, correction(table, step), torch.tensor(3e-4))
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-5, atol=1e-7)


def test_one_update_moves_critics_actor_temperature_and_target_as_the_formulas_say() -> None:
    agent = SAC(OBS, ACT, SETTINGS, Compute.choose(compiled=False), seeded(0))
    rows = torch.randn(N, 2 * OBS + ACT + 2, generator=seeded(2))
    rows[:, -1] = 0
    noise = torch.randn(2, N, ACT, generator=seeded(3))
    n_actor, n_critic = agent.networks.actor.size, agent.networks.critic.size
    before, target_before = agent.parameters.clone(), agent.target_critic.clone()
    assert torch.equal(target_before, before[n_actor : n_actor + n_critic])
    batch, alpha = Batch.of_rows(rows, OBS, ACT), torch.ones(1)
    actor, critic = before[:n_actor], before[n_actor : n_actor + n_critic]
    y = td_target(agent.networks, actor, target_before, alpha, batch, noise[0])
    g_critic = torch.autograd.grad(critic_loss(c := critic.clone().requires_grad_(), agent.networks, batch, y)[0], c)[0]
    g_actor = torch.autograd.grad(
        actor_loss(p := actor.clone().requires_grad_(), agent.networks, critic, alpha, batch, noise[1])[0], p
    )[0]
    agent.update(rows, noise)
    # Adam's first step is lr·g/(|g| + ε).
    gradient = torch.cat([g_actor, g_critic])
    expected = before[:-1] - 3e-4 * gradient / (gradient.abs() + 1e-8)
    torch.testing.assert_close(agent.parameters[:-1], expected, rtol=1e-4, atol=2e-6)
    assert abs(float(agent.parameters[-1])) == pytest.approx(3e-4, rel=1e-3)
    after = agent.parameters[n_actor : n_actor + n_critic]
    torch.testing.assert_close(agent.target_critic, 0.995 * target_before + 0.005 * after)


def test_matrix_product_has_the_gradients_of_matmul_on_every_route() -> None:
    for route in ("stock", "onednn"):
        Compute.choose(threads=1, gemm=route, compiled=False)
        a = torch.randn(3, 20, 30, generator=seeded(0)).requires_grad_()
        b = torch.randn(3, 30, 40, generator=seeded(1)).requires_grad_()
        weight = torch.randn(3, 20, 40, generator=seeded(2))
        got = torch.autograd.grad((mm(a, b) * weight).sum(), (a, b))
        expected = torch.autograd.grad((torch.matmul(a, b) * weight).sum(), (a, b))
        for x, y in zip(got, expected, strict=True):
            torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", ["2d", "stacked"])
def test_glorot_bounds(shape: str) -> None:
    layout = mlp_layout((10, 20, 4), members=2 if shape == "stacked" else None)
    flat = glorot_uniform(layout, seeded(0))
    weight = layout.views(flat)["0/weight"]
    bound = math.sqrt(6 / 30)
    assert 0.9 * bound < float(weight.abs().max()) <= bound


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler at run time")
def test_compiled_update_equals_eager_over_50_steps() -> None:
    agents = [SAC(OBS, ACT, SETTINGS, Compute.choose(threads=1, compiled=c), seeded(0)) for c in (False, True)]
    for step in range(50):
        rows = torch.randn(64, 2 * OBS + ACT + 2, generator=seeded(10 + step))
        rows[:, -1] = (rows[:, -1] > 1).float()
        noise = torch.randn(2, 64, ACT, generator=seeded(1000 + step))
        eager, compiled = (agent.update(rows, noise) for agent in agents)
        torch.testing.assert_close(eager, compiled, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(agents[0].parameters, agents[1].parameters, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(agents[0].target_critic, agents[1].target_critic, rtol=1e-3, atol=1e-4)
