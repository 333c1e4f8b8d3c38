"""Which known environment a dataset's rows look like, told from dimensions, heights, terminals and rewards (numpy alone)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import TransitionDataset
from engine.data.report import taken_evenly

UNKNOWN = "unknown"
ANT_ANGLE, HALFCHEETAH_JUMP = "mopo/AntAngle-v0", "mopo/HalfCheetahJump-v0"
SAMPLE_ROWS = 50_000
HEIGHT_SHARE = 0.99  # of the rows: a few damaged ones do not hide which robot it is
_ROUNDED = 1e-5  # a number in float32 beside a bound


@dataclass(frozen=True)
class Likeness:
    """Which known environment the rows look like.

    Attributes:
        name: "HalfCheetah", "Walker2d", "Hopper", "Ant" or "unknown".
        environment, options: Gymnasium id and keywords of the environment of this robot whose reward is nearest; None and
            empty where none fits.
        confidence: a few words.
        reasons: what it is told from, one line each.
        reward_gap: the median absolute difference between the rewards and that environment's, on rows that are not terminal; None
            where the robot is unknown.
    """

    name: str
    environment: str | None
    options: Mapping[str, Any]
    confidence: str
    reasons: tuple[str, ...]
    reward_gap: float | None


@dataclass(frozen=True)
class Robot:
    """What tells a robot's rows. Positions come first in an observation, then velocities.

    Attributes:
        observation_dims: of its versions.
        heights: bounds of s[0], the torso's height; every s comes before an episode's end.
        healthy: the rule in words; empty where every state is.
        start: positions at the start of an episode, up to noise; their number is the first velocity's column.
        start_noise: how far positions and velocities can be from them (of a normal velocity, five standard deviations).
        control_cost, survive: a step's reward is v − control_cost·‖a‖² + survive, v the torso's velocity along x, averaged over the
            step.
        band: the largest median difference that counts as this reward. Medians over random and trained policies: Hopper 0.001,
            Walker2d 0.003, Ant 0.03, HalfCheetah 0.17. Another reward of the same robot is off by 0.17 (Ant) or 2 (HalfCheetah).
        rewards: (Gymnasium id, keywords) of the environments with this robot, the plainest first.
    """

    observation_dims: tuple[int, ...]
    action_dim: int
    heights: tuple[float, float]
    healthy: str
    start: tuple[float, ...]
    start_noise: tuple[float, float]
    control_cost: float
    survive: float
    band: float
    rewards: tuple[tuple[str, Mapping[str, Any]], ...]

    def fits(self, dataset: TransitionDataset) -> bool:
        """Whether the dimensions do."""
        return dataset.observation_dim in self.observation_dims and dataset.action_dim == self.action_dim


# In the order in which the rows are compared: a HalfCheetah's heights hold those of most Walker2d data.
ROBOTS = {
    "Hopper": Robot(
        observation_dims=(11,),
        action_dim=3,
        heights=(0.7, math.inf),
        healthy="height above 0.7, angle within ±0.2",
        start=(1.25, 0, 0, 0, 0),
        start_noise=(0.005, 0.005),
        control_cost=1e-3,
        survive=1.0,
        band=0.02,
        rewards=(("Hopper-v5", {}),),
    ),
    "Walker2d": Robot(
        observation_dims=(17,),
        action_dim=6,
        heights=(0.8, 2.0),
        healthy="height between 0.8 and 2, angle within ±1",
        start=(1.25, 0, 0, 0, 0, 0, 0, 0),
        start_noise=(0.005, 0.005),
        control_cost=1e-3,
        survive=1.0,
        band=0.05,
        rewards=(("Walker2d-v5", {}),),
    ),
    "HalfCheetah": Robot(
        observation_dims=(17,),
        action_dim=6,
        heights=(-0.8, 1.5),
        healthy="",
        start=(0, 0, 0, 0, 0, 0, 0, 0),
        start_noise=(0.1, 0.5),
        control_cost=0.1,
        survive=0.0,
        band=0.35,
        rewards=(("HalfCheetah-v5", {}), (HALFCHEETAH_JUMP, {}), (HALFCHEETAH_JUMP, {"height_weight": 0.0})),
    ),
    "Ant": Robot(
        observation_dims=(27, 105, 111),
        action_dim=8,
        heights=(0.2, 1.0),
        healthy="height from 0.2 to 1, all values finite",
        start=(0.75, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        start_noise=(0.1, 0.5),
        control_cost=0.5,
        survive=1.0,
        band=0.1,
        rewards=(("Ant-v5", {}), (ANT_ANGLE, {"angle": 30.0})),
    ),
}
ANT_STATE = 27  # of an Ant's observation; contact forces follow


def robot_of(environment: str | None) -> str | None:
    """The robot of a Gymnasium id such as Hopper-v4 or mopo/AntAngle-v0; None where it is not known here."""
    found = re.fullmatch(r"(HalfCheetah|Hopper|Walker2d|Ant)-v\d+", environment or "")
    return found[1] if found else {ANT_ANGLE: "Ant", HALFCHEETAH_JUMP: "HalfCheetah"}.get(environment or "")


def healthy(name: str, observations: NDArray[np.float32], slack: float = 0.0) -> NDArray[np.bool_]:
    """Whether a robot's episode goes on in these states, (rows, obs) -> (rows,): the negation of engine.dynamics.termination.

    Args:
        slack: by how much the bounds on height and angle are wider; negative: narrower.
    """
    z, angle = observations[:, 0], np.abs(observations[:, 1])
    match name:
        case "Hopper":
            state = (np.abs(observations[:, 1:]) < 100).all(axis=1) & np.isfinite(z)
            return state & (z > 0.7 - slack) & (angle < 0.2 + slack)
        case "Walker2d":
            return (z > 0.8 - slack) & (z < 2.0 + slack) & (angle < 1.0 + slack)
        case "Ant":
            return np.isfinite(observations).all(axis=1) & (z >= 0.2 - slack) & (z <= 1.0 + slack)
    return np.ones(len(observations), dtype=np.bool_)


def reward_differences(
    name: str,
    environment: str,
    options: Mapping[str, Any],
    rows: NDArray[np.float32],
    observation_dim: int,
) -> NDArray[np.float64]:
    """r less what the environment pays for a healthy step from s to s' by a, (rows, width) -> (rows,).

    The environments take the velocity from positions that are not in the observation. The mean of the velocities in s and s' is
    near it, far nearer than the one in s' alone. Contact costs of the ant (below 0.04) are left out.
    """
    robot, act = ROBOTS[name], ROBOTS[name].action_dim
    s, s_next = rows[:, :observation_dim], rows[:, observation_dim + act + 1 : -1]
    column = len(robot.start)
    v = (s[:, column : column + 2].astype(np.float64) + s_next[:, column : column + 2]) / 2
    a = rows[:, observation_dim : observation_dim + act].astype(np.float64)
    forward = v[:, 0]
    if environment == HALFCHEETAH_JUMP:
        forward = np.minimum(forward, 3.0) + float(options.get("height_weight", 15.0)) * s_next[:, 0]
    elif environment == ANT_ANGLE:
        angle = math.radians(float(options.get("angle", 30.0)))
        forward = v @ (math.cos(angle), math.sin(angle))
    expected = forward - robot.control_cost * (a**2).sum(axis=1) + robot.survive
    differences: NDArray[np.float64] = rows[:, observation_dim + act] - expected
    return differences


# --- what the rows look like ------------------------------------------------------------------------------------------------------


def looks_like(dataset: TransitionDataset) -> Likeness:
    """Which known environment the rows look like, told from dimensions, heights, terminals and rewards of 50,000 rows.

    Tells neither HalfCheetah-v4 from v5 nor the versions of data without terminals: it names v5 then.
    """
    dims = f"{dataset.observation_dim} observations and {dataset.action_dim} actions"
    candidates = [name for name, robot in ROBOTS.items() if robot.fits(dataset)]
    if not candidates:
        return _unknown(f"no environment known here has {dims}")
    rows = taken_evenly(dataset, SAMPLE_ROWS)
    if not len(rows):
        return _unknown("no rows are free of NaN and infinite values")
    z = rows[:, 0]
    span = f"heights s[0] from {z.min():.2f} to {z.max():.2f}"
    for name in candidates:
        low, high = ROBOTS[name].heights
        if ((z >= low) & (z <= high)).mean() >= HEIGHT_SHARE:
            return _alike(
                name, dataset, rows, (f"{dims} are those of {' and '.join(candidates)}", f"{span} are {name}'s")
            )
    return _unknown(f"{dims} are those of {' and '.join(candidates)}, {span} are not")


def _unknown(reason: str) -> Likeness:
    return Likeness(UNKNOWN, None, {}, "unknown", (reason,), None)


def _alike(name: str, dataset: TransitionDataset, rows: NDArray[np.float32], reasons: tuple[str, ...]) -> Likeness:
    """The likeness of rows that have a robot's dimensions and heights."""
    robot, confidence = ROBOTS[name], "very likely"
    terminals = int((rows[:, -1] > 0).sum())
    if terminals and not robot.healthy:
        confidence = "likely"
        reasons += (f"but {terminals:,} of {len(rows):,} rows are terminal, which no state of {name} is",)
    if terminals == len(rows):
        return Likeness(name, None, {}, f"{name} by its heights", (*reasons, "every row is terminal"), None)
    environment, options, gap = _nearest_reward(name, dataset, rows)
    if gap > robot.band:
        reasons += (
            f"but the rewards are not {environment}'s, nor another's known here: off by {gap:.3g} in the median",
        )
        return Likeness(name, None, {}, f"{name} by its heights, its reward another", reasons, gap)
    reasons += (f"rewards are {called(environment, options)}'s to within {gap:.2g} in the median",)
    if environment == robot.rewards[0][0]:
        environment, options, reason = _version(name, dataset)
        reasons += (reason,) if reason else ()
    return Likeness(name, environment, options, confidence, reasons, gap)


