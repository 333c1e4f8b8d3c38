"""What a person does with runs in the app: on run folders, and on a real run that is paused, resumed, killed and restarted."""

from __future__ import annotations

from pathlib import Path

import pytest
from realistic import START, make_run
from screen_text import fixed, settled, text_of, until
from textual.widgets import Input

from engine.config import resolve
from mopo_tui.app import MopoApp
from mopo_tui.manager import Store, trash
from mopo_tui.screens.confirm import ConfirmScreen
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.screens.log import LogScreen
from mopo_tui.screens.queue import QueueScreen
from mopo_tui.screens.trash import TrashScreen
from mopo_tui.widgets.run_list import RunList

SMALL, WIDE = (80, 24), (120, 40)


@pytest.fixture
def seeds(tmp_path: Path) -> Store:
    """Two ended seeds of one setting and one run of another."""
    root = tmp_path / "runs"
    for seed in (0, 1):
        run_id = f"20260921-14150{seed}-ant-angle-mopo-s{seed}-aaa{seed}"
        make_run(root, run_id, seed=seed, created=START + seed, until=0.2, ending="killed")
    make_run(root, "20260921-120000-ant-angle-mbpo-s0-bbbb", algorithm="mbpo", created=START - 9, until=0.2)
    return Store.open(root)


async def test_delete_asks_goes_to_the_trash_and_comes_back(seeds: Store) -> None:
    app = fixed(MopoApp(seeds))
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("D")
        assert isinstance(app.screen, ConfirmScreen)
        await until(pilot, lambda: "Delete 2 runs of ant-angle mopo (aaa1 aaa0)?" in text_of(app))
        await pilot.press("enter")  # the default is No
        await pilot.pause(0.2)
        assert len(seeds.runs()) == 3
        await pilot.press("D", "y")
        await until(pilot, lambda: len(app.runs) == 1)
        await until(pilot, lambda: "ant-angle mopo s1 (aaa1) lies in the trash" in text_of(app))
        assert {run.id[-4:] for run in trash.trash_of(seeds).runs()} == {"aaa0", "aaa1"}
        await pilot.press("u")
        await until(pilot, lambda: isinstance(app.screen, TrashScreen) and "(aaa1)" in text_of(app))
        assert "(aaa0)" in text_of(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: len(app.runs) == 2)
        await until(pilot, lambda: "ant-angle mopo s0 (aaa0) is back" in text_of(app))
        assert {run.id[-4:] for run in seeds.runs()} == {"aaa0", "bbbb"}


@pytest.mark.parametrize(
    ("key", "verb", "asked"), [("s", "Stop", 2), ("K", "Kill", 2), ("R", "Restart", 1), ("D", "Delete", 2)]
)
async def test_what_takes_something_away_asks_names_the_runs_and_does_nothing_unless_told(
    finished_store: Store, key: str, verb: str, asked: int
) -> None:
    def picture() -> dict[str, tuple[int, int]]:
        files = (path for path in finished_store.root.rglob("*") if ".index.json" not in path.name)
        return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}

    before = picture()
    app = fixed(MopoApp(finished_store))
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        for no in ("enter", "escape", "n", "q"):
            await pilot.press(key)
            await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
            assert app.focused is not None
            assert app.focused.id == "no"
            question = next(line for line in text_of(app).splitlines() if f"{verb} " in line and "?" in line)
            ids = [run.id[-4:] for run in app.runs if run.id[-4:] in question]
            assert len(ids) == asked, question
            await pilot.press(no)
            await until(pilot, lambda: isinstance(app.screen, Dashboard))
        await pilot.pause(0.3)
    assert picture() == before


async def test_an_empty_trash_says_so(seeds: Store) -> None:
    app = fixed(MopoApp(seeds))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("u")
        await until(pilot, lambda: "The trash is empty." in text_of(app))
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)


async def test_tags_of_a_row_are_those_that_all_its_runs_have(seeds: Store) -> None:
    app = fixed(MopoApp(seeds))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("l", "j", "t", *"alone", "enter")
        await until(pilot, lambda: "has the tags alone" in text_of(app))
        await until(pilot, lambda: "#alone" in text_of(app))
        await pilot.press("k", "t")
        assert app.screen.query_one("#prompt-input", Input).value == ""
        await pilot.press(*"both, new", "enter")
        await until(pilot, lambda: all({"both", "new"} <= set(run.tags) for run in app.runs[:2]), seconds=5)
        await pilot.press("t")
        assert app.screen.query_one("#prompt-input", Input).value == "both new"
        await pilot.press(*["backspace"] * 4, "enter")
        await until(pilot, lambda: not any("new" in run.tags for run in app.runs), seconds=5)
    tags = {run.id[-4:]: set(run.tags) for run in seeds.runs()}
    assert tags == {"aaa0": {"alone", "both"}, "aaa1": {"both"}, "bbbb": set()}


async def test_an_unusable_tag_is_an_error_and_changes_nothing(seeds: Store) -> None:
    app = fixed(MopoApp(seeds))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("G", "t", *"-bad", "enter")
        await until(pilot, lambda: "begins with no + or -" in text_of(app))
        assert seeds.find("bbbb").tags == ()


