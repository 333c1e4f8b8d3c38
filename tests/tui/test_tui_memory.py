"""What the app remembers from one use to the next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from screen_text import fixed, settled, text_of, until

from mopo_tui.app import LIGHT, MopoApp
from mopo_tui.manager import Store, locations
from mopo_tui.memory import FILE, Memory

HERE = Path("/runs/here")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / FILE


def test_what_is_put_is_there_the_next_time(file: Path) -> None:
    memory = Memory(file, HERE)
    assert (memory.get("theme"), memory.get_here("run"), memory.problem, memory.unsaved) == (None, None, "", False)
    memory.put("theme", "light")
    memory.put_here("run", "a")
    assert memory.unsaved
    memory.save()
    assert not memory.unsaved
    again = Memory(file, HERE)
    assert (again.get("theme"), again.get_here("run")) == ("light", "a")
    assert Memory(file, Path("/elsewhere")).get_here("run") is None
    again.put("theme", "light")
    assert not again.unsaved  # nothing is written for what is as it was
    assert sorted(path.name for path in file.parent.iterdir()) == ["app.json", "app.lock"]


def test_two_apps_at_once_keep_what_changed_in_each(file: Path) -> None:
    one, other = Memory(file, HERE), Memory(file, HERE)
    one.put("theme", "light")
    one.put_here("run", "a")
    other.put("board", {"chosen": "now"})
    other.put_here("order", "-score")
    one.save()
    other.save()
    both = Memory(file, HERE)
    assert (both.get("theme"), both.get("board")) == ("light", {"chosen": "now"})
    assert (both.get_here("run"), both.get_here("order")) == ("a", "-score")


@pytest.mark.parametrize("torn", [b"", b"{", b"[1]", b"\xff\xfe", b'{"format": 1, "stores": 3, "theme": [4]}'])
def test_a_torn_file_is_forgotten_with_a_word_and_written_anew(file: Path, torn: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(torn)
    memory = Memory(file, HERE)
    readable = torn.startswith(b'{"format"')
    assert memory.problem == ("" if readable else f"{file} cannot be read: the app begins as new")
    assert memory.get_here("run") is None
    memory.put_here("run", "a")
    memory.save()
    assert Memory(file, HERE).get_here("run") == "a"


def test_a_file_of_another_version_stays_as_it_is(file: Path) -> None:
    file.parent.mkdir()
    file.write_text('{"format": 2, "theme": "x"}', encoding="utf-8")
    memory = Memory(file, HERE)
    assert memory.problem == f"{file} is of another version of mopo-tui and stays as it is: nothing is remembered"
    assert memory.get("theme") is None
    memory.put("theme", "light")
    memory.save()
    assert file.read_text(encoding="utf-8") == '{"format": 2, "theme": "x"}'


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    memory = Memory(tmp_path / "file" / FILE, HERE)
    memory.put("theme", "light")
    memory.save()


def test_the_stores_used_last_are_remembered(file: Path) -> None:
    for number in range(60):
        memory = Memory(file, Path(f"/runs/{number}"))
        memory.put_here("run", str(number))
        memory.save()
    assert len(json.loads(file.read_text())["stores"]) == 50
    assert Memory(file, Path("/runs/59")).get_here("run") == "59"
    assert Memory(file, Path("/runs/0")).get_here("run") is None


async def test_theme_order_and_chosen_run_come_back(finished_store: Store) -> None:
    app = fixed(MopoApp(finished_store, memory=Memory.of(finished_store.root)))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, app)
        app.theme = LIGHT.name
        await pilot.press("S", *"-score", "enter")
        await until(pilot, lambda: "by -score" in text_of(app))
        await pilot.press("G")
        await pilot.pause()
        chosen = app.screen.runs.chosen  # type: ignore[attr-defined]
        await until(pilot, lambda: (locations.user_state() / FILE).exists(), seconds=5)  # not only at the end
    again = fixed(MopoApp(finished_store, memory=Memory.of(finished_store.root)))
    async with again.run_test(size=(120, 40)) as pilot:
        await settled(pilot, again)
        assert again.theme == LIGHT.name
        assert "by -score" in text_of(again)
        assert again.screen.runs.chosen == chosen  # type: ignore[attr-defined]
        assert again.screen.runs.has_focus  # type: ignore[attr-defined]


async def test_panels_their_options_and_zoom_come_back(finished_store: Store) -> None:
    app = fixed(MopoApp(finished_store, memory=Memory.of(finished_store.root)))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, app)
        await pilot.press("5", "plus", "x", "z")
        await until(pilot, lambda: app.screen.board.zoomed)  # type: ignore[attr-defined]
        state = app.screen.board.state  # type: ignore[attr-defined]
        assert state.chosen == "optimisation"
        assert state.of("optimisation").smoothing > 0
        await pilot.press("q")
    again = fixed(MopoApp(finished_store, memory=Memory.of(finished_store.root)))
    async with again.run_test(size=(120, 40)) as pilot:
        await settled(pilot, again)
        board = again.screen.board  # type: ignore[attr-defined]
        assert (board.state, board.zoomed) == (state, True)
        await pilot.press("escape")
        assert not board.zoomed


async def test_a_run_that_is_gone_and_nonsense_are_nothing(finished_store: Store) -> None:
    memory = Memory.of(finished_store.root)
    memory.put("theme", 3)
    memory.put("board", [])
    memory.put_here("run", {"id": "gone"})
    memory.put_here("order", "no such thing")
    memory.save()
    app = fixed(MopoApp(finished_store, memory=Memory.of(finished_store.root)))
    async with app.run_test(size=(80, 24)) as pilot:
        await settled(pilot, app)
        assert app.screen.runs.chosen is not None  # type: ignore[attr-defined]
        assert "by no such thing" not in text_of(app)


async def test_what_could_not_be_read_is_said(finished_store: Store) -> None:
    file = locations.user_state() / FILE
    file.parent.mkdir(parents=True)
    file.write_text("{")
    app = fixed(MopoApp(finished_store, memory=Memory.of(finished_store.root)))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await settled(pilot, app)
        assert "the app begins as new" in text_of(app).replace("\n", " ")
