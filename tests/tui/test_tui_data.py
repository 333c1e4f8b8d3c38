"""The Data screen: what is listed and read, and every action, with real runs of the engine and real files."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from realistic import START, make_run
from screen_text import check_screen, fixed, settled, text_of, until
from small_datasets import make_dataset
from textual.pilot import Pilot

from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.screens.build import BuildScreen
from mopo_tui.screens.confirm import ConfirmScreen
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.screens.data import DataScreen
from mopo_tui.screens.log import LogScreen
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.prompt import Prompt

SIZES = {"80x24": (80, 24), "120x40": (120, 40)}
OURS = "mopo/hopper-medium/3k-v0"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with two datasets and a file that nothing was read from."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(DataScreen, "now", staticmethod(lambda: START + 7200))
    root = tmp_path / "data"
    make_dataset(root, OURS)
    make_dataset(root, "d4rl/hopper-random-v2", task="hopper-random", source="d4rl:hopper-random-v2")
    downloads = root / "downloads" / "d4rl"
    downloads.mkdir(parents=True)
    (downloads / "walker2d_medium-v2.hdf5").write_bytes(bytes(2_300_000))
    return root


@pytest.fixture
def app(tmp_path: Path, data: Path) -> MopoApp:  # noqa: ARG001
    return fixed(MopoApp(Store.open(tmp_path / "runs")))


async def opened(pilot: Pilot[None], app: MopoApp) -> DataScreen:
    """The screen, once it has read."""
    await until(pilot, lambda: app.looked)
    await pilot.press("d")
    await until(pilot, lambda: "Not built yet" in text_of(app))
    assert isinstance(app.screen, DataScreen)
    return app.screen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["data", "data-report"])
async def test_screen(app: MopoApp, name: str, size: str) -> None:
    async with app.run_test(size=SIZES[size]) as pilot:
        await opened(pilot, app)
        await pilot.press("j", *(["enter"] if name == "data-report" else []))
        await until(pilot, lambda: size == "80x24" or "reference" in text_of(app))
        await settled(pilot, app)
        check_screen(app, f"{name}-{size}")


async def test_what_is_here_what_is_downloaded_and_what_is_not_built(app: MopoApp) -> None:
    async with app.run_test(size=(200, 50)) as pilot:
        screen = await opened(pilot, app)
        text = text_of(app)
        assert "Here (2)" in text
        assert "Downloaded (1)" in text
        assert "downloaded, not imported (2.3 MB)" in text
        assert "Not built yet (15)" in text  # of 17 tasks; two have a dataset of some source
        line = next(line for line in text.splitlines() if OURS in line)
        status = screen._entries[1].status if screen._entries else None
        assert status is not None
        for word in ("ours", f"{status.size:,}", f"{status.bytes / 1e6:.1f}", status.fingerprint[:8], "2h"):
            assert word in line.split(), word
        assert "mopo/halfcheetah-medium-replay/202k-v0" in text
        # Down to one that is not built: what building it takes.
        await pilot.press("j", "j", "j")
        await until(pilot, lambda: "b builds it, f fetches a published one instead" in text_of(app))
        assert "on two idle cores" in text_of(app)
        # Gone under the screen, it is no longer listed.
        for file in status.folder.iterdir():
            file.unlink()
        status.folder.rmdir()
        await until(pilot, lambda: OURS not in text_of(app), seconds=8)


async def test_a_torn_manifest_is_told_and_can_be_removed(app: MopoApp, data: Path) -> None:
    (data / "datasets" / OURS / "dataset.json").write_text('{"id": ')
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot, app)
        await pilot.press("j")
        await until(pilot, lambda: f"{OURS}: dataset.json cannot be read; D removes" in text_of(app))
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "MB are free" in text_of(app))
    assert not (data / "datasets" / OURS).exists()


async def test_a_dataset_is_built_with_progress_and_then_read(tmp_path: Path, app: MopoApp) -> None:
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("b")
        assert isinstance(app.screen, BuildScreen)
        await until(pilot, lambda: "becomes mopo/hopper-random/1M-v0" in text_of(app))  # of the row under the cursor
        await pilot.press("tab", *"40k")
        await until(pilot, lambda: "size '40k' is not a whole number" in text_of(app))
        await pilot.press("enter")
        assert isinstance(app.screen, BuildScreen)
        await pilot.press("backspace", *"000")
        await until(pilot, lambda: "becomes mopo/hopper-random/40k-v0" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: "Being made (1)" in text_of(app), seconds=20)
        seen: set[str] = set()

        def over() -> bool:
            chosen = screen.chosen
            row = next((line for line in text_of(app).splitlines() if "40k-v0 " in line), "")
            seen.update(word for word in ("of 40,000 rows",) if word in row)
            return chosen is not None and chosen.section == "here" and chosen.id == "mopo/hopper-random/40k-v0"

        await until(pilot, over, seconds=90)  # the cursor went with it
        assert seen == {"of 40,000 rows"}
        await until(pilot, lambda: "uniform actions, seed 0" in text_of(app))
        assert not screen.query_one("#data-returns", Chart).plot.is_empty
        assert [run.state.value for run in Store.open(tmp_path / "runs").runs()] == ["finished"]
        # The same again is refused before it begins.
        await pilot.press("b", "tab", *"40000")
        await until(pilot, lambda: "is here already, 40,000 transitions" in text_of(app))
        await pilot.press("enter")
        assert isinstance(app.screen, BuildScreen)
        await pilot.press("escape")
        assert app.screen is screen


class Slow(BaseHTTPRequestHandler):
    """Sends the first three megabytes of hopper-medium-v2, and then a trickle until nobody listens any more."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "152756557")
        self.end_headers()
        self.wfile.write(bytes(3_000_000))
        with suppress(ConnectionError):
            while not getattr(self.server, "over", False):
                self.wfile.write(bytes(100))
                time.sleep(0.05)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    server.daemon_threads = True
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MOPO_D4RL_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield ""
    server.over = True  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("mirror")
