"""The engine's formulas against plain float64 ones (reference.py); compiled against eager, and one GEMM route against the other.

The engine's functions take any floating type: where they are called in float64 the two sides differ by rounding alone, and the
tolerances say so.
"""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import reference
import torch
from torch import Tensor
from torch._dynamo.utils import counters
from torch.autograd.profiler import profile

from engine.agents.adam import adam_, bias_corrections, correction
from engine.agents.bc import bc_loss
from engine.agents.networks import Batch, Networks, mlp_layout, tanh_gaussian
from engine.agents.sac import METRICS, SAC, actor_loss, critic_loss, td_target, temperature_loss
from engine.compute import Compute, mm
from engine.config import Dynamics, Sac
from engine.dynamics.ensemble import Ensemble, Model, Normaliser
from engine.dynamics.rollouts import ModelBuffer, Roller
from engine.dynamics.training import DynamicsEpoch, EarlyStopping, fit, pick_elites, split_holdout
from engine.dynamics.uncertainty import max_aleatoric

OBS, ACT = 4, 2
WIDTH = 2 * OBS + ACT + 2


@pytest.fixture(autouse=True)
def _plain_arithmetic() -> None:
    Compute.choose(threads=1, gemm="stock", compiled=False)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=dtype)


def assert_exact(got: Tensor, expected: Tensor) -> None:
    """Equal but for float64's rounding over some thousand operations."""
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def value_and_gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """Of a plain formula, by autograd."""
    x = at.clone().requires_grad_()
    value = function(x)
    return value.detach(), torch.autograd.grad(value, x)[0]


def kolmogorov(sample: Tensor, cdf: Callable[[Tensor], Tensor]) -> float:
    """√n·sup|F_n − F|: below 1.95 for all but one sample in a thousand."""
    x = sample.double().flatten().sort().values
    n = len(x)
    above = torch.arange(1, n + 1, dtype=torch.float64) / n - cdf(x)
    below = cdf(x) - torch.arange(n, dtype=torch.float64) / n
    return math.sqrt(n) * float(torch.maximum(above, below).max())


def normal_cdf(z: Tensor | float) -> Tensor:
    return (1 + torch.erf(torch.as_tensor(z, dtype=torch.float64) / math.sqrt(2))) / 2


def test_the_pieces_of_a_layout_lie_side_by_side() -> None:
    """All else here reads the flat vectors by their pieces."""
    ensemble = Ensemble(OBS, ACT, SMALL)
    for layout in (ensemble.layout, mlp_layout((3, 5, 2)), mlp_layout((3, 5, 2), members=3)):
        flat = torch.arange(float(layout.size))
        assert torch.equal(torch.cat([view.flatten() for view in layout.views(flat).values()]), flat)


# --- the ensemble's loss ----------------------------------------------------------------------------------------------------------

SMALL = Dynamics(members=3, elites=2, hidden=(8, 6), weight_decay=(0.1, 0.2, 0.3, 0.4))
OFFICIAL_DECAYS = {
    "trunk0": 2.5e-5,
    "trunk1": 5e-5,
    "trunk2": 7.5e-5,
    "trunk3": 7.5e-5,
    "mean": 1e-4,
    "log_variance": 1e-4,
}


def random_parameters(ensemble: Ensemble) -> Tensor:
    """Initial ones in float64, shaken so that biases and bounds differ from each other and log σ² comes near both bounds."""
    flat = ensemble.initial_parameters(seeded()).double() + 0.2 * normal(ensemble.layout.size, seed=1)
    ensemble.layout.views(flat)["min_log_variance"].add_(9)
    return flat


def test_ensemble_loss_and_its_gradient() -> None:
    ensemble = Ensemble(OBS, ACT, SMALL)
    flat = random_parameters(ensemble)
    x, y = normal(3, 7, OBS + ACT, seed=2), normal(3, 7, OBS + 1, seed=3)
    decays = {"trunk0": 0.1, "trunk1": 0.2, "mean": 0.3, "log_variance": 0.4}
    expected, gradient = value_and_gradient(
        lambda p: reference.ensemble_loss(ensemble.layout.views(p), x, y, decays), flat
    )
    got_gradient, got = torch.func.grad_and_value(ensemble.loss)(flat, x, y)
    assert_exact(got, expected)
    assert_exact(got_gradient, gradient)


@pytest.mark.parametrize("settings", [{}, {"layer_norm": True}, {"spectral_norm": True}])
def test_one_member_after_the_other_gives_what_all_together_give(settings: dict[str, bool]) -> None:
    ensemble = Ensemble(5, 2, Dynamics(**settings))
    generator = torch.Generator().manual_seed(1)
    parameters = ensemble.initial_parameters(generator)
    inputs = torch.randn(9, 7, generator=generator)
    for alone, together in zip(
        ensemble.forward(parameters, inputs), ensemble.forward(parameters, inputs.expand(7, 9, 7)), strict=True
    ):
        torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)


def test_the_default_ensemble_is_the_official_one() -> None:
    """Seven members of four layers of 200 swish units, and each layer's decay."""
    ensemble = Ensemble(OBS, ACT, Dynamics())
    flat = ensemble.initial_parameters(seeded()).double()
    views = ensemble.layout.views(flat)
    assert {name: tuple(v.shape) for name, v in views.items() if name.endswith("weight")} == {
        "trunk0/weight": (7, OBS + ACT, 200),
        **{f"trunk{i}/weight": (7, 200, 200) for i in (1, 2, 3)},
        "mean/weight": (7, 200, OBS + 1),
        "log_variance/weight": (7, 200, OBS + 1),
    }
    x, y = normal(7, 3, OBS + ACT, seed=2), normal(7, 3, OBS + 1, seed=3)
    expected = reference.ensemble_loss(views, x, y, OFFICIAL_DECAYS)
    assert_exact(ensemble.loss(flat, x, y), expected)


