"""Driving the app in tests: fixed clock and host, waiting, and a screen as text compared with the one that is kept."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.app import App
from textual.pilot import Pilot

from mopo_tui.app import MopoApp
from mopo_tui.machine import Load, Machine

SCREENS = Path(__file__).parent / "screens"
WRITE = "WRITE_SCREENS"


class SteadyMachine(Machine):
    """A host that is always as busy."""

    def begin(self) -> None:
        pass

    def look(self) -> Load:
        return Load(cpu=43.0, used=3.1e9, total=16e9)


def fixed(app: MopoApp) -> MopoApp:
    """The same app as it looks on every machine."""
    app.host, app.place = "node", "~/runs"
    app.poller.machine = SteadyMachine()
    return app


def text_of(app: App[None]) -> str:
    """The screen as lines of text."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips) + "\n"


def told(app: App[None]) -> str:
    """What its notices say, as one text: on the screen a long path is broken over lines."""
    return "\n".join(notice.message for notice in app._notifications)


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
    await until(pilot, lambda: app.looked and bool(app.load.words()))

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