def called(environment: str, options: Mapping[str, Any]) -> str:
    """An environment as a message names it."""
    return environment + "".join(f" {k}={v}" for k, v in options.items())


def reward_gap(
    name: str, environment: str, options: Mapping[str, Any], rows: NDArray[np.float32], observation_dim: int
) -> float:
    """The median absolute reward difference over the rows that are not terminal; NaN where there are none."""
    going_on = rows[rows[:, -1] == 0]
    if not len(going_on):
        return math.nan
    return float(np.median(np.abs(reward_differences(name, environment, options, going_on, observation_dim))))


def _nearest_reward(
    name: str, dataset: TransitionDataset, rows: NDArray[np.float32]
) -> tuple[str, Mapping[str, Any], float]:
    """The robot's environment whose reward is nearest, among those known and the manifest's own.

    A plainer one is taken unless another is clearly nearer: below 3 m/s a capped reward is the plain one.
    """
    known = list(ROBOTS[name].rewards)
    declared = dataset.manifest.get("environment")
    if robot_of(declared) == name:
        known.append((str(declared), dataset.manifest.get("environment_options") or {}))
    nearest: tuple[str, Mapping[str, Any], float] = ("", {}, math.inf)
    for environment, options in known:
        gap = reward_gap(name, environment, options, rows, dataset.observation_dim)
        if gap < 0.9 * nearest[2]:
            nearest = environment, options, gap
    return nearest


