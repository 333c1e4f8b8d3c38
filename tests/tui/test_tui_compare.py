"""Comparing in the app: marks, columns, overlay, table, warnings, copying, exporting; driven by its keys."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from realistic import make_run
from screen_text import fixed, settled, text_of, until
from textual.pilot import Pilot
from textual.widgets import Input, Static

from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.marks import Mark, kept, toggled
from mopo_tui.screens.compare import CompareScreen
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.panels import PANELS
from mopo_tui.widgets.run_list import RunList

WIDE, SMALL = (120, 40), (80, 24)
MOPO, MBPO, MB2PO = "aaa0", "bbb0", "ccc0"


@pytest.fixture
def seeds_app(seeds_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MopoApp:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.delenv("TMUX", raising=False)
    return fixed(MopoApp(seeds_store))


async def mark(pilot: Pilot[None], app: MopoApp, *tails: str) -> None:
    """Mark the rows of those runs."""
    listed = app.screen.query_one(RunList)
    for tail in tails:
        keys = [entry.key for entry in listed._entries if any(run.id.endswith(tail) for run in entry.row.runs)]
        await pilot.press("g", *["j"] * [entry.key for entry in listed._entries].index(keys[0]), "space")


async def opened(pilot: Pilot[None], app: MopoApp, *tails: str) -> CompareScreen:
    """The Compare screen on the rows of those runs, all read and compared."""
    await settled(pilot, app)
    await mark(pilot, app, *tails)
    await pilot.press("c")
    screen = app.screen
    assert isinstance(screen, CompareScreen)
    await settled(pilot, app)
    await until(pilot, lambda: screen._seen is not None)
    await settled(pilot, app)
    return screen


def by_command(app: MopoApp, *arguments: str, columns: int = 400) -> str:
    """What `mopo compare` prints of the seeds of MOPO and MBPO."""
    runs = [f"{app.store.root}/{run.id}" for run in reversed(app.runs) if run.id[-4:-1] in ("aaa", "bbb")]
    done = subprocess.run(
        [sys.executable, "-m", "mopo_tui.cli", "compare", *runs, *arguments],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": str(columns)},
    )  # fmt: skip
    return done.stdout


# --- marks ------------------------------------------------------------------------------------------------------------------------


async def test_a_marked_row_is_all_its_seeds_and_a_fifth_mark_says_why_not(app: MopoApp) -> None:
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        dashboard = app.screen
        assert isinstance(dashboard, Dashboard)
        await pilot.press("space", "c")
        assert app.screen is dashboard  # one mark is not enough
        by_tail = {run.id[-4:]: run.id for run in app.runs}
        assert [m.runs for m in dashboard.marked] == [(by_tail["x7k2"], by_tail["k3v9"], by_tail["p0d2"])]
        await pilot.press("l", "j", "space")  # a seed of the marked row: it is unmarked
        assert dashboard.marked == ()
        await pilot.press(*["space", "j"] * 5)  # three seeds of it, and two rows
        assert len(dashboard.marked) == 4
        await until(pilot, lambda: "4 are marked already" in text_of(app))


def test_marks_follow_what_comes_and_goes(tmp_path: Path) -> None:
    for seed in range(3):
        make_run(tmp_path / "runs", f"20260921-12000{seed}-ant-angle-mopo-s{seed}-aaa{seed}", seed=seed, until=0.1)
    runs = Store.open(tmp_path / "runs").runs()
    row, ids = {"row": runs}, tuple(sorted(run.id for run in runs))
    marks = toggled((), "row", runs[1:], whole=True)
    assert marks is not None
    assert kept(marks, runs, row) == (Mark("row", ids, True),)  # a seed that was started later
    assert kept(marks, runs[:1], {"row": runs[:1]}) == (Mark("row", (runs[0].id,), True),)
    assert kept(marks, runs, {}) == marks  # a filter leaves the row out
    assert kept(marks, [], {}) == ()
    assert toggled(marks, runs[2].id, [runs[2]], whole=False) == ()
    (runs[0].folder / "run.json").write_text("{")
    torn = Store.open(tmp_path / "runs").run(runs[0].id)
    assert toggled((), torn.id, [torn], whole=False) == ()


async def test_a_compared_run_that_goes_leaves_the_others(tmp_path: Path) -> None:
    for tail, algorithm in (("aaa0", "mopo"), ("bbb0", "mbpo")):
        make_run(tmp_path / "runs", f"20260921-120000-ant-angle-{algorithm}-s0-{tail}", algorithm=algorithm, until=0.2)
    app = fixed(MopoApp(Store.open(tmp_path / "runs")))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, app, "aaa0", "bbb0")
        make_run(tmp_path / "runs", "20260921-130000-ant-angle-mopo-s1-aaa1", seed=1, until=0.2)
        await until(pilot, lambda: "mopo 2 runs" in text_of(app))  # the row's new seed is compared, too
        await settled(pilot, app)
        shutil.rmtree(next((tmp_path / "runs").glob("*-bbb0")))
        await until(pilot, lambda: isinstance(app.screen, Dashboard))
        assert "gone from the store" in text_of(app)


# --- what is shown ----------------------------------------------------------------------------------------------------------------


async def test_columns_have_the_same_axes_and_their_own_colours(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO)
        for name in PANELS:
            one, other = (screen.query_one(f"#{name}-{i}", Chart).plot for i in (0, 1))
            assert one.x_scale(8) == other.x_scale(8)
            assert one.y_scale(8) == other.y_scale(8)
        inks = [
            next(line.ink for line in screen.query_one(f"#score-{i}", Chart).plot.lines if line.bold) for i in (0, 1)
        ]
        assert len(set(inks)) == 2
        text = text_of(seeds_app)
        assert "A mopo 3 runs" in text
        assert "n 2 of 3  finished" in text
        assert "n 2 of 2  finished" in text


@pytest.mark.parametrize("size", [SMALL, WIDE, (200, 50)])
async def test_nothing_is_cut_with_two_three_or_no_more_columns(seeds_app: MopoApp, size: tuple[int, int]) -> None:
    async with seeds_app.run_test(size=size) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO, MB2PO)
        overlaid = size[0] < 120
        assert screen.shown_as == ("overlay" if overlaid else "columns")
        text = text_of(seeds_app)
        assert ("3 side by side need 120 columns" in text) == overlaid
        assert "…" not in text
        for key in ("o", "t"):
            await pilot.press(key)
            await settled(pilot, seeds_app)
            assert "…" not in text_of(seeds_app)


async def test_overlay_has_all_groups_with_bands(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO)
        await pilot.press("o")
        await settled(pilot, seeds_app)
        plot = screen.query_one("#score-all", Chart).plot
        assert [line.label for line in plot.lines if line.bold] == ["A mopo", "B mbpo"]
        assert len(plot.bands) == 2
        assert len(screen.query_one("#uncertainty-all", Chart).plot.histograms) == 3
        assert "◆" not in text_of(seeds_app)
        await pilot.press("s")
        await settled(pilot, seeds_app)
        assert screen.has_class("-columns")


async def test_one_panel_at_a_time_where_the_terminal_is_low_or_it_is_asked_for(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO)
        seen = []
        for _ in range(3):
            seen.append([name for name in PANELS if screen.query_one(f"#{name}-0", Chart).size.area])
            await pilot.press("tab")
            await settled(pilot, seeds_app)
        assert seen == [["score"], ["dynamics"], ["uncertainty"]]
        await pilot.resize_terminal(*WIDE)
        await settled(pilot, seeds_app)
        assert all(screen.query_one(f"#{name}-1", Chart).size.area for name in PANELS)
        await pilot.press("z")
        await settled(pilot, seeds_app)
        assert [name for name in PANELS if screen.query_one(f"#{name}-0", Chart).size.area] == ["score"]


async def test_axis_smoothing_and_log_scale(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO)
        score, loss = screen.query_one("#score-0", Chart), screen.query_one("#dynamics-0", Chart)
        assert (score.plot.x_title, loss.plot.x_title, loss.plot.y_log) == ("updates", "epoch", True)
        await pilot.press("x", "x", "L", "plus")
        await settled(pilot, seeds_app)
        assert (score.plot.x_title, loss.plot.x_title, loss.plot.y_log) == ("steps", "steps", False)
        assert any(line.smoothing for line in score.plot.lines)
        await pilot.press("minus", "minus")
        await settled(pilot, seeds_app)
        assert not any(line.smoothing for line in score.plot.lines)


async def test_uncertainty_over_time(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO)
        await pilot.press("v")
        await settled(pilot, seeds_app)
        plots = [screen.query_one(f"#uncertainty-{i}", Chart).plot for i in (0, 1)]
        assert all(plot.heat is not None for plot in plots)
        assert plots[0].x_scale(8) == plots[1].x_scale(8)
        await pilot.press("v")
        await settled(pilot, seeds_app)
        assert screen.query_one("#uncertainty-0", Chart).plot.histograms


async def test_crosshair_and_zoom_are_followed_by_the_other_columns(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO)
        charts = [screen.query_one(f"#score-{i}", Chart) for i in (0, 1)]
        assert screen.focused is charts[0]
        await pilot.press("right_square_bracket", "comma")
        await pilot.pause()
        assert charts[0].cursor is not None
        assert charts[0].cursor == charts[1].cursor
        assert charts[0].window is not None
        assert charts[0].window == charts[1].window
        assert screen.query_one("#dynamics-1", Chart).window is None
        await pilot.press("0")
        await pilot.pause()
        assert (charts[1].cursor, charts[1].window) == (None, None)


# --- warnings and the table -------------------------------------------------------------------------------------------------------


async def test_warnings_are_those_of_the_command_line(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=WIDE) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO)
        assert screen._seen is not None
        lines = by_command(seeds_app).splitlines()
        told = [line.removeprefix("! ") for line in lines if line.startswith(("! ", "left out of", "n = "))]
        assert sorted(screen._seen.warnings) == sorted(dict.fromkeys(told))
        assert any("left out of A: seed 2" in line for line in told)
        above = " ".join(str(screen.query_one("#compare-top", Static).visual).split())
        assert all(warning in above for warning in screen._seen.warnings)


async def test_too_many_warnings_are_counted(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=(80, 20)) as pilot:
        await opened(pilot, seeds_app, MOPO, MB2PO)
        assert "warnings in the table: t" in text_of(seeds_app)


async def test_the_table_is_what_the_command_line_prints(seeds_app: MopoApp) -> None:
    async with seeds_app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, seeds_app, MOPO, MBPO)
        await pilot.press("t")
        await settled(pilot, seeds_app)
        shown = str(screen.query_one("#table-text", Static).visual)
        assert shown.split() == by_command(seeds_app, columns=75).split()
        assert "P(A > B)" in shown
        assert "…" not in shown
        before = text_of(seeds_app)
        await pilot.press("j", "j")
        await until(pilot, lambda: text_of(seeds_app) != before)
        await pilot.press("k", "k")
        await until(pilot, lambda: text_of(seeds_app) == before)


# --- copying ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "option", "ending"), [("y", "--md", "md"), ("Y", "--latex", "tex")])
async def test_copied_is_what_the_command_line_prints(
    seeds_app: MopoApp, tmp_path: Path, key: str, option: str, ending: str
) -> None:
    async with seeds_app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, seeds_app, MOPO, MBPO)
        await pilot.press(key)
        await until(pilot, lambda: "Copied as" in text_of(seeds_app))
        file = tmp_path / "share" / "mopo-tui" / "copied" / f"compare-aaa0-bbb0.{ending}"
        assert file.read_text() == by_command(seeds_app, option) == seeds_app.clipboard
        assert file.name in text_of(seeds_app)
        assert "tmux" not in text_of(seeds_app)
        assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("old", [False, True])
async def test_inside_tmux_its_buffer_has_it_too(
    seeds_app: MopoApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    program = tmp_path / "bin" / "tmux"
    program.parent.mkdir()
    refuse = '[ "$2" = -w ] && { echo "unknown flag -w" >&2; exit 1; }\n' if old else ""
    program.write_text(f'#!/bin/sh\n{refuse}cat > "{tmp_path}/buffer"\necho "$@" > "{tmp_path}/asked"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMUX", "/tmp/tmux-0/default,1,0")
    async with seeds_app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, seeds_app, MOPO, MBPO)
        await pilot.press("y")
        await until(pilot, lambda: "in tmux' buffer" in text_of(seeds_app))
        assert (tmp_path / "buffer").read_text() == seeds_app.clipboard
        assert (tmp_path / "asked").read_text().split() == (["load-buffer", "-"] if old else ["load-buffer", "-w", "-"])


async def test_what_fails_of_copying_is_said(
    seeds_app: MopoApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "tmux"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'no server running' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMUX", "gone")
    (tmp_path / "share").write_text("a file where a folder should be")
    async with seeds_app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, seeds_app, MOPO, MBPO)
        await pilot.press("y")
        await until(pilot, lambda: "tmux: no server running" in text_of(seeds_app))
        assert "cannot be made" in text_of(seeds_app)
        assert "P(A > B)" in seeds_app.clipboard.replace("\\", "")


# --- exporting --------------------------------------------------------------------------------------------------------------------


async def test_exported_are_the_compared_runs(seeds_app: MopoApp, tmp_path: Path) -> None:
    async with seeds_app.run_test(size=WIDE, notifications=True) as pilot:
        await opened(pilot, seeds_app, MOPO, MBPO)
        await pilot.press("e")
        field = seeds_app.screen.query_one(Input)
        assert field.value == "compare-aaa0-bbb0.html"
        for wrong, word in (("x.doc", "name a file that ends in"), ("nowhere/x.csv", "there is no folder")):
            field.value = wrong
            await pilot.press("enter")
            await until(pilot, lambda word=word: word in text_of(seeds_app))
        field.value = "runs.csv"
        await pilot.press("enter")
        await until(pilot, lambda: "5 runs in" in text_of(seeds_app), seconds=60)
        lines = (tmp_path / "runs.csv").read_text().splitlines()
        assert {line.partition(",")[0][-4:] for line in lines[1:]} == {"aaa0", "aaa1", "aaa2", "bbb0", "bbb1"}
        await pilot.press("e")
        field.value = "runs.csv"
        await pilot.press("enter")
        await until(pilot, lambda: "is there already" in text_of(seeds_app))
        field.value = "runs.png"
        await pilot.press("enter")
        await until(pilot, lambda: (tmp_path / "runs.png").exists(), seconds=60)
        assert (tmp_path / "runs.png").read_bytes().startswith(b"\x89PNG")
        await until(pilot, lambda: isinstance(seeds_app.focused, Chart))
