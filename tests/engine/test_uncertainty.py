"""The uncertainties against plain loops in float64, and the bounds that make them what they claim to be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from engine.config import TrainConfig, fields_of
from engine.dynamics.uncertainty import UNCERTAINTIES, ensemble_std, histogram_counts, max_aleatoric, max_disagreement
from engine.record import histogram_edges

MEMBERS, BATCH, OBS = 4, 12, 5


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussians(offset: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    mean = torch.randn(MEMBERS, BATCH, 1 + OBS, generator=seeded(1)) + offset
    return mean, 2 * torch.randn(MEMBERS, BATCH, 1 + OBS, generator=seeded(2)) - 3


def test_the_configuration_offers_the_uncertainties_of_the_table() -> None:
    assert fields_of(TrainConfig)["rollout.uncertainty"].metadata["choices"] == tuple(UNCERTAINTIES)
    assert {f.name: f.default for f in dataclasses.fields(TrainConfig().rollout)}["uncertainty"] in UNCERTAINTIES


def test_max_aleatoric_is_the_largest_norm_of_the_standard_deviations_over_all_members() -> None:
    mean, log_variance = gaussians()
    expected = np.zeros(BATCH)
    for row in range(BATCH):
        for member in range(MEMBERS):
            variance = np.exp(log_variance[member, row].double().numpy())
            expected[row] = max(expected[row], np.sqrt(sum(variance)))
    np.testing.assert_allclose(max_aleatoric(mean, log_variance).numpy(), expected, rtol=1e-5)


def test_max_disagreement_is_the_largest_distance_of_a_predicted_state_from_the_average_one() -> None:
    mean, log_variance = gaussians()
    expected = np.zeros(BATCH)
    for row in range(BATCH):
        states = [mean[member, row, 1:].double().numpy() for member in range(MEMBERS)]
        average = sum(states) / MEMBERS
        expected[row] = max(np.sqrt(sum((state - average) ** 2)) for state in states)
    np.testing.assert_allclose(max_disagreement(mean, log_variance).numpy(), expected, rtol=1e-5)
    # Neither the reward's mean nor any variance counts.
    other = mean.clone()
    other[..., 0] += torch.arange(MEMBERS)[:, None]
    assert torch.equal(max_disagreement(mean, log_variance), max_disagreement(other, log_variance + 1))


def test_ensemble_std_is_the_norm_of_the_mixtures_standard_deviation() -> None:
    mean, log_variance = gaussians()
    expected = np.zeros(BATCH)
    for row in range(BATCH):
        for output in range(1 + OBS):
            mu = mean[:, row, output].double().numpy()
            variance = np.exp(log_variance[:, row, output].double().numpy())
            expected[row] += np.mean(variance + mu**2) - np.mean(mu) ** 2
    np.testing.assert_allclose(ensemble_std(mean, log_variance).numpy(), np.sqrt(expected), rtol=1e-5)


def test_ensemble_std_does_not_cancel_where_the_means_are_large_and_alike() -> None:
    """At means near 1000 the squares differ in a float32's last digits, the spread of 1 does not."""
    mean, log_variance = gaussians(offset=1000.0)
    wide = ensemble_std(mean.double(), log_variance.double())
    np.testing.assert_allclose(ensemble_std(mean, log_variance).numpy(), wide.numpy(), rtol=1e-4)


@pytest.mark.parametrize("name", list(UNCERTAINTIES))
def test_a_diverged_member_shows_in_every_uncertainty(name: str) -> None:
    """The guard against divergence looks at u too: one member of which nobody samples may have left the floats."""
    mean, log_variance = gaussians()
    mean[3, 0], log_variance[3, 0] = float("inf"), float("inf")
    mean[3, 1], log_variance[3, 1] = float("nan"), float("nan")
    u = UNCERTAINTIES[name](mean, log_variance)
    assert u.shape == (BATCH,)
    assert not torch.isfinite(u[:2]).any()
    assert torch.isfinite(u[2:]).all()


def test_histogram_counts_follow_the_edges_of_the_run_folder_format() -> None:
    u = torch.exp(torch.randn(5000, generator=seeded(1)) * 6)
    edges = np.array(histogram_edges())
    expected = np.histogram(u.double().numpy(), np.concatenate([[0], edges, [np.inf]]))[0]
    assert histogram_counts(u) == expected.tolist()
