"""The app driven by its keys, on a store that the real Recorder wrote."""

from __future__ import annotations

from pathlib import Path

import pytest
from realistic import fixed_clock, make_run
from screen_text import fixed, settled, text_of, until

from engine.record import Recorder
from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.screens.compare import CompareScreen
from mopo_tui.screens.confirm import ConfirmScreen
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.run_list import RunList

WIDE, SMALL = (120, 40), (80, 24)


async def test_moving_the_cursor_shows_that_run(app: MopoApp) -> None:
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        assert "epoch 63/100" in text_of(app)  # of the three seeds the one that runs
        assert "ant-angle  mopo  3 seeds  0–2  quick" in text_of(app)
        await pilot.press("l", "j", "j", "j")
        await settled(pilot, app)
        assert "waits to be started" in text_of(app)
        await pilot.press("G")
        await settled(pilot, app)
        text = text_of(app)
        assert "exit code 1: the critic's loss is not" in text
        assert "finite after 31000 updates" in text
        await pilot.press("g")
        chosen = app.screen.query_one(RunList).chosen
        assert chosen is not None
        assert chosen.seed == 1


async def test_the_app_opens_on_a_named_run(finished_store: Store) -> None:
    run = finished_store.find("t5j1")
    app = fixed(MopoApp(finished_store, run.id))
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await settled(pilot, app)
        text = text_of(app)
        assert "halfcheetah-medium-replay  mopo" in text
        assert "Normalized score" in text
        assert "published 72.1 (D4RL v2)" in text


async def test_compared_runs_share_their_axes(app: MopoApp) -> None:
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("l", "j", "space", "j", "j", "j", "space", "c")
        await settled(pilot, app)
        assert isinstance(app.screen, CompareScreen)
        for name in ("dynamics", "uncertainty", "score"):
            one, other = (app.screen.query_one(f"#{name}-{i}", Chart).plot for i in (0, 1))
            assert not one.is_empty
            assert not other.is_empty
            assert one.x_scale(8) == other.x_scale(8)
            assert one.y_scale(8) == other.y_scale(8)
        text = text_of(app)
        assert "rollout.coefficient 1 / 0" in text
        assert "return 1445 ±160" in text
        assert "return 2047 ±160" in text
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)


async def test_comparing_different_tasks_warns(app: MopoApp) -> None:
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("j", "space", "j", "space", "c")
        await settled(pilot, app)
        await until(pilot, lambda: " ! " in text_of(app))
        assert "task" in text_of(app).splitlines()[1]


async def test_panels_follow_what_the_engine_records(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs", "20260921-141500-ant-angle-mopo-s1-k3v9", until=0.5, ending="running")
    app = fixed(MopoApp(Store.open(tmp_path / "runs")))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        before = app.screen.query_one("#score", Chart).plot.lines[1].y.size
        recorder = Recorder(folder, echo=lambda _line: None)
        recorder.step, recorder.update, recorder.stage = 200_000, 51_000, "policy"
        with fixed_clock():
            recorder.metrics({"eval/return": 2222.0, "eval/progress": 1222.0}, epoch=51)
            recorder.summary(force=True, stage="policy", progress=0.6, return_last=2222.0, detail="epoch 51/100")
        await until(pilot, lambda: "return 2222  progress 1222" in text_of(app), seconds=3)
        await until(pilot, lambda: "epoch 51/100" in text_of(app), seconds=3)
        assert app.screen.query_one("#score", Chart).plot.lines[1].y.size == before + 1


async def test_stop_asks_and_defaults_to_no(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs", "20260921-141500-ant-angle-mopo-s1-k3v9", until=0.5, ending="running")
    request = folder / "control" / "stop"
    app = fixed(MopoApp(Store.open(tmp_path / "runs")))
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("s")
        assert isinstance(app.screen, ConfirmScreen)
        await until(pilot, lambda: "Stop ant-angle mopo s0 (k3v9)?" in text_of(app))
        await pilot.press("enter")
        assert isinstance(app.screen, Dashboard)
        await pilot.press("s", "escape")
        await pilot.pause(0.2)
        assert not request.exists()
        await pilot.press("s", "y")
        await until(pilot, request.exists)
        await until(pilot, lambda: "is asked to stop" in text_of(app))


async def test_stop_is_offered_only_for_what_runs(app: MopoApp) -> None:
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("j")
        await pilot.pause()
        assert "s Stop" not in text_of(app).splitlines()[-1]
        await pilot.press("s")
        assert isinstance(app.screen, Dashboard)
        await pilot.press("k")
        await pilot.pause()
        assert "s Stop" in text_of(app).splitlines()[-1]


async def test_narrow_shows_one_pane_at_a_time(app: MopoApp) -> None:
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await settled(pilot, app)
        assert "Return in the real environment" not in text_of(app)
        await pilot.press("enter", "enter")
        await settled(pilot, app)
        text = text_of(app)
        assert "Return in the real environment" in text
        assert "╭─ Runs" not in text
        await pilot.press("escape")
        await pilot.pause()
        assert "╭─ Runs" in text_of(app)


async def test_resizing_while_running(app: MopoApp) -> None:
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        for size in (SMALL, (200, 50), (100, 30), (40, 12), WIDE):
            await pilot.resize_terminal(*size)
            await pilot.pause(0.1)
            lines = text_of(app).splitlines()
            assert len(lines) == size[1]
            assert max(len(line) for line in lines) <= size[0]
        assert "Return in the real environment" in text_of(app) or "queued: waits" in text_of(app)


async def test_zoom(app: MopoApp) -> None:
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("enter", "enter", "z")
        await settled(pilot, app)
        assert "Validation loss" not in text_of(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "Validation loss" in text_of(app)


async def test_log_scale_is_switched(app: MopoApp) -> None:
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        chart = app.screen.query_one("#dynamics", Chart)
        assert chart.plot.y_log
        await pilot.press("1", "L")
        assert not chart.plot.y_log


async def test_torn_and_vanishing_runs_do_not_end_the_app(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    make_run(root, "20260921-141500-ant-angle-mopo-s1-k3v9", until=0.5, ending="killed")
    (root / "torn").mkdir()
    (root / "torn" / "run.json").write_text('{"format": 1, "id"')
    app = fixed(MopoApp(Store.open(root)))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        text = text_of(app)
        assert "run.json is no JSON object" in text
        assert "1 failed" in text
        (root / "torn" / "run.json").unlink()
        (root / "torn").rmdir()
        await until(pilot, lambda: "torn" not in text_of(app), seconds=4)
        (root).rename(tmp_path / "gone")
        await until(pilot, lambda: "No runs yet." in text_of(app), seconds=4)


@pytest.mark.parametrize("size", [SMALL, WIDE])
async def test_q_leaves(finished_store: Store, size: tuple[int, int]) -> None:
    app = fixed(MopoApp(finished_store))
    async with app.run_test(size=size) as pilot:
        await settled(pilot, app)
        await pilot.press("q")
        await pilot.pause()
    assert app.return_code == 0
