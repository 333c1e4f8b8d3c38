"""The form of new runs driven by its keys and the mouse: every field, settings, sweeps, like another run, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from realistic import make_run
from screen_text import check_screen, fixed, settled, text_of, told, until
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from engine.config import ALGORITHMS, PRESETS
from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.manager.settings import read_settings
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.screens.new_run import AGAIN_SECONDS, NewRunScreen
from mopo_tui.widgets.choice import Choice
from mopo_tui.widgets.settings_field import SettingsField

SMALL, SIZES = (80, 24), {"80x24": (80, 24), "120x40": (120, 40)}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store on a host without a free slot: what is started waits."""
    store = Store.open(tmp_path / "runs")
    store.queue.set_slots(0)
    return store


async def opened(pilot: Pilot[None], app: MopoApp) -> NewRunScreen:
    """The empty form, once it has been examined."""
    await until(pilot, lambda: app.looked)
    await pilot.press("a")
    await until(pilot, lambda: "100k-v0: built first" in text_of(app))
    assert isinstance(app.screen, NewRunScreen)
    return app.screen


def value(app: MopoApp, name: str) -> str:
    return app.screen.query_one(f"#{name}", Input).value


async def press(pilot: Pilot[None], *keys: str) -> None:
    """One after the other, each seen before the next."""
    for key in keys:
        await pilot.press(key)
    await pilot.pause()


async def test_every_field_is_reached_with_the_arrow_and_reaches_the_run(store: Store) -> None:
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        screen = await opened(pilot, app)
        await press(pilot, *"hopper-medium-e", "down")  # typing finds the task
        assert screen.query_one("#task", Choice).value == "hopper-medium-expert"
        await press(pilot, *"d4rl:hopper-medium-expert-v2", "down", "right", "right", "down", *"smoke", "down")
        await press(pilot, *"1-2", "down", *"policy.epochs=9", "enter", "enter", "down", "down")
        await press(pilot, *"cuda:1", "down", *"2", "down", *"mine", "down", *"a,b", "down", *"why", "down")
        assert screen.query_one("#task", Choice).has_focus  # once around
        await until(pilot, lambda: "2 runs" in text_of(app))
        assert "downloaded first, 305 MB" in text_of(app)
        assert "cuda:1 with 2 threads" in text_of(app)
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.runs) == 2)
    runs = sorted(store.runs(), key=lambda run: run.seed)
    assert [(run.task, run.algorithm, run.preset, run.seed) for run in runs] == [
        ("hopper-medium-expert", "mb2po", "smoke", 1),
        ("hopper-medium-expert", "mb2po", "smoke", 2),
    ]
    assert [(run.name, run.tags, run.note) for run in runs] == [(f"mine-s{seed}", ("a", "b"), "why") for seed in (1, 2)]
    settings = read_settings(runs[0].folder)
    wanted = {"dataset.source": "d4rl:hopper-medium-expert-v2", "compute.device": "cuda:1", "compute.threads": 2}
    assert wanted.items() <= settings.items()
    assert settings["policy.epochs"] == 9
    assert [job.run_id for job in store.queue.waiting()] == [run.id for run in runs]


async def test_what_is_wrong_stands_under_its_field_as_one_types(store: Store) -> None:
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, app)
        await press(pilot, "down", "down", "down", "down", "x")
        await until(pilot, lambda: "'x': write them as 0-4, 0,2,5 or 0-2,7" in text_of(app))
        lines = text_of(app).splitlines()
        at = next(i for i, line in enumerate(lines) if " Seeds " in line)
        assert "'x': write them" in lines[at + 1]
        assert "Nothing yet. Put right first: seeds." in text_of(app)
        await press(pilot, "down", "down", *"gpu", "enter")
        await pilot.pause(0.3)
        assert screen.query_one("#seeds", Input).has_focus  # Enter goes to what is wrong first
        assert store.runs() == []
        await press(pilot, "backspace", "3", "enter")
        await until(pilot, lambda: "'gpu' is not cpu, cuda or cuda:N" in text_of(app))
        assert "write them" not in text_of(app)
        await until(pilot, lambda: "first: device." in text_of(app))
        await press(pilot, "enter", *["backspace"] * 3)
        await until(pilot, lambda: "ant-angle-mopo-s3" in text_of(app))
        await press(pilot, "escape")
        assert isinstance(app.screen, Dashboard)
    assert store.runs() == []


