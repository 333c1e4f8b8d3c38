"""The task table: environment, termination, dataset, λ and h, references, published scores (standard library only)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class UnknownName(ValueError):
    """A name that no table has; the message gives the nearest one."""


def nearest(kind: str, name: str, known: list[str]) -> UnknownName:
    """The error for an unknown `name`: one line with the nearest spelling, or all that there are."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known))}"
    return UnknownName(f"unknown {kind} {name!r}; {hint}")


@dataclass(frozen=True)
class Published:
    """A score from the literature, with everything needed to judge whether it compares."""

    algorithm: str
    value: float
    spread: float | None
    unit: str  # "return" or "normalized"
    source: str
    data: str


@dataclass(frozen=True)
class Behaviour:
    """An online SAC run whose snapshots make data.

    Attributes:
        environment, environment_options: what it is trained in, on its own reward.
        steps: environment steps.
    """

    name: str
    environment: str
    environment_options: Mapping[str, Any]
    action_dim: int
    steps: int


@dataclass(frozen=True)
class Task:
    """One offline RL problem.

    Attributes:
        environment: Gymnasium id in which policies are evaluated and our own data is collected.
        termination: name of the rule in `engine.dynamics.termination`.
        behaviour: whose ladder of snapshots makes the dataset.
        replay_until: the ladder is used up to its first snapshot whose ("mean" or "best") return over its recorded episodes, on
            the task's own reward, is at least this.
        paper_rollout: (λ, h) of the official code on v0 data; None where none was published.
        tuned_rollout: (λ, h) of OfflineRL-Kit on v2 data where it has one, else ours: what the presets take.
        score_scale: (minimum, maximum) returns standing for 0 and 100, or None where the task has no maximum yet.
        scale_origin: where these two come from.
        survive_reward: True where a step's reward contains a survive reward, and progress is reported beside the return.
    """

    name: str
    title: str
    environment: str
    observation_dim: int
    action_dim: int
    termination: str
    behaviour: str
    default_size: int
    replay_until: tuple[str, float]
    paper_rollout: tuple[float, int] | None
    tuned_rollout: tuple[float, int]
    score_scale: tuple[float, float] | None
    scale_origin: str
    survive_reward: bool = False
    aliases: tuple[str, ...] = ()
    published: tuple[Published, ...] = field(default_factory=tuple)

    def normalized_score(self, value: float) -> float | None:
        """100·(R − min)/(max − min), or None where the task has no scale."""
        if self.score_scale is None:
            return None
        low, high = self.score_scale
        return 100.0 * (value - low) / (high - low)

    def published_for(self, algorithm: str) -> Published | None:
        return next((p for p in self.published if p.algorithm == algorithm), None)


BEHAVIOURS: dict[str, Behaviour] = {
    b.name: b
    for b in (
        Behaviour("ant", "Ant-v5", {"include_cfrc_ext_in_observation": False}, 8, 1_000_000),
        Behaviour("halfcheetah", "HalfCheetah-v5", {}, 6, 600_000),
        Behaviour("halfcheetah-capped", "mopo/HalfCheetahJump-v0", {"height_weight": 0.0}, 6, 400_000),
        Behaviour("hopper", "Hopper-v5", {}, 3, 400_000),
        Behaviour("walker2d", "Walker2d-v5", {}, 6, 800_000),
        # The online references, trained on the task's own reward.
        Behaviour("ant-angle", "mopo/AntAngle-v0", {}, 8, 1_000_000),
        Behaviour("halfcheetah-jump", "mopo/HalfCheetahJump-v0", {}, 6, 600_000),
    )
}

_MOPO = "Yu et al. 2020 (arXiv 2005.13239), Table 2"
_MOPO_V1 = "Yu et al. 2020, first arXiv version, as quoted by Villaflor et al. 2020, Table 1"
_MB2PO = "Villaflor et al. 2020 (NeurIPS offline RL workshop), Table 1"
_KIT = "OfflineRL-Kit (yihaosun1124), its own table"

TASKS: dict[str, Task] = {
    t.name: t
    for t in (
        Task(
            name="ant-angle",
            title="Ant, rewarded for running at 30° from data of running straight ahead",
            environment="mopo/AntAngle-v0",
            observation_dim=27,
            action_dim=8,
            termination="ant",
            behaviour="ant",
            default_size=1_000_000,
            replay_until=("best", 2312.0),
            paper_rollout=None,
            tuned_rollout=(1.0, 5),
            score_scale=None,
            scale_origin="no reference policy for 100 yet: raw return",
            survive_reward=True,
            published=(Published("mopo", 2530.9, 137.0, "return", _MOPO, "the paper's own batch, MuJoCo 2.0"),),
        ),
        Task(
            name="halfcheetah-medium-replay",
            title="HalfCheetah, the data of online training up to a medium policy",
            environment="HalfCheetah-v5",
            observation_dim=17,
            action_dim=6,
            termination="never",
            behaviour="halfcheetah",
            default_size=202_000,
            replay_until=("mean", 4770.0),
            paper_rollout=(1.0, 5),
            tuned_rollout=(0.5, 5),
            score_scale=(-280.178953, 12135.0),
            scale_origin="D4RL's constants (gym v2, MuJoCo 2.0)",
            aliases=("halfcheetah-mixed",),
            published=(
                Published("mopo", 72.1, 3.8, "normalized", _KIT, "D4RL v2"),
                Published("mopo", 54.0, None, "normalized", _MOPO_V1, "D4RL v0"),
                Published("mb2po", 52.9, None, "normalized", _MB2PO, "D4RL v0"),
                Published("awac", 41.5, None, "normalized", _MB2PO, "D4RL v0"),
            ),
        ),
    )
}


def task(name: str) -> Task:
    """The task of that name or alias.

    Raises:
        UnknownName: with the nearest spelling.
    """
    for entry in TASKS.values():
        if name == entry.name or name in entry.aliases:
            return entry
    raise nearest("task", name, [n for t in TASKS.values() for n in (t.name, *t.aliases)])


def behaviour(name: str) -> Behaviour:
    """The behaviour of that name, or UnknownName."""
    if name not in BEHAVIOURS:
        raise nearest("behaviour", name, list(BEHAVIOURS))
    return BEHAVIOURS[name]


def size_label(size: int) -> str:
    """100000 -> "100k", 2000000 -> "2M", 1234 -> "1234"."""
    if size % 1_000_000 == 0:
        return f"{size // 1_000_000}M"
    return f"{size // 1000}k" if size % 1000 == 0 else str(size)


def dataset_id(task_name: str, size: int, seed: int = 0) -> str:
    """The Minari id of the collected dataset, such as mopo/ant-angle/100k-v0; another collection seed is part of the name."""
    suffix = f"-seed{seed}" if seed else ""
    return f"mopo/{task_name}/{size_label(size)}{suffix}-v0"
