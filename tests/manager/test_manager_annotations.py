"""Names, tags and notes: nobody's words are lost, whoever else is writing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from engine import record
from mopo_tui.manager import Run, Store, StoreError
from mopo_tui.manager.annotations import LOCK, change_tags, rename, write_note
from mopo_tui.manager.locks import locked


def test_tags_notes_and_names_stand_beside_each_other(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run("first")
    record.write_json(run.folder / record.META, {"mine": [1, 2]})
    change_tags(run, ["b", "a", "b"])
    write_note(run, "  it\nlearns \x1b[2J ")
    rename(run, " second ")
    now = change_tags(run, ["c"], ["b", "never there"])
    assert (now.tags, now.note, now.name) == (("a", "c"), "it learns  [2J", "second")
    meta = record.read_json(run.folder / record.META)
    assert meta == {"mine": [1, 2], "tags": ["a", "c"], "note": now.note, "name": "second"}
    assert store.find("second").id == run.id
    assert rename(run, "").name == "first"
    assert write_note(run, "").note == ""
    assert change_tags(run, remove=["a", "c"]).tags == ()
    assert record.read_json(run.folder / record.META) == {"mine": [1, 2]}


@pytest.mark.parametrize("tag", ["", "two words", "a,b", "-x", "+x", "\x1b[2J", "x" * 51])
def test_tags_that_nobody_could_name_are_refused(make_run: Callable[..., Run], tag: str) -> None:
    run = make_run()
    with pytest.raises(StoreError, match="tag"):
        change_tags(run, [tag])
    assert not (run.folder / record.META).exists()


@pytest.mark.parametrize("name", ["two\nlines", "latest", "x" * 101])
def test_names_that_would_mislead_are_refused(make_run: Callable[..., Run], name: str) -> None:
    with pytest.raises(StoreError, match="name"):
        rename(make_run(), name)


def test_a_torn_meta_is_left_to_the_person(make_run: Callable[..., Run]) -> None:
    run = make_run()
    (run.folder / record.META).write_text('{"note": "wor')
    with pytest.raises(StoreError, match="no JSON object"):
        change_tags(run, ["a"])
    assert (run.folder / record.META).read_text() == '{"note": "wor'


def test_a_folder_that_is_no_run_gets_no_words(store: Store) -> None:
    (store.root / "photos").mkdir()
    with pytest.raises(StoreError, match="not a run folder"):
        write_note(store.run("photos"), "x")
    assert list((store.root / "photos").iterdir()) == []


def test_editors_at_once_lose_nothing(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run()
    code = """
import sys
from pathlib import Path
from mopo_tui.manager.annotations import LOCK, change_tags, write_note
from mopo_tui.manager.run import read_run
run = read_run(Path(sys.argv[1]))
for i in range(25):
    change_tags(run, [f"{sys.argv[2]}{i}"])
    write_note(run, sys.argv[2])
"""
    editors = [subprocess.Popen([sys.executable, "-c", code, str(run.folder), who]) for who in "abcd"]
    assert [editor.wait(timeout=120) for editor in editors] == [0] * 4
    now = store.run(run.id)
    assert set(now.tags) == {f"{who}{i}" for who in "abcd" for i in range(25)}
    assert now.note in "abcd"


def test_an_editor_that_never_lets_go_is_named(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()
    monkeypatch.setattr("mopo_tui.manager.annotations.LOCK_SECONDS", 0.1)
    with locked(run.folder / LOCK, 1.0), pytest.raises(StoreError, match="another command"):
        change_tags(run, ["a"])


def test_a_full_disk_is_one_line(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(record, "write_atomically", full)
    with pytest.raises(StoreError, match=r"meta.json: cannot be written: No space left"):
        write_note(run, "x")
