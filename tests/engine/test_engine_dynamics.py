"""The ensemble's loss, spectral norm, early stopping and elites against plain formulas; rollouts against what they promise."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch

from engine.agents.networks import Networks, layers, mlp
from engine.compute import Compute
from engine.config import Dynamics, Sac
from engine.control import Diverged
from engine.dynamics.ensemble import Ensemble, Model, Normaliser, largest_singular_value, targets_of
from engine.dynamics.rollouts import ModelBuffer, Roller, Round, data_range, penalised, rollout_length
from engine.dynamics.termination import TERMINATIONS
from engine.dynamics.training import DynamicsEpoch, EarlyStopping, fit, pick_elites, split_holdout

OBS, ACT = 4, 2
SMALL = Dynamics(members=3, elites=2, hidden=(8, 8), weight_decay=(0.1, 0.2, 0.3, 0.4), batch_size=32, max_epochs=3)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    Compute.choose(threads=1, compiled=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain_forward(p: dict[str, np.ndarray], x: np.ndarray, member: int) -> tuple[np.ndarray, np.ndarray]:
    def swish(v: np.ndarray) -> np.ndarray:
        return v / (1 + np.exp(-v))

    def softplus(v: np.ndarray) -> np.ndarray:
        return np.log1p(np.exp(v))

    h = x
    for i in range(2):
        h = swish(h @ p[f"trunk{i}/weight"][member] + p[f"trunk{i}/bias"][member])
    mean = h @ p["mean/weight"][member] + p["mean/bias"][member]
    lv = h @ p["log_variance/weight"][member] + p["log_variance/bias"][member]
    lv = p["max_log_variance"] - softplus(p["max_log_variance"] - lv)
    lv = p["min_log_variance"] + softplus(lv - p["min_log_variance"])
    return mean, lv


def random_ensemble() -> tuple[Ensemble, torch.Tensor, dict[str, np.ndarray]]:
    ensemble = Ensemble(OBS, ACT, SMALL)
    flat = ensemble.initial_parameters(seeded()) + 0.1 * torch.randn(ensemble.layout.size, generator=seeded(1))
    views = {name: view.double().numpy() for name, view in ensemble.layout.views(flat).items()}
    return ensemble, flat, views


def test_loss_is_the_formula_of_the_official_code() -> None:
    ensemble, flat, p = random_ensemble()
    x = torch.randn(3, 16, OBS + ACT, generator=seeded(2))
    y = torch.randn(3, 16, OBS + 1, generator=seeded(3))
    expected = 0.01 * p["max_log_variance"].sum() - 0.01 * p["min_log_variance"].sum()
    decays = {"trunk0": 0.1, "trunk1": 0.2, "mean": 0.3, "log_variance": 0.4}
    for i in range(3):
        mean, lv = plain_forward(p, x[i].double().numpy(), i)
        expected += np.mean((mean - y[i].double().numpy()) ** 2 * np.exp(-lv) + lv)
        expected += sum(0.5 * wd * (p[f"{name}/weight"][i] ** 2).sum() for name, wd in decays.items())
    assert float(ensemble.loss(flat, x, y)) == pytest.approx(expected, rel=1e-5)


def test_initial_weights_are_truncated_normals_of_the_stated_width() -> None:
    ensemble = Ensemble(27, 8, Dynamics())
    views = ensemble.layout.views(ensemble.initial_parameters(seeded()))
    weight, std = views["trunk1/weight"], 1 / (2 * math.sqrt(200))
    assert float(weight.abs().max()) <= 2 * std
    # A normal truncated at two standard deviations keeps 0.88 of its width.
    assert float(weight.std()) == pytest.approx(0.880 * std, rel=0.02)
    assert float(views["trunk1/bias"].abs().max()) == 0
    assert float(views["max_log_variance"].unique()) == 0.5
    assert float(views["min_log_variance"].unique()) == -10


def test_largest_singular_values_are_those_of_the_decomposition() -> None:
    for shape in ((7, 200, 28), (3, 8, 5), (2, 4, 30), (1, 6, 1)):
        weight = torch.randn(shape, generator=seeded(1))
        norms = largest_singular_value(weight)
        assert norms.shape == (shape[0], 1, 1)
        torch.testing.assert_close(norms.flatten(), torch.linalg.matrix_norm(weight, ord=2), rtol=1e-5, atol=0)


def test_singular_values_close_to_the_largest_do_not_mislead() -> None:
    left = torch.linalg.qr(torch.randn(200, 28, generator=seeded(1)))[0]
    right = torch.linalg.qr(torch.randn(28, 28, generator=seeded(2)))[0]
    for gap in (0.0, 1e-5, 1e-4, 1e-3, 1e-2):
        values = torch.ones(28)
        values[1:] -= gap
        assert float(largest_singular_value((left * values @ right)[None])) == pytest.approx(1, rel=5e-4)


def test_opposite_columns_do_not_hide_from_the_power_iteration() -> None:
    """The first right singular vector of such a weight is orthogonal to a vector of ones."""
    column = torch.randn(6, 1, generator=seeded(1))
    weight = torch.cat([column, -column], 1)[None]
    assert float(largest_singular_value(weight)) == pytest.approx(float(column.norm()) * 2**0.5, rel=1e-5)


def test_the_gradient_of_the_largest_singular_value_is_that_of_the_decomposition() -> None:
    weight = torch.randn(3, 20, 6, generator=seeded(1))
    ours = torch.func.grad(lambda w: largest_singular_value(w).sum())(weight)
    expected = torch.func.grad(lambda w: torch.linalg.matrix_norm(w, ord=2).sum())(weight)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


SPECTRAL = dataclasses.replace(SMALL, spectral_norm=True)


def test_spectral_norm_divides_the_variance_head_alone_and_is_off_by_default() -> None:
    assert not Dynamics().spectral_norm
    plain, flat, p = random_ensemble()
    views = plain.layout.views(flat)
    views["log_variance/weight"].mul_(torch.tensor([0.2, 1.0, 30.0])[:, None, None])
    p["log_variance/weight"] = views["log_variance/weight"].double().numpy()
    x = torch.randn(16, OBS + ACT, generator=seeded(2))
    mean, log_variance = Ensemble(OBS, ACT, SPECTRAL).forward(flat, x)
    assert torch.equal(mean, plain.forward(flat, x)[0])
    p["log_variance/weight"] /= np.linalg.norm(p["log_variance/weight"], ord=2, axis=(1, 2), keepdims=True)
    for i in range(3):
        np.testing.assert_allclose(log_variance[i].numpy(), plain_forward(p, x.double().numpy(), i)[1], atol=1e-4)


def test_the_loss_with_spectral_norm_has_a_gradient_that_numerical_differences_confirm() -> None:
    Compute.choose(threads=1, gemm="stock", compiled=False)  # the route that multiplies in float64
    ensemble, (_, flat, _) = Ensemble(OBS, ACT, SPECTRAL), random_ensemble()
    x, y = (torch.randn(3, 16, n, generator=seeded(n)).double() for n in (OBS + ACT, OBS + 1))
    flat = flat.double()
    gradient = torch.func.grad(ensemble.loss)(flat, x, y)
    assert torch.isfinite(gradient).all()
    direction = torch.zeros_like(flat)
    ensemble.layout.views(direction)["log_variance/weight"].normal_(generator=seeded(4))
    step = 1e-5 * direction
    difference = (ensemble.loss(flat + step, x, y) - ensemble.loss(flat - step, x, y)) / 2e-5
    assert float(difference) == pytest.approx(float(gradient @ direction), rel=1e-4)


def test_the_loss_with_spectral_norm_compiles_to_what_it_is_uncompiled() -> None:
    ensemble = Ensemble(OBS, ACT, dataclasses.replace(SPECTRAL, hidden=(8,), weight_decay=(0.1, 0.2, 0.3)))
    flat = ensemble.initial_parameters(seeded(1))
    x, y = (torch.randn(3, 16, n, generator=seeded(n)) for n in (OBS + ACT, OBS + 1))
    function = torch.func.grad_and_value(ensemble.loss)
    compiled = Compute.choose(threads=1, compiled=True).compile(function)
    for one, other in zip(compiled(flat, x, y), function(flat, x, y), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_prediction_adds_the_state_to_the_predicted_change_and_standardises_inputs() -> None:
    ensemble, flat, p = random_ensemble()
    rows = torch.randn(500, 2 * OBS + ACT + 2, generator=seeded(4)) * 3 + 1
    inputs, _ = targets_of(rows, OBS, ACT)
    model = Model(ensemble, flat, Normaliser.fit(inputs), (0, 1))
    x = inputs.double().numpy()
    standard = (x - x.mean(0)) / x.std(0)
    mean, lv = model.predict(rows[:, :OBS], rows[:, OBS : OBS + ACT])
    for i in range(3):
        expected, expected_lv = plain_forward(p, standard, i)
        expected[:, 1:] += x[:, :OBS]
        np.testing.assert_allclose(mean[i].numpy(), expected, atol=1e-4)
        np.testing.assert_allclose(lv[i].numpy(), expected_lv, atol=1e-4)


def test_targets_are_reward_and_change_of_state() -> None:
    rows = torch.arange(2 * OBS + ACT + 2, dtype=torch.float32)[None]
    inputs, targets = targets_of(rows, OBS, ACT)
    assert inputs.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert targets.tolist() == [[6, 7, 7, 7, 7]]  # r = 6; s' = 7..10 less s = 0..3


def test_constant_inputs_are_not_divided_by_zero() -> None:
    normaliser = Normaliser.fit(torch.full((10, 2), 7.0))
    assert normaliser.std.tolist() == [1, 1]


def test_early_stopping_keeps_the_best_of_each_member_and_waits_for_all() -> None:
    stopping = EarlyStopping(2, patience=2, improvement=0.01)
    assert stopping.update(1, [1.0, 1.0]) == [0, 1]
    assert stopping.update(2, [0.995, 0.9]) == [1]  # 0.5 % is no improvement
    assert stopping.update(3, [0.98, 0.95]) == [0]
    assert (stopping.best, stopping.best_epoch) == ([0.98, 0.9], [3, 2])
    for epoch in (4, 5):
        stopping.update(epoch, [1.0, 1.0])
        assert not stopping.stop
    stopping.update(6, [1.0, 1.0])
    assert stopping.stop


def test_elites_are_the_members_of_least_holdout_error() -> None:
    assert pick_elites([0.3, 0.1, 0.5, 0.2], 2) == (1, 3)


def test_holdout_is_a_share_capped_and_disjoint() -> None:
    train, holdout = split_holdout(20_000, Dynamics(), seeded())
    assert len(holdout) == 1000
    assert len(set(train.tolist()) | set(holdout.tolist())) == 20_000
    assert len(split_holdout(1000, Dynamics(), seeded())[1]) == 200


def linear_rows(n: int, seed: int) -> torch.Tensor:
    """A linear system with noise of known width: s' = s + 0.1·(a₀, a₁, a₀, a₁) + 0.05·ε, r = s₀."""
    g = seeded(seed)
    s = torch.randn(n, OBS, generator=g)
    a = torch.rand(n, ACT, generator=g) * 2 - 1
    s_next = s + 0.1 * torch.cat([a, a], 1) + 0.05 * torch.randn(n, OBS, generator=g)
    return torch.cat([s, a, s[:, :1], s_next, torch.zeros(n, 1)], 1)


