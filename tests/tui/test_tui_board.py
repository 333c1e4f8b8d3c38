"""The dashboard's six panels: all reachable at every size, each with its own keys; a row of seeds shows its group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from realistic import START, fixed_clock, make_run
from screen_text import fixed, settled, text_of, until
from textual.color import Color

from engine import record
from engine.record import Recorder
from mopo_tui.app import LIGHT, MopoApp
from mopo_tui.manager import Store
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.widgets.board_state import BOARD, ONE, SIX_HIGH, SIX_WIDE, THREE, BoardState, after, layout_of, smoother
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.palette import SERIES, colour
from mopo_tui.widgets.panel_board import PanelBoard, Tabs
from mopo_tui.widgets.panels import Options, table
from mopo_tui.widgets.plot import Plot

SMALL, WIDE, LARGE = (80, 24), (120, 40), (200, 50)
TITLES = (
    ("1 Validation loss",),
    ("2 Uncertainty",),
    ("3 Return",),
    ("4 Discounted return", "4 Model against reality"),
    ("5 Mean Q of the batch", "5 Q"),
    ("6 Now",),
)


def board_of(app: MopoApp) -> PanelBoard:
    return app.screen.query_one(PanelBoard)


def chart_of(app: MopoApp, name: str) -> Chart:
    return app.screen.query_one(f"#{name}", Chart)


def plot_of(app: MopoApp, name: str) -> Plot:
    return chart_of(app, name).plot


def footer(app: MopoApp) -> str:
    return text_of(app).splitlines()[-1]


# --- what is kept, and what there is room for -------------------------------------------------------------------------------------


def test_an_area_has_as_many_panels_as_are_legible() -> None:
    assert layout_of(80, 18) is ONE  # 80x24
    assert layout_of(78, 34) is THREE  # 120x40
    assert layout_of(144, 44) is SIX_HIGH  # 200x50
    assert layout_of(144, 26) is SIX_WIDE  # 200x32
    assert layout_of(58, 24) is ONE  # 100x30
    assert layout_of(0, 0) is ONE
    for layout in (ONE, THREE, SIX_HIGH, SIX_WIDE):
        assert [name for page in layout.pages for name in page] == list(BOARD)


def test_what_a_person_chose_is_kept_as_json() -> None:
    state = BoardState("dynamics").with_options("dynamics", Options(x="time", log=False, smoothing=0.9))
    state = state.with_options("uncertainty", Options(metric="time")).with_options("score", Options())
    kept = json.loads(json.dumps(state.to_json()))
    assert kept == {
        "chosen": "dynamics",
        "options": {"dynamics": {"x": "time", "log": False, "smoothing": 0.9}, "uncertainty": {"metric": "time"}},
    }
    again = BoardState.from_json(kept)
    assert again.chosen == "dynamics"
    assert [again.of(name) for name in BOARD] == [state.of(name) for name in BOARD]


@pytest.mark.parametrize(
    "kept",
    [
        {},
        {"chosen": "profile", "options": 7},
        {"chosen": 3, "options": {"score": [], "loss": {"x": "step"}}},
        {"options": {"score": {"x": 1, "log": "yes", "smoothing": 2, "metric": None, "more": 1}}},
        {"options": {"score": {"smoothing": True}}},
    ],
)
def test_what_means_nothing_is_forgotten(kept: dict[str, object]) -> None:
    state = BoardState.from_json(kept)
    assert state.chosen == "score"
    assert all(state.of(name) == Options() for name in BOARD)


def test_going_round_and_to_an_end() -> None:
    assert [after(BOARD, BOARD[-1], 1), after(BOARD, BOARD[0], -1), after(BOARD, "gone", 1)] == [
        BOARD[0],
        BOARD[-1],
        BOARD[0],
    ]
    assert [smoother(0.0, -1), smoother(0.0, 1), smoother(0.61, 1), smoother(0.98, 1)] == [0.0, 0.3, 0.8, 0.98]


# --- which panels are on the screen -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "at_once"), [(SMALL, 1), (WIDE, 3), (LARGE, 6)])
async def test_every_panel_is_one_key_away(app: MopoApp, size: tuple[int, int], at_once: int) -> None:
    async with app.run_test(size=size) as pilot:
        await settled(pilot, app)
        await pilot.press("l", "j", "j")  # the seed that runs
        for number, titles in enumerate(TITLES, start=1):
            await pilot.press(str(number))
            await settled(pilot, app)
            text = text_of(app)
            assert any(f"─ {title}" in text for title in titles)
            assert sum(any(f"─ {title}" in text for title in others) for others in TITLES) == at_once
            assert app.focused is not None
            assert app.focused.id == BOARD[number - 1]
            assert ("1 Loss  2 Uncertainty" in text) == (at_once < 6)
        await pilot.press("escape")
        assert app.screen.query_one("#runs").has_focus


@pytest.mark.parametrize("size", [SMALL, WIDE, LARGE])
async def test_tab_goes_through_all_panels_and_round(app: MopoApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await settled(pilot, app)
        await pilot.press("5")
        seen = []
        for _ in range(4):
            await pilot.press("tab")
            await pilot.pause()
            seen.append(app.focused.id if app.focused else "")
        assert seen == ["now", "dynamics", "uncertainty", "score"]
        await pilot.press("shift+tab", "shift+tab", "shift+tab")
        await pilot.pause()
        assert "─ 6 Now" in text_of(app)


@pytest.mark.parametrize("size", [SMALL, WIDE, LARGE])
async def test_each_panel_zooms_to_the_whole_screen(app: MopoApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await settled(pilot, app)
        await pilot.press("4", "z")
        await settled(pilot, app)
        for number in (4, 5, 6, 1, 2, 3):
            text = text_of(app)
            assert [f"{i} " for i in range(1, 7) if f"╭─ {i} " in text] == [f"{number} "]
            area = app.screen.query_one(f"#{BOARD[number - 1]}").outer_size
            assert (area.width, area.height) == (size[0], size[1] - 3)
            assert text.startswith(" ant-angle-mopo, 3 runs")
            await pilot.press("tab")
            await settled(pilot, app)
        await pilot.press("z")
        await settled(pilot, app)
        assert "3 seeds  0–2" in text_of(app)
        await pilot.press("z", "escape")
        await settled(pilot, app)
        assert "3 seeds  0–2" in text_of(app)
        assert not app.screen.query_one("#runs").has_focus


async def test_the_chosen_panel_stays_when_the_terminal_changes(app: MopoApp) -> None:
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot, app)
        await pilot.press("5")
        for size in (WIDE, SMALL, (60, 12), LARGE, SMALL, WIDE):
            await pilot.resize_terminal(*size)
            await settled(pilot, app)
            assert "5 Mean Q" in text_of(app)
            assert app.focused is not None
            assert app.focused.id == "optimisation"


async def test_a_click_on_a_name_brings_its_panel(app: MopoApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        await pilot.click(Tabs, offset=(text_of(app).splitlines()[5].index("4 Reality") - 42 + 3, 0))
        await settled(pilot, app)
        assert board_of(app).state.chosen == "calibration"
        assert "─ 4 Model against reality" in text_of(app)


async def test_what_was_remembered_is_shown(app: MopoApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        board_of(app).state = BoardState("optimisation").with_options("optimisation", Options(metric="policy/entropy"))
        await settled(pilot, app)
        assert "5 Entropy" in text_of(app) or "5 −log π" in text_of(app)


# --- keys of the panel with the focus ---------------------------------------------------------------------------------------------


async def test_x_goes_through_the_axes(app: MopoApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        await pilot.press("3")
        seen = []
        for _ in range(5):
            seen.append(plot_of(app, "score").x_title)
            await pilot.press("x")
        assert seen == ["updates", "epoch", "steps", "time", "updates"]
        await pilot.press("1")
        assert plot_of(app, "dynamics").x_title == "epoch"  # each panel has its own
        assert "x Axis" in footer(app)
        await pilot.press("2", "x")
        assert plot_of(app, "uncertainty").x_title == "u"
        assert "x Axis" not in footer(app)


async def test_plus_and_minus_smooth(app: MopoApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        await pilot.press("5")
        assert "+ Smooth" in footer(app)
        assert "+ - Smooth" not in footer(app)
        await pilot.press("minus")
        assert {line.smoothing for line in plot_of(app, "optimisation").lines} == {0.0}
        await pilot.press("plus", "plus")
        await pilot.pause()
        assert any(line.smoothing == 0.6 for line in plot_of(app, "optimisation").lines)
        assert "smoothed 0.6" in text_of(app)
        assert "+ - Smooth" in footer(app)
        await pilot.press(*["plus"] * 9, "minus")
        assert any(line.smoothing == 0.95 for line in plot_of(app, "optimisation").lines)
        assert {line.smoothing for line in plot_of(app, "score").lines} == {0.0}


async def test_v_goes_through_what_a_panel_can_show(app: MopoApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        await pilot.press("2", "v")
        await settled(pilot, app)
        assert plot_of(app, "uncertainty").heat is not None
        assert "u over time" in text_of(app)
        await pilot.press("v")
        assert plot_of(app, "uncertainty").heat is None
        await pilot.press("5")
        titles = []
        count = len(board_of(app)._views("optimisation"))
        for _ in range(count):
            titles.append(str(chart_of(app, "optimisation").border_title))
            await pilot.press("v")
        assert len(set(titles)) == count > 8
        assert chart_of(app, "optimisation").border_title == titles[0]
        await pilot.press("V")
        assert chart_of(app, "optimisation").border_title == titles[-1]
        await pilot.press("3")
        await pilot.pause()
        assert "v View" not in footer(app)  # it shows one thing only


async def test_the_scale_is_each_panels_own_and_stays_with_the_next_run(app: MopoApp) -> None:
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot, app)
        await pilot.press("1", "L", "5", "L")
        assert not plot_of(app, "dynamics").y_log
        assert plot_of(app, "optimisation").y_log
        await pilot.press("escape", "j")
        await settled(pilot, app)
        assert not plot_of(app, "dynamics").y_log
        assert plot_of(app, "optimisation").y_log
        await pilot.press("3")
        await pilot.pause()
        assert "L Log" not in footer(app)  # returns may be below 0


async def test_what_is_chosen_is_remembered(app: MopoApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        await pilot.press("4", "x")
        await pilot.pause()
        assert app.memory.get("board") == {"chosen": "calibration", "options": {"calibration": {"x": "epoch"}}}


# --- a row of seeds ---------------------------------------------------------------------------------------------------------------


def seeds_in(root: Path, count: int) -> list[Path]:
    root.mkdir()
    return [
        make_run(
            root, f"20260921-12000{seed}-hopper-medium-replay-mopo-s{seed}-aaa{seed}",
            task_name="hopper-medium-replay", seed=seed, until=0.5, ending="running", created=START + seed,
        )
        for seed in range(count)
    ]  # fmt: skip


async def test_a_row_shows_its_seeds_together_as_they_go_on(tmp_path: Path) -> None:
    folders = seeds_in(tmp_path / "runs", 3)
    app = fixed(MopoApp(Store.open(tmp_path / "runs")))
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot, app)
        for name in ("dynamics", "score", "optimisation"):
            plot = plot_of(app, name)
            assert len(plot.bands) == 1
            assert sum(line.behind for line in plot.lines) == 3
            assert sum(line.bold for line in plot.lines) == 1
        assert "mean of 3 seeds" in text_of(app)
        newest = {line.label: line.y.size for line in plot_of(app, "score").lines}
        recorder = Recorder(folders[1], echo=lambda _line: None)
        recorder.step, recorder.update, recorder.stage = 200_000, 55_000, "policy"
        with fixed_clock():
            recorder.metrics({"eval/return": 2222.0, "eval/normalized_score": 69.0}, epoch=55)
        await until(
            pilot,
            lambda: (
                {line.label: line.y.size for line in plot_of(app, "score").lines}
                == {**newest, "seed 1": newest["seed 1"] + 1}
            ),
            seconds=3,
        )
        await pilot.press("l", "j")
        await settled(pilot, app)
        assert not plot_of(app, "score").bands
        assert "1 Validation loss per member" in text_of(app)


async def test_of_a_seed_that_was_run_twice_the_newer_run_counts(tmp_path: Path) -> None:
    seeds_in(tmp_path / "runs", 2)
    again = "20260921-130000-hopper-medium-replay-mopo-s1-bbb1"
    later = "20260921-140000-hopper-medium-replay-mopo-s1-ccc1"
    for run_id, until_, ending in ((again, 0.2, "killed"), (later, 0.0, "queued")):
        make_run(
            tmp_path / "runs", run_id, task_name="hopper-medium-replay", seed=1, until=until_, ending=ending,
            created=START + 100 + (ending == "queued"),
        )  # fmt: skip
    app = fixed(MopoApp(Store.open(tmp_path / "runs")))
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot, app)
        dashboard = app.screen
        assert isinstance(dashboard, Dashboard)
        assert [run_id[-4:] for run_id in dashboard.watched()] == ["aaa0", "bbb1"]
        assert "4 runs  0–1" in text_of(app)


async def test_a_run_keeps_its_colour(app: MopoApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        seen: dict[str, set[str]] = {}
        for key in ("", "j", "j", "k", "k", "l", "j", "j", "k", "k"):
            if key:
                await pilot.press(key)
            await settled(pilot, app)
            entry = app.screen.query_one("#runs").entry  # type: ignore[attr-defined]
            inks = {line.ink for line in plot_of(app, "score").lines if not line.dash and " " not in line.ink}
            key_of = entry.key if not entry.under and len(entry.row.runs) > 1 else entry.lead.id
            seen.setdefault(key_of, set()).update(inks)
        assert len(seen) == 5
        assert all(len(inks) == 1 and inks < set(SERIES) for inks in seen.values())


# --- now --------------------------------------------------------------------------------------------------------------------------


async def test_now_follows_stages_alerts_and_the_log(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs", "20260921-141500-ant-angle-mopo-s1-k3v9", until=0.5, ending="running")
    log = folder / record.CONSOLE
    log.write_text("the first line\n")
    app = fixed(MopoApp(Store.open(tmp_path / "runs")))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("6")
        await until(pilot, lambda: "the first line" in text_of(app))
        text = text_of(app)
        assert "✓ dynamics" in text
        assert "▶ policy" in text
        assert "○ evaluation" in text
        assert "epoch 50/100" in text
        with open(log, "a") as file:
            file.write("the second line\n")
        await until(pilot, lambda: "the second line" in text_of(app), seconds=3)
        recorder = Recorder(folder, echo=lambda _line: None)
        recorder.stage = "policy"
        with fixed_clock():
            recorder.alert("Q explodes: mean 1e9 in policy epoch 50", cause="q")
        await until(pilot, lambda: "! policy: Q explodes: mean 1e9 in policy epoch 50" in text_of(app), seconds=3)


async def test_the_log_is_read_only_while_its_end_is_on_the_screen(app: MopoApp) -> None:
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        dashboard = app.screen
        assert isinstance(dashboard, Dashboard)
        assert dashboard.watched_log() is None
        await pilot.press("4")  # its page has Now on it
        run = dashboard.watched_log()
        assert run is not None
        assert run.id.endswith("k3v9")
        await pilot.press("1")
        assert dashboard.watched_log() is None


# --- where nothing is, or something breaks ----------------------------------------------------------------------------------------


async def test_empty_panels_say_why(app: MopoApp) -> None:
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot, app)
        await pilot.press("l", "j", "j", "j")
        await settled(pilot, app)
        assert text_of(app).count("queued: waits to be started") == 5
        assert "waits to be started" in text_of(app).split("6 Now")[1]


async def test_a_panel_that_crashes_says_so_in_its_place(app: MopoApp, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(table, "_MAKERS", {**table._MAKERS, "score": crash})
    monkeypatch.setattr("mopo_tui.widgets.now_panel.now", crash)
    async with app.run_test(size=LARGE) as pilot:
        await settled(pilot, app)
        assert text_of(app).count("cannot be shown: ValueError: no such thing") == 2
        await pilot.press("l", "j")
        await settled(pilot, app)
        await pilot.press("3", "x", "plus", "v", "L", "z", "z")
        await settled(pilot, app)
        text = text_of(app)
        assert text.count("cannot be shown: ValueError: no such thing") == 2
        assert "1 Validation loss per member" in text


# --- colours ----------------------------------------------------------------------------------------------------------------------


def _colours(app: MopoApp) -> set[str]:
    """What is written in which colour on the screen."""
    found = set()
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            if segment.text.strip() and segment.style and segment.style.color and segment.style.color.triplet:
                found.add(segment.style.color.triplet.hex)
    return found


@pytest.mark.parametrize("size", [SMALL, WIDE, LARGE])
async def test_every_colour_is_the_themes(app: MopoApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await settled(pilot, app)
        await pilot.press("2", "v", "6", "3")
        await settled(pilot, app)
        dark = _colours(app)
        app.theme = LIGHT.name
        await settled(pilot, app)
        light = _colours(app)
        for name in ("text", "muted", "faint", "sky"):
            assert colour(name, True) in dark
            assert colour(name, False) in light
            assert colour(name, True) not in light
            assert colour(name, False) not in dark
        ground = Color.parse(LIGHT.background or "")
        for name in light - {colour(ink, False) for ink in ("faint", *_shades())} - set(LIGHT.variables.values()):
            assert _contrast(Color.parse(name), ground) > 1.9, name


def _shades() -> Sequence[str]:
    """What lies behind on purpose."""
    return [f"{ink} {shade}" for ink in SERIES for shade in ("dim", "faint")] + [f"heat {i}" for i in range(32)]


def _contrast(one: Color, other: Color) -> float:
    def light(color: Color) -> float:
        parts = [c / 255 for c in color.rgb]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    first, second = sorted((light(one), light(other)), reverse=True)
    return (first + 0.05) / (second + 0.05)
