"""`mopo show` and `mopo watch`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from many_runs import write_run
from rich.cells import cell_len

from engine import record
from mopo_tui.manager import Run, Store, identity

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Terminal = Callable[..., Any]


@pytest.fixture
def recorded(store: Store) -> Path:
    """A finished run with all that an engine records."""
    folder = write_run(store.root, 5, "finished", 20)
    started = (record.read_json(folder / record.PROCESS) or {})["started"]
    record.write_json(folder / record.META, {"tags": ["base", "x"], "note": "it learns", "name": "mine"})
    record.write_json(
        folder / record.ENVIRONMENT,
        {
            "host": "there",
            "cpu": "A processor",
            "cores": 64,
            "python": "3.12.1",
            "versions": {"torch": "2.13.0", "gymnasium": "1.4.0", "mujoco": "4.0.0"},
            "git_commit": "abcdef012345",
            "compute": {"device": "cpu", "threads": 2, "gemm": "onednn", "compiled": True},
            "environment": {"id": "Hopper-v5", "options": {}},
            "dataset": {"id": "mopo/hopper/x", "size": 100_000, "episodes": 226, "fingerprint": "f" * 64},
            "references": {"random": {"return": -20.5}, "scale": {"min": -20.0, "max": 3000.0}},
        },
    )
    for i, stage in enumerate(("data", "dynamics", "policy")):
        record.append_row(
            folder / record.EVENTS, {"t": started + 60.0 * i, "stage": stage, "kind": "stage", "message": "begins"}
        )
    record.append_row(
        folder / record.EVENTS, {"t": started, "stage": "policy", "kind": "alert", "message": "no better\x1b[2J score"}
    )
    record.append_row(folder / record.ATTEMPTS, {"attempt": 1, "event": "start", "t": started})
    return folder


def test_show_tells_everything(mopo: Command, recorded: Path) -> None:
    done = mopo("show", "mine")
    assert (done.returncode, done.stderr) == (0, "")
    for words in (
        "✓ mine",
        recorded.name,
        "finished after 8m20s",
        "mopo on hopper-medium, preset quick, seed 0",
        "mopo run --task hopper-medium --seeds 0-4",
        "sweep 1",
        "base x",
        "it learns",
        "mopo/hopper/x, 100,000 transitions, 226 episodes, fingerprint ffffffffffff",
        "Hopper-v5, gymnasium 1.4.0, mujoco 4.0.0",
        "python 3.12.1, torch 2.13.0",
        "there, A processor, 64 cores, cpu, 2 threads, GEMM onednn, compiled",
        "abcdef012345",
        "dynamics 1m40s, policy 6m40s",
        "final policy (100 episodes)",
        "random policy",
        "no better [2J score",
        "metrics.jsonl",
        str(recorded),
    ):
        assert words in done.stdout, words
    assert "\x1b" not in done.stdout
    found = json.loads(mopo("show", "mine", "--json").stdout)
    assert (found["id"], found["state"], found["tags"], found["wall_s"]) == (
        recorded.name,
        "finished",
        ["base", "x"],
        500,
    )
    assert found["stages"] == {"dynamics": 100.0, "policy": 400.0}
    assert found["environment"]["dataset"]["fingerprint"] == "f" * 64
    assert found["config"]["rollout.coefficient"] == 0.75
    assert found["alerts"][0]["message"] == "no better [2J score"
    assert {"path": "metrics.jsonl", "bytes": (recorded / record.METRICS).stat().st_size} in found["files"]
    assert len(found["setting"]) == 12


@pytest.mark.parametrize("columns", [80, 120])
def test_show_keeps_to_the_width(terminal: Terminal, recorded: Path, columns: int) -> None:
    screen = terminal("show", recorded.name, columns=columns)
    assert screen.returncode == 0
    where = str(recorded)  # a path is never broken: it is there to be copied
    assert all(cell_len(line) <= columns for line in screen.text.splitlines() if where not in line)


def test_show_of_a_run_under_way_counts_its_stages_from_its_events(mopo: Command, recorded: Path) -> None:
    for name in (record.RESULT, record.EXIT):
        (recorded / name).unlink()
    found = json.loads(mopo("show", "mine", "--json").stdout)
    assert found["stages"] == {"data": 60.0, "dynamics": 60.0, "policy": 380.0}  # until the summary's time
    assert found["state"] == "lost"
    assert "its process is gone without a result" in mopo("show", "mine").stdout


def test_show_of_torn_foreign_and_bare_folders(mopo: Command, store: Store, make_run: Callable[..., Run]) -> None:
    bare, torn, odd = make_run("bare"), make_run("torn"), make_run("odd")
    (torn.folder / record.RUN).write_text("{")
    (store.root / "photos").mkdir()
    for name in (record.ENVIRONMENT, record.SUMMARY, record.META, record.EVENTS, record.ATTEMPTS):
        (odd.folder / name).write_text(
            '{"dataset": 5, "versions": [], "compute": "x", "stage": [], "t": "NaN", "kind": "alert"}\n'
        )
    about = record.read_json(odd.folder / record.RUN) or {}
    record.write_json(odd.folder / record.RUN, {**about, "command": 7, "created": 1e300})
    for reference, words in (
        (bare.id, "queued"),
        (torn.id, "no JSON object"),
        ("photos", "not a run"),
        (odd.id, "odd"),
    ):
        done = mopo("show", reference)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert words in done.stdout
        assert json.loads(mopo("show", reference, "--json").stdout)["id"] == reference
    assert mopo("show", "nothing").returncode == 4


# --- watch ------------------------------------------------------------------------------------------------------------------------

WORKS = """
import os, sys, time
from pathlib import Path
from engine import record
from mopo_tui.manager import identity
folder, ends = Path(sys.argv[1]), sys.argv[2]
me = {"pid": os.getpid(), "start_time": identity.start_time(os.getpid()), "boot_id": identity.boot_id(), "host": identity.host()}
record.write_json(folder / record.PROCESS, {"attempt": 1, "started": time.time(), **me})
for stage, progress in (("dynamics", 0.25), ("policy", 0.75)):
    record.write_json(folder / record.SUMMARY, {"stage": stage, "progress": progress, "eta_s": 9.0, "detail": "epoch 1/2"})
    time.sleep(1.2)