@pytest.mark.parametrize("layer", range(4))
def test_each_layer_decays_with_its_own_constant_and_no_bias_does(layer: int) -> None:
    name = ("trunk0", "trunk1", "mean", "log_variance")[layer]
    constants = tuple(0.7 if i == layer else 0.0 for i in range(4))
    plain = Ensemble(OBS, ACT, dataclasses.replace(SMALL, weight_decay=(0.0,) * 4))
    decayed = Ensemble(OBS, ACT, dataclasses.replace(SMALL, weight_decay=constants))
    flat = random_parameters(plain)
    x, y = normal(3, 5, OBS + ACT, seed=2), normal(3, 5, OBS + 1, seed=3)
    difference = decayed.loss(flat, x, y) - plain.loss(flat, x, y)
    weights = plain.layout.views(flat)[f"{name}/weight"].flatten().tolist()
    assert float(difference) == pytest.approx(0.5 * 0.7 * sum(w * w for w in weights), rel=1e-9)


def test_log_variance_is_bounded_softly_and_never_overflows() -> None:
    """From −1000 to 1000, in float32, which a naive log(1 + eˣ) does not survive; and with the gradient of the formula."""
    raw = torch.tensor([-1000.0, -30, -10, -3, 0, 0.5, 2, 20, 1000])
    ensemble = Ensemble(len(raw) - 1, ACT, dataclasses.replace(SMALL, members=1, elites=1))
    flat = torch.zeros(ensemble.layout.size)
    views = ensemble.layout.views(flat)
    views["log_variance/bias"][0, 0] = raw
    views["max_log_variance"][0] = torch.linspace(0.3, 0.7, len(raw))
    views["min_log_variance"][0] = torch.linspace(-11, -9, len(raw))
    x, weight = torch.zeros(1, len(raw) - 1 + ACT), normal(len(raw), seed=4)

    def plain(p: Tensor) -> Tensor:
        v = ensemble.layout.views(p)
        bounded = reference.bounded(v["log_variance/bias"][0, 0], v["max_log_variance"][0], v["min_log_variance"][0])
        return (bounded * weight).sum()

    expected, gradient = value_and_gradient(plain, flat.double())
    got_gradient, got = torch.func.grad_and_value(lambda p: (ensemble.forward(p, x)[1][0, 0] * weight).sum())(flat)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-5)
    # float32 loses digits of max − log σ² where that is about 1000.
    torch.testing.assert_close(got_gradient.double(), gradient, rtol=1e-4, atol=1e-6)
    log_variance = ensemble.forward(flat, x)[1][0, 0]
    # The second softplus lifts the upper bound by log(1 + e^(min − max)), 5e-5 at most here.
    assert bool((log_variance <= views["max_log_variance"][0] + 1e-4).all())
    assert bool((log_variance >= views["min_log_variance"][0]).all())


def test_initial_weights_are_normals_truncated_at_two_standard_deviations() -> None:
    ensemble = Ensemble(27, 8, Dynamics())
    views = ensemble.layout.views(ensemble.initial_parameters(seeded()))
    fans = {"trunk0": 35, "trunk1": 200, "trunk2": 200, "trunk3": 200, "mean": 200, "log_variance": 200}
    for name, fan_in in fans.items():
        std, weight = 1 / (2 * math.sqrt(fan_in)), views[f"{name}/weight"]

        def cdf(x: Tensor, std: float = std) -> Tensor:
            return (normal_cdf(x / std) - normal_cdf(-2)) / (normal_cdf(2) - normal_cdf(-2))

        assert float(weight.abs().max()) <= 2 * std * (1 + 1e-6)
        assert kolmogorov(weight, cdf) < 1.95, name
        assert len(torch.unique(weight[:, 0, 0])) == 7  # each member has its own
        assert torch.equal(views[f"{name}/bias"], torch.zeros_like(views[f"{name}/bias"]))
    assert torch.equal(views["max_log_variance"], torch.full((1, 28), 0.5))
    assert torch.equal(views["min_log_variance"], torch.full((1, 28), -10.0))


def test_inputs_are_standardised_by_mean_and_population_std() -> None:
    """The last columns: far from zero, constant, and constant but for less than 1e-12."""
    columns = [[1.0, 2, 4, 8, 16], [1e6, 1e6 + 1, 1e6 - 1, 1e6, 1e6 + 2], [3.0] * 5, [0.0, 1e-13, 0, 1e-13, 0]]
    inputs = torch.tensor(columns, dtype=torch.float32).T
    normaliser = Normaliser.fit(inputs)
    got = normaliser(inputs)
    for j, values in enumerate(columns):
        mean = math.fsum(values) / 5
        std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / 5)
        std = 1.0 if std < 1e-12 else std
        assert float(normaliser.mean[j]) == pytest.approx(mean, rel=1e-7)
        assert float(normaliser.std[j]) == pytest.approx(std, rel=1e-6)
        # 1e6 in float32 is good to 0.06.
        expected = [(v - mean) / std for v in values]
        assert got[:, j].tolist() == pytest.approx(expected, rel=1e-5, abs=0.07 if j == 1 else 1e-6)


# --- the ensemble's training ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watched(Compute):
    """Eager computing that keeps a copy of what the gradient step is called with."""

    calls: list[tuple[Tensor, ...]] = field(default_factory=list)

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any) -> Any:
            self.calls.append(tuple(a.clone() for a in arguments if isinstance(a, Tensor)))
            return function(*arguments)

        return watched

    def batches(self) -> Tensor:
        """(steps, members, rows, width)."""
        return torch.stack([next(a for a in call if a.dim() == 3) for call in self.calls])

    def first_parameters(self) -> Tensor:
        """The flat vector of the first step that is not Adam's, still zero."""
        return next(a for a in self.calls[0] if a.dim() == 1 and len(a) > 2 and bool(a.any()))


