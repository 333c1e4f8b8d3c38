"""Which key asks for which action: the table is sound, and a person's own keys are taken, refused and shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomli
from screen_text import fixed, settled, text_of, told, until

from mopo_tui.actions import ACTIONS, PLACES
from mopo_tui.app import MopoApp
from mopo_tui.keys import BY_ID, Keys, canonical, load, problems_in, template, written
from mopo_tui.manager import Store
from mopo_tui.manager.locations import user_config
from mopo_tui.screens.confirm import ConfirmScreen
from mopo_tui.screens.help import HelpScreen
from mopo_tui.screens.queue import QueueScreen
from mopo_tui.widgets.run_list import RunList


def configured(text: str) -> Path:
    """The person's configuration file, with that in it."""
    file = user_config()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def test_the_table_names_each_action_once_and_gives_no_key_twice_in_one_place() -> None:
    assert len(BY_ID) == len(ACTIONS)
    assert {action.where for action in ACTIONS} == set(PLACES)
    for place in PLACES:
        keys = [key for action in ACTIONS if action.where == place for key in action.keys]
        assert len(keys) == len(set(keys)), place
    for action in ACTIONS:
        assert tuple(map(canonical, action.keys)) == action.keys, action.id
        assert all(written(key, plain=True).isascii() for key in action.keys), action.id


@pytest.mark.parametrize(
    ("word", "key", "shown"),
    [
        *(("x", "x", "x"), ("X", "X", "X"), ("?", "question_mark", "?"), ("/", "slash", "/"), ("+", "plus", "+")),
        *((",", "comma", ","), ("_", "underscore", "_"), ("Esc", "escape", "Esc"), ("PageUp", "pageup", "PgUp")),
        *(("ctrl+S", "ctrl+s", "^s"), ("shift+ctrl+up", "ctrl+shift+up", "Ctrl+Shift+↑"), ("f5", "f5", "F5")),
        *(("alt++", "alt+plus", "Alt++"), ("ctrl+i", "tab", "Tab"), (" ", "space", "Space"), ("ü", "ü", "ü")),
        *(("minus", "minus", "-"), ("comma", "comma", ","), ("exclamation_mark", "exclamation_mark", "!")),
    ],
)
def test_a_key_is_a_character_or_a_name(word: str, key: str, shown: str) -> None:
    assert canonical(word) == key
    assert written(key) == shown


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (
            '[keys.dashboard]\nstpo = "x"',
            "keys.dashboard.stpo: there is no such action; did you mean keys.dashboard.stop?",
        ),
        (
            '[keys.dashboard]\nsooner = "x"',
            "keys.dashboard.sooner: there is no such action; did you mean keys.queue.sooner?",
        ),
        ('[keys.dashbord]\nstop = "x"', "keys.dashbord: there is no such place; did you mean keys.dashboard?"),
        ('[keys]\nstop = "x"', "keys.stop: there is no such place; did you mean keys.dashboard.stop?"),
        ('keys = "x"', "keys is a table of places: [keys.dashboard]"),
        ('[keys]\nlist = "x"', "keys.list: is a table of actions: [keys.list]"),
        (
            '[keys.dashboard]\nstop = "pageupp"',
            "keys.dashboard.stop: 'pageupp' is no key; did you mean 'pageup'?; Stop stays on s",
        ),
        (
            '[keys.dashboard]\nstop = "shift+x"',
            "keys.dashboard.stop: 'shift+x': with Shift a letter is 'X'; Stop stays on s",
        ),
        (
            "[keys.dashboard]\nstop = 10",
            "keys.dashboard.stop: 10 is no key in quotes, nor a list of them; Stop stays on s",
        ),
        (
            "[keys.dashboard]\nstop = []",
            "keys.dashboard.stop: [] is no key in quotes, nor a list of them; Stop stays on s",
        ),
        (
            '[keys.dashboard]\nstop = "ctrl+q"',
            "keys.dashboard.stop: 'ctrl+q' always leaves the app; Stop stays on s",
        ),
        ('[keys.dashboard]\nstop = "p"', "keys.dashboard.stop: p is dashboard.pause's, too; Stop stays on s"),
        ('[keys.dashboard]\nstop = "j"', "keys.dashboard.stop: j is list.down's there, too; Stop stays on s"),
        ('[keys.form]\nstart = "x"', "keys.form.start: 'x' is typed there, and asks for nothing; Start stays on ⏎"),
    ],
)
def test_what_cannot_be_a_key_is_one_line_and_the_table_stands(said: str, problem: str) -> None:
    file = configured(said + "\n")
    assert [str(error) for error in problems_in(tomli.loads(said), str(file))] == [f"{file}: {problem}"]
    keys = load()
    assert [str(error) for error in keys.problems] == [f"{file}: {problem}"]
    assert keys.changed == {}


def test_two_keys_change_places_and_a_key_that_went_away_is_free() -> None:
    configured('[keys.dashboard]\nstop = "p"\npause = "s"\ntag = "e"\nnote = ["X", "ctrl+e"]\n')
    keys = load()
    assert keys.problems == ()
    assert keys.keymap == {
        "dashboard.stop": "p",
        "dashboard.pause": "s",
        "dashboard.tag": "e",
        "dashboard.note": "X,ctrl+e",
    }
    assert (keys.shown("dashboard.note"), keys.all_shown(BY_ID["dashboard.note"])) == ("X", "X ^e")