async def test_a_fetch_shows_megabytes_and_can_be_stopped(tmp_path: Path, app: MopoApp) -> None:
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("f", *"hopper-medium-v2", "enter")
        await until(pilot, lambda: "is neither d4rl:NAME nor minari:ID" in text_of(app))
        for _ in "hopper-medium-v2":
            await pilot.press("backspace")
        await pilot.press(*"minari:kitchen", "enter")
        await until(pilot, lambda: "names no task of the table: write it after the name" in text_of(app))
        for _ in "minari:kitchen":
            await pilot.press("backspace")
        await pilot.press(*"d4rl:hopper-medium-v2", "enter")
        await until(pilot, lambda: not screen.query_one(Prompt).is_open)
        await until(pilot, lambda: "3.0 of 152.8 MB" in text_of(app), seconds=30)
        row = next(line for line in text_of(app).splitlines() if "d4rl/hopper-medium-v2" in line)
        assert " MB" in row
        assert "▶" in row
        await until(pilot, lambda: screen.chosen is not None and screen.chosen.section == "making")
        await pilot.press("o")
        await until(pilot, lambda: isinstance(app.screen, LogScreen))
        await pilot.press("escape", "s")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "downloaded in part (3.0 MB)" in text_of(app), seconds=20)
        await until(pilot, lambda: "Not made (1)" in text_of(app), seconds=20)
    assert [run.state.value for run in Store.open(tmp_path / "runs").runs()] == ["stopped"]


async def test_why_a_dataset_was_not_made_is_told_and_it_is_tried_again(
    tmp_path: Path, app: MopoApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("MOPO_D4RL_URL", "http://127.0.0.1:1")
    store = Store.open(tmp_path / "runs")
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("f", *"d4rl:walker2d-random-v2", "enter")
        await until(pilot, lambda: "Not made (1)" in text_of(app), seconds=30)
        await until(pilot, lambda: screen.chosen is not None and screen.chosen.section == "failed")
        await until(pilot, lambda: "127.0.0.1:1 cannot be reached" in text_of(app))
        await pilot.press("r")
        await until(pilot, lambda: store.runs()[0].attempt == 2, seconds=20)
        await until(pilot, lambda: store.runs()[0].state.value == "failed", seconds=30)


async def test_a_check_tells_the_faults(app: MopoApp) -> None:
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot, app)
        await pilot.press("j", "c")
        await until(pilot, lambda: "error: " in text_of(app), seconds=20)
        text = text_of(app)
        assert "checked: looks like unknown" in text
        assert "✗ error: the rows do not look like Hopper" in text
        assert "no faults found" not in text


async def test_a_check_ends_with_the_screen(app: MopoApp, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(
        "mopo_tui.manager.dataset_check.command",
        lambda *_, **__: [sys.executable, "-c", "import time; time.sleep(60)"],
    )
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("c")
        await until(pilot, lambda: screen._check is not None)
        assert "checking every row" in text_of(app)
        check = screen._check
        assert check is not None
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))
        await until(pilot, lambda: check._process.poll() is not None, seconds=3)


async def test_removing_asks_and_the_default_is_no(app: MopoApp, data: Path) -> None:
    folder = data / "datasets" / OURS
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await opened(pilot, app)
        await pilot.press("j", "D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert f"Remove {OURS}?" in text_of(app)
        assert "flat cache" in text_of(app)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, DataScreen))
        assert folder.is_dir()
        await pilot.press("D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        await pilot.press("y")
        await until(pilot, lambda: "are free" in text_of(app))
        assert not folder.exists()
        await until(pilot, lambda: OURS not in text_of(app).replace("…", "") or "not built" in text_of(app).lower())
        # A download goes by itself.
        await pilot.press("G", "g", "j", "D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "Remove d4rl/walker2d-medium-v2?" in text_of(app)
        await pilot.press("y")
        await until(pilot, lambda: not list((data / "downloads" / "d4rl").iterdir()))


async def test_a_dataset_in_use_is_not_removed(tmp_path: Path, app: MopoApp, data: Path) -> None:
    run_id = "20260921-141500-hopper-random-mopo-s0-k3v9"
    settings: dict[str, object] = {"dataset.source": "d4rl:hopper-random-v2"}
    make_run(tmp_path / "runs", run_id, task_name="hopper-random", until=0.1, ending="running", settings=settings)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await opened(pilot, app)
        await pilot.press("D")
        await until(pilot, lambda: any(f"in use by {run_id}" in told.message for told in app._notifications))
        assert isinstance(app.screen, DataScreen)
    assert (data / "datasets/d4rl/hopper-random-v2").is_dir()
