"""MOPO's parts as a textbook has them, for `bench_engine.py` to be held against: each critic a module of its own, torch's Adam,
numpy buffers, nothing compiled. The mathematics and the sizes are those of the engine."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss, silu, softplus

Array = NDArray[np.float32]
HIDDEN, MODEL_HIDDEN = (256, 256), (200, 200, 200, 200)
DECAYS = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)


def network(inputs: int, outputs: int) -> nn.Sequential:
    sizes, layers = (inputs, *HIDDEN), []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


class Buffer:
    """A ring of transitions, an array for each part."""

    def __init__(self, capacity: int, obs: int, act: int) -> None:
        sizes = {"s": obs, "a": act, "r": 1, "s_next": obs, "done": 1}
        self.parts = {name: np.zeros((capacity, size), dtype=np.float32) for name, size in sizes.items()}
        self.capacity, self.at, self.size = capacity, 0, 0

    def add(self, **parts: Array) -> None:
        n = len(parts["s"])
        index = np.arange(self.at, self.at + n) % self.capacity
        for name, values in parts.items():
            self.parts[name][index] = values
        self.at, self.size = (self.at + n) % self.capacity, min(self.size + n, self.capacity)

    def sample(self, n: int) -> dict[str, Tensor]:
        index = np.random.randint(self.size, size=n)
        return {name: torch.from_numpy(values[index]) for name, values in self.parts.items()}


class TextbookSAC:
    def __init__(self, obs: int, act: int) -> None:
        self.act = act
        self.actor = network(obs, 2 * act)
        self.critics = [network(obs + act, 1) for _ in range(2)]
        self.targets = [copy.deepcopy(critic) for critic in self.critics]
        self.log_alpha = torch.zeros(1, requires_grad=True)
        self.actor_adam = torch.optim.Adam(self.actor.parameters(), lr=3e-4)
        self.critic_adams = [torch.optim.Adam(critic.parameters(), lr=3e-4) for critic in self.critics]
        self.alpha_adam = torch.optim.Adam([self.log_alpha], lr=3e-4)

    def sample(self, s: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.actor(s).chunk(2, dim=-1)
        normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
        before = normal.rsample()
        correction = 2 * (np.log(2) - before - softplus(-2 * before))
        return torch.tanh(before), (normal.log_prob(before) - correction).sum(-1, keepdim=True)

    def update(self, batch: dict[str, Tensor]) -> dict[str, float]:
        s, a, r, s_next, done = (batch[name] for name in ("s", "a", "r", "s_next", "done"))
        alpha = self.log_alpha.exp().detach()
        with torch.no_grad():
            a_next, log_density = self.sample(s_next)
            x = torch.cat([s_next, a_next], -1)
            value = torch.min(*(target(x) for target in self.targets)) - alpha * log_density
            y = r + 0.99 * (1 - done) * value
        losses = {}
        for i, (critic, adam) in enumerate(zip(self.critics, self.critic_adams, strict=True)):
            loss = mse_loss(critic(torch.cat([s, a], -1)), y)
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses[f"critic{i}"] = loss.item()
        action, log_density = self.sample(s)
        x = torch.cat([s, action], -1)
        actor_loss = (alpha * log_density - torch.min(*(critic(x) for critic in self.critics))).mean()
        self.actor_adam.zero_grad()
        actor_loss.backward()
        self.actor_adam.step()
        alpha_loss = -(self.log_alpha * (log_density.detach() - self.act)).mean()
        self.alpha_adam.zero_grad()
        alpha_loss.backward()
        self.alpha_adam.step()
        with torch.no_grad():
            for critic, target in zip(self.critics, self.targets, strict=True):
                for p, q in zip(critic.parameters(), target.parameters(), strict=True):
                    q.mul_(0.995).add_(p, alpha=0.005)
        return losses | {"actor": actor_loss.item(), "alpha": alpha.item()}


class Stacked(nn.Module):
    """A linear layer for each member."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(members, inputs, outputs) / (2 * inputs**0.5))
        self.bias = nn.Parameter(torch.zeros(members, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class TextbookEnsemble(nn.Module):
    def __init__(self, obs: int, act: int, members: int = 7) -> None:
        super().__init__()
        self.members, sizes = members, (obs + act, *MODEL_HIDDEN)
        self.trunk = nn.ModuleList(Stacked(members, *pair) for pair in itertools.pairwise(sizes))
        self.head = Stacked(members, sizes[-1], 2 * (obs + 1))
        self.high, self.low = nn.Parameter(torch.full((obs + 1,), 0.5)), nn.Parameter(torch.full((obs + 1,), -10.0))
        self.mean, self.std = torch.zeros(obs + act), torch.ones(obs + act)
        self.adam = torch.optim.Adam(self.parameters(), lr=1e-3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = (x - self.mean) / self.std
        for layer in self.trunk:
            x = silu(layer(x))
        mean, log_variance = self.head(x).chunk(2, dim=-1)
        log_variance = self.high - softplus(self.high - log_variance)
        return mean, self.low + softplus(log_variance - self.low)

    def step(self, inputs: Array, targets: Array, index: NDArray[np.int64]) -> float:
        """One gradient step on the rows `index` (members, batch)."""
        x, y = torch.from_numpy(inputs[index]), torch.from_numpy(targets[index])
        mean, log_variance = self(x)
        loss = ((mean - y).square() * torch.exp(-log_variance) + log_variance).mean((1, 2)).sum()
        for decay, layer in zip(DECAYS, [*self.trunk, self.head], strict=True):
            loss = loss + 0.5 * decay * layer.weight.square().sum()
        loss = loss + 0.01 * self.high.sum() - 0.01 * self.low.sum()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return loss.item()

    @torch.no_grad()
    def rollout_step(self, sac: TextbookSAC, s: Array, coefficient: float) -> tuple[Array, Array, Array]:
        """Action, penalised reward and next observation of each row, from a random one of the first five members."""
        states = torch.from_numpy(s)
        action, _ = sac.sample(states)
        x = torch.cat([states, action], -1)
        mean_t, log_variance = self(x.expand(self.members, *x.shape))
        mean, std = mean_t.numpy(), np.exp(0.5 * log_variance.numpy())
        mean[..., 1:] += s
        samples = mean + std * np.random.randn(*mean.shape).astype(np.float32)
        chosen = samples[np.random.randint(5, size=len(s)), np.arange(len(s))]
        u = np.linalg.norm(std, axis=-1).max(0)
        return action.numpy(), chosen[:, :1] - coefficient * u[:, None], chosen[:, 1:]
