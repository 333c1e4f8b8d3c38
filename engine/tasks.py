"""The task table: environment, termination, dataset, λ and h, references, published scores (standard library only)."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# The file of a person's own tasks; the front ends set it for the processes they start.
OWN_TASKS_VARIABLE = "MOPO_TASKS"
OURS = "ours"  # the source that stands for a dataset collected here
SOURCES = ("d4rl", "minari", "training")  # what a source begins with, before a colon, where it is no path
TERMINATIONS = ("never", "ant", "hopper", "walker2d")  # the rules of engine.dynamics.termination

Collection = Literal["random", "medium", "replay", "medium-expert", "expert"]


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
        environment, environment_options: Gymnasium id and keywords of the environment in which policies are evaluated and our own
            data is collected; data from elsewhere bring their own.
        family: the robot, as Gymnasium's ids begin: data of another one is refused. Empty: not checked.
        termination: name of the rule in `engine.dynamics.termination`.
        dataset: where the data comes from unless a run says otherwise: "ours", "d4rl:NAME", "minari:ID" or an absolute path.
        collection: how our own dataset is made: from uniform actions, from one snapshot of the behaviour's ladder, from all of them
            up to medium, or from two.
        behaviour: whose ladder of snapshots makes our own dataset.
        target: the snapshot called medium has a ("mean" or "best") return over its recorded episodes, on the task's own reward,
            of about ("mean") or at least ("best") this; the replay ends there.
        reference: the behaviour whose policy, trained online on the task's own reward, stands for 100; None on D4RL's scale.
        paper_rollout: (λ, h) of the preset `paper`: of the official code on v0 data; None where none was published.
        tuned_rollout, tuned_origin: (λ, h) of the other presets, and whose they are.
        score_scale: (minimum, maximum) returns standing for 0 and 100, or None where the task has none.
        scale_origin: where these two come from.
        survive_reward: True where a step's reward contains a survive reward, and progress is reported beside the return.
        own: True for a task of a person's own file.
        names_environment: True where that file says which environment policies are evaluated in, whatever the data's is.
    """

    name: str
    title: str
    environment: str
    observation_dim: int
    action_dim: int
    termination: str
    default_size: int
    tuned_rollout: tuple[float, int]
    tuned_origin: str
    score_scale: tuple[float, float] | None
    scale_origin: str
    paper_rollout: tuple[float, int] | None = None
    family: str = ""
    dataset: str = OURS
    collection: Collection = "replay"
    behaviour: str = ""
    target: tuple[str, float] = ("mean", 0.0)
    reference: str | None = None
    survive_reward: bool = False
    environment_options: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    own: bool = False
    names_environment: bool = False

    def normalized_score(self, value: float) -> float | None:
        """100·(R − min)/(max − min), or None where the task has no scale."""
        if self.score_scale is None:
            return None
        low, high = self.score_scale
        return 100.0 * (value - low) / (high - low)

    @property
    def scale(self) -> dict[str, Any] | None:
        """The score's scale as it is recorded: "min", "max" and "origin"."""
        if self.score_scale is None:
            return None
        return {"min": self.score_scale[0], "max": self.score_scale[1], "origin": self.scale_origin}

    @property
    def own_reward(self) -> bool:
        """True where the reward is not the robot's usual one, which data from elsewhere hold."""
        return self.environment.startswith("mopo/")

    def published_for(self, algorithm: str) -> Published | None:
        return next((p for p in self.published if p.algorithm == algorithm), None)

    def with_options(self, **options: Any) -> Task:
        """The task in another variant of its environment, such as angle=45: its references hold for the standard one alone."""
        changed = {k: v for k, v in options.items() if self.environment_options.get(k) != v}
        if not changed:
            return self
        return dataclasses.replace(
            self,
            environment_options={**self.environment_options, **changed},
            reference=None,
            score_scale=None,
            scale_origin=f"no references for {_options_label(changed)}: raw return",
            published=(),
        )


def _options_label(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} = {v:g}" if isinstance(v, float) else f"{k} = {v}" for k, v in options.items())


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

# --- where published figures come from --------------------------------------------------------------------------------------------

