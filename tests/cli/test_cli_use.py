"""`mopo evaluate` and `mopo play`: real policies in real environments, real films, a real terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hoppers import save_policies

from engine import envs, load_policy, record
from engine.config import resolve
from engine.evaluation import deterministic, run_episodes
from mopo_tui.cli.screen import HalfBlocks
from mopo_tui.manager import Run, Store

Command = Callable[..., "subprocess.CompletedProcess[str]"]
SCALE = {"min": -20.272305, "max": 3234.3, "origin": "D4RL's constants"}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    hidden = ("MOPO_", "MUJOCO_", "COLORTERM", "NO_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    places = {
        "HOME": "home",
        "XDG_CONFIG_HOME": "config",
        "XDG_DATA_HOME": "data",
        "MOPO_RUNS": "runs",
        "MOPO_DATA": "data",
    }
    return {**kept, **{name: str(tmp_path / place) for name, place in places.items()}}


@pytest.fixture
def mopo(tmp_path: Path, environment: dict[str, str]) -> Command:
    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "mopo_tui.cli", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment | more,
            timeout=120,
        )

    return call


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run on hopper-medium with its policies and environment recorded."""
    config = resolve([("test", {"task": "hopper-medium", "preset": "smoke"})]).config
    made = Store.open(tmp_path / "runs").create(config, name="hops")
    save_policies(made.folder, 0.5)
    about = {
        "environment": {"id": "Hopper-v5", "options": {"healthy_reward": 2.0}},
        "references": {"random": {"return": 17.0}, "scale": SCALE},
    }
    record.write_json(made.folder / record.ENVIRONMENT, about)
    return made


def returns(
    run: Run, which: str, seed: int, episodes: int, environment: str = "Hopper-v5", **options: float
) -> np.ndarray:
    """What these episodes earn, run here."""
    env = envs.make(environment, **options)
    policy = load_policy(run.folder, which)
    return run_episodes(env, deterministic(policy), episodes, (seed, "evaluation", "final")).returns


# --- evaluate ---------------------------------------------------------------------------------------------------------------------