async def test_enter_counts_what_is_typed_right_before_it(store: Store) -> None:
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await pilot.press("down", "down", "down", "down", "4", "enter", "enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.runs) == 1)
        await pilot.press("a")
        await until(pilot, lambda: "100k-v0: built first" in text_of(app))
        await pilot.press("down", "down", "down", "down", "x", "enter")
        await until(pilot, lambda: "'x': write them as" in text_of(app))
        assert isinstance(app.screen, NewRunScreen)
    assert [run.seed for run in store.runs()] == [4]


async def test_settings_are_found_by_a_part_of_their_name(store: Store) -> None:
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, app)
        settings = screen.query_one(SettingsField)
        await press(pilot, *["down"] * 5, *"length")
        text = text_of(app)
        assert re.search(r"rollout\.length +5 +model steps", text)  # its value, beside its name
        assert "rollout.length = 5: model steps per rollout h; at least 1" in text
        await press(pilot, "down")
        assert "rollout.initial_length = 0: h of the first epoch" in text_of(app)
        await press(pilot, "up", "up")
        assert "rollout.growth_epochs = 0: epochs over which" in text_of(app)
        await press(pilot, "escape")  # one layer out: the search
        assert settings.search.value == ""
        await press(pilot, *"rollout.lenth=3")
        assert "did you mean 'rollout.length'?" in text_of(app)
        await press(pilot, "enter")  # takes nothing
        assert settings.rows == []
        await press(pilot, "escape", *"xyzzy")
        assert "no key is called or about 'xyzzy'" in text_of(app)
        await press(pilot, "escape", *"seed=3")
        assert "seed has a field of its own: seeds" in text_of(app)
        await press(pilot, "escape", *"coef", "enter")
        assert [row.key for row in settings.rows] == ["rollout.coefficient"]
        await until(pilot, lambda: "default 1" in text_of(app))
        assert "penalty coefficient λ; at least 0" in text_of(app)  # what it means, while its value is typed
        await press(pilot, "minus", "1")
        await until(pilot, lambda: "-1 is not at least 0" in text_of(app))
        await press(pilot, "backspace", "backspace", "7", "enter")
        assert settings.search.has_focus
        await until(pilot, lambda: "λ 7" in text_of(app))
        await press(pilot, *"coef", "enter")  # the same key again: its row
        await until(pilot, lambda: settings.row is settings.rows[0])
        await press(pilot, "ctrl+x")
        await until(pilot, lambda: settings.rows == [] and settings.search.has_focus)
        await until(pilot, lambda: "λ 1 " in text_of(app))


async def test_a_sweep_says_how_many_runs_and_names_the_first(store: Store) -> None:
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        await press(pilot, *["down"] * 4, *"0-4", "down", *"coef", "enter", *"0.5,1,5")
        await until(pilot, lambda: "15 runs" in text_of(app))
        text = text_of(app)
        assert "ant-angle-mopo: coefficient=0.5-s0, coefficient=0.5-s1," in text
        assert "coefficient=0.5-s3 and 11 more" in text
        assert "λ 0.5, 1, 5" in text
        assert "all of them" not in text  # no slots, no end
        assert "wait in the queue, from place 1 on: 0 of 0 slots taken" in text
        await press(pilot, "enter", "enter", "enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.runs) == 15)
    assert {(run.seed, read_settings(run.folder)["rollout.coefficient"]) for run in store.runs()} == {
        (seed, coefficient) for seed in range(5) for coefficient in (0.5, 1.0, 5.0)
    }
    assert len({run.group for run in store.runs()}) == 1
    assert len(store.queue.waiting()) == 15


async def test_like_this_run_but(store: Store) -> None:
    own: dict[str, object] = {"rollout.coefficient": 2.5, "policy.epochs": 50}
    make_run(store.root, "20260921-141500-ant-angle-mopo-s4-k3v9", seed=4, settings=own)
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("A")
        await until(pilot, lambda: "50 epochs × 1000 updates" in text_of(app))
        assert isinstance(app.screen, NewRunScreen)
        assert "New run like k3v9, but …" in text_of(app)
        assert app.screen.query_one(SettingsField).texts == {"rollout.coefficient": "2.5", "policy.epochs": "50"}
        assert value(app, "seeds") == "4"
        await until(pilot, lambda: "default 100" in text_of(app))
        await press(pilot, "down", *["backspace"] * 3, "6", "up", "up", "backspace", "5")  # another λ, another seed
        await until(pilot, lambda: "λ 6" in text_of(app) and "ant-angle-mopo-s5" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.runs) == 2)
    new = store.find("latest")
    old = {**read_settings(store.find("k3v9").folder), "seed": 5, "rollout.coefficient": 6.0}
    assert read_settings(new.folder) == {**old, "compute.threads": 1}


async def test_a_run_that_cannot_be_read_fills_no_form(store: Store) -> None:
    folder = make_run(store.root, "20260921-141500-ant-angle-mopo-s4-k3v9", seed=4)
    (folder / "config.toml").write_text("rollout = 3\n")
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL, notifications=True) as pilot:
        await settled(pilot, app)
        await pilot.press("A")
        await until(pilot, lambda: "unknown key 'rollout'" in told(app))
        assert isinstance(app.screen, Dashboard)


