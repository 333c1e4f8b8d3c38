"""Pictures of a policy at work, drawn in a process that settles OpenGL before MuJoCo is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.use import Refused, opengl

DRAWS = """
import os, sys
from engine.use import opengl
os.environ["MUJOCO_GL"] = opengl()
import mujoco
import numpy as np
from engine import envs, film
"""


@pytest.fixture(scope="module", autouse=True)
def _a_machine_that_draws() -> None:
    try:
        opengl()
    except Refused as refused:
        pytest.skip(str(refused))


def drawn(tmp_path: Path, code: str) -> dict[str, np.ndarray]:
    """What `code` leaves in `found`."""
    out = tmp_path / "found.npz"
    done = subprocess.run(
        [sys.executable, "-c", f"{DRAWS}found = {{}}\n{code}\nnp.savez(sys.argv[1], **found)", str(out)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(out))


def test_the_camera_floor_and_light_stay_with_the_robot_and_the_physics_as_they_are(tmp_path: Path) -> None:
    found = drawn(
        tmp_path,
        """
env = envs.make("HalfCheetah-v5")
camera, robot = film.Camera(env), env.unwrapped
model = bytes(robot.model.geom_size) + bytes(robot.model.geom_pos)
def at(x, z=0.0):
    env.reset(seed=0)
    place = np.zeros(9)
    place[0], place[1] = x, z
    robot.set_state(place, np.zeros(9))
    return camera.picture(120, 80).copy()
tile = 2 * 40 / 60  # the floor's 80 m have 60 tiles
found["here"], found["far"], found["between"] = at(0), at(150 * tile), at(150.5 * tile)
found["high"] = at(0, 2)
found["touched"] = model != bytes(robot.model.geom_size) + bytes(robot.model.geom_pos)
""",
    )
    here, far = found["here"].astype(int), found["far"].astype(int)
    assert here.shape == (80, 120, 3)
    assert here.std() > 30  # a robot on a chequered floor under a sky
    assert np.abs(here - far).mean() < 1  # 200 m on, where the model's own floor ended 160 m ago
    assert np.abs(here - found["between"]).mean() > 10  # on the other half of a tile: black where it was white
    assert np.abs(here - found["high"]).mean() > 10
    assert not found["touched"]


def test_pictures_come_at_the_robots_own_speed_and_change_no_episode(tmp_path: Path) -> None:
    found = drawn(
        tmp_path,
        """
from engine.evaluation import run_episodes
env, other = envs.make("Hopper-v5"), envs.make("Hopper-v5")
camera = film.Camera(env, effects=False)
actor = lambda observation, rng: rng.uniform(-1, 1, 3).astype(np.float32)
stride, rate = film.pace(env)
found["pace"] = stride, rate
rows, pictures = [], []
for moment in film.moments(env, actor, (3, "test"), stride, None):
    if moment.episode == 3:
        break
    rows.append((moment.episode, moment.step, moment.total, moment.over))
    pictures.append(camera.picture(40, 30).copy())
found["rows"], found["pictures"] = rows, pictures
scored = run_episodes(other, actor, 2, (3, "test"))
found["returns"], found["lengths"] = scored.returns, scored.lengths
found["cut"] = [(m.episode, m.step) for m in film.moments(env, actor, (3, "test"), stride, 7)]
found["pace_of_ant"] = film.pace(envs.make("mopo/AntAngle-v0"))
""",
    )
    assert found["pace"].tolist() == [5, pytest.approx(25)]  # 125 steps a second
    assert found["pace_of_ant"].tolist() == [1, pytest.approx(20)]
    rows = found["rows"]
    ends = rows[rows[:, 3] == 1]
    np.testing.assert_array_equal(ends[:, 2], found["returns"])
    np.testing.assert_array_equal(ends[:, 1], found["lengths"])
    first = rows[rows[:, 0] == 1][:, 1]
    assert first[0] == 0
    assert set(np.diff(first[:-1])) == {5}
    assert first[-1] - first[-2] <= 5
    assert all((a != b).any() for a, b in zip(found["pictures"], found["pictures"][1:], strict=False))
    assert found["cut"].tolist() == [[1, 0], [1, 5], [1, 7]]


def test_a_model_without_a_camera_of_its_own_is_followed_too(tmp_path: Path) -> None:
    found = drawn(
        tmp_path,
        """
env = envs.make("InvertedPendulum-v5")
env.reset(seed=0)
camera, robot = film.Camera(env), env.unwrapped
assert robot.model.ncam == 0
def at(x):
    robot.set_state(np.array([x, 0.0]), np.zeros(2))
    return camera.picture(64, 48).copy()
found["here"], found["there"] = at(0.0), at(0.5)
""",
    )
    assert found["here"].std() > 5
    # The cart stays in the middle; the rail and the sky behind it move.
    middle = (slice(18, 30), slice(30, 34))
    assert np.abs(found["here"][middle].astype(int) - found["there"][middle]).mean() < 20


def test_a_film_that_breaks_off_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    found = drawn(
        tmp_path,
        """
from pathlib import Path
folder = Path(sys.argv[1]).with_name("films")
folder.mkdir()
def pictures():
    for i in range(200):
        yield np.full((32, 32, 3), i, dtype=np.uint8)
    raise KeyboardInterrupt
for name in ("film.gif", "film.mp4"):
    (folder / name).write_text("the one before")
    try:
        film.write(folder / name, pictures(), 32, 32, 20.0)
    except KeyboardInterrupt:
        pass
found["left"] = sorted(path.name for path in folder.iterdir())
found["text"] = [path.read_text() for path in folder.iterdir()]
""",
    )
    assert found["left"].tolist() == ["film.gif", "film.mp4"]
    assert set(found["text"]) == {"the one before"}
