"""The screen on which a policy walks: real policies, the engine's process, pictures where something here can draw."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hoppers import hopper_policy, save_policies
from realistic import make_run
from rich.color import ColorSystem
from screen_text import check_screen, fixed, settled, text_of, until
from textual.pilot import Pilot

from engine import envs, load_policy, record
from engine.evaluation import deterministic, run_episodes
from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.player import Frame, News, Player
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.screens.play import PlayScreen
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.picture import Picture, _compact

RUN = "20260921-141500-hopper-medium-mopo-s0-k3v9"
SIZES = {"80x24": (80, 24), "120x40": (120, 40)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A finished run on hopper-medium without a policy."""
    return make_run(tmp_path / "runs", RUN, task_name="hopper-medium", until=0.05)


@pytest.fixture
def played(folder: Path) -> Path:
    """The same with two policies."""
    save_policies(folder, 0.05)
    return folder


@pytest.fixture
def undrawable(monkeypatch: pytest.MonkeyPatch) -> None:
    # PyOpenGL obeys this variable: with a platform that is none, neither EGL nor OSMesa can be used.
    monkeypatch.setenv("PYOPENGL_PLATFORM", "none")


async def opened(pilot: Pilot[None], app: MopoApp) -> PlayScreen:
    await settled(pilot, app)
    await pilot.press("W")
    await until(pilot, lambda: isinstance(app.screen, PlayScreen))
    assert isinstance(app.screen, PlayScreen)
    return app.screen


def frame_of(screen: PlayScreen) -> Frame:
    assert screen._frame is not None
    return screen._frame


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("_draws")
async def test_the_policy_walks_and_its_process_ends_with_the_screen(played: Path) -> None:
    app = fixed(MopoApp(Store.open(played.parent)))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        await until(pilot, lambda: screen._frame is not None and screen._frame.step > 0, seconds=30)
        text = text_of(app)
        assert "final  return" in text
        assert text.count("▀") > 100
        cells = screen.picture._cells
        assert cells is not None
        assert cells.shape == (22, 80)
        assert len(np.unique(cells)) > 20  # a hopper, its floor, a sky
        pid = screen.player.pid
        assert pid is not None
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))
        await until(pilot, lambda: gone(pid), seconds=1)


@pytest.mark.usefixtures("_draws")
async def test_charts_stand_beside_the_picture_where_there_is_room_and_alone_on_demand(played: Path) -> None:
    app = fixed(MopoApp(Store.open(played.parent)))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await until(pilot, lambda: screen._frame is not None and screen._frame.pixels is not None, seconds=30)
        cells = screen.picture._cells
        assert cells is not None
        assert cells.shape == (38, 80)
        assert screen.query_one("#play-return", Chart).size.width > 30
        await pilot.press("v")
        await until(pilot, lambda: frame_of(screen).pixels is None, seconds=10)
        assert screen.query_one("#play-return", Chart).size.width > 100
        await pilot.press("v")
        await until(pilot, lambda: frame_of(screen).pixels is not None, seconds=10)
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: screen.picture._cells is not None and screen.picture._cells.shape == (22, 80))


@pytest.mark.usefixtures("undrawable")
async def test_where_nothing_draws_it_says_so_and_shows_numbers(played: Path) -> None:
    app = fixed(MopoApp(Store.open(played.parent)))
    env = envs.make("Hopper-v5")
    scored = run_episodes(env, deterministic(load_policy(played)), 2, (0, "evaluation", "final"))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        await until(pilot, lambda: "No pictures: nothing here can draw" in text_of(app), seconds=30)
        assert "install" in text_of(app)
        ends: dict[int, tuple[float, int]] = {}

        def over() -> bool:
            frame = screen._frame
            if frame is not None and frame.over:
                ends[frame.episode] = frame.total, frame.step
            return len(ends) > 1

        await until(pilot, over, seconds=30)
        assert [ends[1][0], ends[2][0]] == pytest.approx(scored.returns.tolist())
        assert [ends[1][1], ends[2][1]] == scored.lengths.tolist()
        await until(pilot, lambda: f"earlier {scored.returns[0]:.0f}" in text_of(app))
        for name in ("return", "height", "velocity"):
            assert not screen.query_one(f"#play-{name}", Chart).plot.is_empty, name


