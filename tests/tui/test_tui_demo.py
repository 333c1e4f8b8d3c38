"""`mopo demo`: finished runs that ship with the project, thinned, read only, and looked at in the app."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from realistic import START, make_run
from screen_text import fixed, settled, text_of, until

from engine import record
from mopo_tui.app import MopoApp
from mopo_tui.cli import demo as command
from mopo_tui.manager import Run, RunNotFound, RunReader, Store, StoreError, compare, locations, thinned
from mopo_tui.manager.comparison_tables import tables
from mopo_tui.manager.index import INDEX
from mopo_tui.screens.dashboard import Dashboard

ROOT = Path(__file__).parents[2]


@pytest.fixture
def finished(tmp_path: Path) -> Store:
    """Two finished seeds and one killed run."""
    root = tmp_path / "runs"
    for seed in (0, 1):
        make_run(root, f"20260921-14150{seed}-ant-angle-mopo-s{seed}-aaa{seed}", seed=seed, created=START + seed)
    make_run(root, "20260921-120000-ant-angle-mopo-s2-bbbb", seed=2, created=START - 9, until=0.2, ending="killed")
    return Store.open(root)


def written(finished: Store, folder: Path, *, most: int = 40_000) -> list[Run]:
    """The finished runs, thinned."""
    runs = [run for run in finished.runs() if run.state.value == "finished"]
    thinned.write(runs, folder, most_bytes=most, policies=False, force=False)
    return Store.open(folder, read_only=True).runs()


def picture(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder, with its time and size."""
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def test_a_thinned_run_does_not_say_whose_it_was_or_where(finished: Store, tmp_path: Path) -> None:
    run = next(run for run in finished.runs() if run.state.value == "finished")
    about, environment = (record.read_json(run.folder / name) or {} for name in (record.RUN, record.ENVIRONMENT))
    record.write_json(run.folder / record.RUN, {**about, "owner": "ada", "paths": {"data": "/home/ada"}})
    record.write_json(run.folder / record.ENVIRONMENT, {**environment, "host": "node7", "platform": "Linux-6.1-node"})
    (small,) = (one for one in written(finished, tmp_path / "small") if one.id == run.id)
    for name in (record.RUN, record.ENVIRONMENT):
        text = (small.folder / name).read_text()
        assert not [word for word in ("ada", "node", str(tmp_path)) if word in text], name
    assert {"cpu", "versions"} <= set(record.read_json(small.folder / record.ENVIRONMENT) or {})


def test_a_thinned_run_is_small_and_compares_as_the_run_does(finished: Store, tmp_path: Path) -> None:
    small = written(finished, tmp_path / "small")
    runs = [run for run in finished.runs() if run.state.value == "finished"]
    assert [run.id for run in small] == [run.id for run in runs]
    for thin, run in zip(small, runs, strict=True):
        assert (thin.state, thin.result, thin.name) == (run.state, run.result, run.name)
        rows = [(thin.folder / name).stat().st_size for name in (record.METRICS, record.HISTOGRAMS)]
        assert 30_000 < sum(rows) <= 40_000 < (run.folder / record.METRICS).stat().st_size
        ours, theirs = RunReader(thin.folder), RunReader(run.folder)
        ours.refresh()
        theirs.refresh()
        assert ours.names() == theirs.names()
        for name in theirs.names():
            few, all_ = ours.series(name), theirs.series(name)
            assert (few.value[0], few.value[-1]) == (all_.value[0], all_.value[-1])
            if name.startswith("eval/"):
                np.testing.assert_array_equal(few.value, all_.value)
            else:
                kept = np.isin(all_.step, few.step)
                np.testing.assert_array_equal(few.value, all_.value[kept])
        np.testing.assert_array_equal(ours.histogram("rollout"), theirs.histogram("rollout"))
        there = {path.name for path in thin.folder.iterdir()}
        assert there.isdisjoint({record.CHECKPOINTS, record.CONTROL, record.PROCESS, record.HEARTBEAT})
        about, before = (record.read_json(each.folder / record.RUN) or {} for each in (thin, run))
        assert before["owner"]
        assert about == {key: value for key, value in before.items() if key not in ("owner", "paths")}
    assert tables(compare(small)) == tables(compare(runs))