@dataclass(frozen=True)
class Fitted:
    model: Model
    losses: list[float]
    epochs: list[DynamicsEpoch]
    watched: Watched


def fitted(rows: Tensor, settings: Dynamics) -> Fitted:
    watched, epochs = Watched("cpu", 1, "stock", False), list[DynamicsEpoch]()

    def on_epoch(epoch: DynamicsEpoch) -> None:
        epochs.append(epoch)
        assert len(epochs) < 100, "early stopping does not stop"

    model, losses, _ = fit(rows, OBS, ACT, settings, 0, watched, on_epoch, lambda _epoch, _share: None)
    return Fitted(model, losses, epochs, watched)


def numbered_rows(n: int) -> Tensor:
    """Random transitions, whose reward is their number."""
    rows = normal(n, WIDTH, seed=5, dtype=torch.float32)
    rows[:, OBS + ACT] = torch.arange(n)
    return rows


TINY = Dynamics(members=7, elites=5, hidden=(4,), weight_decay=(0.0,) * 3, batch_size=32, max_epochs=3)


@pytest.fixture(scope="module")
def drawn() -> Tensor:
    """Row numbers by (epoch, member, place): 400 rows, of which 320 are for training, in ten whole batches an epoch."""
    Compute.choose(threads=1, gemm="stock", compiled=False)
    batches = fitted(numbered_rows(400), TINY).watched.batches()
    numbers = batches[..., OBS + ACT].view(3, 10, 7, 32)
    return numbers.transpose(1, 2).reshape(3, 7, 320).long()


def test_each_member_draws_its_rows_once_with_replacement_and_reshuffles_them(drawn: Tensor) -> None:
    for i in range(7):
        first, *later = drawn[:, i]
        for epoch in later:
            assert torch.equal(epoch.sort().values, first.sort().values)  # the same multiset
            assert not torch.equal(epoch, first)
        # Of n rows, n draws with replacement leave out (1 − 1/n)ⁿ ≈ 1/e.
        assert len(first.unique()) == pytest.approx(320 * (1 - 1 / math.e), abs=25)
    for i, j in ((0, 1), (1, 2), (5, 6)):
        assert not torch.equal(drawn[0, i].sort().values, drawn[0, j].sort().values)


def test_bootstrap_draws_are_uniform_over_the_train_split(drawn: Tensor) -> None:
    counts = torch.bincount(drawn[0].flatten(), minlength=400).double()
    drawn_rows = counts[counts > 0]
    # 320 train rows are drawn 7 times on average; that one is never drawn has probability e⁻⁷, so one or none.
    assert 318 <= len(drawn_rows) <= 320
    chi_square = float(((drawn_rows - 7) ** 2 / 7).sum())
    assert abs(chi_square - 319) < 4 * math.sqrt(2 * 319)


def test_members_are_shuffled_independently(drawn: Tensor) -> None:
    """Were one permutation used for all members, what stands at a place would move to the same next place in each of them."""
    moves = []
    for i in (0, 1):
        # Rows that this member drew exactly once have one place each in both epochs.
        first, second = drawn[0, i].tolist(), drawn[1, i].tolist()
        once = {row for row in first if first.count(row) == 1}
        moves.append({first.index(row): second.index(row) for row in once})
    common = moves[0].keys() & moves[1].keys()
    assert len(common) > 10
    assert sum(moves[0][place] == moves[1][place] for place in common) < len(common) / 2


