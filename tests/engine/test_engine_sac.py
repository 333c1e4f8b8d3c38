"""SAC's parts that are no formula: packed rows, initial weights, gradients of the matrix product, a restored agent."""

from __future__ import annotations

import math

import pytest
import torch

from engine.agents.networks import Batch, glorot_uniform, mlp_layout
from engine.agents.sac import SAC
from engine.compute import ROUTES, Compute, mm
from engine.config import Sac

OBS, ACT = 5, 2


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    Compute.choose(threads=1, gemm="stock", compiled=False)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_packed_rows_are_taken_apart_in_order() -> None:
    row = torch.arange(2 * OBS + ACT + 2.0)[None]
    batch = Batch.of_rows(row, OBS, ACT)
    assert batch.observation.tolist() == [[0, 1, 2, 3, 4]]
    assert batch.action.tolist() == [[5, 6]]
    assert batch.reward.tolist() == [7]
    assert batch.next_observation.tolist() == [[8, 9, 10, 11, 12]]
    assert batch.terminal.tolist() == [13]


@pytest.mark.parametrize("route", ROUTES)
def test_matrix_product_has_the_gradients_of_matmul_on_every_route(route: str) -> None:
    Compute.choose(threads=1, gemm=route, compiled=False)
    a = torch.randn(3, 20, 30, generator=seeded(0)).requires_grad_()
    b = torch.randn(3, 30, 40, generator=seeded(1)).requires_grad_()
    weight = torch.randn(3, 20, 40, generator=seeded(2))
    try:
        product = mm(a, b)
    except (AttributeError, RuntimeError, TypeError) as error:
        assert route != "stock"
        pytest.skip(f"this torch has no oneDNN product: {error}")
    got = torch.autograd.grad((product * weight).sum(), (a, b))
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


def test_an_agent_restored_from_its_state_goes_on_as_the_one_that_was_saved() -> None:
    settings = Sac(hidden=(16, 16))
    compute = Compute("cpu", 1, "stock", False)
    saved, restored = (SAC(OBS, ACT, settings, compute, seeded(seed)) for seed in (0, 1))

    def update(agent: SAC, seed: int) -> list[float]:
        rows = torch.randn(32, 2 * OBS + ACT + 2, generator=seeded(seed))
        metrics: list[float] = agent.update(rows, agent.noise(32, seeded(seed + 100))).tolist()
        return metrics

    for step in range(3):
        update(saved, step)
    restored.load_state({name: tensor.clone() for name, tensor in saved.state().items()})
    for step in range(3, 6):
        assert update(saved, step) == update(restored, step)
    assert torch.equal(saved.parameters, restored.parameters)
    assert torch.equal(saved.target_critic, restored.target_critic)