def fitted(rows: torch.Tensor, epochs: int = 40) -> Model:
    settings = Dynamics(
        members=3, elites=2, hidden=(32, 32), weight_decay=(1e-5,) * 4, batch_size=64, max_epochs=epochs
    )
    return fit(
        rows, OBS, ACT, settings, 0, Compute.choose(compiled=False), lambda _: None, lambda _epoch, _share: None
    )[0]


def test_fit_learns_mean_and_noise_of_a_known_system_and_repeats_itself() -> None:
    rows = linear_rows(3000, 0)
    model = fitted(rows)
    test = linear_rows(500, 9)
    mean, lv = model.predict(test[:, :OBS], test[:, OBS : OBS + ACT])
    true_mean = test[:, :OBS] + 0.1 * test[:, OBS : OBS + ACT].repeat(1, 2)
    assert float((mean[:, :, 1:] - true_mean).abs().mean()) < 0.03
    std = torch.exp(0.5 * lv[:, :, 1:]).mean()
    assert float(std) == pytest.approx(0.05, rel=0.35)
    assert torch.equal(fitted(rows, 2).parameters, fitted(rows, 2).parameters)


def test_fit_refuses_a_batch_that_is_too_small() -> None:
    with pytest.raises(ValueError, match="too few"):
        fitted(linear_rows(40, 0))