_TABLE_1 = "Yu et al. 2020 (arXiv 2005.13239), Table 1"
_TABLE_2 = "Yu et al. 2020 (arXiv 2005.13239), Table 2"
_MOPO_V1 = "Yu et al. 2020, first arXiv version, as quoted by Villaflor et al. 2020, Table 1"
_MB2PO = "Villaflor et al. 2020 (NeurIPS offline RL workshop), Table 1"
_KIT = "OfflineRL-Kit (yihaosun1124), its own table"
_KIT_ROLLOUT = "OfflineRL-Kit's, tuned on D4RL v2"
_OFFICIAL_ROLLOUT = "the official code's, for D4RL v0; OfflineRL-Kit has none"
_EXPERT_ROLLOUT = "ours: those of medium-expert; none were published"
_OWN_BATCH = "the paper's own batch, MuJoCo 2.0"

# --- the locomotion tasks of D4RL -------------------------------------------------------------------------------------------------

# robot: family, observations, actions, termination, D4RL's reference returns (min, max), mean return of D4RL v2's medium data
# [from the literature, unverified], rows of D4RL v2's medium-replay
_ROBOTS: dict[str, tuple[str, int, int, str, tuple[float, float], float, int]] = {
    "halfcheetah": ("HalfCheetah", 17, 6, "never", (-280.178953, 12135.0), 4770.0, 202_000),
    "hopper": ("Hopper", 11, 3, "hopper", (-20.272305, 3234.3), 1422.0, 402_000),
    "walker2d": ("Walker2d", 17, 6, "walker2d", (1.629008, 4592.3), 2852.0, 302_000),
}
_D4RL_SCALE = "D4RL's constants (gym v2, MuJoCo 2.0)"

# quality: collection, rows of D4RL v2 (0: as the robot's row says), what it is
_QUALITIES: dict[str, tuple[Collection, int, str]] = {
    "random": ("random", 1_000_000, "uniformly random actions"),
    "medium": ("medium", 1_000_000, "a policy about a third of the way to the expert"),
    "medium-replay": ("replay", 0, "online training up to a medium policy"),
    "medium-expert": ("medium-expert", 2_000_000, "a medium policy and then an expert one"),
    "expert": ("expert", 1_000_000, "an expert policy"),
}

# (λ, h): of the official code on v0 data, and of OfflineRL-Kit on v2 data
_OFFICIAL: dict[str, tuple[float, int]] = {
    "halfcheetah-random": (0.5, 5),
    "hopper-random": (1.0, 5),
    "walker2d-random": (1.0, 1),
    "halfcheetah-medium": (1.0, 1),
    "hopper-medium": (5.0, 5),
    "walker2d-medium": (5.0, 5),
    "halfcheetah-medium-replay": (1.0, 5),
    "hopper-medium-replay": (1.0, 5),
    "walker2d-medium-replay": (1.0, 1),
    "halfcheetah-medium-expert": (5.0, 5),
    "hopper-medium-expert": (1.0, 5),
    "walker2d-medium-expert": (2.0, 1),
}
_TUNED: dict[str, tuple[float, int]] = {
    "halfcheetah-medium": (0.5, 5),
    "hopper-medium": (5.0, 5),
    "walker2d-medium": (0.5, 5),
    "halfcheetah-medium-replay": (0.5, 5),
    "hopper-medium-replay": (2.5, 5),
    "walker2d-medium-replay": (2.5, 1),
    "halfcheetah-medium-expert": (2.5, 5),
    "hopper-medium-expert": (5.0, 5),
    "walker2d-medium-expert": (2.5, 1),
}