async def test_note_and_name(seeds: Store) -> None:
    app = fixed(MopoApp(seeds))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("G", "e", *"look again", "enter")
        await until(pilot, lambda: "has a note" in text_of(app))
        await pilot.press("m", *["backspace"] * 30, *"base", "enter")
        await until(pilot, lambda: "is called base" in text_of(app))
        await pilot.press("g", "m", *["backspace"] * 30, *"weak", "enter")
        await until(pilot, lambda: sorted(run.name for run in app.runs) == ["base", "weak-s0", "weak-s1"], seconds=5)
        await until(pilot, lambda: "weak  ant-angle mopo" in text_of(app))  # still one row
        assert len(app.screen.query_one(RunList).selected) == 2
    assert seeds.find("bbbb").note == "look again"


async def test_only_what_can_be_done_is_offered(seeds: Store) -> None:
    app = fixed(MopoApp(seeds))
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        footer = text_of(app).splitlines()[-1]
        assert "r Resume" in footer
        assert "s Stop" not in footer
        assert "p Pause" not in footer
        await pilot.press("s", "p", "K")
        assert isinstance(app.screen, Dashboard)
        await pilot.press("G", "r")  # finished: there is nothing to resume
        await pilot.pause(0.3)
        assert seeds.find("bbbb").attempt == 1
        assert "q Quit" in text_of(app).splitlines()[-1]


@pytest.mark.parametrize("width", [80, 60, 40])
async def test_the_footer_never_loses_help_and_the_way_out(app: MopoApp, width: int) -> None:
    async with app.run_test(size=(width, 24)) as pilot:
        await settled(pilot, app)
        footer = text_of(app).splitlines()[-1]
        assert footer.endswith("? Help  q Quit")
        assert footer.startswith(" ⏎ Open")
        assert len(footer) <= width


async def test_a_run_is_queued_taken_out_and_resumed(seeds: Store) -> None:
    seeds.queue.set_slots(0)
    app = fixed(MopoApp(seeds))
    async with app.run_test(size=WIDE, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("r")
        await until(pilot, lambda: len(seeds.queue.waiting()) == 2, seconds=30)
        await until(pilot, lambda: "place 1" in text_of(app) and "place 2" in text_of(app), seconds=30)
        await until(pilot, lambda: {run.state.value for run in app.runs[:2]} == {"queued"})
        await pilot.press("s", "y")
        await until(pilot, lambda: "is taken out of the queue" in text_of(app))
        assert seeds.queue.waiting() == []


async def test_a_real_run_is_paused_resumed_killed_and_restarted(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "runs")
    config = resolve([("test", {"task": "halfcheetah-random", "preset": "smoke", "policy.epochs": 2000})]).config
    run = store.create(config)
    store.launch(run)
    app = fixed(MopoApp(store))

    def state() -> str:
        return next((each.state.value for each in app.runs if each.id == run.id), "")

    async with app.run_test(size=WIDE, notifications=True) as pilot:
        try:
            await until(pilot, lambda: state() == "running" and app.runs[0].stage == "policy", seconds=120)
            await pilot.press("p")
            await until(pilot, lambda: state() == "paused", seconds=30)
            assert "r Resume" in text_of(app).splitlines()[-1]
            await pilot.press("r")
            await until(pilot, lambda: state() == "running", seconds=30)
            await pilot.press("K")
            await until(pilot, lambda: f"Kill halfcheetah-random mopo s0 ({run.id[-4:]})?" in text_of(app))
            await pilot.press("y")
            await until(pilot, lambda: state() in ("stopped", "failed"), seconds=30)
            store.queue.set_slots(0)
            await pilot.press("R", "y")
            await until(pilot, lambda: len(app.runs) == 2, seconds=30)
            await until(pilot, lambda: "waits in the queue, place 1 as" in text_of(app), seconds=30)
        finally:
            store.abort(store.run(run.id))
    again = next(each for each in store.runs() if each.id != run.id)
    assert (again.state.value, again.name) == ("queued", run.name)
    assert (again.folder / "config.toml").read_text() == (run.folder / "config.toml").read_text()


@pytest.mark.parametrize(
    ("keys", "label", "then"),
    [("", "Log", LogScreen), ("o", "Back", Dashboard), ("Q", "Back", Dashboard), ("Q", "More slots", QueueScreen)],
)
async def test_the_palette_offers_each_screens_actions(seeds: Store, keys: str, label: str, then: type) -> None:
    app = fixed(MopoApp(seeds))
    slots = seeds.queue.slots()
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press(*keys)
        await pilot.pause(1.0)
        commands = {command.title: command for command in app.get_system_commands(app.screen)}
        assert {"Help", "Quit", label} <= set(commands)
        app.call_later(commands[label].callback)
        await until(pilot, lambda: isinstance(app.screen, then))
        if label == "More slots":
            await until(pilot, lambda: seeds.queue.slots() == slots + 1)
