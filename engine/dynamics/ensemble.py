"""The probabilistic ensemble: N networks p_i(r, s' − s | s, a) = N(μ_i, diag σ_i²) (Yu et al. 2020; Chua et al. 2018).

Constants are those of the official code. All parameters are one flat vector: stacked trunk layers, a mean head and a
log-variance head on the last hidden layer, and the two learned bounds of the log-variance, shared by the members.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import silu, softplus

from engine.agents.networks import Layout, Parameters
from engine.compute import mm
from engine.config import Dynamics
from engine.pessimism import layer_norm, to_raw_units

MAX_LOG_VARIANCE, MIN_LOG_VARIANCE = 0.5, -10.0
BOUND_WEIGHT = 0.01
SMALLEST_STD = 1e-12
# Squarings of WᵀW in `largest_singular_value`: 2¹² steps of power iteration.
SQUARINGS = 12
SMALLEST_NORM = 1e-12


def largest_singular_value(weight: Tensor) -> Tensor:
    """σ₁ of each matrix, (members, in, out) -> (members, 1, 1), by power iteration on WᵀW from a fixed vector.

    Squaring the normalised WᵀW over and over does 2ᵏ steps in k small products; what is left of the error is below a thousandth
    even where σ₂ is close to σ₁. The right singular vector v counts as a constant, so the gradient of ‖Wv‖ is u vᵀ, that of σ₁.
    """
    power = weight.detach().mT @ weight.detach()
    for _ in range(SQUARINGS):
        power = power / torch.linalg.matrix_norm(power, keepdim=True).clamp(min=SMALLEST_NORM)
        power = power @ power
    # No two entries alike: no symmetry of W makes the first singular vector orthogonal to it.
    start = torch.arange(1, weight.shape[-1] + 1, dtype=weight.dtype, device=weight.device).sqrt().cos()
    v = power @ start[:, None]
    v = v / v.norm(dim=-2, keepdim=True).clamp(min=SMALLEST_NORM)
    norm: Tensor = (weight @ v).norm(dim=-2, keepdim=True)
    return norm


@dataclass(frozen=True)
class Normaliser:
    """Standardises (s, a), and where it is asked for (r, s' − s): mean and std of the train split, (obs + act,) or (1 + obs,)."""

    mean: Tensor
    std: Tensor

    @staticmethod
    def fit(inputs: Tensor) -> Normaliser:
        """From (n, dimensions); a std below 1e-12 counts as 1."""
        mean, std = inputs.double().mean(0), inputs.double().std(0, correction=0)
        std = torch.where(std < SMALLEST_STD, torch.ones_like(std), std)
        return Normaliser(mean.float(), std.float())

    def __call__(self, inputs: Tensor) -> Tensor:
        return (inputs - self.mean) / self.std


class Ensemble:
    """Shapes of the ensemble and what it computes from a flat parameter vector.

    With `settings.spectral_norm` the log-variance head is divided by its largest singular value, so that log σ² before its clamp
    is 1-Lipschitz in the last hidden layer. The first arXiv version of Yu et al. took its penalty from a spectrally normalised
    variance model, Lipschitz in (s, a) itself. Here the variance head stands on a trunk that it shares with the mean and that
    stays free, as the mean's head does: the bound begins at the last hidden layer.

    Args:
        observation_dim, action_dim: sizes.
        settings: members, hidden sizes, weight decays, spectral norm.
    """

    def __init__(self, observation_dim: int, action_dim: int, settings: Dynamics) -> None:
        self.observation_dim, self.action_dim, self.settings = observation_dim, action_dim, settings
        self.members, self.output_dim = settings.members, observation_dim + 1
        sizes = (observation_dim + action_dim, *settings.hidden)
        shapes: list[tuple[str, tuple[int, ...]]] = []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
            shapes += [
                (f"trunk{i}/weight", (self.members, fan_in, fan_out)),
                (f"trunk{i}/bias", (self.members, 1, fan_out)),
            ]
        for head in ("mean", "log_variance"):
            shapes += [
                (f"{head}/weight", (self.members, sizes[-1], self.output_dim)),
                (f"{head}/bias", (self.members, 1, self.output_dim)),
            ]
        shapes += [("max_log_variance", (1, self.output_dim)), ("min_log_variance", (1, self.output_dim))]
        self.layout = Layout(tuple(shapes))
        weights = [name for name, _ in shapes if name.endswith("weight")]
        self._decays = dict(zip(weights, settings.weight_decay, strict=True))

    def initial_parameters(self, generator: torch.Generator) -> Tensor:
        """Weights from a normal of std 1/(2√fan_in) truncated at two std, biases 0, bounds +0.5 and −10."""
        flat = torch.zeros(self.layout.size)
        for name, view in self.layout.views(flat).items():
            if name.endswith("weight"):
                std = 1 / (2 * view.shape[-2] ** 0.5)
                torch.nn.init.trunc_normal_(view, std=std, a=-2 * std, b=2 * std, generator=generator)
        views = self.layout.views(flat)
        views["max_log_variance"].fill_(MAX_LOG_VARIANCE)
        views["min_log_variance"].fill_(MIN_LOG_VARIANCE)
        return flat

    def member_views(self, flat: Tensor) -> list[Tensor]:
        """The pieces that belong to a member each, with the members first (all but the shared bounds)."""
        return [view for name, view in self.layout.views(flat).items() if "/" in name]

    def forward(self, parameters: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of (reward, s' − s) for standardised inputs; standardised too where the targets were.

        Args:
            inputs: (batch, obs + act), the same for all members, or (members, batch, obs + act).

        Returns:
            two tensors (members, batch, 1 + obs); log σ² softly clamped to the learned bounds.
        """
        p = self.layout.views(parameters)
        if inputs.dim() == 3:
            mean, log_variance = self._outputs(p, inputs)
        else:  # one member after the other: its layers stay in the processor's cache
            alone = [{name: view[i] for name, view in p.items() if "/" in name} for i in range(self.members)]
            mean, log_variance = map(torch.stack, zip(*(self._outputs(one, inputs) for one in alone), strict=True))
        high, low = p["max_log_variance"], p["min_log_variance"]
        log_variance = high - softplus(high - log_variance)
        log_variance = low + softplus(log_variance - low)
        return mean, log_variance

    def _outputs(self, p: dict[str, Tensor], h: Tensor) -> tuple[Tensor, Tensor]:
        """Both heads before the clamp: of all members, (members, batch, ·), or of the one whose views `p` are, (batch, ·)."""
        for i in range(len(self.settings.hidden)):
            h = mm(h, p[f"trunk{i}/weight"]) + p[f"trunk{i}/bias"]
            h = silu(layer_norm(h) if self.settings.layer_norm else h)
        weight = p["log_variance/weight"]
        if self.settings.spectral_norm:
            weight = weight / largest_singular_value(weight).clamp(min=SMALLEST_NORM)
        return mm(h, p["mean/weight"]) + p["mean/bias"], mm(h, weight) + p["log_variance/bias"]

    def loss(self, parameters: Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
        """Σ_i mean[(μ_i − y)² e^(−log σ_i²) + log σ_i²] + Σ ½ wd‖W‖² + 0.01 Σ max log σ² − 0.01 Σ min log σ².

        Args:
            inputs: standardised, (members, batch, obs + act).
            targets: (members, batch, 1 + obs).
        """
        mean, log_variance = self.forward(parameters, inputs)
        nll = ((mean - targets).square() * torch.exp(-log_variance) + log_variance).mean((1, 2)).sum()
        p = self.layout.views(parameters)
        decay = torch.stack([0.5 * wd * p[name].square().sum() for name, wd in self._decays.items()]).sum()
        bounds = BOUND_WEIGHT * (p["max_log_variance"].sum() - p["min_log_variance"].sum())
        return nll + decay + bounds


def targets_of(rows: Tensor, observation_dim: int, action_dim: int) -> tuple[Tensor, Tensor]:
    """Inputs (s, a) and targets (r, s' − s) of packed rows (..., 2·obs + act + 2)."""
    o, a = observation_dim, action_dim
    s, r, s_next = rows[..., :o], rows[..., o + a : o + a + 1], rows[..., o + a + 1 : -1]
    return rows[..., : o + a], torch.cat([r, s_next - s], dim=-1)


@dataclass(frozen=True)
class Model:
    """A fitted ensemble: parameters, normaliser and elites, ready to be rolled out; `target_scale` where its targets were
    standardised."""

    ensemble: Ensemble
    parameters: Tensor
    normaliser: Normaliser
    elites: tuple[int, ...]
    target_scale: Normaliser | None = None

    def predict(self, observation: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """μ and log σ² of (r, s') of every member, raw units: the mean has s added to its observation part."""
        inputs = self.normaliser(torch.cat([observation, action], dim=-1))
        mean, log_variance = self.ensemble.forward(self.parameters, inputs)
        if self.target_scale is not None:
            mean, log_variance = to_raw_units(mean, log_variance, self.target_scale.mean, self.target_scale.std)
        shift = torch.nn.functional.pad(observation, (1, 0))
        return mean + shift, log_variance