def roller(model: Model, coefficient: float) -> tuple[Roller, torch.Tensor]:
    networks = Networks(OBS, ACT, Sac(hidden=(8, 8)))
    actor = 0.1 * torch.randn(networks.actor.size, generator=seeded(5))
    return Roller(networks, model, "never", "max_aleatoric", coefficient, Compute.choose(compiled=False)), actor


def test_rollouts_store_the_penalised_reward_chain_states_and_count_u() -> None:
    model = fitted(linear_rows(1000, 0), 5)
    starts = torch.randn(1200, OBS, generator=seeded(6))
    plain, penalised = ModelBuffer(2, 3600, 12, "cpu"), ModelBuffer(2, 3600, 12, "cpu")
    rounds = []
    for buffer, coefficient in ((plain, 0.0), (penalised, 2.0)):
        r, actor = roller(model, coefficient)
        rounds.append(r.roll(actor, starts, 3, buffer, seeded(7), lambda: None))
    assert rounds[0].transitions == 3600
    every = torch.arange(3600)
    rows, less = plain.gather(every), penalised.gather(every)
    torch.testing.assert_close(rows[:1200, :OBS], starts)
    torch.testing.assert_close(rows[1200:2400, :OBS], rows[:1200, 7:11])  # s of step 2 is s' of step 1
    u = roller(model, 0.0)[0].uncertainty(rows[:, :OBS], rows[:, OBS : OBS + ACT])
    torch.testing.assert_close(rows[:, 6] - 2 * u, less[:, 6], atol=1e-4, rtol=1e-4)
    assert rounds[1].mean_penalty == pytest.approx(2 * float(u.mean()), rel=1e-4)
    assert sum(rounds[0].u_counts) == 3600


