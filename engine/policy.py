"""A trained policy as plain numpy: what steps in real environments, and what a user loads, needs no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.record import write_atomically

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Policy:
    """The tanh-Gaussian policy of SAC (Haarnoja et al. 2018, appendix C).

    Attributes:
        weights: (in, out) float32 matrices, the last with 2·action_dim outputs (μ, log σ).
        biases: (out,) float32 vectors.
        log_std_bounds: the clip of log σ.
        metadata: what the file says of its origin.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    log_std_bounds: tuple[float, float]
    metadata: dict[str, Any]

    @property
    def action_dim(self) -> int:
        return len(self.biases[-1]) // 2

    def distribution(self, observation: NDArray[Any]) -> tuple[Array, Array]:
        """μ and log σ before the tanh; observation (obs,) or (batch, obs)."""
        h: Any = np.asarray(observation, dtype=np.float32)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = np.maximum(h @ weight + bias, 0)
        out = h @ self.weights[-1] + self.biases[-1]
        mean, log_std = out[..., : self.action_dim], out[..., self.action_dim :]
        return mean, np.clip(log_std, *self.log_std_bounds)

    def __call__(self, observation: NDArray[Any], rng: np.random.Generator | None = None) -> Array:
        """The deterministic action tanh(μ(s)), or with `rng` a sample; in [−1, 1], float32, (act,) or (batch, act)."""
        mean, log_std = self.distribution(observation)
        if rng is not None:
            noise: Array = rng.standard_normal(mean.shape, dtype=np.float32)
            mean = np.add(mean, np.exp(log_std) * noise, dtype=np.float32)
        return np.tanh(mean)

    def save(self, path: Path, dtype: type[np.floating[Any]] = np.float32) -> None:
        """Write safetensors with the metadata in its header; atomic."""
        from safetensors.numpy import save

        tensors = {}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            tensors[f"{i}/weight"] = np.ascontiguousarray(weight, dtype=dtype)
            tensors[f"{i}/bias"] = np.ascontiguousarray(bias, dtype=dtype)
        about = {"log_std_bounds": list(self.log_std_bounds), **self.metadata}
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
        except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a policy file ({error})") from error
        return Policy(weights, biases, (float(low), float(high)), metadata)