@pytest.mark.parametrize("size", [15, 999, 1000, 4999, 5000, 5001, 7001])
def test_holdout_is_a_fifth_at_most_1000_and_the_rest_trains(size: int) -> None:
    train, holdout = split_holdout(size, Dynamics(), seeded())
    assert len(holdout) == min(size // 5, 1000)
    assert sorted(train.tolist() + holdout.tolist()) == list(range(size))
    assert holdout.tolist() != sorted(holdout.tolist())  # drawn, not the first rows


def test_normaliser_sees_the_train_split_alone_and_the_holdout_the_rest() -> None:
    """Row i holds 2ⁱ in its first column: the normaliser's mean says exactly which rows it was fitted to."""
    rows = normal(20, WIDTH, seed=6, dtype=torch.float32)
    rows[:, 0] = 2.0 ** torch.arange(20)
    rows[:, OBS + ACT + 1] = rows[:, 0]
    done = fitted(rows, dataclasses.replace(TINY, batch_size=8, max_epochs=2))
    total = int(16 * done.model.normaliser.mean[0].double())
    train = [i for i in range(20) if total >> i & 1]
    holdout = [i for i in range(20) if i not in train]
    assert len(train) == 16
    mean, std = rows[train, : OBS + ACT].double().mean(0), rows[train, : OBS + ACT].double().std(0, correction=0)
    torch.testing.assert_close(done.model.normaliser.mean.double(), mean)
    torch.testing.assert_close(done.model.normaliser.std.double(), std)
    in_batches = done.watched.batches()[..., 0].log2().long().unique().tolist()
    assert set(in_batches) <= set(train)

    x, y = (rows[holdout, : OBS + ACT].double() - mean) / std, plain_targets(rows[holdout].double())
    pieces = {k: v.double() for k, v in done.model.ensemble.layout.views(done.model.parameters).items()}
    for i in range(7):
        error = (reference.member(pieces, i, x)[0] - y) ** 2
        assert done.losses[i] == pytest.approx(float(error.sum()) / (4 * (1 + OBS)), rel=1e-5)


def plain_targets(rows: Tensor) -> Tensor:
    """(r, s' − s)."""
    s, r, s_next = rows[..., :OBS], rows[..., OBS + ACT], rows[..., OBS + ACT + 1 : -1]
    return torch.cat([r[..., None], s_next - s], -1)


def test_gradient_steps_are_adam_on_the_loss_of_standardised_batches() -> None:
    """Thirty steps on the engine's own batches, by plain formulas and torch's Adam."""
    settings = dataclasses.replace(SMALL, batch_size=8, max_epochs=3, holdout_fraction=0.2)
    done = fitted(normal(100, WIDTH, seed=7, dtype=torch.float32) * 2 + 1, settings)
    layout, normaliser = done.model.ensemble.layout, done.model.normaliser
    decays = {"trunk0": 0.1, "trunk1": 0.2, "mean": 0.3, "log_variance": 0.4}
    flat = done.watched.first_parameters().double().requires_grad_()
    optimiser = torch.optim.Adam([flat], lr=1e-3)
    batches, losses = done.watched.batches().double(), []
    assert len(batches) == 30
    for batch in batches:
        x = (batch[..., : OBS + ACT] - normaliser.mean.double()) / normaliser.std.double()
        loss = reference.ensemble_loss(layout.views(flat), x, plain_targets(batch), decays)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    for epoch in done.epochs:
        mean = sum(losses[10 * (epoch.epoch - 1) : 10 * epoch.epoch]) / 10
        assert epoch.train_loss == pytest.approx(mean / 3, rel=1e-5)  # per member
    last = done.epochs[-1].state.tensors["parameters"]
    torch.testing.assert_close(last.double(), flat.detach(), rtol=1e-4, atol=2e-5)


def test_early_stopping_is_the_plain_state_machine() -> None:
    """On random sequences of holdout losses that fall, level out and come back, with various patience and shares."""
    rng = np.random.default_rng(0)
    stops = []
    for sequence in range(200):
        members, patience = int(rng.integers(1, 8)), int(rng.integers(0, 7))
        share = float(rng.choice([0.0, 0.01, 0.1]))
        ours = EarlyStopping(members, patience, share)
        plain = reference.Stopping([None] * members, [0] * members)
        level = rng.uniform(0.5, 2, members)
        for epoch in range(1, 80):
            level *= 1 - 0.05 * rng.random(members) * 0.9**epoch
            losses = (level * rng.uniform(1, 1.02, members)).tolist()
            improved, stop = plain.see(epoch, losses, share, patience)
            assert ours.update(epoch, losses) == improved, (sequence, epoch)
            assert (ours.best, ours.best_epoch, ours.stop) == (plain.best, plain.best_epoch, stop), (sequence, epoch)
            if stop:
                stops.append(epoch)
                break
    assert len(set(stops)) > 10  # the sequences put it to the test


def test_fit_without_a_cap_stops_where_the_state_machine_does_and_takes_the_elites() -> None:
    settings = dataclasses.replace(TINY, max_epochs=0, lr=0.05, hidden=(8,))
    rows = normal(200, WIDTH, seed=8, dtype=torch.float32)
    done = fitted(rows, settings)
    plain = reference.Stopping([None] * 7, [0] * 7)
    stopped = [plain.see(epoch.epoch, epoch.val_loss, 0.01, 5)[1] for epoch in done.epochs]
    assert stopped == [False] * (len(stopped) - 1) + [True]
    assert done.epochs[-1].best_epoch == plain.best_epoch
    assert done.losses == pytest.approx(plain.best, rel=1e-5)
    ranked = sorted((loss, i) for i, loss in enumerate(done.losses))
    assert done.model.elites == tuple(i for _, i in ranked[:5])


def test_elites_are_the_lowest_in_order() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        losses = rng.integers(0, 9, 7).astype(float).tolist()  # with ties: the first of equals goes first
        left, expected = list(range(7)), []
        for _ in range(5):
            least = left[0]
            for i in left:
                if losses[i] < losses[least]:
                    least = i
            expected.append(least)
            left.remove(least)
        assert pick_elites(losses, 5) == tuple(expected)


# --- the penalty ------------------------------------------------------------------------------------------------------------------


def test_u_is_the_largest_norm_of_a_members_standard_deviations() -> None:
    log_variance = normal(7, 50, 1 + OBS, seed=9) * 3
    expected = reference.largest_norm(list(log_variance))
    assert_exact(max_aleatoric(torch.full_like(log_variance, torch.nan), log_variance), expected)


@pytest.fixture(scope="module")
def rolled() -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """One model step from each of 3000 states with λ = 0 and λ = 2.5: both buffers' rows, and every member's μ and log σ² in plain
    formulas. Only member 2 is an elite."""
    Compute.choose(threads=1, gemm="stock", compiled=False)
    ensemble = Ensemble(OBS, ACT, SMALL)
    flat = random_parameters(ensemble).float()
    views = ensemble.layout.views(flat)  # such that each member is the least sure one of some rows
    views["log_variance/weight"].copy_(4 * normal(3, 6, 1 + OBS, seed=16))
    views["log_variance/bias"].fill_(-4)
    views["min_log_variance"].fill_(-10)
    normaliser = Normaliser(normal(OBS + ACT, seed=10).float(), normal(OBS + ACT, seed=11).abs().float() + 0.5)
    model = Model(ensemble, flat, normaliser, (2,))
    networks = Networks(OBS, ACT, Sac(hidden=(8,)))
    actor, starts = 0.3 * normal(networks.actor.size, seed=12).float(), normal(3000, OBS, seed=13).float()
    rows = []
    for coefficient in (0.0, 2.5):
        buffer = ModelBuffer(1, 3000, WIDTH, "cpu")
        roller = Roller(networks, model, "never", "max_aleatoric", coefficient, Compute("cpu", 1, "stock", False))
        roller.roll(actor, starts, 1, buffer, seeded(14), lambda: None)
        rows.append(buffer.gather(torch.arange(3000)).double())
    pieces = {k: v.double() for k, v in ensemble.layout.views(flat).items()}
    x = (rows[0][:, : OBS + ACT] - normaliser.mean.double()) / normaliser.std.double()
    mean, log_variance = zip(*[reference.member(pieces, i, x) for i in range(3)], strict=True)
    return rows[0], rows[1], list(mean), list(log_variance)


def test_rollouts_store_r_less_lambda_u_over_all_members(
    rolled: tuple[Tensor, Tensor, list[Tensor], list[Tensor]],
) -> None:
    unpenalised, penalised, _, log_variance = rolled
    u = reference.largest_norm(log_variance)
    reward = OBS + ACT
    torch.testing.assert_close(penalised[:, reward], unpenalised[:, reward] - 2.5 * u, rtol=1e-4, atol=1e-4)
    others = [k for k in range(WIDTH) if k != reward]
    assert torch.equal(penalised[:, others], unpenalised[:, others])
    norms = torch.stack([reference.largest_norm([lv]) for lv in log_variance])
    assert all(0.1 < float((norms.argmax(0) == i).double().mean()) < 0.8 for i in range(3))


def test_model_steps_sample_the_elites_gaussian(rolled: tuple[Tensor, Tensor, list[Tensor], list[Tensor]]) -> None:
    rows, _, mean, log_variance = rolled
    z = (plain_targets(rows) - mean[2]) / torch.exp(log_variance[2] / 2)
    for k in range(1 + OBS):
        assert kolmogorov(z[:, k], normal_cdf) < 1.95, k
    assert float((torch.corrcoef(z.T) - torch.eye(1 + OBS)).abs().max()) < 4 / math.sqrt(len(z))


# --- SAC's losses -----------------------------------------------------------------------------------------------------------------

ALPHA = 0.2
# Bounds of log σ between which random networks do not stay.
BOUNDS = (-0.6, 0.4)
SETTINGS = Sac(hidden=(8, 6), critics=3, discount=0.9, log_std_min=BOUNDS[0], log_std_max=BOUNDS[1])


@dataclass(frozen=True)
class Case:
    """Random networks, a batch, and the same for the plain formulas; float64."""

    networks: Networks
    actor: Tensor
    critic: Tensor
    target_critic: Tensor
    rows: Tensor
    noise: Tensor

    @property
    def batch(self) -> Batch:
        return Batch.of_rows(self.rows, OBS, ACT)

    @property
    def transitions(self) -> reference.Transitions:
        return reference.Transitions.of_rows(self.rows, OBS, ACT)

    def plain_actor(self, flat: Tensor) -> reference.Network:
        return reference.network(self.networks.actor.views(flat))

    def plain_critics(self, flat: Tensor) -> list[reference.Network]:
        return reference.networks(self.networks.critic.views(flat))


@pytest.fixture(scope="module")
def case() -> Case:
    networks = Networks(OBS, ACT, SETTINGS)
    rows = normal(32, WIDTH, seed=20)
    rows[:, -1] = (rows[:, -1] > 0.5).double()
    made = Case(
        networks,
        0.5 * normal(networks.actor.size, seed=21),
        0.5 * normal(networks.critic.size, seed=22),
        0.5 * normal(networks.critic.size, seed=23),
        rows,
        normal(32, ACT, seed=24),
    )
    _, std = reference.gaussian(made.plain_actor(made.actor), made.transitions.s, BOUNDS)
    log_std = std.log()
    assert bool((log_std < BOUNDS[0] + 1e-9).any())
    assert bool((log_std > BOUNDS[1] - 1e-9).any())
    least = torch.stack(
        [reference.q(c, made.transitions.s, made.transitions.a) for c in made.plain_critics(made.critic)]
    )
    assert least.argmin(0).unique().tolist() == [0, 1, 2]  # each critic is the least somewhere
    assert 0 < int(rows[:, -1].sum()) < 32
    return made


def test_td_target(case: Case) -> None:
    expected = reference.td_target(
        case.plain_actor(case.actor),
        case.plain_critics(case.target_critic),
        ALPHA,
        case.transitions,
        case.noise,
        SETTINGS.discount,
        BOUNDS,
    )
    alpha = torch.tensor([ALPHA], dtype=torch.float64)
    got = td_target(case.networks, case.actor, case.target_critic, alpha, case.batch, case.noise)
    assert_exact(got, expected)
    ended = case.batch.terminal == 1
    torch.testing.assert_close(got[ended], case.batch.reward[ended])


def test_critic_loss_and_its_gradient(case: Case) -> None:
    y = normal(32, seed=25)
    expected, gradient = value_and_gradient(
        lambda p: reference.critic_loss(case.plain_critics(p), case.transitions, y), case.critic
    )
    got_gradient, (got, mean_q) = torch.func.grad_and_value(critic_loss, has_aux=True)(
        case.critic, case.networks, case.batch, y
    )
    assert_exact(got, expected)
    assert_exact(got_gradient, gradient)
    values = [reference.q(c, case.transitions.s, case.transitions.a) for c in case.plain_critics(case.critic)]
    assert_exact(mean_q, torch.stack(values).sum() / (3 * 32))


def test_actor_loss_and_its_gradient(case: Case) -> None:
    def plain(p: Tensor) -> tuple[Tensor, Tensor]:
        critics = case.plain_critics(case.critic)
        return reference.actor_loss(case.plain_actor(p), critics, ALPHA, case.transitions, case.noise, BOUNDS)

    expected, gradient = value_and_gradient(lambda p: plain(p)[0], case.actor)
    alpha = torch.tensor([ALPHA], dtype=torch.float64)
    got_gradient, (got, log_density) = torch.func.grad_and_value(
        lambda p: tuple(t.squeeze() for t in actor_loss(p, case.networks, case.critic, alpha, case.batch, case.noise)),
        has_aux=True,
    )(case.actor)
    assert_exact(got, expected)
    assert_exact(log_density, plain(case.actor)[1])
    assert_exact(got_gradient, gradient)


@pytest.mark.parametrize("log_density", [5.0, 1.0, 3.0])
def test_temperature_loss_and_its_gradient(log_density: float) -> None:
    """J = −log α·(log π + H̄): dJ/d log α = −(log π + H̄), so descent raises α where the entropy −log π is below H̄."""
    log_alpha, target_entropy = torch.tensor([-0.7], dtype=torch.float64), -3.0
    gradient, loss = torch.func.grad_and_value(temperature_loss)(
        log_alpha, torch.tensor(log_density, dtype=torch.float64), target_entropy
    )
    assert float(loss) == pytest.approx(0.7 * (log_density - 3))
    assert float(gradient) == pytest.approx(3 - log_density)


# --- the tanh Gaussian ------------------------------------------------------------------------------------------------------------


def constant_policy(mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """A policy network of one layer that says the same everywhere."""
    bias = torch.tensor([*mean, *(math.log(s) for s in std)], dtype=dtype)
    return [(torch.zeros(1, len(bias), dtype=dtype), bias)]


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.8, 0.5), (-1.5, 0.2), (0.3, 1.8)])
def test_the_density_integrates_to_the_distribution_function_of_the_squashed_normal(mean: float, std: float) -> None:
    """P(a ≤ tanh u) = Φ((u − μ)/σ): the integral of the density over a, by trapezia, says so without a change of variables."""
    noise = torch.linspace(-6, 6, 4001, dtype=torch.float64)[:, None]
    a, log_density = tanh_gaussian(
        constant_policy([mean], [std], torch.float64), torch.zeros(4001, 1, dtype=torch.float64), noise, -20, 2
    )
    a = a[:, 0]
    torch.testing.assert_close(torch.atanh(a), mean + std * noise[:, 0], rtol=1e-6, atol=1e-6)
    density = log_density.exp()
    trapezia = (density[1:] + density[:-1]) / 2 * (a[1:] - a[:-1])
    torch.testing.assert_close(trapezia.cumsum(0), normal_cdf(noise[1:, 0]), rtol=0, atol=1e-5)