def test_a_row_that_diverges_is_dropped_and_never_stored_as_terminal() -> None:
    model = fitted(linear_rows(1000, 0), 2)
    starts = torch.randn(1000, OBS, generator=seeded(6))
    starts[:10] = 1e4
    starts[10:15] = float("nan")
    buffer = ModelBuffer(1, 2000, 12, "cpu")
    r, actor = roller(model, 1.0)
    rolled = r.roll(actor, starts, 2, buffer, seeded(7), lambda: None)
    rows = buffer.gather(torch.arange(len(buffer)))
    assert len(rows) == 2 * 985
    assert rolled.dropped_fraction == pytest.approx(15 / 1985)
    assert torch.isfinite(rows).all()
    assert float(rows[:, -1].sum()) == 0


def test_a_row_that_diverges_is_dropped_even_where_the_task_calls_it_terminal() -> None:
    """Not finite and out of range are terminal states of the hopper: stored as such they would claim a value of 0."""
    model = fitted(linear_rows(1000, 0), 2)
    starts = torch.zeros(1000, OBS)
    starts[:, 0] = 1.2
    starts[:10, 2] = 1e4
    starts[10:15] = float("nan")
    starts[15:20, 0] = -5.0  # fallen
    networks = Networks(OBS, ACT, Sac(hidden=(8, 8)))
    r = Roller(networks, model, "hopper", "max_aleatoric", 1.0, Compute.choose(compiled=False))
    buffer = ModelBuffer(1, 1000, 12, "cpu")
    rolled = r.roll(torch.zeros(networks.actor.size), starts, 1, buffer, seeded(7), lambda: None)
    rows = buffer.gather(torch.arange(len(buffer)))
    assert (rolled.dropped_fraction, len(rows)) == (0.015, 985)
    assert torch.isfinite(rows).all()
    assert torch.equal(rows[:, -1] == 1, TERMINATIONS["hopper"](rows[:, 7:11]))
    assert rows[:5, -1].tolist() == [1] * 5


