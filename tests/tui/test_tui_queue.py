"""The app and the queue, on real supervisors: what the form says of a run that waits, and that the app starts what has room."""

from __future__ import annotations

from pathlib import Path

import pytest
from realistic import make_run
from screen_text import fixed, settled, text_of, until

from engine.config import ALGORITHMS, PRESETS
from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.screens.new_run import NewRunScreen
from mopo_tui.widgets.choice import Choice

SMALL = (80, 24)


@pytest.fixture
def full_store(tmp_path: Path) -> Store:
    """An empty store on a host without a free slot."""
    store = Store.open(tmp_path / "runs")
    store.queue.set_slots(0)
    return store


async def test_the_form_says_which_place_a_run_has_in_the_queue(full_store: Store) -> None:
    app = fixed(MopoApp(full_store))
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await until(pilot, lambda: app.looked)
        for place in (1, 2):
            await pilot.press("a")
            await until(pilot, lambda: "100k-v0: built first" in text_of(app))
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.runs) == place, seconds=30)  # noqa: B023
            await until(pilot, lambda: f"queued as {app.runs[0].id[-4:]}, place {place}" in text_of(app))  # noqa: B023
    assert [run.state.value for run in full_store.runs()] == ["queued", "queued"]


async def test_the_app_starts_what_waits_once_there_is_room(full_store: Store) -> None:
    folder = make_run(full_store.root, "20260921-141500-ant-angle-mopo-s1-k3v9", ending="queued")
    full_store.enqueue([full_store.run(folder.name)])
    app = fixed(MopoApp(full_store))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.pause(0.5)
        assert not (folder / "process.json").exists()
        full_store.queue.set_slots(1)
        await until(pilot, (folder / "process.json").exists, seconds=30)
        await until(pilot, lambda: app.runs[0].state.value != "queued")
    full_store.abort(full_store.run(folder.name))


async def test_the_form_offers_and_explains_every_algorithm_and_preset(full_store: Store) -> None:
    app = fixed(MopoApp(full_store))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.looked)
        await pilot.press("a")
        assert isinstance(app.screen, NewRunScreen)
        await pilot.press("down")
        for algorithm in ALGORITHMS:
            assert app.screen.query_one("#algorithm", Choice).value == algorithm
            await until(pilot, lambda: f"{algorithm.upper()}: " in text_of(app))  # noqa: B023
            await pilot.press("right")
        await pilot.press("down")
        shown = []
        for _ in PRESETS:
            shown.append(app.screen.query_one("#preset", Choice).value)
            await pilot.press("right")
        assert sorted(shown) == sorted(PRESETS)
