"""A real run, started in the form and trained by the real engine, seen to its end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from screen_text import fixed, settled, text_of, until

from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.manager.settings import read_settings
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
        await pilot.press(*"halfcheetah-r", "down", "down", "down", *"smoke", "down", *"3,4", "down")
        await until(pilot, lambda: "halfcheetah-random/5k-v0: built first" in text_of(app))
        await pilot.press(*"policy.epochs=4", "enter")
        await until(pilot, lambda: "4 epochs × 50 updates" in text_of(app))
        await pilot.press("enter", "enter", "enter")  # done with the value, start, and once too often
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.runs) == 2, seconds=30)
        assert "2 runs in group halfcheetah-random-mopo" in text_of(app)
        run = next(run for run in app.runs if run.seed == 3)
        assert (run.task, run.algorithm, run.preset) == ("halfcheetah-random", "mopo", "smoke")
        assert run.group == app.runs[0].group == app.runs[1].group != ""
        assert read_settings(run.folder)["policy.epochs"] == 4
        await pilot.press("q")
        await pilot.pause()

    # The app is gone and the run goes on; another app finds it.
    assert store.run(run.id).state.value in ("queued", "running", "finished")
    again = fixed(MopoApp(store))
    async with again.run_test(size=(120, 40)) as pilot:
        await settled(pilot, again)
        seen: set[str] = set()

        def over() -> bool:
            seen.update(r.stage for r in again.runs)
            return all(r.state.value not in ("queued", "running") for r in again.runs)

        await until(pilot, over, seconds=120)
        for ended in again.runs:
            assert ended.state.value == "finished", ended.reason
        assert "policy" in seen
        await asyncio.sleep(1.2)
        await settled(pilot, again)
        for name in PANELS:
            assert not again.screen.query_one(f"#{name}", Chart).plot.is_empty, name
        assert len(again.screen.query_one("#dynamics", Chart).plot.lines) == 3  # both seeds, and their mean
        assert len(again.screen.query_one("#uncertainty", Chart).plot.histograms) == 2
        # Three evaluations of the policy stage at least; their last value is the one in the panel's corner.
        line = again.screen.query_one("#score", Chart).plot.lines[0]
        assert line.y.size >= 3
        assert "s3 2." in text_of(again)  # the row's head has the final score of each seed
        assert " n2 " in text_of(again)
