"""What one run folder tells, whatever state it is in."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable

import pytest

from engine import record
from mopo_tui.manager import Run, RunState, Store
from mopo_tui.manager.run import read_run


def test_what_a_person_said_of_a_run_is_read(make_run: Callable[..., Run]) -> None:
    run = make_run("first")
    about = record.read_json(run.folder / record.RUN) or {}
    record.write_json(run.folder / record.RUN, {**about, "group": "a sweep", "owner": "ada"})
    record.write_json(
        run.folder / record.META, {"name": "second", "tags": ["b", "a", "b", 5, "x\x1b[2J"], "note": "n\x07"}
    )
    now = read_run(run.folder)
    assert (now.name, now.group, now.owner, now.tags, now.note) == (
        "second",
        "a sweep",
        "ada",
        ("b", "a", "x [2J"),
        "n",
    )
    assert json.loads(json.dumps(now.to_json()))["tags"] == ["b", "a", "x [2J"]


def test_meta_of_the_wrong_shape_says_nothing(make_run: Callable[..., Run]) -> None:
    run = make_run("first")
    for text in ('{"tags": "abc", "note": 7, "name": []}', "[1]", '{"tags": ['):
        (run.folder / record.META).write_text(text)
        now = read_run(run.folder)
        assert (now.name, now.tags, now.note, now.problem) == ("first", (), "", "")


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        ((record.RUN,), "no run.json: deleted in part"),
        ((record.CONFIG,), "no config.toml: deleted in part"),
        ((record.RUN, record.CONFIG, record.CHECKPOINTS), "no run.json: not a run folder"),
    ],
)
def test_a_folder_of_which_a_part_is_gone_says_so(
    make_run: Callable[..., Run], gone: tuple[str, ...], words: str
) -> None:
    run = make_run()
    for name in gone:
        path = run.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    now = read_run(run.folder)
    assert (now.state, now.problem) == (RunState.UNREADABLE, words)


def test_a_clock_set_back_breaks_nothing(make_run: Callable[..., Run], store: Store) -> None:
    early, late = make_run("early"), make_run("late")
    about = record.read_json(late.folder / record.RUN) or {}
    record.write_json(late.folder / record.RUN, {**about, "created": time.time() + 86_400.0})
    os.utime(late.folder / record.CONFIG, (time.time() + 86_400.0,) * 2)
    assert [run.id for run in store.runs()] == [late.id, early.id]
    assert store.run(late.id).state is RunState.QUEUED