async def test_the_mouse_chooses_takes_and_removes(store: Store) -> None:
    app = fixed(MopoApp(store))
    async with app.run_test(size=(120, 40)) as pilot:
        screen = await opened(pilot, app)
        settings = screen.query_one(SettingsField)
        await pilot.click("#algorithm", offset=(10, 0))  # ‹mopo›  mbpo
        assert screen.query_one("#algorithm", Choice).value == "mbpo"
        await pilot.click("#setting-search")
        await press(pilot, *"length")
        await pilot.click(OptionList, offset=(5, 1))
        await until(pilot, lambda: settings.row is not None)
        assert [row.key for row in settings.rows] == ["rollout.initial_length"]
        await pilot.click(".setting-remove")
        await until(pilot, lambda: settings.rows == [])
        await pilot.click("#seeds")
        await press(pilot, "8")
        await until(pilot, lambda: "ant-angle-mbpo-s8" in text_of(app))
        keys = next(i for i, line in enumerate(text_of(app).splitlines()) if "⏎ Start" in line)
        await pilot.click(offset=(text_of(app).splitlines()[keys].index("Start"), keys))
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.runs) == 1)


async def test_what_cannot_be_made_is_said_and_nothing_is_left(store: Store) -> None:
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        await opened(pilot, app)
        queue = store.root / "queue"
        for file in queue.iterdir():
            file.unlink()
        queue.rmdir()
        queue.write_text("in the way")
        await press(pilot, *["down"] * 4, *"0-2", "enter")
        await until(pilot, lambda: "Nothing is started. Enter tries again." in text_of(app))
        await pilot.pause(AGAIN_SECONDS + 0.5)  # the reason stands until something else is typed
        assert "cannot queue" in text_of(app)
        assert isinstance(app.screen, NewRunScreen)
        assert store.runs() == []
        queue.unlink()
        store.queue.set_slots(0)
        await press(pilot, "enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and len(app.runs) == 3)


async def test_what_nobody_chose_follows_the_persons_file(store: Store) -> None:
    (Path.cwd() / "mopo.toml").write_text('task = "hopper-medium"\npreset = "smoke"\nseed = 7\n')
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.looked)
        await pilot.press("a")
        await until(pilot, lambda: "hopper-medium-mopo-s7" in text_of(app))
        assert app.screen.query_one("#task", Choice).value == "hopper-medium"
        assert app.screen.query_one("#preset", Choice).value == "smoke"


async def test_a_dataset_that_is_there_is_present(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "datasets" / "mopo" / "ant-angle" / "100k-v0"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text(json.dumps({"fingerprint": "abc", "size": 100_000, "episodes": 100}))
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        await until(pilot, lambda: app.looked)
        await pilot.press("a")
        await until(pilot, lambda: "mopo/ant-angle/100k-v0: present" in text_of(app))


async def test_every_algorithm_and_preset_is_offered_and_explained(store: Store) -> None:
    app = fixed(MopoApp(store))
    async with app.run_test(size=SMALL) as pilot:
        screen = await opened(pilot, app)
        await pilot.press("down", "down")
        for algorithm in ALGORITHMS:
            assert screen.query_one("#algorithm", Choice).value == algorithm
            await until(pilot, lambda: f"{algorithm.upper()}: " in text_of(app))  # noqa: B023
            await pilot.press("right")
        await pilot.press("down")
        shown = []
        for _ in PRESETS:
            shown.append(screen.query_one("#preset", Choice).value)
            await pilot.press("right")
        assert sorted(shown) == sorted(PRESETS)


# --- how it looks -----------------------------------------------------------------------------------------------------------------

FILLED = [*["down"] * 4, *"0-4", "down", *"coef", "enter", *"0.5,1,5", "enter"]
LOOKS = {
    "new-run-search": [*["down"] * 5, *"hidden"],
    "new-run-sweep": FILLED,
    "new-run-wrong": [*FILLED, *"dynamics.layer_norm=no", "enter", "down", *"gpu"],
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", LOOKS)
async def test_screen(store: Store, name: str, size: str) -> None:
    store.queue.set_slots(2)
    app = fixed(MopoApp(store))
    async with app.run_test(size=SIZES[size]) as pilot:
        await settled(pilot, app)
        await pilot.press("a")
        await until(pilot, lambda: "built first" in text_of(app))
        await press(pilot, *LOOKS[name])
        await until(pilot, lambda: name == "new-run-search" or "15 runs" in text_of(app) or "device." in text_of(app))
        await pilot.pause(0.3)
        check_screen(app, f"{name}-{size}")


async def test_screen_of_a_run_like_another(app: MopoApp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mopo_tui.manager.launcher.ThisHost.slots", lambda _: 2)
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("G", "A")
        await until(pilot, lambda: "built first" in text_of(app) and "default" in text_of(app))
        check_screen(app, "new-run-like-80x24")
