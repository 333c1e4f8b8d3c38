"""`mopo ls`: rows, options, widths, and stores in which something is wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from many_runs import write_run, write_store
from rich.cells import cell_len

from engine import record
from mopo_tui.manager import Store
from mopo_tui.manager.index import INDEX

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Terminal = Callable[..., Any]


def rows(text: str) -> list[list[str]]:
    """The words of each line after the header."""
    return [line.split() for line in text.splitlines()[1:]]


def test_seeds_of_a_setting_are_one_row_and_all_opens_them(mopo: Command, store: Store) -> None:
    folders = write_store(store.root, 20)  # the last five: two lost, three queued
    done = mopo("ls")
    assert done.returncode == 0, done.stderr
    lines = rows(done.stdout)
    assert len(lines) == 4
    queued, _, second, first = lines
    assert {"2/5", "3·", "2?"} & set(queued) == {"3·", "2?"}
    assert "0/5" in queued
    assert "4/5" in second  # run 7 failed
    assert "1 failed" in " ".join(second)
    assert first[0] == "✓"
    assert {"ant-angle-mopo", "0–4", "5/5", "finished", "100%"} <= set(first)
    returns = [record.read_json(f / record.SUMMARY)["return_last"] for f in folders[:5]]  # type: ignore[index]
    assert f"{sum(returns) / 5:.1f}" in first
    opened = rows(mopo("ls", "--all").stdout)
    assert [line[1] for line in opened] == [f.name for f in reversed(folders)]
    assert "ant-angle-mopo-s0" in opened[-1]


def test_settings_called_the_same_are_told_apart(mopo: Command, store: Store) -> None:
    for number in (0, 1, 60, 61):
        write_run(store.root, number, "finished", 1)
    for columns in ("80", "120", "200"):
        first, second = rows(mopo("ls", COLUMNS=columns).stdout)
        assert ("λ=3.5" in first, "λ=0.5" in second) == (True, True)
    assert "λ=" not in mopo("ls", "--filter", "rollout.coefficient=0.5").stdout


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal_and_every_run_can_be_named(
    terminal: Terminal, mopo: Command, store: Store, columns: int
) -> None:
    folders = write_store(store.root, 15)
    about = record.read_json(folders[0] / record.RUN) or {}
    record.write_json(folders[0] / record.RUN, {**about, "name": "名前" * 30})
    screen = terminal("ls", "--all", columns=columns)
    assert screen.returncode == 0
    lines = screen.text.splitlines()
    assert len(lines) == 16
    assert max(map(cell_len, lines)) <= columns
    assert "\x1b[32m" in screen.raw
    for line in rows("\n".join(lines))[::7]:
        assert mopo("logs", line[1]).returncode == 0, line
    assert all(line.endswith("d") for line in lines[1:])  # the age, the last column, is whole


def test_colours_are_for_terminals_that_want_them(terminal: Terminal, mopo: Command, store: Store) -> None:
    write_store(store.root, 5)
    assert "\x1b" not in mopo("ls").stdout
    for variables in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert "\x1b" not in terminal("ls", **variables).raw


def test_without_a_terminal_ids_are_whole_and_lines_plain(mopo: Command, store: Store) -> None:
    folders = write_store(store.root, 12)
    out = mopo("ls", "--all").stdout
    assert all(folder.name in out for folder in folders)
    assert len(out.splitlines()) == 13


def test_filter_state_name_tag_and_group(mopo: Command, store: Store) -> None:
    folders = write_store(store.root, 20)
    record.write_json(folders[0] / record.META, {"tags": ["base", "x"], "name": "My Run"})

    def ids(*arguments: str) -> set[str]:
        done = mopo("ls", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return {row["id"] for row in json.loads(done.stdout)}

    assert ids("--state", "queued", "--state", "lost") == {folder.name for folder in folders[-5:]}
    assert ids("--name", "my run") == ids("--tag", "base") == ids("--tag", "x", "--tag", "base") == {folders[0].name}
    assert ids("--tag", "base", "--tag", "y") == set()
    assert ids("--group", "sweep 1") == {folder.name for folder in folders[5:10]}
    assert ids("--filter", "score>1 and not state=failed", "--group", "sweep 1") < ids("--group", "sweep 1")
    assert len(ids()) == 20


def test_what_a_filter_leaves_out_of_a_setting_is_counted(mopo: Command, store: Store) -> None:
    write_store(store.root, 12)
    (line,) = rows(mopo("ls", "--filter", "seed<3 and task=ant-angle").stdout)
    at = line.index("3/3")
    assert line[at : at + 3] == ["3/3", "of", "5"]


def test_order_and_limit(mopo: Command, store: Store) -> None:
    write_store(store.root, 30)
    done = mopo("ls", "--all", "--sort-by", "policy/q", "--limit", "3", "--json")
    found = [run["return_last"] for run in json.loads(done.stdout)]
    assert found == sorted(found, reverse=True)
    assert len(found) == 3
    worst = mopo("ls", "--all", "--sort-by", "policy/q", "--reverse", "--limit", "1", "--json")
    assert json.loads(worst.stdout)[0]["return_last"] < found[-1]
    short = mopo("ls", "--limit", "2")
    assert len(rows(short.stdout)) == 2
    assert "4 more" in short.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--filter", "scor>1"), "did you mean 'score'"),
        (("--sort-by", "scor"), "did you mean 'score'"),
        (("--state", "runing"), "one of queued, running"),
    ],
)
def test_what_means_nothing_is_refused(mopo: Command, store: Store, arguments: tuple[str, ...], words: str) -> None:
    write_run(store.root, 0, "finished", 1)
    done = mopo("ls", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_that_matches_is_said(mopo: Command, store: Store) -> None:
    write_run(store.root, 0, "finished", 1)
    done = mopo("ls", "--state", "failed")
    assert (done.returncode, done.stdout) == (0, "")
    assert "none of 1 runs" in done.stderr
    assert json.loads(mopo("ls", "--state", "failed", "--json").stdout) == []


def test_json_tells_setting_tags_and_group(mopo: Command, store: Store) -> None:
    write_store(store.root, 12)
    found = json.loads(mopo("ls", "--json").stdout)
    assert len({run["setting"] for run in found}) == 3
    assert {"tags", "note", "group", "owner", "reason", "summary", "result"} <= set(found[0])


# --- faults -----------------------------------------------------------------------------------------------------------------------


def test_five_hundred_runs_of_which_some_are_torn_foreign_or_half_deleted(mopo: Command, store: Store) -> None:
    folders = write_store(store.root, 500, rows=2)
    random.Random(0).shuffle(folders)
    faults: dict[str, str] = {}

    def fault(words: str) -> Path:
        folder = folders.pop()
        faults[folder.name] = words
        return folder

    for _ in range(5):
        (fault("run.json is no JSON object") / record.RUN).write_text('{"format": 1, "id')
        (fault("no run.json: deleted in part") / record.RUN).unlink()
        (fault("no config.toml: deleted in part") / record.CONFIG).unlink()
        (fault("process.json is no JSON object") / record.PROCESS).write_bytes(b"\xff\x00")
        record.write_json(fault("format 7; this version reads format 1") / record.RUN, {"format": 7})
        shutil.rmtree(folder := fault("no run.json: not a run folder"))
        folder.mkdir()
    (store.root / "notes.txt").write_text("mine")
    (store.root / "dangling").symlink_to("/nowhere")
    for arguments in ((), (), ("--all",)):  # without an index, with it, and every run
        done = mopo("ls", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        told = dict(line[2:].split(": ", 1) for line in done.stdout.splitlines() if line.startswith("! "))
        assert {name: words in told.get(name, "") for name, words in faults.items()} == dict.fromkeys(faults, True)
        assert set(told) == set(faults)
    assert len(rows(done.stdout)) == 500
    # Some small files that only decorate: their run is listed all the same.
    for name in (record.SUMMARY, record.META, record.RESULT, record.EXIT, record.ENVIRONMENT):
        (folders.pop() / name).write_bytes(b"{\xff")
    again = mopo("ls", "--json")
    assert (again.returncode, len(json.loads(again.stdout))) == (0, 500)


def test_a_reader_during_a_thousand_appends_and_a_kill(mopo: Command, store: Store) -> None:
    folder = write_run(store.root, 5, "finished", 2)
    for name in (record.RESULT, record.EXIT):
        (folder / name).unlink()
    code = """
