"""What a trained policy is good for, in an engine process: `python -P -m engine.use evaluate|film|frames RUN_FOLDER …`.

It answers on stdout in JSON, one object a line, and writes nothing else there:

    {"done": 12, "of": 100}        progress
    {"error": "…", "code": 3}      one clear line, and the process's exit code
    {"result": {…}}                the last line

`frames` answers each line "WIDTH HEIGHT [STEPS [EPISODE]]" of stdin with one object and then WIDTH·HEIGHT·3 bytes of RGB, and at
the end with {}. STEPS of the environment lie between two pictures, fewer where an episode ends; else as many as show the robot at
its own speed in 25 pictures a second. 0 draws the same moment again. EPISODE begins that one anew. Of no size nothing is drawn.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.policy import Policy
from engine.record import dumps
from engine.trained import WHICH, World, load, named_world, recorded_world, sizes, task_of

if TYPE_CHECKING:
    import gymnasium

    from engine.film import Camera, Moment, Picture

BAD_REQUEST, UNAVAILABLE = 2, 3
PROGRESS_SECONDS = 0.1
LONGEST_FILM = 1000  # steps, of an environment without a time limit
# MuJoCo's ways to draw without a screen, the best first; elsewhere than on Linux it has only its own.
OPENGL = ("egl", "osmesa") if sys.platform == "linux" else ("",)
_DRAWS = "import mujoco; mujoco.GLContext(16, 16).make_current()"


class Refused(Exception):
    """What a person can put right: one clear line, and the exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Answers:
    """The one writer of stdout: whatever else prints here, such as an environment of the person's own, goes to stderr."""

    def __init__(self) -> None:
        self._to = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self._told = 0.0

    def say(self, data: bytes = b"", **values: Any) -> None:
        """One object, and `data` after its line."""
        self._to.write(dumps(values).encode() + b"\n" + data)
        self._to.flush()

    def progress(self, done: int, of: int) -> None:
        """Ten times a second at most."""
        if time.monotonic() - self._told >= PROGRESS_SECONDS:
            self._told = time.monotonic()
            self.say(done=done, of=of)


def main(argv: list[str]) -> int:
    arguments = _parser().parse_args(argv)
    answers = Answers()
    try:
        COMMANDS[arguments.command](arguments, answers)
    except Refused as refused:
        answers.say(error=str(refused), code=refused.code)
        return refused.code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m engine.use", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("folder", type=Path, help="the run folder")
    parser.add_argument("--which", choices=WHICH, default="final")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--episodes", type=int, default=100, help="evaluate: how many")
    parser.add_argument("--env", help="evaluate: another environment than the run's own")
    parser.add_argument("--steps", type=int, help="film, frames: of the environment; else one episode, and without end")
    parser.add_argument("--undrawn", action="store_true", help="frames: without pictures where none can be drawn")
    parser.add_argument("--out", type=Path, help="film: the file")
    parser.add_argument("--width", type=int, default=480, help="film: pixels")
    parser.add_argument("--height", type=int, default=480)
    return parser


# --- what it can do ---------------------------------------------------------------------------------------------------------------


def evaluate(arguments: argparse.Namespace, answers: Answers) -> None:
    """Complete episodes of the deterministic policy, and their returns."""
    policy, world = _policy_and_world(arguments)
    env = _open(world, policy, BAD_REQUEST if arguments.env else UNAVAILABLE)
    from engine.evaluation import deterministic, run_episodes, spread

    episodes = run_episodes(
        env,
        deterministic(policy),
        arguments.episodes,
        _stream(arguments.seed),
        lambda done: answers.progress(done, arguments.episodes),
    )
    env.close()
    found = spread(episodes.returns)
    std = found["return_std"] if arguments.episodes > 1 else None
    task = task_of(arguments.folder)
    result = {
        "which": arguments.which,
        **_about(world),
        "seed": arguments.seed,
        "episodes": arguments.episodes,
        "return": found["return"],
        "return_std": std,
        "return_stderr": None if std is None else std / arguments.episodes**0.5,
        "return_min": float(episodes.returns.min()),
        "return_max": found["return_best"],
        "length": float(episodes.lengths.mean()),
        "progress": float(episodes.progress.mean()) if task is not None and task.survive_reward else None,
        "returns": episodes.returns.tolist(),
        "lengths": episodes.lengths.astype(int).tolist(),
    }
    answers.say(result=result)


