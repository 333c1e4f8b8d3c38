"""`mopo tag`, `note`, `rename`, `rm`, `restore`, as a person types them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from engine import record
from mopo_tui.manager import Run, Store

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Terminal = Callable[..., Any]


def test_tags_are_given_and_taken_away(mopo: Command, make_run: Callable[..., Run], store: Store) -> None:
    run = make_run("mine")
    done = mopo("tag", "mine", "+good", "+hash", "+runs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"{run.id}: good hash runs\n")
    # Tags that look like options of ours: -h, -hash, -runs.
    assert mopo("tag", "mine", "-hash", "+h", "-runs").returncode == 0
    assert store.run(run.id).tags == ("good", "h")
    assert mopo("tag", "mine", "-h", "+new").returncode == 0
    assert mopo("tag", "mine").stdout == "good new\n"
    assert json.loads(mopo("tag", "mine", "--json").stdout) == [{"id": run.id, "tags": ["good", "new"]}]
    wrong = mopo("tag", "mine", "plain")
    assert (wrong.returncode, "+plain gives it" in wrong.stderr) == (2, True)
    assert "mopo tag RUN +good -todo" in " ".join(mopo("tag", "--help").stdout.split())


def test_a_whole_group_is_tagged(mopo: Command, make_run: Callable[..., Run], store: Store) -> None:
    runs = [make_run(seed=seed) for seed in range(3)]
    for run in runs[:2]:
        about = record.read_json(run.folder / record.RUN) or {}
        record.write_json(run.folder / record.RUN, {**about, "group": "a sweep"})
    assert mopo("tag", "a sweep", "+x").returncode == 0
    assert [store.run(run.id).tags for run in runs] == [("x",), ("x",), ()]
    assert sorted(mopo("tag", "a sweep").stdout.splitlines()) == sorted(f"{run.id} x" for run in runs[:2])


def test_notes_are_written_printed_and_taken_away(mopo: Command, make_run: Callable[..., Run]) -> None:
    run = make_run()
    assert mopo("note", run.id).stdout == ""
    assert mopo("note", run.id, "λ", "was", "too small").returncode == 0
    assert mopo("note", run.id).stdout == "λ was too small\n"
    assert json.loads(mopo("note", run.id, "--json").stdout) == {"id": run.id, "note": "λ was too small"}
    assert mopo("note", run.id, "").returncode == 0
    assert mopo("note", run.id).stdout == ""


def test_a_run_is_renamed_and_an_equal_name_is_mentioned(mopo: Command, make_run: Callable[..., Run]) -> None:
    run, other = make_run("one"), make_run("two")
    assert mopo("rename", "one", "näher ../x").stderr == f"{run.id} is called näher ../x\n"
    assert run.folder.is_dir()
    done = mopo("rename", "näher ../x", "two")
    assert (done.returncode, other.id in done.stderr) == (0, True)
    assert mopo("logs", "two").returncode == 4
    assert mopo("rename", run.id, "").stderr == f"{run.id} is called one\n"
    assert mopo("rename", "one", "latest").returncode == 2


def test_rm_asks_names_the_run_and_does_nothing_by_default(
    terminal: Terminal, mopo: Command, make_run: Callable[..., Run], store: Store
) -> None:
    run = make_run("mine")
    for keys in ("\n", "n\n"):
        screen = terminal("rm", "mine", keys=keys)
        assert screen.returncode == 0
        assert f"Move to the trash: mine ({run.id[-4:]}, queued)? [y/N]:" in screen.text
        assert "nothing removed" in screen.text
    unasked = mopo("rm", "mine")
    assert (unasked.returncode, "say --yes" in unasked.stderr) == (2, True)
    assert run.folder.is_dir()
    screen = terminal("rm", "mine", keys="y\n")
    assert f"`mopo restore {run.id[-4:]}` brings" in screen.text
    assert store.runs() == []
    assert json.loads(mopo("ls", "--json").stdout) == []


def test_removed_runs_are_listed_brought_back_and_deleted_for_good(
    terminal: Terminal, mopo: Command, make_run: Callable[..., Run], store: Store
) -> None:
    first, second = make_run("one"), make_run("two")
    assert mopo("rm", "one", "two", "--yes").returncode == 0
    assert mopo("restore").stdout.splitlines() == [f"{second.id} two", f"{first.id} one"]
    assert [row["id"] for row in json.loads(mopo("restore", "--json").stdout)] == [second.id, first.id]
    assert mopo("restore", first.id[-4:]).returncode == 0
    assert [run.id for run in store.runs()] == [first.id]
    gone = mopo("restore", "nothing")
    assert (gone.returncode, "`mopo restore` lists" in gone.stderr) == (4, True)
    assert "nothing deleted" in terminal("rm", "--empty-trash", keys="\n").text
    assert mopo("rm", "--empty-trash").returncode == 2
    assert mopo("rm", "--empty-trash", "one").returncode == 2
    done = mopo("rm", "--empty-trash", "--yes")
    assert (done.returncode, done.stderr.startswith("deleted 1 run, ")) == (0, True)
    assert mopo("restore").stderr == "the trash is empty\n"
    assert mopo("rm", "--empty-trash").stderr == "the trash is empty\n"
    assert first.folder.is_dir()


def test_nothing_is_removed_unless_all_can_be(mopo: Command, make_run: Callable[..., Run], store: Store) -> None:
    run = make_run("mine")
    (store.root / "photos").mkdir()
    done = mopo("rm", "mine", "photos", "--yes")
    assert (done.returncode, "only runs are removed" in done.stderr) == (2, True)
    assert run.folder.is_dir()
    assert mopo("rm", "--yes").returncode == 2


@pytest.mark.parametrize("command", ["tag", "note", "rename", "rm", "restore", "show", "watch"])
def test_a_run_that_is_not_there_is_one_line(mopo: Command, command: str) -> None:
    arguments = {"rename": ("nope", "x"), "rm": ("nope", "--yes")}.get(command, ("nope",))
    done = mopo(command, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
