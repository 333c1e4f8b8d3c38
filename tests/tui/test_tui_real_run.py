"""A real run, started in the form and trained by the real engine, seen to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from screen_text import fixed, settled, text_of, until

from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.panels import PANELS


async def test_a_run_started_in_the_form_is_seen_to_its_end(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs")
    app = fixed(MopoApp(store))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await until(pilot, lambda: "No runs yet." in text_of(app))
        await pilot.press("a")
        await until(pilot, lambda: "100k-v0: built first" in text_of(app))
        await pilot.press("right", "right", "down", "down", "left", "down", "3")
        await until(pilot, lambda: "halfcheetah-random/5k-v0: built first" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and bool(app.runs), seconds=30)
        run = app.runs[0]
        assert (run.task, run.algorithm, run.preset, run.seed) == ("halfcheetah-random", "mopo", "smoke", 3)
        assert f"started as {run.id[-4:]}" in text_of(app)
        await pilot.press("q")
        await pilot.pause()

    # The app is gone and the run goes on; another app finds it.
    assert store.run(run.id).state.value in ("running", "finished")
    again = fixed(MopoApp(store))
    async with again.run_test(size=(120, 40)) as pilot:
        await settled(pilot, again)
        seen: set[str] = set()

        def over() -> bool:
            seen.update(r.stage for r in again.runs)
            return all(r.state.value not in ("queued", "running") for r in again.runs)

        await until(pilot, over, seconds=120)
        ended = again.runs[0]
        assert ended.state.value == "finished", ended.reason
        assert "policy" in seen
        await asyncio.sleep(1.2)
        await settled(pilot, again)
        for name in PANELS:
            assert not again.screen.query_one(f"#{name}", Chart).plot.is_empty, name
        assert len(again.screen.query_one("#dynamics", Chart).plot.lines) == 7
        assert len(again.screen.query_one("#uncertainty", Chart).plot.histograms) == 2
        # Three evaluations of the policy stage at least; their last value is the one in the panel's corner.
        line = again.screen.query_one("#score", Chart).plot.lines[0]
        assert line.y.size >= 3
        assert "final score" in text_of(again)