def test_the_density_of_two_actions_integrates_to_one() -> None:
    axis = torch.linspace(-6, 6, 241, dtype=torch.float64)
    noise = torch.cartesian_prod(axis, axis)
    policy = constant_policy([0.4, -0.9], [0.7, 0.3], torch.float64)
    a, log_density = tanh_gaussian(policy, torch.zeros(len(noise), 1, dtype=torch.float64), noise, -20, 2)
    a, density = a.view(241, 241, 2), log_density.exp().view(241, 241)
    inner = ((density[:, 1:] + density[:, :-1]) / 2 * (a[:, 1:, 1] - a[:, :-1, 1])).sum(1)
    whole = ((inner[1:] + inner[:-1]) / 2 * (a[1:, 0, 0] - a[:-1, 0, 0])).sum()
    assert float(whole) == pytest.approx(1, abs=1e-3)


def test_the_density_is_exact_in_float32_where_the_action_is_one() -> None:
    """1 − tanh² u = cosh⁻² u, and log cosh u = |u| + log(1 + e^(−2|u|)) − log 2, in Python's floats; the slope in u is 2 tanh u."""
    for u in (-100.0, -20.0, -9.0, -1.0, 0.0, 1e-3, 9.0, 20.0, 100.0):

        def log_density_at(mean: Tensor) -> Tensor:
            layers = [(torch.zeros(1, 2), torch.cat([mean, torch.zeros(1)]))]
            return tanh_gaussian(layers, torch.zeros(1, 1), torch.zeros(1, 1), -20, 2)[1].sum()

        log_cosh = abs(u) + math.log1p(math.exp(-2 * abs(u))) - math.log(2)
        gradient, value = torch.func.grad_and_value(log_density_at)(torch.tensor([u]))
        assert float(value) == pytest.approx(-0.5 * math.log(2 * math.pi) + 2 * log_cosh, rel=1e-6, abs=1e-6)
        assert float(gradient) == pytest.approx(2 * math.tanh(u), rel=1e-6, abs=1e-6)