def test_who_took_the_key_of_an_action_that_goes_back_goes_back_too() -> None:
    file = configured('[keys.dashboard]\nstop = "p"\npause = "X"\nnote = "X"\n')
    keys = load()
    assert keys.changed == {}
    assert [str(error).removeprefix(f"{file}: keys.dashboard.") for error in keys.problems] == [
        "pause: X is dashboard.note's, too; Pause stays on p",
        "note: X is dashboard.pause's, too; Note stays on e",
        "stop: p is dashboard.pause's, too; Stop stays on s",
    ]


def test_the_projects_file_counts_more_than_the_persons_own(tmp_path: Path) -> None:
    configured('[keys.dashboard]\nstop = "x"\nnote = "f2"\n')
    (tmp_path / "mopo.toml").write_text('[keys.dashboard]\nstop = "f3"\n', encoding="utf-8")
    assert load().keymap == {"dashboard.stop": "f3", "dashboard.note": "f2"}


async def test_own_keys_work_and_stand_in_footer_help_palette_and_question(finished_store: Store) -> None:
    configured(
        '[keys.dashboard]\nqueue = "w"\nnew = "f2"\nrestore = "f4"\n[keys.list]\ndown = "x"\n[keys.everywhere]\nhelp = "H"\n'
        '[keys.confirm]\nno = "q"\nyes = "J"\n'
    )
    app = fixed(MopoApp(finished_store, keys=load()))
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot, app)
        footer = text_of(app).splitlines()[-1]
        assert "F2 New run" in footer
        assert footer.endswith("H Help  q Quit")
        commands = {command.title: command.help for command in app.get_system_commands(app.screen)}
        assert commands["Queue"].endswith("(w)")
        at = app.screen.query_one(RunList).chosen
        await pilot.press("x")
        assert app.screen.query_one(RunList).chosen != at
        await pilot.press("question_mark", "Q", "a")
        assert type(app.screen).__name__ == "Dashboard"
        await pilot.press("w")
        assert isinstance(app.screen, QueueScreen)
        await pilot.press("escape", "g", "D")
        await until(pilot, lambda: isinstance(app.screen, ConfirmScreen))
        assert "No (q)" in text_of(app)
        assert "t goes to the trash; F4 brings it back." in " ".join(text_of(app).split())
        assert "(J)" in text_of(app)
        await pilot.press("n", "y")
        assert isinstance(app.screen, ConfirmScreen)
        await pilot.press("q", "H")
        await until(pilot, lambda: isinstance(app.screen, HelpScreen))
        assert "x          one run down" in text_of(app)


async def test_the_app_starts_with_wrong_keys_and_says_what_is_wrong(finished_store: Store) -> None:
    configured('[keys.dashboard]\nstop = "p"\nstpo = "x"\n')
    app = fixed(MopoApp(finished_store, keys=load()))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await settled(pilot, app)
        assert "config.toml: keys.dashboard.stop: p is dashboard.pause's, too" in told(app)
        assert "mean keys.dashboard.stop?" in told(app)
        assert "is dashboard.pause's" in text_of(app)


@pytest.mark.parametrize("size", [(60, 24), (80, 24), (120, 40), (200, 50)])
async def test_help_begins_with_what_counts_here_and_nothing_is_cut_off(app: MopoApp, size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        await settled(pilot, app)
        await pilot.press("Q", "question_mark")
        await until(pilot, lambda: "Keys" in text_of(app))
        seen, before = text_of(app), ""
        lines = seen.splitlines()
        top = next(i for i, line in enumerate(lines) if "─ Keys ─" in line)
        assert lines[top + 1][lines[top].index("╭─ Keys ─") + 1 :].split()[0] == "Queue"
        while before != (before := text_of(app)):
            seen += before
            await pilot.press(*["pagedown"])
            await pilot.pause(0.3)
        words = " ".join(seen.replace("│", " ").split())
        for action in ACTIONS:
            # At 60 columns a help may go on at the top of the next page.
            assert action.help in words if size[0] >= 80 else all(word in words for word in action.help.split())
        for place in PLACES.values():
            assert place.title in words
        assert "unreadable" in words


def test_keys_without_unicode_are_ascii() -> None:
    assert [Keys(plain=True).shown(name) for name in ("list.open", "list.up", "trash.close")] == ["Enter", "Up", "Esc"]


def test_every_line_of_the_template_says_what_the_table_says() -> None:
    lines = [line.removeprefix("# ") for line in template().splitlines() if "Keys of the app" not in line]
    table = tomli.loads("\n".join(lines))["keys"]
    assert problems_in({"keys": table}, "file") == ()
    assert {f"{place}.{word}" for place, actions in table.items() for word in actions} == set(BY_ID)
    configured("\n".join(lines))
    assert load() == Keys()


def test_the_readmes_example_is_as_it_says() -> None:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- example: keys -->\n```toml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    file = configured(found[1])
    keys = load()
    assert keys.keymap == {"dashboard.stop": "X", "dashboard.queue": "w,f6", "list.down": "down,ctrl+n"}
    assert [str(error) for error in keys.problems] == [
        f"{file}: keys.list.up: p is dashboard.pause's there, too; Up stays on ↑ k"
    ]