if ends == "finished":
    record.write_json(folder / record.RESULT, {"t": time.time(), "final": {"return": 1.0}})
else:
    record.write_json(folder / record.EXIT, {"attempt": 1, "returncode": int(ends), "signal": None, "t": time.time()})
"""


@pytest.fixture
def working(make_run: Callable[..., Run]) -> Callable[[str], Run]:
    """Starts a process that records a run and ends in that way."""

    def start(ends: str, **values: Any) -> Run:
        run = make_run(**values)
        subprocess.Popen([sys.executable, "-c", WORKS, str(run.folder), ends])
        while not (run.folder / record.SUMMARY).exists():
            time.sleep(0.02)
        return run

    return start


def test_watch_tells_each_change_and_ends_with_the_runs(mopo: Command, working: Callable[..., Run]) -> None:
    good, bad = working("finished"), working("1", seed=1)
    done = mopo("watch", "--interval", "0.1")
    assert done.returncode == 1
    for run, told in ((good, ["dynamics", "policy", "finished"]), (bad, ["dynamics", "policy", "failed:"])):
        lines = [line.split()[2:] for line in done.stdout.splitlines() if run.id in line]
        assert [line[0] for line in lines] == told
        assert lines[1][1:] == ["75%", "epoch", "1/2", "ETA", "9s"]
    assert "\x1b" not in done.stdout
    assert mopo("watch", good.id).returncode == 0
    assert mopo("watch").stderr == "nothing is running or queued\n"


@pytest.mark.parametrize(("ends", "code"), [("finished", 0), ("3", 3), ("143", 143), ("1", 1)])
def test_watch_of_one_run_ends_as_the_run(mopo: Command, make_run: Callable[..., Run], ends: str, code: int) -> None:
    run = make_run()
    record.write_json(run.folder / record.PROCESS, {"attempt": 1, "pid": 1, "host": identity.host(), "started": 1.0})
    if ends == "finished":
        record.write_json(run.folder / record.RESULT, {"t": 2.0})
    else:
        record.write_json(run.folder / record.EXIT, {"attempt": 1, "returncode": int(ends), "signal": None, "t": 2.0})
    assert mopo("watch", run.id).returncode == code


def test_watch_as_json_has_one_document(mopo: Command, working: Callable[..., Run]) -> None:
    run = working("finished")
    done = mopo("watch", "latest", "--json", "--interval", "0.1")
    assert [row["state"] for row in json.loads(done.stdout)] == ["finished"]
    assert f"{run.id} policy" in done.stderr


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_watch_on_a_terminal_is_a_table_that_stays(
    terminal: Terminal, working: Callable[..., Run], columns: int
) -> None:
    run = working("1")
    screen = terminal("watch", "latest", "--interval", "0.2", columns=columns)
    assert screen.returncode == 1
    assert "75%" in screen.text
    last = screen.text.splitlines()[-3:]
    assert last[0].split()[:2] == ["id", "name"]
    assert last[1].split()[:2] == ["✗", run.id[-4:]]
    assert last[2] == f"{run.id[-4:]} failed: exit code 1"
    assert all(cell_len(line) <= columns for line in last)


def test_a_group_is_watched_by_its_name(mopo: Command, store: Store) -> None:
    for number in range(3):
        write_run(store.root, number, "finished", 1)
    write_run(store.root, 9, "queued", 1)
    done = mopo("watch", "sweep 0")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)


def test_a_run_that_is_removed_while_it_is_watched_ends_the_watching(
    store: Store, make_run: Callable[..., Run], environment: dict[str, str]
) -> None:
    run = make_run()
    command = [sys.executable, "-m", "mopo_tui.cli", "watch", run.id, "--interval", "0.1"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert watching.stdout is not None
    assert "queued" in watching.stdout.readline()
    run.folder.rename(store.root / ".gone")
    out, _ = watching.communicate(timeout=30)
    assert watching.returncode == 1
    assert "not a run folder" in out


def test_an_interrupt_ends_the_watching_only(
    working: Callable[..., Run], store: Store, environment: dict[str, str]
) -> None:
    run = working("finished")
    command = [sys.executable, "-m", "mopo_tui.cli", "watch", "--interval", "0.1"]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert watching.stdout is not None
    watching.stdout.readline()
    os.kill(watching.pid, signal.SIGINT)
    _, err = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert err == "no longer watched; the runs go on\n"
    assert store.run(run.id).state.value == "running"
    while not store.run(run.id).state.over:
        time.sleep(0.05)