def test_bc_loss_and_its_gradient(case: Case) -> None:
    """−log π of given actions: the density of u = atanh a times du/da = 1/(1 − a²). Finite where a is 1."""
    actions = torch.tanh(case.transitions.a)

    def plain(p: Tensor) -> Tensor:
        mean, std = reference.gaussian(case.plain_actor(p), case.transitions.s, BOUNDS)
        u = torch.log((1 + actions) / (1 - actions)) / 2
        density = torch.exp(-(((u - mean) / std) ** 2) / 2) / (std * math.sqrt(2 * math.pi)) / (1 - actions**2)
        return -torch.log(density).sum() / len(actions)

    expected, gradient = value_and_gradient(plain, case.actor)
    batch = dataclasses.replace(case.batch, action=actions)
    got_gradient, got = torch.func.grad_and_value(bc_loss)(case.actor, case.networks, batch)
    assert_exact(got, expected)
    assert_exact(got_gradient, gradient)
    at_the_edge = dataclasses.replace(batch, action=torch.ones_like(actions))
    assert all(
        bool(torch.isfinite(t).all())
        for t in torch.func.grad_and_value(bc_loss)(case.actor, case.networks, at_the_edge)
    )


# --- updates ----------------------------------------------------------------------------------------------------------------------


def test_adam_agrees_with_torch_over_many_steps() -> None:
    """500 steps; gradients from 1e-12, below ε, to 1e3, and zero for some."""
    n = 60
    scale = torch.logspace(-12, 3, n, dtype=torch.float64)
    ours, lr = normal(n, seed=30), torch.full((n,), 2.0**-10, dtype=torch.float64)
    theirs = ours.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=2.0**-10)
    m, v, table = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64), bias_corrections()
    gradients = scale * normal(500, n, seed=31) * (normal(500, n, seed=32) > -1)
    start = ours.clone()
    for step, gradient in enumerate(gradients):
        theirs.grad = gradient.clone()
        optimiser.step()
        adam_(ours, gradient, m, v, correction(table, step), lr)
    # The table of corrections is float32.
    torch.testing.assert_close(ours - start, theirs.detach() - start, rtol=1e-5, atol=1e-9)