# Normalized scores on D4RL v0: MB2PO with its gate, AWAC (its first stage), and MOPO's first arXiv version as quoted there.
_V0_SCORES: dict[str, tuple[float, float, float | None]] = {
    "halfcheetah-random": (31.2, 16.2, 31.9),
    "hopper-random": (10.8, 10.8, 13.3),
    "walker2d-random": (5.0, 5.0, 13.0),
    "halfcheetah-medium": (45.5, 41.2, 40.2),
    "hopper-medium": (31.1, 31.1, 26.5),
    "walker2d-medium": (59.4, 59.4, 14.0),
    "halfcheetah-expert": (106.5, 106.5, None),
    "hopper-expert": (112.3, 112.3, None),
    "walker2d-expert": (104.5, 104.5, None),
    "halfcheetah-medium-expert": (104.5, 104.5, 57.9),
    "hopper-medium-expert": (52.4, 52.4, 51.7),
    "walker2d-medium-expert": (93.2, 93.2, 55.0),
    "halfcheetah-medium-replay": (52.9, 41.5, 54.0),
    "hopper-medium-replay": (82.0, 29.0, 92.5),
    "walker2d-medium-replay": (66.6, 16.6, 42.7),
}
# OfflineRL-Kit's MOPO on D4RL v2, four seeds: mean and spread.
_V2_SCORES: dict[str, tuple[float, float]] = {
    "halfcheetah-medium": (72.4, 4.2),
    "halfcheetah-medium-replay": (72.1, 3.8),
    "halfcheetah-medium-expert": (83.6, 12.5),
    "hopper-medium": (62.8, 38.1),
    "hopper-medium-replay": (92.7, 20.7),
    "hopper-medium-expert": (74.6, 44.2),
    "walker2d-medium": (84.1, 3.2),
    "walker2d-medium-replay": (85.9, 5.3),
    "walker2d-medium-expert": (108.2, 4.3),
}
# The one row of Table 1's final version that was checked.
_TABLE_1_SCORES: dict[str, tuple[tuple[str, float, float | None], ...]] = {
    "halfcheetah-random": (("mopo", 35.4, 2.5), ("mbpo", 30.7, 3.9), ("sac", 30.5, None), ("bc", 2.1, None)),
}


def _published(name: str) -> tuple[Published, ...]:
    """What the literature says of a locomotion task, the newer data first."""
    found = []
    if name in _V2_SCORES:
        found.append(Published("mopo", *_V2_SCORES[name], "normalized", _KIT, "D4RL v2"))
    for algorithm, value, spread in _TABLE_1_SCORES.get(name, ()):
        found.append(Published(algorithm, value, spread, "normalized", _TABLE_1, "D4RL v0"))
    mb2po, awac, mopo = _V0_SCORES[name]
    if mopo is not None:
        found.append(Published("mopo", mopo, None, "normalized", _MOPO_V1, "D4RL v0"))
    found.append(Published("mb2po", mb2po, None, "normalized", _MB2PO, "D4RL v0"))
    found.append(Published("awac", awac, None, "normalized", _MB2PO, "D4RL v0"))
    return tuple(found)


def _locomotion(robot: str, quality: str) -> Task:
    family, observation_dim, action_dim, termination, scale, medium_return, replay_size = _ROBOTS[robot]
    collection, size, about = _QUALITIES[quality]
    name = f"{robot}-{quality}"
    if quality == "expert":
        near = f"{robot}-medium-expert"
        official, tuned, origin = _OFFICIAL[near], _TUNED[near], _EXPERT_ROLLOUT
    else:
        official = _OFFICIAL[name]
        tuned, origin = (_TUNED[name], _KIT_ROLLOUT) if name in _TUNED else (official, _OFFICIAL_ROLLOUT)
    return Task(
        name=name,
        title=f"{family}, data of {about}",
        environment=f"{family}-v5",
        family=family,
        observation_dim=observation_dim,
        action_dim=action_dim,
        termination=termination,
        collection=collection,
        behaviour=robot,
        default_size=size or replay_size,
        target=("mean", medium_return),
        paper_rollout=official,
        tuned_rollout=tuned,
        tuned_origin=origin,
        score_scale=scale,
        scale_origin=_D4RL_SCALE,
        aliases=(f"{robot}-mixed",) if quality == "medium-replay" else (),
        published=_published(name),
    )


# --- the two out-of-distribution tasks --------------------------------------------------------------------------------------------