def exact_model(changes: torch.Tensor, log_variance: float = -40.0) -> Model:
    """Member i predicts r, s' − s = changes[i], (members, 1 + obs), whatever (s, a); all members are elites."""
    settings = Dynamics(members=len(changes), elites=len(changes), hidden=(2,), weight_decay=(0.0,) * 3)
    ensemble = Ensemble(OBS, ACT, settings)
    flat = torch.zeros(ensemble.layout.size)
    views = ensemble.layout.views(flat)
    views["mean/bias"].copy_(changes[:, None])
    views["log_variance/bias"].fill_(log_variance)
    views["max_log_variance"].fill_(0.5)
    views["min_log_variance"].fill_(-50.0)
    normaliser = Normaliser(torch.zeros(OBS + ACT), torch.ones(OBS + ACT))
    return Model(ensemble, flat, normaliser, tuple(range(len(changes))))


def rolled_rows(
    model: Model, starts: torch.Tensor, termination: str, clip: tuple[torch.Tensor, torch.Tensor] | None
) -> tuple[torch.Tensor, Round]:
    """One step of λ = 2 from each of `starts`."""
    networks = Networks(OBS, ACT, Sac(hidden=(8, 8)))
    r = Roller(networks, model, termination, "max_aleatoric", 2.0, Compute.choose(compiled=False), clip)
    buffer = ModelBuffer(1, len(starts), 12, "cpu")
    rolled = r.roll(torch.zeros(networks.actor.size), starts, 1, buffer, seeded(7), lambda: None)
    return buffer.gather(torch.arange(len(buffer))), rolled


def test_clipping_keeps_reward_and_state_in_the_range_of_the_data_and_takes_the_penalty_off_afterwards() -> None:
    rows = linear_rows(1000, 0)
    low, high = data_range(rows, OBS, ACT)
    np.testing.assert_array_equal(low[1:].numpy(), rows[:, 7:11].numpy().min(0))
    np.testing.assert_array_equal(high[:1].numpy(), rows[:, 6:7].numpy().max(0))
    model = fitted(rows, 2)
    starts = 3 * torch.randn(1000, OBS, generator=seeded(6))
    (free, _), (clipped, rolled) = (rolled_rows(model, starts, "never", clip) for clip in (None, (low, high)))
    u = roller(model, 0.0)[0].uncertainty(clipped[:, :OBS], clipped[:, OBS : OBS + ACT])
    outcome = torch.cat([free[:, 6:7] + 2 * u[:, None], free[:, 7:11]], 1)
    assert bool((outcome < low).any())
    assert bool((outcome > high).any())
    outcome = outcome.maximum(low).minimum(high)
    torch.testing.assert_close(clipped[:, 7:11], outcome[:, 1:])
    torch.testing.assert_close(clipped[:, 6], outcome[:, 0] - 2 * u, atol=1e-4, rtol=1e-4)
    assert rolled.mean_reward == pytest.approx(float(outcome[:, 0].mean()), abs=1e-4)


def test_a_diverged_prediction_is_dropped_and_not_clipped_into_range() -> None:
    starts = torch.zeros(20, OBS)
    starts[:5] = 99.5
    starts[5:7] = float("nan")
    model = exact_model(torch.tensor([[1.0, 1.0, 1.0, 1.0, 1.0]]))
    clip = (torch.full((5,), -2.0), torch.full((5,), 2.0))
    rows, rolled = rolled_rows(model, starts, "never", clip)
    assert rolled.dropped_fraction == pytest.approx(7 / 20)
    torch.testing.assert_close(rows[:, 7:11], torch.ones(13, OBS))