@pytest.mark.usefixtures("undrawable")
async def test_pause_again_next_speed_and_the_other_policy(played: Path) -> None:
    app = fixed(MopoApp(Store.open(played.parent)))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        await until(pilot, lambda: screen._frame is not None and screen._frame.step > 0, seconds=30)
        await pilot.press("space")
        await pilot.pause(0.5)
        stands = frame_of(screen)
        await pilot.pause(0.8)
        assert frame_of(screen) is stands
        assert "paused" in text_of(app)
        await pilot.press("n")
        await until(pilot, lambda: frame_of(screen).episode == stands.episode + 1)
        assert frame_of(screen).step == 0
        await pilot.press("space")
        await until(pilot, lambda: frame_of(screen).step > 0)
        await pilot.press("space", "r")
        await until(pilot, lambda: frame_of(screen).step == 0 and frame_of(screen).episode == stands.episode + 1)
        await pilot.press("plus", "plus")
        assert screen.player.speed == 4
        await pilot.press("minus", "minus", "minus")
        assert screen.player.speed == 0.5
        first = screen.player.pid
        await pilot.press("b", "space")
        await until(pilot, lambda: "best  return" in text_of(app), seconds=30)
        assert first is not None
        assert gone(first)
        scored = run_episodes(
            envs.make("Hopper-v5"), deterministic(load_policy(played, "best")), 1, (0, "evaluation", "final")
        )
        await until(pilot, lambda: frame_of(screen).over, seconds=30)
        assert frame_of(screen).total == pytest.approx(scored.returns[0])


async def test_a_run_without_a_policy_says_so_until_it_has_one(folder: Path) -> None:
    app = fixed(MopoApp(Store.open(folder.parent)))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        await until(pilot, lambda: "has no policy yet" in text_of(app), seconds=30)
        assert screen.player.pid is None
        hopper_policy(1, 0.05).save(folder / record.CHECKPOINTS / "best.safetensors")  # as a run has it before its end
        await pilot.press("r")
        await until(pilot, lambda: "best  return" in text_of(app), seconds=30)
        await until(pilot, lambda: screen._frame is not None)
        await pilot.press("b")  # there is no final one
        await until(pilot, lambda: "no final policy yet, but there is the best one" in text_of(app), seconds=30)
        await pilot.press("b")
        await until(pilot, lambda: screen._frame is not None and "best  return" in text_of(app), seconds=30)


@pytest.mark.usefixtures("undrawable")
async def test_an_engine_that_dies_is_told_and_begun_again(played: Path) -> None:
    app = fixed(MopoApp(Store.open(played.parent)))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        await until(pilot, lambda: screen._frame is not None, seconds=30)
        pid = screen.player.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(pilot, lambda: "the engine ended without a result (exit code -9)" in text_of(app))
        await pilot.press("r")
        await until(pilot, lambda: screen._frame is not None and screen._refused is None, seconds=30)


@pytest.mark.usefixtures("undrawable")
async def test_leaving_the_app_ends_the_process(played: Path) -> None:
    app = fixed(MopoApp(Store.open(played.parent)))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        await until(pilot, lambda: screen._frame is not None, seconds=30)
        pid = screen.player.pid
        await pilot.press("q")
        await pilot.pause(0.2)
    assert pid is not None
    end = time.monotonic() + 2
    while not gone(pid):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("size", SIZES)