def test_adams_corrections_hold_to_the_end_of_their_table_and_past_it() -> None:
    table = bias_corrections()
    for t in (1, 2, 3, 10, 100, 1000, 10_000, 19_999, 20_000, 20_001, 1_000_000):
        expected = [1 / (1 - 0.9**t), 1 / (1 - 0.999**t)]
        assert correction(table, t - 1).tolist() == pytest.approx(expected, rel=1e-7)


class PlainSac:
    """SAC's update by plain formulas, with torch's Adam for actor, critics and log α."""

    def __init__(self, agent: SAC, target_entropy: float, cap: float) -> None:
        self.networks, s = agent.networks, agent.settings
        n_actor, n_critic = self.networks.actor.size, self.networks.critic.size
        pieces = agent.parameters.double().split([n_actor, n_critic, 1])
        self.actor, self.critic, self.log_alpha = (p.clone().requires_grad_() for p in pieces)
        self.target_critic = pieces[1].clone()
        self.bounds, self.discount, self.polyak = (s.log_std_min, s.log_std_max), s.discount, s.polyak
        self.target_entropy, self.cap = target_entropy, cap
        groups = ((self.actor, s.actor_lr), (self.critic, s.critic_lr), (self.log_alpha, s.temperature_lr))
        self.optimiser = torch.optim.Adam([{"params": [p], "lr": lr} for p, lr in groups])

    def update(self, rows: Tensor, noise: Tensor) -> dict[str, float]:
        batch = reference.Transitions.of_rows(rows, OBS, ACT)
        actor = reference.network(self.networks.actor.views(self.actor))
        critics = reference.networks(self.networks.critic.views(self.critic))
        targets = reference.networks(self.networks.critic.views(self.target_critic))
        alpha = math.exp(float(self.log_alpha.detach()))
        if self.cap > 0:
            alpha = min(alpha, self.cap)
        y = reference.td_target(actor, targets, alpha, batch, noise[0], self.discount, self.bounds).detach()
        j_q = reference.critic_loss(critics, batch, y)
        j_pi, log_pi = reference.actor_loss(actor, critics, alpha, batch, noise[1], self.bounds)
        j_alpha = -self.log_alpha * (log_pi.detach() + self.target_entropy)
        values = torch.stack([reference.q(c, batch.s, batch.a) for c in critics])
        for parameter, loss in ((self.critic, j_q), (self.actor, j_pi), (self.log_alpha, j_alpha)):
            parameter.grad = torch.autograd.grad(loss, parameter, retain_graph=True)[0]
        self.optimiser.step()
        self.target_critic = (1 - self.polyak) * self.target_critic + self.polyak * self.critic.detach()
        return {
            "policy/q": float(values.detach().mean()),
            "policy/critic_loss": float(j_q.detach()),
            "policy/actor_loss": float(j_pi.detach()),
            "policy/temperature": alpha,
            "policy/entropy": -float(log_pi.detach()),
        }