def _version(name: str, dataset: TransitionDataset) -> tuple[str, Mapping[str, Any], str]:
    """Gymnasium id and keywords for the robot's own reward, and why; v5 alone pays nothing for surviving the last step."""
    ant = name == "Ant"
    if ant and dataset.observation_dim > 105:
        return "Ant-v4", {"use_contact_forces": True}, "the contact forces are those of v4 and older"
    version, reason = "v5", ""
    survive = ROBOTS[name].survive
    ended = np.flatnonzero(dataset.terminals > 0)[:10_000]
    if survive and len(ended):
        rows = np.asarray(dataset.rows[ended])
        known = np.isfinite(rows).all(axis=1)
        if dataset.terminal_next_observations:  # a terminal that is none tells nothing
            known &= ~healthy(name, dataset.next_observations[ended])
        if known.any():
            paid = survive + float(np.median(reward_differences(name, "", {}, rows[known], dataset.observation_dim)))
            version = "v5" if paid < survive / 2 else "v4"
            reason = (
                "the step that ends an episode is paid nothing for surviving, as in v5"
                if version == "v5"
                else "the step that ends an episode is paid for surviving, as in v4 and older"
            )
    bare = ant and dataset.observation_dim == ANT_STATE and version == "v5"
    return f"{name}-{version}", {"include_cfrc_ext_in_observation": False} if bare else {}, reason