def test_rows_that_fit_stay_as_they_are(finished: Store, tmp_path: Path) -> None:
    for thin in written(finished, tmp_path / "small", most=10_000_000):
        for name in (record.METRICS, record.HISTOGRAMS, record.CONFIG, record.EVENTS):
            assert (thin.folder / name).read_bytes() == (finished.run(thin.id).folder / name).read_bytes()


def test_what_cannot_be_thinned_leaves_nothing(finished: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="only finished runs"):
        thinned.write(finished.runs(), tmp_path / "small", most_bytes=1, policies=False, force=False)
    assert not (tmp_path / "small").exists()
    [run, _] = written(finished, tmp_path / "small")
    with pytest.raises(StoreError, match="--force replaces it"):
        written(finished, tmp_path / "small")
    with pytest.raises(StoreError, match="is there already"):
        thinned.write([run], run.folder.parent, most_bytes=1, policies=False, force=True)
    shutil.rmtree(finished.run(run.id).folder / "checkpoints", ignore_errors=True)
    (finished.run(run.id).folder / "checkpoints").mkdir()
    (finished.run(run.id).folder / "checkpoints" / "final.safetensors").write_bytes(b"policy")
    [again] = thinned.write([finished.run(run.id)], run.folder.parent, most_bytes=1, policies=True, force=True)
    assert (again / "checkpoints" / "final.safetensors").read_bytes() == b"policy"
    assert len((again / record.METRICS).read_bytes().splitlines()) > 2
    assert not any(path.name.startswith(".") for path in again.parent.iterdir())


async def test_the_app_on_runs_that_are_only_looked_at_changes_nothing(finished: Store, tmp_path: Path) -> None:
    written(finished, tmp_path / "small")
    before = picture(tmp_path / "small")
    store = Store.open(tmp_path / "small", read_only=True)
    app = fixed(MopoApp(store))
    app.place = "~/reference (only to look at)"
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, app)
        assert "(only to look at)" in text_of(app).splitlines()[0]
        for key in ("a", "D", "u", "Q", "R", "t", "e", "m", "K", "s", "p", "r", "d"):
            await pilot.press(key)
            assert isinstance(app.screen, Dashboard), key
            assert not app.screen.has_class("-asking"), key
        names = {command.title for command in app.get_system_commands(app.screen)}
        assert names.isdisjoint({"New run", "Delete", "Restore", "Restart", "Tag", "Note", "Rename", "Queue", "Stop"})
        assert {"Compare", "Filter", "Log"} & names
        await pilot.press("l", "o")
        await until(pilot, lambda: "Log of" in text_of(app))
        await pilot.press("escape", "W")
        await until(pilot, lambda: "has no policy in its folder." in text_of(app), seconds=30)
        await pilot.press("escape", "enter")
        await pilot.pause(1.0)
    assert picture(tmp_path / "small") == before
    assert (store.derived / INDEX).is_file()
    for change in (store.stop, store.launch, store.abort, store.pause, store.unpause, store.restart):
        with pytest.raises(StoreError, match="only there to be looked at"):
            change(store.runs()[0])
    assert picture(tmp_path / "small") == before


def test_where_the_runs_lie_and_what_is_said_without_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locations.reference_runs() == ROOT / "runs" / "reference"
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    assert "reference_runs/**/*" in packages["package-data"]["mopo_tui"]
    monkeypatch.setattr(locations, "reference_runs", lambda: tmp_path / "nowhere")
    with pytest.raises(RunNotFound, match="no finished runs come with this copy"):
        command.demo()
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "nowhere").mkdir()
    (tmp_path / "nowhere" / "README.md").write_text("nothing yet", encoding="utf-8")
    with pytest.raises(RunNotFound, match="no finished runs come with this copy"):
        command.demo()
    assert [path.name for path in (tmp_path / "nowhere").iterdir()] == ["README.md"]


def test_the_runs_that_ship_are_finished_small_and_of_nobody() -> None:
    folder = ROOT / "runs" / "reference"
    runs = Store.open(folder, read_only=True).runs()
    assert runs
    assert {run.state.value for run in runs} == {"finished"}
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 12_000_000
    for run in runs:
        about, environment = (record.read_json(run.folder / name) or {} for name in (record.RUN, record.ENVIRONMENT))
        assert not {"owner", "paths"} & set(about), run.id
        assert not {"host", "platform"} & set(environment), run.id
        assert environment["git_commit"]
        assert environment["dataset"]["fingerprint"]
        assert run.result is not None
        assert run.result["final"]["episodes"] == 100