def test_a_fall_that_the_data_do_not_hold_ends_the_rollout_though_it_is_clipped() -> None:
    """All states of the data stand; the prediction falls below them. It is terminal, and its state is stored as clipped."""
    starts = torch.zeros(20, OBS)
    starts[:, 0] = 1.2
    starts[:8, 0] = 0.9
    model = exact_model(torch.tensor([[0.0, -0.3, 0.0, 0.0, 0.0]]))
    clip = (torch.tensor([-1.0, 0.8, -1, -1, -1]), torch.tensor([1.0, 2.0, 1, 1, 1]))
    rows, _ = rolled_rows(model, starts, "hopper", clip)
    assert rows[:, -1].tolist() == [1.0] * 8 + [0.0] * 12
    torch.testing.assert_close(rows[:, 7], torch.tensor([0.8] * 8 + [0.9] * 12))


def test_penalised_reward_is_reward_less_lambda_u() -> None:
    reward, u = torch.tensor([1.0, -2.0, 0.0]), torch.tensor([0.5, 0.0, 3.0])
    assert penalised(reward, u, 2.0).tolist() == [0.0, -2.0, -6.0]
    assert torch.equal(penalised(reward, u, 0.0), reward)
    assert penalised(reward.double().numpy(), u.double().numpy(), 2.0).tolist() == [0.0, -2.0, -6.0]


def test_the_rollout_length_grows_linearly_from_the_first_epoch() -> None:
    assert [rollout_length(epoch, 5, 0, 100) for epoch in (1, 50, 1000)] == [5, 5, 5]
    assert [rollout_length(epoch, 5, 1, 4) for epoch in range(1, 8)] == [1, 2, 3, 4, 5, 5, 5]
    assert [rollout_length(epoch, 5, 2, 0) for epoch in (1, 2, 3)] == [2, 5, 5]
    grown = [rollout_length(epoch, 25, 1, 100) for epoch in range(1, 200)]
    assert (grown[0], grown[50], grown[100], grown[-1]) == (1, 13, 25, 25)
    assert all(later - earlier in (0, 1) for earlier, later in itertools.pairwise(grown))


def test_an_evaluation_step_takes_the_mean_action_and_otherwise_steps_as_rollouts_do() -> None:
    model = exact_model(torch.tensor([[10.0, 1, 2, 3, 4], [20.0, 1, 2, 3, 4]]))
    networks = Networks(OBS, ACT, Sac(hidden=(8, 8)))
    actor = torch.randn(networks.actor.size, generator=seeded(5))
    r = Roller(networks, model, "never", "max_disagreement", 0.5, Compute.choose(compiled=False))
    s = torch.randn(400, OBS, generator=seeded(6))
    rows, u, reward, dropped = r.evaluation_step(actor, s, seeded(7))
    pre_tanh, _ = mlp(layers(networks.actor, actor), s).chunk(2, dim=1)
    torch.testing.assert_close(rows[:, OBS : OBS + ACT], torch.tanh(pre_tanh))
    torch.testing.assert_close(rows[:, 7:11], s + torch.tensor([1.0, 2, 3, 4]))
    assert {round(float(v)) for v in reward.unique()} == {10, 20}
    assert abs(int((reward < 15).sum()) - 200) < 40
    torch.testing.assert_close(rows[:, 6], reward - 0.5 * u)
    assert not dropped.any()


def test_what_the_model_expects_is_the_average_of_the_elites_and_u_that_of_all_members() -> None:
    model = dataclasses.replace(
        exact_model(torch.tensor([[1.0, 0, 0, 0, 0], [3.0, 0, 0, 0, 2], [8.0, 0, 0, 0, 7]])), elites=(1, 0)
    )
    networks = Networks(OBS, ACT, Sac(hidden=(8, 8)))
    r = Roller(networks, model, "never", "max_disagreement", 0.0, Compute.choose(compiled=False))
    expected, u = r.predict(torch.zeros(1500, OBS), torch.zeros(1500, ACT))
    torch.testing.assert_close(expected, torch.tensor([2.0, 0, 0, 0, 1]).expand(1500, -1))
    torch.testing.assert_close(u, torch.full((1500,), 4.0))  # the third member's 7 less the average of 3


