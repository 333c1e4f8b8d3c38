"""Screens pinned as text: `WRITE_SCREENS=1 pytest tests/tui` writes them anew, to be looked at before they are committed."""

from __future__ import annotations

from pathlib import Path

import pytest
from screen_text import check_screen, fixed, settled, text_of, until

from mopo_tui.app import MopoApp
from mopo_tui.manager import Store

SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
KEYS = {
    "dashboard": [],
    "seeds": ["l", "j", "j"],
    "panels": ["enter", "enter"],
    "score": ["j", "j", "enter"],
    "loss": ["l", "j", "j", "1"],
    "over-time": ["2", "v"],
    "reality": ["4"],
    "optimisation": ["l", "j", "j", "5"],
    "now": ["l", "j", "j", "6"],
    "queued": ["l", "j", "j", "j", "6"],
    "zoom": ["3", "z"],
    "failed": ["G", "enter"],
    "compare": ["j", "space", "k", "l", "j", "space", "c"],
    "compare-overlay": ["space", "j", "space", "c", "o"],
    "compare-table": ["space", "j", "space", "c", "t"],
    "compare-four": ["space", "j", "space", "j", "space", "j", "space", "c"],
    "stop": ["l", "j", "j", "s"],
    "delete": ["G", "D"],
    "filter": ["slash", *"score>"],
    "help": ["question_mark"],
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KEYS)
async def test_screen(app: MopoApp, name: str, size: str) -> None:
    async with app.run_test(size=SIZES[size]) as pilot:
        await settled(pilot, app)
        for key in KEYS[name]:
            await pilot.press(key)
            await settled(pilot, app)
        check_screen(app, f"{name}-{size}")


@pytest.mark.parametrize("name", ["dashboard", "optimisation", "failed"])
async def test_a_large_screen_has_all_panels(app: MopoApp, name: str) -> None:
    async with app.run_test(size=(200, 50)) as pilot:
        await settled(pilot, app)
        for key in KEYS[name]:
            await pilot.press(key)
            await settled(pilot, app)
        check_screen(app, f"{name}-200x50")


@pytest.mark.parametrize("size", SIZES)
async def test_a_row_of_seeds(seeds_store: Store, size: str) -> None:
    app = fixed(MopoApp(seeds_store))
    async with app.run_test(size=SIZES[size]) as pilot:
        await settled(pilot, app)
        for key in ("j", "j", "3"):
            await pilot.press(key)
            await settled(pilot, app)
        check_screen(app, f"row-{size}")


@pytest.mark.parametrize("size", SIZES)
async def test_empty_store(tmp_path: Path, size: str) -> None:
    app = fixed(MopoApp(Store.open(tmp_path / "runs")))
    async with app.run_test(size=SIZES[size]) as pilot:
        await settled(pilot, app)
        check_screen(app, f"empty-{size}")


@pytest.mark.parametrize("size", SIZES)
async def test_new_run(app: MopoApp, size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mopo_tui.manager.launcher.ThisHost.slots", lambda _: 2)
    async with app.run_test(size=SIZES[size]) as pilot:
        await settled(pilot, app)
        await pilot.press("a")
        await until(pilot, lambda: "built first" in text_of(app))
        check_screen(app, f"new-run-{size}")
