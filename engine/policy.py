"""A trained policy as plain numpy: what steps in real environments, and what a user loads, needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.record import write_atomically

Array = NDArray[np.float32]
Doubles = NDArray[np.float64]

# Actions are multiples of 2⁻²⁰: see `Policy.__call__`.
GRID = 2.0**20


@dataclass(frozen=True)
class Policy:
    """The tanh-Gaussian policy of SAC (Haarnoja et al. 2018, appendix C), or a tanh-squashed mixture of Gaussians.

    Attributes:
        weights: (in, out) float32 matrices, the last with the outputs [log weights | μ of each component | log σ of each], of
            which the log weights are missing where there is one component.
        biases: (out,) float32 vectors.
        log_std_bounds: the clip of log σ.
        metadata: what the file says of its origin.
        components: Gaussians in the mixture.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    log_std_bounds: tuple[float, float]
    metadata: dict[str, Any]
    components: int = 1

    @property
    def action_dim(self) -> int:
        outputs = len(self.biases[-1]) - (self.components if self.components > 1 else 0)
        return outputs // (2 * self.components)

    @cached_property
    def _layers(self) -> tuple[tuple[Doubles, Doubles], ...]:
        return tuple(
            (w.astype(np.float64), b.astype(np.float64)) for w, b in zip(self.weights, self.biases, strict=True)
        )

    def mixture(self, observation: NDArray[Any]) -> tuple[Doubles, Doubles, Doubles]:
        """Unnormalised log weights (…, components), μ and log σ (…, components, act) before the tanh; observation (…, obs).

        Raises:
            ValueError: observations of another size.
        """
        h: Doubles = np.asarray(observation, dtype=np.float64)
        if h.shape[-1:] != self.weights[0].shape[:1]:
            raise ValueError(f"the policy takes observations (…, {len(self.weights[0])}), not {h.shape}")
        for weight, bias in self._layers[:-1]:
            h = np.maximum(h @ weight + bias, 0)
        weight, bias = self._layers[-1]
        out: Doubles = h @ weight + bias
        k = self.components if self.components > 1 else 0
        moments = out[..., k:].reshape(*out.shape[:-1], 2, self.components, self.action_dim)
        log_weights = out[..., :k] if k else np.zeros((*out.shape[:-1], 1))
        log_std = np.clip(moments[..., 1, :, :], *self.log_std_bounds)
        return log_weights, moments[..., 0, :, :], log_std

    def distribution(
        self, observation: NDArray[Any], rng: np.random.Generator | None = None
    ) -> tuple[Doubles, Doubles]:
        """μ and log σ before the tanh, (…, act): of the likeliest component, or with `rng` of one drawn by its weight."""
        log_weights, mean, log_std = self.mixture(observation)
        if self.components == 1:
            return mean[..., 0, :], log_std[..., 0, :]
        if rng is not None:  # the largest of log w + Gumbel noise is a draw with probabilities w
            log_weights = log_weights + rng.gumbel(size=log_weights.shape)
        chosen = log_weights.argmax(-1)[..., None, None]
        return np.take_along_axis(mean, chosen, -2)[..., 0, :], np.take_along_axis(log_std, chosen, -2)[..., 0, :]

    def __call__(self, observation: NDArray[Any], rng: np.random.Generator | None = None) -> Array:
        """The deterministic action tanh(μ(s)) of the likeliest component, or with `rng` a sample.

        Computed in float64 and rounded to a multiple of 2⁻²⁰: a robot's course depends on the last bit of its actions, and the
        last bits of a matrix product depend on the processor. So the same policy walks the same way on every kind of processor.

        Returns:
            in [−1, 1], float32, (act,) or (batch, act).

        Raises:
            ValueError: observations of another size.
        """
        mean, log_std = self.distribution(observation, rng)
        if rng is not None:
            mean = mean + np.exp(log_std) * rng.standard_normal(mean.shape, dtype=np.float32)
        action: Array = (np.rint(np.tanh(mean) * GRID) / GRID).astype(np.float32)
        return action

    def save(self, path: Path, dtype: type[np.floating[Any]] = np.float32) -> None:
        """Write safetensors with the metadata in its header; atomic."""
        from safetensors.numpy import save

        tensors = {}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors[f"{i}/weight"] = np.ascontiguousarray(weight, dtype=dtype)
            tensors[f"{i}/bias"] = np.ascontiguousarray(bias, dtype=dtype)
        about = {"log_std_bounds": list(self.log_std_bounds), **self.metadata}
        if self.components > 1:
            about["components"] = self.components
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(tensors, metadata={"policy": json.dumps(about)}))

    @staticmethod
    def load(path: Path) -> Policy:
        """Read what `save` wrote.

        Raises:
            ValueError: the file is not such a policy; the message names it.
            FileNotFoundError: there is no such file.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as f:
                metadata = json.loads((f.metadata() or {})["policy"])
                depth = len(list(f.keys())) // 2
                weights = tuple(f.get_tensor(f"{i}/weight").astype(np.float32) for i in range(depth))
                biases = tuple(f.get_tensor(f"{i}/bias").astype(np.float32) for i in range(depth))
                low, high = metadata.pop("log_std_bounds")
                components = int(metadata.pop("components", 1))
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a policy file ({error})") from error
        return Policy(weights, biases, (float(low), float(high)), metadata, components)
