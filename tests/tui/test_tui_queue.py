"""The app and the queue, on real supervisors: what the form says of a run that waits, and that the app starts what has room."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from realistic import make_run
from screen_text import check_screen, fixed, settled, text_of, until

from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.screens.queue import QueueScreen

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


async def test_the_queue_is_shown_reordered_and_given_slots(full_store: Store) -> None:
    ids = [f"20260921-14150{i}-ant-angle-mopo-s{i}-aaa{i}" for i in range(3)]
    for i, run_id in enumerate(ids):
        make_run(full_store.root, run_id, seed=i, ending="queued")
        full_store.enqueue([full_store.run(run_id)])
    app = fixed(MopoApp(full_store))

    def order() -> list[str]:
        return [job.run_id[-4:] for job in full_store.queue.waiting()]

    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("Q")
        await until(pilot, lambda: "0 of 0 slots of node taken" in text_of(app))
        assert isinstance(app.screen, QueueScreen)
        shown = [line for line in text_of(app).splitlines() if "aaa" in line]
        assert [line.split()[1:3] for line in shown] == [["1", "aaa0"], ["2", "aaa1"], ["3", "aaa2"]]
        await pilot.press("J")
        await until(pilot, lambda: order() == ["aaa1", "aaa0", "aaa2"])
        await until(pilot, lambda: "2  aaa0" in text_of(app))
        await pilot.press("J")  # the cursor went with it
        await until(pilot, lambda: order() == ["aaa1", "aaa2", "aaa0"])
        await until(pilot, lambda: "3  aaa0" in text_of(app))
        await pilot.press("J", "k")
        await pilot.press("K")
        await until(pilot, lambda: order() == ["aaa2", "aaa1", "aaa0"])
        for run_id in ids:
            full_store.stop(full_store.run(run_id))
        await until(pilot, lambda: "Nothing waits." in text_of(app), seconds=5)
        await pilot.press("plus")
        await until(pilot, lambda: "0 of 1 slot of node taken" in text_of(app))
        assert full_store.queue.slots() == 1
        await pilot.press("minus", "escape")
        await until(pilot, lambda: full_store.queue.slots() == 0)
        assert isinstance(app.screen, Dashboard)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_screen(full_store: Store, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    """What waits, with its own name and how long; what computes, with how far it is; that nothing starts without a slot."""
    monkeypatch.setattr(QueueScreen, "now", staticmethod(lambda: 0.0))  # of a run that was queued later
    ids = [f"20260921-14150{i}-ant-angle-mopo-s{i}-aaa{i}" for i in range(3)]
    for i, run_id in enumerate(ids):
        make_run(full_store.root, run_id, seed=i, ending="queued", name="the long one" if i == 1 else "")
        full_store.enqueue([full_store.run(run_id)])
    app = fixed(MopoApp(full_store))
    async with app.run_test(size=size) as pilot:
        await settled(pilot, app)
        await pilot.press("Q")
        await until(pilot, lambda: "0 of 0 slots of node taken" in text_of(app))
        await until(pilot, lambda: "nothing starts until + gives it one" in text_of(app))
        check_screen(app, f"queue-{size[0]}x{size[1]}")
        assert isinstance(app.screen, QueueScreen)
        job = full_store.queue.waiting()[0]
        running = dataclasses.replace(app.runs[0], progress=0.43, eta_s=61.0)
        assert app.screen._when(dataclasses.replace(job, claimant={"pid": 1}), running) == "43 %, 1:01 min left"