def test_a_terminal_row_is_kept_and_ends_its_rollout() -> None:
    TERMINATIONS["test"] = lambda s: s[..., 0] > 0
    try:
        model = fitted(linear_rows(1000, 0), 2)
        networks = Networks(OBS, ACT, Sac(hidden=(8, 8)))
        actor = torch.zeros(networks.actor.size)
        r = Roller(networks, model, "test", "max_aleatoric", 1.0, Compute.choose(compiled=False))
        starts = torch.randn(1000, OBS, generator=seeded(6))
        buffer = ModelBuffer(1, 2000, 12, "cpu")
        rolled = r.roll(actor, starts, 2, buffer, seeded(7), lambda: None)
        first = buffer.gather(torch.arange(1000))
        ended = first[:, -1] == 1
        assert torch.equal(ended, first[:, 7] > 0)
        assert rolled.transitions == 1000 + int((~ended).sum())
    finally:
        del TERMINATIONS["test"]


def test_the_buffer_keeps_the_last_rounds_and_samples_all_rows() -> None:
    buffer = ModelBuffer(2, 5, 1, "cpu")
    for value, count in ((1.0, 5), (2.0, 3), (3.0, 2)):
        buffer.begin_round()
        buffer.add(torch.full((count, 1), value))
    assert len(buffer) == 5
    drawn = buffer.gather(buffer.indices(torch.linspace(0, 0.9999, 500))).flatten()
    assert {v: int((drawn == v).sum()) for v in (2.0, 3.0)} == {2.0: 300, 3.0: 200}
    assert not (drawn == 1.0).any()


def test_a_round_in_which_every_row_diverges_says_so() -> None:
    model = fitted(linear_rows(1000, 0), 2)
    r, actor = roller(model, 1.0)
    with pytest.raises(Diverged, match="all 1000 model steps"):
        r.roll(actor, torch.full((1000, OBS), 1e6), 2, ModelBuffer(1, 2000, 12, "cpu"), seeded(7), lambda: None)


def test_samples_come_from_elites_alone_and_from_each_of_them() -> None:
    ensemble = Ensemble(OBS, ACT, SMALL)
    flat = torch.zeros(ensemble.layout.size)
    views = ensemble.layout.views(flat)
    for i, reward in enumerate((10.0, 20.0, 30.0)):
        views["mean/bias"][i, 0, 0] = reward
    views["log_variance/bias"].fill_(-50)
    views["max_log_variance"].fill_(0.5)
    views["min_log_variance"].fill_(-20)
    model = Model(ensemble, flat, Normaliser(torch.zeros(OBS + ACT), torch.ones(OBS + ACT)), (0, 2))
    r, actor = roller(model, 0.0)
    buffer = ModelBuffer(1, 3000, 12, "cpu")
    r.roll(actor, torch.zeros(1000, OBS), 3, buffer, seeded(7), lambda: None)
    rows = buffer.gather(torch.arange(3000))
    members = rows[:, 6].round(decimals=1)
    assert {round(float(v)) for v in members.unique()} == {10, 30}
    assert abs(int((members == 10).sum()) - 1500) < 200
    assert not torch.equal(members[:1000], members[1000:2000])  # drawn anew at each step


def test_each_member_is_restored_to_its_best_epoch() -> None:
    rows = linear_rows(400, 0)
    seen: list[DynamicsEpoch] = []
    # A step size at which the holdout error goes up and down.
    settings = Dynamics(
        members=3,
        elites=3,
        hidden=(16, 16),
        weight_decay=(0.0,) * 4,
        batch_size=32,
        max_epochs=15,
        lr=0.05,
        patience=20,
    )
    compute = Compute.choose(compiled=False)
    losses = fit(rows, OBS, ACT, settings, 0, compute, seen.append, lambda _epoch, _share: None)[1]
    best = seen[-1].best_epoch
    assert any(epoch < 15 for epoch in best)
    for member, epoch in enumerate(best):
        assert losses[member] == pytest.approx(seen[epoch - 1].val_loss[member], rel=1e-5)
