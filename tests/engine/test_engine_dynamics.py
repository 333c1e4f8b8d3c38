"""The ensemble's loss, penalty, early stopping and elites against plain float64 formulas; rollouts against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from engine.agents.sac import Networks
from engine.compute import Compute
from engine.config import Dynamics, Sac
from engine.control import Diverged
from engine.dynamics.ensemble import Ensemble, Model, Normaliser, targets_of
from engine.dynamics.rollouts import ModelBuffer, Roller
from engine.dynamics.training import DynamicsEpoch, EarlyStopping, fit, pick_elites, split_holdout
from engine.dynamics.uncertainty import histogram_counts, max_aleatoric
from engine.record import histogram_edges

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


def test_penalty_is_the_largest_norm_of_the_standard_deviations_over_all_members() -> None:
    mean = torch.randn(3, 10, 5, generator=seeded(1))
    lv = torch.randn(3, 10, 5, generator=seeded(2))
    std = np.sqrt(np.exp(lv.double().numpy()))
    expected = np.sqrt((std**2).sum(-1)).max(0)
    np.testing.assert_allclose(max_aleatoric(mean, lv).numpy(), expected, rtol=1e-5)


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


def test_a_terminal_row_is_kept_and_ends_its_rollout() -> None:
    from engine.dynamics.termination import TERMINATIONS

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


def test_histogram_counts_follow_the_edges_of_the_run_folder_format() -> None:
    u = torch.exp(torch.randn(5000, generator=seeded(1)) * 6)
    edges = np.array(histogram_edges())
    expected = np.histogram(u.double().numpy(), np.concatenate([[0], edges, [np.inf]]))[0]
    assert histogram_counts(u) == expected.tolist()


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
    _, losses = fit(rows, OBS, ACT, settings, 0, compute, seen.append, lambda _epoch, _share: None)
    best = seen[-1].best_epoch
    assert any(epoch < 15 for epoch in best)
    for member, epoch in enumerate(best):
        assert losses[member] == pytest.approx(seen[epoch - 1].val_loss[member], rel=1e-5)