async def test_screen_without_a_policy(folder: Path, size: str) -> None:
    app = fixed(MopoApp(Store.open(folder.parent)))
    async with app.run_test(size=SIZES[size]) as pilot:
        await opened(pilot, app)
        await until(pilot, lambda: "has no policy yet" in text_of(app), seconds=30)
        await pilot.pause(0.2)
        check_screen(app, f"play-no-policy-{size}")


@pytest.mark.usefixtures("undrawable")
@pytest.mark.parametrize("size", SIZES)
async def test_screen_without_pictures(played: Path, size: str) -> None:
    app = fixed(MopoApp(Store.open(played.parent)))
    async with app.run_test(size=SIZES[size]) as pilot:
        screen = await opened(pilot, app)
        await until(pilot, lambda: screen._frame is not None, seconds=30)
        await pilot.press("space", "n", "b")
        await until(pilot, lambda: "best" in text_of(app).splitlines()[0] and "episode 1" in text_of(app), seconds=30)
        await pilot.press("r")
        await until(pilot, lambda: frame_of(screen).step == 0 and "return 0.0" in text_of(app))
        await pilot.pause(0.3)
        check_screen(app, f"play-undrawn-{size}")


# --- the player alone -------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawable")
def test_a_slow_line_gets_fewer_pictures_and_the_robot_keeps_its_speed(played: Path) -> None:
    """What is told of the bytes that a picture cost decides when the next one comes, and how far the robot is by then."""
    seen: list[tuple[float, Frame]] = []

    def tell(news: News) -> int:
        if isinstance(news, Frame):
            seen.append((time.monotonic(), news))
            if len(seen) == 5:
                player.end()
        return 30_000

    player = Player(played, tell)
    player.run()
    (_, first), (begun, second), (ended, third) = seen[:3]
    assert (first.step, second.episode) == (0, 1)
    assert ended - begun >= 0.45 or third.over
    steps = second.step - first.step
    assert (
        steps >= 28
    )  # half a second of 30,000 bytes at 60,000 a second is 62 steps of 8 ms; the first one came at once


# --- the picture ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("glyphs", ["ascii", "blocks"])
async def test_without_colours_a_picture_is_in_shades(
    played: Path, monkeypatch: pytest.MonkeyPatch, glyphs: str
) -> None:
    monkeypatch.setenv("MOPO_GLYPHS", glyphs)
    if glyphs == "blocks":
        monkeypatch.setenv("NO_COLOR", "1")
    app = fixed(MopoApp(Store.open(played.parent)))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        screen.player.end()
        screen._say("")
        await pilot.pause()
        ramp = np.repeat(np.linspace(0, 255, 80).astype(np.uint8), 3).reshape(1, 80, 3).repeat(44, axis=0)
        screen.picture.show(ramp)
        await pilot.pause()
        line = text_of(app).splitlines()[5]
        assert line.strip()[0] in (".", "░")
        assert line[-1] in ("@", "█")
        assert "▀" not in line


async def test_a_row_is_written_with_what_changes_alone(played: Path) -> None:
    app = fixed(MopoApp(Store.open(played.parent)))
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot, app)
        screen.player.end()
        screen._say("")
        await pilot.pause()
        picture = screen.query_one(Picture)
        pixels = np.zeros((44, 80, 3), dtype=np.uint8)
        pixels[:, 40:] = 255
        pixels[0::2, 10] = 128
        whole = picture.show(pixels)
        row = _compact(picture.render_line(3), ColorSystem.TRUECOLOR)
        assert row == (
            "\x1b[48;2;0;0;0m"
            + " " * 10
            + "\x1b[38;2;131;131;131m▀"
            + " " * 29
            + "\x1b[48;2;255;255;255m"
            + " " * 40
            + "\x1b[0m"
        )
        assert whole == pytest.approx(22 * (len(row.encode()) - 4), rel=0.35)
        pixels = pixels.copy()
        pixels[6, 70] = 0
        assert 0 < picture.show(pixels) < 40
        assert picture.show(pixels[:, :40]) == 0  # of another size