_SPECIAL = (
    Task(
        name="ant-angle",
        title="Ant, rewarded for running at 30° from data of running straight ahead",
        environment="mopo/AntAngle-v0",
        environment_options={"angle": 30.0},
        family="Ant",
        observation_dim=27,
        action_dim=8,
        termination="ant",
        behaviour="ant",
        default_size=1_000_000,
        target=("best", 2312.0),
        reference="ant-angle",
        tuned_rollout=(1.0, 5),
        tuned_origin="ours; none were published",
        score_scale=(-39.4, 3456.4),
        scale_origin="measured here, 100 episodes each: 0 the random policy (standard error 7.1), 100 the online reference (39.1)",
        survive_reward=True,
        published=(Published("mopo", 2530.9, 137.0, "return", _TABLE_2, _OWN_BATCH),),
    ),
    Task(
        name="halfcheetah-jump",
        title="HalfCheetah, rewarded for jumping from data of running at up to 3 m/s",
        environment="mopo/HalfCheetahJump-v0",
        family="HalfCheetah",
        observation_dim=17,
        action_dim=6,
        termination="never",
        behaviour="halfcheetah-capped",
        default_size=1_000_000,
        target=("best", 1809.0),
        reference="halfcheetah-jump",
        tuned_rollout=(1.0, 5),
        tuned_origin="ours; none were published with the code",
        score_scale=(-2889.1, 7069.8),
        scale_origin="measured here, 100 episodes each: 0 the random policy (standard error 217.0), 100 the online reference (1.8)",
        published=(
            Published("mopo", 4016.6, 144.0, "return", _TABLE_2, _OWN_BATCH),
            Published("mbpo", 2971.4, 1262.0, "return", _TABLE_2, _OWN_BATCH),
            Published("sac", -3588.2, 1436.0, "return", _TABLE_2, _OWN_BATCH),
        ),
    ),
)

TASKS: dict[str, Task] = {
    t.name: t for t in (*_SPECIAL, *(_locomotion(robot, quality) for robot in _ROBOTS for quality in _QUALITIES))
}


def all_tasks() -> dict[str, Task]:
    """The tasks that ship and those of the person's own file (OWN_TASKS_VARIABLE), by name.

    Raises:
        OwnTasksError: the file cannot be used.
    """
    from engine.own_tasks import read_tasks

    path = os.environ.get(OWN_TASKS_VARIABLE)
    return {**TASKS, **(read_tasks(Path(path)) if path else {})}


def task(name: str) -> Task:
    """The task of that name or alias.

    Raises:
        UnknownName: with the nearest spelling.
    """
    if name in TASKS:
        return TASKS[name]
    known = all_tasks()
    for entry in known.values():
        if name == entry.name or name in entry.aliases:
            return entry
    raise nearest("task", name, [n for t in known.values() for n in (t.name, *t.aliases)])


def task_of_source(source: str) -> Task:
    """The locomotion task that d4rl:NAME or minari:ID names by robot and quality.

    Raises:
        UnknownName: it names no robot or no quality of the table.
    """
    words = source.partition(":")[2].lower().replace("_", "-").replace("/", "-")
    robot = next((r for r in _ROBOTS if r in words or (r == "walker2d" and "walker" in words)), None)
    if robot is None or source.partition(":")[0] not in ("d4rl", "minari"):
        close = [r for word in words.split("-") for r in difflib.get_close_matches(word, _ROBOTS, n=1)]
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UnknownName(f"{source!r} names no task of the table{hint or ': say which with --task'}")
    words = words.replace("mixed", "medium-replay")
    quality = next((q for q in sorted(_QUALITIES, key=len, reverse=True) if q in words), None)
    if quality is None or "full-replay" in words:
        raise UnknownName(f"{source!r} names no task of the table: say which with --task, such as {robot}-medium")
    return TASKS[f"{robot}-{quality}"]


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


def variant_label(of: Task) -> str:
    """What of the environment is not as in the table, such as "-angle45"; empty for the standard variant."""
    standard = TASKS[of.name].environment_options if of.name in TASKS else of.environment_options
    return "".join(
        f"-{k}{v:g}" for k, v in of.environment_options.items() if standard.get(k) != v and isinstance(v, float)
    )


def dataset_id(of: Task, size: int, seed: int = 0) -> str:
    """The Minari id of our own dataset, such as mopo/ant-angle/100k-v0; another seed or variant is part of the name."""
    suffix = f"-seed{seed}" if seed else ""
    return f"mopo/{of.name}/{size_label(size)}{variant_label(of)}{suffix}-v0"
