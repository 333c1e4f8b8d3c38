"""A policy at work in pictures: drawn without a screen, and written as MP4 or GIF.

MuJoCo reads MUJOCO_GL when it is imported, so `engine.use` sets it first.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import gymnasium
import mujoco
import numpy as np
from numpy.typing import NDArray

from engine.evaluation import Actor
from engine.randomness import key, numpy_generator

Picture = NDArray[np.uint8]
FRAMES_PER_SECOND = 25
# MuJoCo's own 4096 takes a third of the time where a processor draws; at half of that a shadow's edge looks the same.
SHADOW_PIXELS = 2048
TRACKING = "track"  # what Gymnasium's robots call the camera that follows them


@dataclass(frozen=True)
class Moment:
    """Where an episode stands: `total` is its return so far; `episode` counts from 1, `step` from 0 at its start.

    Attributes:
        height: of the robot's first body, in metres; None where the environment has none.
        velocity: along x, in metres a second, where the environment tells it.
    """

    episode: int
    step: int
    total: float
    over: bool
    height: float | None = None
    velocity: float | None = None


def moments(
    env: gymnasium.Env[Any, Any],
    actor: Actor,
    stream: tuple[object, ...],
    stride: int,
    steps: int | None,
    first: int = 1,
) -> Iterator[Moment]:
    """The episodes that `evaluation.run_episodes` scores under the same `stream`, one after the other.

    Yields each start, each `stride` steps, and each end.

    Args:
        steps: of the environment, after which it ends; None: goes on for ever.
        first: the episode to begin with.
    """
    done = 0
    for episode in itertools.count(first - 1):
        rng = numpy_generator(*stream, episode, "actions")
        observation, _ = env.reset(seed=key(*stream, episode) % 2**31)
        step, total, over = 0, 0.0, False
        yield Moment(episode + 1, step, total, over, _height(env))
        while not over:
            observation, reward, terminated, truncated, told = env.step(actor(observation, rng))
            step, total, over, done = step + 1, total + float(reward), terminated or truncated, done + 1
            if over or step % stride == 0 or done == steps:
                velocity = told.get("x_velocity")
                velocity = float(velocity) if isinstance(velocity, float | np.floating) else None
                yield Moment(episode + 1, step, total, over, _height(env), velocity)
            if done == steps:
                return


def _height(env: gymnasium.Env[Any, Any]) -> float | None:
    model, data = (getattr(env.unwrapped, name, None) for name in ("model", "data"))
    if not isinstance(model, mujoco.MjModel) or data is None or model.nbody < 2:  # body 0 is the world
        return None
    return float(data.xpos[1, 2])


def drawable(env: gymnasium.Env[Any, Any]) -> bool:
    """True for an environment of Gymnasium's MuJoCo kind."""
    return isinstance(getattr(env.unwrapped, "model", None), mujoco.MjModel) and hasattr(env.unwrapped, "dt")


def pace(env: gymnasium.Env[Any, Any]) -> tuple[int, float]:
    """How many steps lie between two pictures, and how many pictures a second then show the robot at its own speed."""
    seconds = float(env.unwrapped.dt)  # type: ignore[attr-defined]
    stride = max(1, round(1 / (FRAMES_PER_SECOND * seconds)))
    return stride, 1 / (stride * seconds)


class Camera:
    """Draws a `drawable` environment as it is now, the robot in the middle.

    Args:
        effects: with shadows and reflections, which cost most and show little in a small picture.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], effects: bool = True) -> None:
        self._model: Any = env.unwrapped.model  # type: ignore[attr-defined]
        self._data: Any = env.unwrapped.data  # type: ignore[attr-defined]
        self._effects = effects
        self._renderer: Any = None
        self._model.vis.quality.shadowsize = min(self._model.vis.quality.shadowsize, SHADOW_PIXELS)
        self._view: Any = TRACKING
        if mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, TRACKING) < 0:
            self._view = mujoco.MjvCamera()
            mujoco.mjv_defaultFreeCamera(self._model, self._view)
            if self._model.nbody > 1:  # body 0 is the world
                self._view.type, self._view.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, 1

    def picture(self, width: int, height: int) -> Picture:
        """(height, width, 3), RGB."""
        if self._renderer is None or (self._renderer.width, self._renderer.height) != (width, height):
            self.close()
            buffer = self._model.vis.global_
            buffer.offwidth, buffer.offheight = max(buffer.offwidth, width), max(buffer.offheight, height)
            self._renderer = mujoco.Renderer(self._model, height, width)
            if not self._effects:
                for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                    self._renderer.scene.flags[flag] = False
        self._renderer.update_scene(self._data, camera=self._view)
        self._bring_along()
        drawn: Picture = self._renderer.render()
        return drawn

    def _bring_along(self) -> None:
        """Draw floor and light where the robot is: it collides with an endless plane, of which a model draws a part, and a fast one
        leaves that within seconds."""
        if self._model.nbody < 2:
            return
        robot = self._data.subtree_com[1][:2]
        scene = self._renderer.scene
        for geom in scene.geoms[: scene.ngeom]:
            if geom.type == mujoco.mjtGeom.mjGEOM_PLANE and geom.size[:2].all() and geom.mat[2, 2] > 1 - 1e-6:
                repeats = self._model.mat_texrepeat[geom.matid] if geom.matid >= 0 else np.ones(2)
                tile = (
                    2 * geom.size[:2] / np.maximum(repeats, 1)
                )  # moved by whole tiles, the floor seems to stand still
                geom.pos[:2] += np.round((robot - geom.pos[:2]) / tile) * tile
        for light in scene.lights[: scene.nlight]:
            if not light.headlight:
                light.pos[:2] += robot

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None


def write(path: Path, pictures: Iterable[Picture], width: int, height: int, rate: float) -> None:
    """Write a .mp4 or .gif file; whole or not at all, whatever stops it.

    Args:
        pictures: (height, width, 3), RGB; even sizes for an MP4.
        rate: pictures a second; a GIF's is rounded to whole hundredths of a second.

    Raises:
        OSError: the file cannot be written.
        ModuleNotFoundError: an MP4 without PyAV.
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        if path.suffix.lower() == ".mp4":
            _write_mp4(temporary, pictures, width, height, rate)
        else:
            _write_gif(temporary, pictures, rate)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_mp4(path: Path, pictures: Iterable[Picture], width: int, height: int, rate: float) -> None:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"  # what every player shows
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _write_gif(path: Path, pictures: Iterable[Picture], rate: float) -> None:
    from PIL import Image

    plain = Image.Dither.NONE  # dithering would change every pixel of every picture, and nothing could be left out
    drawn = (Image.fromarray(picture) for picture in pictures)
    first = next(drawn).quantize(256, dither=plain)
    rest = (picture.quantize(palette=first, dither=plain) for picture in drawn)
    first.save(path, save_all=True, append_images=rest, duration=10 * round(100 / rate), loop=0)