def test_evaluate_scores_the_policy_in_the_runs_own_environment(mopo: Command, run: Run) -> None:
    done = mopo("evaluate", "hops", "--episodes", "5", "--seed", "3", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    expected = returns(run, "final", 3, 5, healthy_reward=2.0)
    assert found["returns"] == expected.tolist()
    assert found["return"] == pytest.approx(expected.mean())
    assert found["return_std"] == pytest.approx(expected.std(ddof=1))
    assert found["return_stderr"] == pytest.approx(expected.std(ddof=1) / 5**0.5)
    low, high = SCALE["min"], SCALE["max"]
    assert found["normalized_score"] == pytest.approx(100 * (expected.mean() - low) / (high - low))
    assert found["environment"] == {"id": "Hopper-v5", "options": {"healthy_reward": 2.0}}
    assert set(found["versions"]) == {"gymnasium", "mujoco"}
    assert (found["run"], found["seed"], found["episodes"]) == (run.id, 3, 5)


def test_evaluate_prints_a_table_with_references_and_versions(mopo: Command, run: Run) -> None:
    done = mopo("evaluate", run.id, "-n", "1", "--which", "best")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.split(r"  +", lines[0]) == ["hops", "return", "± std", "std error", "length", "score %", "progress"]
    value = returns(run, "best", 0, 1, healthy_reward=2.0)[0]
    assert re.match(rf"best policy \(1 episode\) +{value:.1f} +– +– +\d+ +\d+\.\d +–$", lines[1].rstrip())
    assert re.match(r"random policy +17\.0 .* 1\.1", lines[2])
    assert re.match(r"evaluated in Hopper-v5 \(healthy_reward=2\.0\), gymnasium \S+, mujoco \S+; seed 0", lines[3])
    assert lines[4] == "score: 0 is a return of -20.2723, 100 one of 3234.3; D4RL's constants"


def test_evaluate_elsewhere_keeps_the_scale_among_versions_alone(mopo: Command, run: Run) -> None:
    done = mopo("evaluate", "hops", "-n", "2", "--env", "Hopper-v4", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["returns"] == returns(run, "final", 0, 2, "Hopper-v4").tolist()
    assert found["environment"] == {"id": "Hopper-v4", "options": {}}
    assert found["scale"] == SCALE
    record.write_json(
        run.folder / record.ENVIRONMENT, {"environment": {"id": "Runner-v5"}, "references": {"scale": SCALE}}
    )
    done = mopo("evaluate", "hops", "-n", "2", "--env", "Hopper-v4")
    assert done.returncode == 0, done.stderr
    assert "no score: the run's own environment is Runner-v5" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["hops", "--env", "HalfCheetah-v5"], 2, "17 observations and 6 actions; this policy takes 11 and gives 3"),
        (["hops", "--env", "Hoper-v5"], 2, "Hoper-v5: cannot be made: "),
        (["hops", "--env", "trap:Hopper-v5"], 2, "only the environment of a task of your own may"),
        (["jumps"], 4, "no run 'jumps'"),
    ],
)
@pytest.mark.usefixtures("run")
def test_evaluate_refuses_in_one_line(
    mopo: Command, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    (tmp_path / "trap.py").write_text("import pathlib; pathlib.Path(__file__).with_name('sprung').touch()")
    done = mopo("evaluate", *arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode == code
    assert message in done.stderr
    assert done.stderr.startswith("mopo: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not (tmp_path / "sprung").exists()


def test_a_run_without_a_sound_policy_is_refused(mopo: Command, run: Run) -> None:
    final = run.folder / record.CHECKPOINTS / "final.safetensors"
    final.write_bytes(final.read_bytes()[:200])
    done = mopo("evaluate", "hops")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "final.safetensors: not a policy file" in done.stderr
    final.unlink()
    done = mopo("play", "hops", "--out", "film.gif")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "no final policy yet, but there is the best one" in done.stderr


def test_a_run_folder_starts_no_module_unless_the_persons_own_task_names_it(
    mopo: Command, run: Run, tmp_path: Path
) -> None:
    """The module also prints, which must not tear what the engine says."""
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "slippery.py").write_text(
        "import pathlib, gymnasium\n"
        "pathlib.Path(__file__).with_name('imported').touch()\n"
        "print('slippery, at your service')\n"
        "gymnasium.register('Slippery-v0', 'gymnasium.envs.mujoco.hopper_v5:HopperEnv', max_episode_steps=7)\n"
    )
    tasks = tmp_path / "tasks.toml"
    tasks.write_text('[mine]\nlike = "hopper-medium"\nenvironment = "slippery:Slippery-v0"\ndataset = "mine.hdf5"\n')
    places = {"PYTHONPATH": str(modules), "MOPO_TASKS": str(tasks)}
    record.write_json(run.folder / record.ENVIRONMENT, {"environment": {"id": "slippery:Slippery-v0"}})
    done = mopo("evaluate", "hops", "-n", "1", **places)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "'slippery:Slippery-v0' could import a module" in done.stderr
    assert not (modules / "imported").exists()
    about = record.read_json(run.folder / record.RUN) or {}
    record.write_json(run.folder / record.RUN, {**about, "task": "mine"})
    done = mopo("evaluate", "hops", "-n", "2", "--json", **places)
    assert done.returncode == 0, done.stderr
    assert max(json.loads(done.stdout)["lengths"]) <= 7
    assert (modules / "imported").exists()


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.usefixtures("run")
def test_ctrl_c_ends_an_evaluation_and_its_engine_at_once(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "mopo_tui.cli", "evaluate", "hops", "-n", "1000000"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    engine = children(process.pid)
    while not engine or "libmujoco" not in Path(f"/proc/{engine[0]}/maps").read_text():  # until it is at work
        assert time.monotonic() < end
        time.sleep(0.05)
        engine = children(process.pid)
    process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    out, error = process.communicate(timeout=30)
    assert time.monotonic() - begun < 2  # a second, on a machine with other work, too
    assert (process.returncode, out, error) == (130, "", "")
    assert not Path(f"/proc/{engine[0]}").exists()


# --- play: films ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--out FILE.mp4 or FILE.gif films the policy instead"),
        (["--width", "64"], 2, "name it with --out"),
        (["--out", "film.avi"], 2, "film.avi: a film is a .mp4 or a .gif file"),
        (["--out", "film.mp4", "--height", "65"], 2, "even numbers, not 480 × 65"),
        (["--out", "nowhere/film.gif"], 3, "there is no folder"),
    ],
)
@pytest.mark.usefixtures("run")
def test_play_refuses_in_one_line(mopo: Command, arguments: list[str], code: int, message: str) -> None:
    done = mopo("play", "hops", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("run")
def test_without_a_way_to_draw_there_is_one_clear_line(mopo: Command, tmp_path: Path) -> None:
    # PyOpenGL obeys this variable: with a platform that is none, neither EGL nor OSMesa can be used.
    done = mopo("play", "hops", "--out", "film.gif", PYOPENGL_PLATFORM="none")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "nothing here can draw without a screen: install" in done.stderr
    assert not list(tmp_path.glob("*film*"))


def pictures(path: Path) -> tuple[list[np.ndarray], float]:
    """Every picture of a film (height, width, 3), and its length in seconds, as other programs read them."""
    if path.suffix == ".mp4":
        import av

        with av.open(str(path)) as film:
            stream = film.streams.video[0]
            assert stream.codec_context.name == "h264"
            found = [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]
            return found, len(found) / float(stream.average_rate or 0)
    from PIL import Image, ImageSequence

    with Image.open(path) as film:
        frames = [(np.asarray(f.convert("RGB")), f.info["duration"] / 1000) for f in ImageSequence.Iterator(film)]
    return [picture for picture, _ in frames], sum(seconds for _, seconds in frames)


@pytest.mark.usefixtures("_draws")
@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_play_films_the_first_episode_that_evaluate_scores(
    mopo: Command, run: Run, tmp_path: Path, suffix: str
) -> None:
    done = mopo("play", "hops", "--out", f"film{suffix}", "--width", "96", "--height", "64", "--seed", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"film{suffix}\n"
    env = envs.make("Hopper-v5", healthy_reward=2.0)
    scored = run_episodes(env, deterministic(load_policy(run.folder)), 1, (2, "evaluation", "final"))
    length = int(scored.lengths[0])
    assert f"episode 1: return {scored.returns[0]:.1f} in {length} steps\n" in done.stderr
    found, seconds = pictures(tmp_path / f"film{suffix}")
    assert len(found) == 1 + -(-length // 5)  # at 25 a second, every fifth step, and the end
    assert seconds == pytest.approx(len(found) / 25)
    assert {picture.shape for picture in found} == {(64, 96, 3)}
    assert np.abs(found[0].astype(int) - found[-1]).mean() > 2  # it moves
    assert [path.name for path in tmp_path.glob("*film*")] == [f"film{suffix}"]


@pytest.mark.usefixtures("_draws", "run")
def test_ctrl_c_while_filming_leaves_no_file(tmp_path: Path, environment: dict[str, str]) -> None:
    size = ("--width", "32", "--height", "32", "--steps", "1000000")
    command = [sys.executable, "-m", "mopo_tui.cli", "play", "hops", "--out", "film.mp4", *size]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".film.*")):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30) == (b"", b"")
    assert process.returncode == 130
    assert not list(tmp_path.glob("*film*"))


# --- play: the terminal -----------------------------------------------------------------------------------------------------------


class Painted:
    """A terminal that understands what `HalfBlocks` writes, and nothing else."""

    def __init__(self, columns: int, lines: int) -> None:
        self.colours = np.zeros((2 * lines, columns, 3), dtype=int)
        self.text = [[" "] * columns for _ in range(lines)]

    def write(self, text: str) -> None:
        row = column = 0
        ground = {38: (255, 255, 255), 48: (0, 0, 0)}
        for move, sgr, character in re.findall(r"\x1b\[(\d+;\d+)H|\x1b\[([\d;]+)m|(.)", text):
            if move:
                row, column = (int(n) - 1 for n in move.split(";"))
            elif sgr:
                which, how, *values = (int(n) for n in sgr.split(";"))
                ground[which] = xterm(values[0]) if how == 5 else (values[0], values[1], values[2])
            else:
                self.text[row][column] = character
                self.colours[2 * row, column] = ground[38 if character == "▀" else 48]
                self.colours[2 * row + 1, column] = ground[48]
                column += 1


def xterm(number: int) -> tuple[int, int, int]:
    if number >= 232:
        return (8 + 10 * (number - 232),) * 3
    levels = (0, 95, 135, 175, 215, 255)
    number -= 16
    return levels[number // 36], levels[number // 6 % 6], levels[number % 6]


@pytest.mark.parametrize("colours", [256, 1 << 24])
def test_half_blocks_put_every_pixel_where_it_belongs(colours: int) -> None:
    rng = np.random.default_rng(0)
    drawn, terminal = HalfBlocks(colours), Painted(31, 9)
    palette = np.array([xterm(number) for number in range(16, 256)])
    picture = rng.integers(0, 256, (18, 31, 3), dtype=np.uint8)
    for change in range(6):
        terminal.write(drawn.draw(picture))
        wanted = picture.astype(int)
        off = np.abs(terminal.colours - wanted)
        if colours == 256:
            nearest = ((wanted[:, :, None] - palette) ** 2).sum(axis=-1).min(axis=-1) ** 0.5
            # The colour is rounded to 5 bits before the nearest is looked for.
            assert ((off**2).sum(axis=-1) ** 0.5 <= nearest + 2 * 3**0.5 * 8).all()
        else:
            assert off.max() <= 8
        picture = picture.copy()
        picture[change : change + 5, 3 + change : 9] = rng.integers(0, 256, 3, dtype=np.uint8)  # one colour: blanks
        picture[17, 30] = change
        if change == 3:  # few colours: stretches, and blanks among them
            picture = np.array([[0, 0, 0], [255, 160, 80]], dtype=np.uint8)[rng.integers(0, 2, (18, 31))]
    assert drawn.draw(picture)
    assert drawn.draw(picture) == ""


def test_without_colours_a_picture_is_in_shades() -> None:
    ramp = np.repeat(np.linspace(0, 255, 5).astype(np.uint8), 3).reshape(1, 5, 3).repeat(2, axis=0)
    assert HalfBlocks(0).draw(ramp) == "\x1b[1;1H ░▒▓█"


Played = tuple[int, str, list[object], list[object]]


@pytest.fixture
def in_terminal(environment: dict[str, str]) -> Callable[..., Played]:
    """Run `mopo` in a terminal of 60 × 20 until `seen` is on it, and then do something with its pid and the terminal's other end.

    Returns its exit code, what it wrote, and the terminal's mode before and after.
    """

    def play(*arguments: str, seen: bytes, then: Callable[[int, int], object], **more: str) -> Played:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
        before: list[object] = termios.tcgetattr(theirs)
        process = subprocess.Popen(
            [sys.executable, "-m", "mopo_tui.cli", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment | {"TERM": "xterm-256color"} | more,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        written, end, done = b"", time.monotonic() + 60, False
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            assert time.monotonic() < end, written[-500:]
            if select.select([ours], [], [], 0.05)[0]:
                written += os.read(ours, 65536)
            if seen in written and not done:
                then(process.pid, ours)
                done = True
        after: list[object] = termios.tcgetattr(theirs)
        os.close(ours)
        os.close(theirs)
        return process.returncode, written.decode(), before, after

    return play


ENTER, LEAVE = "\x1b[?1049h\x1b[?25l\x1b[?7l", "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l"


@pytest.mark.usefixtures("_draws")
def test_play_draws_on_the_terminal_until_q(run: Run, in_terminal: Callable[..., Played]) -> None:
    code, written, before, after = in_terminal(
        "play", "hops", seen=b"episode 2 ", then=lambda _, terminal: os.write(terminal, b"q"), COLORTERM="truecolor"
    )
    assert code == 0, written[-500:]
    assert before == after
    assert written.count(ENTER) == 1
    assert written.endswith(LEAVE)
    painted = Painted(60, 20)
    painted.write(written.split("\x1b[0m")[1].removeprefix("\x1b[2J"))  # the first picture, up to the status line
    assert len(np.unique(painted.colours[:38].reshape(-1, 3), axis=0)) > 20  # a hopper, its floor, a sky
    assert not painted.colours[38:].any()
    env = envs.make("Hopper-v5", healthy_reward=2.0)
    scored = run_episodes(env, deterministic(load_policy(run.folder)), 1, (0, "evaluation", "final"))
    assert f"step {int(scored.lengths[0])}/1000 · return {scored.returns[0]:.1f} · q quits" in written


@pytest.mark.usefixtures("_draws", "run")
@pytest.mark.parametrize(
    ("then", "code", "last"),
    [
        (lambda _, terminal: os.write(terminal, b"\x03"), 130, ""),
        (lambda pid, _: os.kill(pid, signal.SIGTERM), 143, ""),
        (
            lambda pid, _: os.kill(children(pid)[0], signal.SIGKILL),
            1,
            "mopo: the engine ended without a result (exit code -9)\r\n",
        ),
    ],
    ids=["Ctrl-C", "SIGTERM", "the engine dies"],
)
def test_however_play_ends_the_terminal_is_as_it_was(
    in_terminal: Callable[..., Played], then: Callable[[int, int], object], code: int, last: str
) -> None:
    returned, written, before, after = in_terminal("play", "hops", seen=b"step", then=then)
    assert returned == code, written[-500:]
    assert before == after
    assert written.endswith(LEAVE + last)