def film(arguments: argparse.Namespace, answers: Answers) -> None:
    """The first of the episodes that `evaluate` would score, or as many of them as fill --steps, as a film."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # an exception, so that no half-written file stays
    policy, world, env, camera, _ = _stage(arguments, effects=True)
    assert camera is not None  # --undrawn is for frames alone
    from engine.evaluation import deterministic
    from engine.film import moments, pace, write

    stride, rate = pace(env)
    limit = env.spec.max_episode_steps if env.spec is not None else None
    steps: int = arguments.steps or limit or LONGEST_FILM
    last: dict[int, Moment] = {}  # of each episode
    drawn = 0

    def pictures() -> Iterator[Picture]:
        nonlocal drawn
        for moment in moments(env, deterministic(policy), _stream(arguments.seed), stride, steps):
            last[moment.episode] = moment
            yield camera.picture(arguments.width, arguments.height)
            drawn += 1
            answers.progress(drawn, max(drawn, steps // stride))
            if moment.over and arguments.steps is None:
                return

    try:
        write(arguments.out, pictures(), arguments.width, arguments.height, rate)
    except ModuleNotFoundError as error:
        raise Refused(
            UNAVAILABLE, f"an MP4 needs the Python package {error.name}: install it, or name a .gif"
        ) from None
    except OSError as error:
        raise Refused(UNAVAILABLE, f"{arguments.out}: cannot be written: {error.strerror or error}") from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        camera.close()
    result = {
        "which": arguments.which,
        **_about(world),
        "seed": arguments.seed,
        "pictures": drawn,
        "rate": rate,
        "episodes": [{"return": m.total, "length": m.step, "complete": m.over} for m in last.values()],
    }
    answers.say(result=result)


def frames(arguments: argparse.Namespace, answers: Answers) -> None:
    """The episodes that `evaluate` would score, one after the other, a picture at a time as they are asked for."""
    policy, world, env, camera, undrawn = _stage(arguments, effects=False)
    from engine.evaluation import deterministic
    from engine.film import FRAMES_PER_SECOND, moments, pace

    stride, rate = pace(env) if hasattr(env.unwrapped, "dt") else (1, float(FRAMES_PER_SECOND))
    limit = env.spec.max_episode_steps if env.spec is not None else None
    answers.say(**_about(world), rate=rate, limit=limit, step_seconds=1 / (rate * stride), undrawn=undrawn)
    actor, stream = deterministic(policy), _stream(arguments.seed)
    course = moments(env, actor, stream, 1, arguments.steps)
    moment: Moment | None = None
    while asked := [int(word) for word in sys.stdin.readline().split()]:
        width, height = asked[:2]
        if len(asked) > 3:
            course, moment = moments(env, actor, stream, 1, arguments.steps, asked[3]), None
        moment = _onwards(course, moment, asked[2] if len(asked) > 2 else stride)
        if moment is None:
            answers.say()
            return
        at: dict[str, Any] = {
            "episode": moment.episode,
            "step": moment.step,
            "return": moment.total,
            "over": moment.over,
        }
        at |= {"body_height": moment.height, "velocity": moment.velocity}
        if camera is None or not width or not height:
            answers.say(**at, width=0, height=0)
        else:
            answers.say(camera.picture(width, height).tobytes(), **at, width=width, height=height)


def _onwards(course: Iterator[Moment], before: Moment | None, steps: int) -> Moment | None:
    """The moment so many steps later, or the end of the episode, or the start of the next one; None after the last."""
    if before is not None and not steps:
        return before
    now = None
    for _ in range(1 if before is None or before.over else steps):
        moment = next(course, None)
        if moment is None:
            break
        now = moment
        if now.over:
            break
    return now


COMMANDS = {"evaluate": evaluate, "film": film, "frames": frames}


# --- how --------------------------------------------------------------------------------------------------------------------------


def _stream(seed: int) -> tuple[object, ...]:
    """The random streams of a run's own final evaluation, which the run's seed repeats."""
    return (seed, "evaluation", "final")


def _policy_and_world(arguments: argparse.Namespace) -> tuple[Policy, World]:
    try:
        policy, world = load(arguments.folder, arguments.which), recorded_world(arguments.folder)
    except (OSError, ValueError) as error:
        raise Refused(UNAVAILABLE, str(error)) from None
    if arguments.env is not None:
        try:
            world = named_world(arguments.env, world)
        except ValueError as error:
            raise Refused(BAD_REQUEST, str(error)) from None
    return policy, world


def _open(world: World, policy: Policy, code: int) -> gymnasium.Env[Any, Any]:
    """The environment, which takes what the policy gives; refused with `code` where there is no such one."""
    import mujoco

    from engine import envs

    # MuJoCo's own handler would write a file into the person's folder.
    mujoco.set_mju_user_warning(lambda text: print(f"MuJoCo: {text}", file=sys.stderr))
    try:
        env = envs.make(world.id, **world.options)
    except Exception as error:  # an environment that is not ours can raise anything
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Refused(code, f"{world.id}: cannot be made: {line}") from error
    spaces = [getattr(space, "shape", None) for space in (env.observation_space, env.action_space)]
    observations, actions = sizes(policy)
    if spaces != [(observations,), (actions,)]:
        has = " and ".join(
            f"{what} of shape {shape}" if shape is None or len(shape) != 1 else f"{shape[0]} {what}"
            for what, shape in zip(("observations", "actions"), spaces, strict=True)
        )
        takes = f"takes {observations} and gives {actions}"
        raise Refused(code, f"{world.id} has {has}; this policy {takes}")
    return env


def _stage(
    arguments: argparse.Namespace, effects: bool
) -> tuple[Policy, World, gymnasium.Env[Any, Any], Camera | None, str]:
    """What is to be seen, and what sees it; with --undrawn no camera, and why, where nothing can be drawn."""
    policy, world = _policy_and_world(arguments)
    try:
        os.environ["MUJOCO_GL"], undrawn = opengl(), ""  # read when MuJoCo is imported
    except Refused as refused:
        if not arguments.undrawn:
            raise
        os.environ["MUJOCO_GL"], undrawn = "disable", str(refused)
    env = _open(world, policy, UNAVAILABLE)
    from engine.film import Camera, drawable

    if not drawable(env):
        undrawn = f"{world.id} is no MuJoCo environment, and no other can be drawn"
        if not arguments.undrawn:
            raise Refused(UNAVAILABLE, undrawn)
    return policy, world, env, None if undrawn else Camera(env, effects), undrawn


def opengl() -> str:
    """The value of MUJOCO_GL that draws here without a screen: the person's own, or the first that does. Each is tried in a process
    that ends, since a library that fails to load leaves others in its way.

    Raises:
        Refused: nothing draws.
    """
    chosen = os.environ.get("MUJOCO_GL")
    for name in (chosen,) if chosen else OPENGL:
        environment = {**os.environ, "MUJOCO_GL": name}
        tried = subprocess.run([sys.executable, "-P", "-c", _DRAWS], env=environment, capture_output=True, check=False)
        if tried.returncode == 0:
            return name
    if chosen:
        raise Refused(UNAVAILABLE, f"MUJOCO_GL = {chosen} cannot draw here without a screen; leave it unset")
    raise Refused(
        UNAVAILABLE,
        "nothing here can draw without a screen: install Mesa's EGL (libegl1, libgl1-mesa-dri) or libosmesa6",
    )


def _about(world: World) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "environment": {"id": world.id, "options": dict(world.options)},
        "versions": {name: version(name) for name in ("gymnasium", "mujoco")},
    }


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (BrokenPipeError, KeyboardInterrupt):  # nobody listens any more: nor wait for OpenGL's libraries to leave
        os._exit(143)