import json, os, sys, time
from pathlib import Path
from typing import Any
from engine import record
from mopo_tui.manager import identity
folder = Path(sys.argv[1])
me = {"pid": os.getpid(), "start_time": identity.start_time(os.getpid()), "boot_id": identity.boot_id(), "host": identity.host()}
record.write_json(folder / record.PROCESS, {"attempt": 1, "started": time.time(), **me})
print("up", flush=True)
for step in range(1000):
    record.append_row(folder / record.METRICS, {"step": step, "m": {"policy/q": float(step)}})
    record.write_json(folder / record.SUMMARY, {"stage": "policy", "progress": step / 1000, "return_last": float(step)})
(folder / "all-appended").touch()
with open(folder / record.METRICS, "ab") as f:
    f.write(b'{"step": 1000, "m": {"pol')
time.sleep(60)
"""
    writer = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "up\n"
    seen: list[float] = []
    states = set()
    while not (folder / "all-appended").exists():
        done = mopo("ls", "--json", "--sort-by", "policy/q")
        assert done.returncode == 0, done.stderr
        (run,) = json.loads(done.stdout)
        states.add(run["state"])
        seen.append(run["return_last"])
    assert states == {"running"}
    assert seen == sorted(seen)
    writer.kill()
    writer.wait()
    writer.stdout.close()
    end = time.monotonic() + 3.0
    while json.loads(mopo("ls", "--json").stdout)[0]["state"] != "lost":
        assert time.monotonic() < end
    assert len(json.loads(mopo("ls", "--json", "--filter", "policy/q=999 and state=lost").stdout)) == 1


def test_brackets_without_end_are_torn_files_too(mopo: Command, store: Store) -> None:
    sound, endless = write_run(store.root, 0, "finished", 1), write_run(store.root, 1, "finished", 1)
    deep = "[" * 100_000
    (endless / record.RUN).write_text(deep)
    for name in (record.META, record.SUMMARY, record.METRICS, record.EVENTS):
        (sound / name).write_text(deep + "\n")
    (store.root / INDEX).write_text(deep)
    done = mopo("ls", "--sort-by", "policy/q")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{endless.name}: run.json is no JSON object" in done.stdout
    assert sound.name in done.stdout
    assert mopo("show", sound.name).returncode == 0


def test_an_output_without_unicode_is_no_error(mopo: Command, store: Store) -> None:
    write_store(store.root, 6)
    for command in (("ls",), ("doctor",), ("show", "latest")):
        done = mopo(*command, PYTHONIOENCODING="ascii", PYTHONUTF8="0")
        assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert "? " in mopo("ls", PYTHONIOENCODING="ascii").stdout


def test_the_clock_set_back(mopo: Command, store: Store) -> None:
    folder = write_run(store.root, 0, "finished", 1)
    about = record.read_json(folder / record.RUN) or {}
    record.write_json(folder / record.RUN, {**about, "created": time.time() + 1e6})
    for path in folder.iterdir():
        os.utime(path, (time.time() + 1e6,) * 2)
    for _ in range(2):
        (line,) = rows(mopo("ls").stdout)
        assert (line[0], line[-1]) == ("✓", "0s")


def test_an_index_that_cannot_be_written_costs_only_time(mopo: Command, store: Store) -> None:
    write_store(store.root, 5)
    (store.root / INDEX).mkdir()
    done = mopo("ls")
    assert (done.returncode, done.stderr, len(rows(done.stdout))) == (0, "", 1)