@pytest.mark.parametrize("cap", [0.0, 0.9])
def test_twenty_updates_of_sac(cap: float) -> None:
    """Critics, actor, temperature with and without its cap, and the target critics, which follow the critics as just updated."""
    settings = dataclasses.replace(
        SETTINGS,
        actor_lr=2.0**-8,
        critic_lr=2.0**-7,
        temperature_lr=2.0**-6,
        polyak=0.1,
        target_entropy=-1.5,
        max_temperature=cap,
        initial_log_temperature=-0.05,
    )
    agent = SAC(OBS, ACT, settings, Compute("cpu", 1, "stock", False), seeded(40))
    for name in ("parameters", "target_critic", "m", "v"):
        setattr(agent, name, getattr(agent, name).double())
    plain = PlainSac(agent, -1.5, cap)
    assert torch.equal(agent.target_critic, plain.critic)  # the targets begin as the critics
    temperatures = []
    for step in range(20):
        rows = normal(16, WIDTH, seed=100 + step)
        rows[:, -1] = (rows[:, -1] > 1).double()
        noise = normal(2, 16, ACT, seed=200 + step)
        got = dict(zip(METRICS, agent.update(rows, (noise,)).tolist(), strict=True))
        expected = plain.update(rows, noise)
        assert got == pytest.approx(expected, rel=1e-5)
        temperatures.append(expected["policy/temperature"])
    expected_parameters = torch.cat([plain.actor, plain.critic, plain.log_alpha]).detach()
    # Adam's table of corrections is float32.
    torch.testing.assert_close(agent.parameters, expected_parameters, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(agent.target_critic, plain.target_critic, rtol=1e-5, atol=1e-7)
    if cap:
        assert temperatures[0] == cap  # the cap binds
        assert math.exp(float(plain.log_alpha.detach())) != pytest.approx(cap, rel=1e-3)  # and log α goes on beneath it


def test_the_actors_step_size_follows_half_a_cosine_and_no_other_does() -> None:
    """Adam's first step is lr·g/(|g| + ε): its largest entry is the step size."""
    for schedule, factors in (("cosine", (1.0, 0.5 + 0.5 * math.sqrt(0.5), 0.5, 0.0)), ("constant", (1.0,) * 4)):
        for finished, factor in zip((0.0, 0.25, 0.5, 1.0), factors, strict=True):
            agent = SAC(
                OBS,
                ACT,
                dataclasses.replace(
                    SETTINGS, actor_schedule=schedule, actor_lr=1e-2, critic_lr=2e-2, temperature_lr=3e-2
                ),
                Compute("cpu", 1, "stock", False),
                seeded(41),
            )
            before = agent.parameters.clone()
            agent.anneal(finished)
            agent.update(normal(16, WIDTH, seed=42).float(), normal(2, 16, ACT, seed=43).float())
            moved = (agent.parameters - before).abs().split([agent.networks.actor.size, agent.networks.critic.size, 1])
            assert [float(part.max()) for part in moved] == pytest.approx(
                [1e-2 * factor, 2e-2, 3e-2], rel=1e-3, abs=1e-9
            )


# --- compiled against eager, route against route ----------------------------------------------------------------------------------
#
# All of them compute the same formulas in float32 and differ by the order in which they add. That alone moves a metric by about
# 1e-6 of its size, and a parameter by about 1e-8; but where a gradient is all but zero, Adam, which divides by the gradient's own
# size, takes a step that rounding decides. Over several seeds that was up to 3 % of one step in single parameters of a hundred
# thousand, and 0.02 % in the root mean square. Tolerated is ten times as much; a wrong formula moves nearly every parameter by
# whole steps.

WIDE_OBS, WIDE_ACT = 11, 3
WIDE = 2 * WIDE_OBS + WIDE_ACT + 2
STEPS = 50
# Products of 200 terms, which the two routes add up in different orders.
HIDDEN = (200, 200)


@dataclass(frozen=True)
class Outcome:
    """What 50 steps made of the parameters, in units of Adam's step size, and what was measured on the way."""

    parameters: Tensor
    measured: Tensor


def sac_outcome(compute: Compute) -> Outcome:
    lr = 3e-4
    agent = SAC(WIDE_OBS, WIDE_ACT, Sac(hidden=HIDDEN), compute, seeded(50))
    metrics = []
    for step in range(STEPS):
        rows = normal(64, WIDE, seed=1000 + step).float()
        rows[:, -1] = (rows[:, -1] > 1).float()
        metrics.append(agent.update(rows, normal(2, 64, WIDE_ACT, seed=2000 + step).float()))
    return Outcome(torch.cat([agent.parameters, agent.target_critic]) / lr, torch.stack(metrics))


def ensemble_outcome(compute: Compute) -> Outcome:
    settings = Dynamics(members=3, elites=2, hidden=HIDDEN, weight_decay=(1e-5,) * 4, batch_size=64, max_epochs=5)
    epochs: list[DynamicsEpoch] = []
    last: list[Tensor] = []

    def on_epoch(epoch: DynamicsEpoch) -> None:
        epochs.append(epoch)
        last[:] = [epoch.state.tensors["parameters"].clone()]

    rows = normal(800, WIDE, seed=51).float()
    fit(rows, WIDE_OBS, WIDE_ACT, settings, 0, compute, on_epoch, lambda _epoch, _share: None)
    assert sum(epoch.steps for epoch in epochs) == STEPS
    return Outcome(last[0] / settings.lr, torch.tensor([[e.train_loss, *e.val_loss] for e in epochs]))


LEARNERS = {"sac": sac_outcome, "ensemble": ensemble_outcome}


@pytest.fixture(scope="module", params=list(LEARNERS))
def learner(request: pytest.FixtureRequest) -> tuple[Callable[[Compute], Outcome], Outcome]:
    """A learner, and what it does eagerly on the stock route."""
    run = LEARNERS[request.param]
    return run, run(Compute.choose(threads=1, gemm="stock", compiled=False))


def assert_same(got: Outcome, expected: Outcome) -> None:
    torch.testing.assert_close(got.measured, expected.measured, rtol=1e-5, atol=1e-5)
    difference = (got.parameters - expected.parameters).double()
    assert float(difference.abs().max()) < 0.3
    assert float(difference.square().mean().sqrt()) < 0.002


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_steps_are_the_eager_ones(learner: tuple[Callable[[Compute], Outcome], Outcome]) -> None:
    run, eager = learner
    graphs = counters["stats"]["unique_graphs"]
    assert_same(run(Compute.choose(threads=1, gemm="stock", compiled=True)), eager)
    assert counters["stats"]["unique_graphs"] == graphs + 1


@pytest.mark.parametrize("compiled", [False, True])
def test_the_onednn_route_is_the_stock_one(
    learner: tuple[Callable[[Compute], Outcome], Outcome], compiled: bool
) -> None:
    if compiled and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    run, stock = learner
    compute = Compute.choose(threads=1, gemm="onednn", compiled=compiled)
    square = torch.eye(8)
    try:
        with profile() as calls:
            mm(square, square)
    except (AttributeError, RuntimeError, TypeError) as error:
        pytest.skip(f"this torch has no oneDNN product: {error}")
    assert any("mkldnn" in event.name for event in calls.function_events)  # the route is taken
    assert_same(run(compute), stock)
