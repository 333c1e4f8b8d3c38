"""`mopo-tui` as a person starts it, in a terminal: on a run, on another store, with keys of one's own, and as it was left."""

from __future__ import annotations

from pathlib import Path

from in_terminal import AppTerminal

from mopo_tui.manager import Store
from mopo_tui.manager.locations import user_config


def test_it_opens_on_a_run_of_another_store_and_q_leaves(finished_store: Store, tmp_path: Path) -> None:
    arguments = ("t5j1", "--runs", str(finished_store.root))
    with AppTerminal(tmp_path / "elsewhere", 80, 24, arguments=arguments) as app:
        app.until(lambda screen: "halfcheetah-medium-replay  mopo" in screen.text)
        app.until(lambda screen: "Normalized score" in screen.text)
        app.press("q")
        assert app.ended() == 0
    assert not (tmp_path / "elsewhere").exists()


def test_a_run_that_is_not_there_is_one_line(finished_store: Store) -> None:
    with AppTerminal(finished_store.root, arguments=("nothing-like-it",)) as app:
        assert app.ended() == 4
        said = [line for line in app.screen.lines if line]
    assert len(said) == 1
    assert said[0].startswith("mopo: no run 'nothing-like-it' in ")


def test_it_comes_back_as_it_was_left_with_keys_of_ones_own(finished_store: Store) -> None:
    user_config().parent.mkdir(parents=True)
    user_config().write_text('[keys.everywhere]\nquit = "X"\n[keys.list]\nlast = "f2"\n', encoding="utf-8")
    with AppTerminal(finished_store.root) as app:
        app.until(lambda screen: "X Quit" in screen.lines[-1])
        app.until(lambda screen: "m4q8" in screen.text)
        app.press("\x1bOQ")
        app.until(lambda screen: "▌ ✗ weak penalty" in screen.text)
        app.press("qX")
        assert app.ended() == 0
    with AppTerminal(finished_store.root) as app:
        app.until(lambda screen: "▌ ✗ weak penalty" in screen.text)
        app.press("X")
        assert app.ended() == 0
