"""What the app's tests share: a store with realistic runs, and screens as text."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot

sys.path.insert(0, str(Path(__file__).parent))

from realistic import make_store

from mopo_tui.app import MopoApp
from mopo_tui.manager import Store

SCREENS = Path(__file__).parent / "screens"
WRITE = "WRITE_SCREENS"


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable or file of the person who runs the tests counts, and nothing of theirs is touched."""
    for name in [n for n in os.environ if n.startswith("MOPO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MOPO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MOPO_THREADS", "1")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def finished_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six runs; tests read it only."""
    return Store.open(make_store(tmp_path_factory.mktemp("store") / "runs"))


@pytest.fixture
def app(finished_store: Store) -> MopoApp:
    """The app on that store, with a fixed host and place."""
    return fixed(MopoApp(finished_store))


def fixed(app: MopoApp) -> MopoApp:
    """The same app as it looks on every machine."""
    app.host, app.place = "node", "~/runs"
    return app


def text_of(app: App[None]) -> str:
    """The screen as lines of text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


async def until(pilot: Pilot[None], true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until something is so; the poller and the screen run meanwhile."""
    for _ in range(round(seconds / 0.05)):
        if true():
            await pilot.pause()
            return
        await pilot.pause(0.05)
    raise AssertionError(f"not so after {seconds} s; the screen:\n{text_of(pilot.app)}")


Act = Callable[[Pilot[None]], Awaitable[None]]


async def settled(pilot: Pilot[None], app: MopoApp) -> None:
    """Wait until the runs are listed and the rows of those on the screen are read and drawn."""
    await until(pilot, lambda: app.looked)

    def shown() -> bool:
        screens = app._screens()
        return bool(screens) and all(run_id in app.views for run_id in screens[-1].watched())

    await until(pilot, shown)
    await pilot.pause(0.1)
    await app.workers.wait_for_complete()
    await pilot.pause(0.1)


def check_screen(app: App[None], name: str) -> None:
    """The screen is as the file says; WRITE_SCREENS=1 writes the files anew, to be looked at and committed."""
    path, now = SCREENS / f"{name}.txt", text_of(app)
    if os.environ.get(WRITE):
        SCREENS.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
    assert now == path.read_text(encoding="utf-8")
