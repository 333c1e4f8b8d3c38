"""The list of runs: seeds in one row, opened and closed; filters and orders; and how fast it is with many runs."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from realistic import START, make_run
from screen_text import fixed, settled, text_of, until
from textual.pilot import Pilot

from engine import record
from mopo_tui.app import MopoApp
from mopo_tui.manager import Store
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.widgets.prompt import Prompt
from mopo_tui.widgets.run_list import RunList, time_left

WIDE, SMALL = (120, 40), (80, 24)


def lines_of(app: MopoApp) -> list[str]:
    """The list's lines between its borders."""
    return [line.split("│")[1].strip(" ▌") for line in text_of(app).splitlines() if line.startswith("│")]


async def test_seeds_of_a_setting_are_one_row_with_mean_spread_and_their_number(app: MopoApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        first, second, third = lines_of(app)[:3]
        assert first == "▶ ant-angle mopo                                                 3 seeds ▸"
        # One running, one queued, one finished; the returns of the two that have one: mean, sample deviation, their number.
        assert second.startswith("▶1 ○1 ✓1")
        last = [run.return_last for run in app.runs if run.task == "ant-angle" and run.seed in (0, 1)]
        ends = [value for value in last if value is not None and value > 1800]
        mean = sum(ends) / 2
        assert f"return {mean:.0f} ±" in second
        assert second.endswith("n2")
        assert "56 %" in second
        assert "3 min" in second
        assert third == "✓ ant-angle mbpo s0"


async def test_a_row_opens_to_its_seeds_and_closes_again(app: MopoApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        runs = app.screen.query_one(RunList)
        await pilot.press("l", "j", "j")
        await pilot.pause()
        assert [line[:9] for line in lines_of(app)[2:5]] == ["✓ s0   x7", "▶ s1   k3", "○ s2   p0"]
        assert runs.chosen is not None
        assert (runs.chosen.seed, len(runs.selected)) == (1, 1)
        await pilot.press("h")  # on a seed: the cursor goes to its row
        await pilot.pause()
        assert len(runs.selected) == 3
        assert "s0   x7k2" not in text_of(app)
        await pilot.press("enter")  # the first Enter opens the row, the next one goes to the panels
        assert not app.screen.has_class("-panels")
        await pilot.press("enter")
        assert app.screen.has_class("-panels")


async def test_the_cursor_stays_where_it_is_when_runs_come(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    make_run(root, "20260921-100000-ant-angle-mopo-s0-aaaa", seed=0, until=0.1, ending="killed")
    make_run(
        root, "20260921-110000-ant-angle-mbpo-s0-cccc", algorithm="mbpo", created=START + 5, until=0.1, ending="killed"
    )
    app = fixed(MopoApp(Store.open(root)))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        runs = app.screen.query_one(RunList)
        await pilot.press("j")
        assert [run.algorithm for run in runs.selected] == ["mopo"]
        make_run(root, "20260921-120000-ant-angle-mopo-s1-bbbb", seed=1, created=START + 9, until=0.1, ending="killed")
        await until(pilot, lambda: len(runs.selected) == 2, seconds=5)
        assert {run.seed for run in runs.selected} == {0, 1}
        assert lines_of(app)[0].endswith("2 seeds ▸")


async def test_filter_lists_what_fits_and_says_what_it_cannot_read(app: MopoApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("slash", *"scoore>1", "enter")
        await until(pilot, lambda: "no field 'scoore'; did you mean 'score'?" in text_of(app))
        assert app.screen.query_one(Prompt).is_open
        assert "⏎ Open" not in text_of(app)
        for _ in range(8):
            await pilot.press("backspace")
        await pilot.press(*"state=finished", "enter")
        await until(pilot, lambda: not app.screen.query_one(Prompt).is_open)
        text = text_of(app)
        assert "3 of 6: state=finished" in text
        assert "1 of 3 seeds" not in text
        assert "weak penalty" not in text
        assert "q Quit" in text.splitlines()[-1]
        assert isinstance(app.focused, RunList)
        await pilot.press("slash")
        assert app.screen.query_one("#prompt-input").value == "state=finished"  # type: ignore[attr-defined]
        for _ in range(14):
            await pilot.press("backspace")
        await pilot.press(*"seed=99", "enter")
        await until(pilot, lambda: "No run fits the filter" in text_of(app))
        await pilot.press("slash", *["backspace"] * 7, "enter")
        await until(pilot, lambda: "weak penalty" in text_of(app))


async def test_escape_leaves_the_prompt_and_changes_nothing(app: MopoApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("slash", *"seed=0", "escape")
        await pilot.pause()
        assert app.overview.arrangement.filter == ""
        assert "q Quit" in text_of(app).splitlines()[-1]
        await pilot.press("j")
        assert app.screen.query_one(RunList).chosen is not None


async def test_rows_are_ordered_by_any_field_or_setting(app: MopoApp) -> None:
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)

        async def sort(by: str) -> list[str]:
            before = app.overview
            await pilot.press("S", *["backspace"] * 30, *by, "enter")
            await until(pilot, lambda: app.overview is not before)
            await pilot.pause()
            return [
                line.split("  ")[0] for line in lines_of(app) if line[:1] in "▶✓✗○" and len(line) > 5 and line[1] == " "
            ]

        assert (await sort("rollout.coefficient"))[-1] == "✓ ant-angle mbpo s0"
        assert (await sort("-rollout.coefficient"))[0] == "✓ ant-angle mbpo s0"
        assert "by -rollout.coefficient" in text_of(app)
        await pilot.press("S", *["backspace"] * 30, *"nothing", "enter")
        await until(pilot, lambda: "no such field" in text_of(app))


async def test_rows_of_one_name_say_what_tells_them_apart(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for i, length in enumerate((5, 10)):
        settings: dict[str, object] = {"rollout.length": length}
        make_run(root, f"20260921-10000{i}-ant-angle-mopo-s0-aaa{i}", until=0.05, ending="killed", settings=settings)
    app = fixed(MopoApp(Store.open(root)))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        text = text_of(app)
        assert "ant-angle mopo s0  length 5" in text
        assert "ant-angle mopo s0  length 10" in text


async def test_a_long_name_gives_way_to_what_tells_rows_apart(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    for i, penalty in enumerate(("reward", "bellman")):
        for seed in (0, 1):
            make_run(
                root, f"20260921-10000{i}-halfcheetah-medium-replay-mopo-s{seed}-aaa{i}{seed}", until=0.05, ending="killed",
                task_name="halfcheetah-medium-replay", seed=seed, settings={"rollout.penalty": penalty},
            )  # fmt: skip
    app = fixed(MopoApp(Store.open(root)))
    async with app.run_test(size=WIDE) as pilot:
        await settled(pilot, app)
        assert [line.split()[1:4] for line in lines_of(app)[:4:2]] == [
            ["halfchee…", "mopo", "bellman"],
            ["halfcheet…", "mopo", "reward"],
        ]
    async with fixed(MopoApp(Store.open(root))).run_test(size=(200, 50)) as pilot:
        await settled(pilot, pilot.app)  # type: ignore[arg-type]
        text = text_of(pilot.app)
        assert "mopo  penalty bellman" in text
        assert "mopo  penalty reward" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (48.2, "48 s"), (59.6, "1 min"), (750, "12 min"), (3575, "1.0 h"), (5400, "1.5 h"), (1e5, "28 h")],
)
def test_time_left(seconds: float, text: str) -> None:
    assert time_left(seconds) == text


def many_runs(root: Path, count: int) -> Store:
    """A store of that many small runs, five seeds a setting, all over."""
    first = make_run(root, "20260901-000000-ant-angle-mopo-s0-r000", until=0.1, ending="killed")
    about, config = record.read_json(first / "run.json"), (first / "config.toml").read_text()
    assert about is not None
    for i in range(1, count):
        run_id = f"20260901-000000-ant-angle-mopo-s{i % 5}-r{i:03}"
        folder = root / run_id
        shutil.copytree(first, folder)
        record.write_json(folder / "run.json", {**about, "id": run_id, "seed": i % 5, "name": "", "created": START + i})
        epochs = f"[policy]\nepochs = {i // 5 + 1}"
        text = config.replace("seed = 0", f"seed = {i % 5}", 1)
        lines = text.splitlines()
        at = lines.index("[policy]")
        kept = [line for j, line in enumerate(lines) if not (j > at and line.startswith("epochs ="))]
        kept[at : at + 1] = epochs.splitlines()
        (folder / "config.toml").write_text("\n".join(kept) + "\n")
    return Store.open(root)


async def test_a_key_is_answered_at_once_with_500_runs(tmp_path: Path) -> None:
    """CPU time of this process from key to changed screen, the best of several: another process cannot make it slower."""
    app = fixed(MopoApp(many_runs(tmp_path / "runs", 500)))
    async with app.run_test(size=WIDE) as pilot:
        await until(pilot, lambda: len(app.runs) == 500, seconds=60)
        await settled(pilot, app)
        assert len(app.overview.rows) == 100
        app.poller.end()  # the reader's own work is measured elsewhere

        async def cost(pilot: Pilot[None], key: str) -> float:
            before, begun = text_of(app), time.process_time()
            await pilot.press(key)
            await pilot.pause()
            spent = time.process_time() - begun
            assert text_of(app) != before
            return spent

        assert isinstance(app.screen, Dashboard)
        costs = [await cost(pilot, key) for key in "jljjhjjlhkk"]
        assert sorted(costs)[len(costs) // 2] < 0.05, costs
