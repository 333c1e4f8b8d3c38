"""Launching several runs, waiting for them, pausing, killing, restarting and ordering them, as a person does it."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine import record
from engine.config import resolve
from mopo_tui.manager import Run, RunState, Store, identity

Command = Callable[..., "subprocess.CompletedProcess[str]"]
# Fails within seconds, for a reason that is always the same.
FAILS = ("--preset", "smoke", "--threads", "1", "--device", "cpu", "--dataset", "/nowhere/data.hdf5")
ENGINE = """
import os, signal, sys, time
from pathlib import Path
from engine.control import StopRequests, Stopped
from engine.record import Recorder
folder = Path(sys.argv[1])
with Recorder(folder) as recorder:
    stop = StopRequests(recorder)
    recorder.enter("policy", "improving the policy")
    try:
        while not (folder / "go").exists():
            stop()
            time.sleep(0.02)
    except Stopped as stopped:
        recorder.event("stopped", str(stopped))
        sys.exit(stopped.code)
    recorder.result(final={"return": 5.0})
"""
# Starts a run of the store as `mopo` does, with a program like the engine in its place.
START = """
import sys
from pathlib import Path
from mopo_tui.manager.supervisor import take_over
sys.exit(take_over(Path(sys.argv[1]), [sys.executable, "-P", "-c", sys.argv[2], sys.argv[1]]))
"""


@pytest.fixture
def make_run(store: Store) -> Callable[..., Run]:
    def make(name: str | None = None, **more: Any) -> Run:
        config = resolve([("test", {"preset": "smoke", "compute.threads": 1})]).config
        return store.create(config, name=name, **more)

    return make


@pytest.fixture
def running(make_run: Callable[..., Run], environment: dict[str, str], store: Store) -> Iterator[Callable[..., Run]]:
    started: list[Run] = []

    def start(name: str | None = None, **more: Any) -> Run:
        run = make_run(name, **more)
        store.queue.put(run.id, 1)
        with open(run.folder / record.CONSOLE, "ab") as log:
            subprocess.run([sys.executable, "-P", "-c", START, str(run.folder), ENGINE], env=environment, stdout=log)
        started.append(run)
        until(lambda: store.run(run.id).stage == "policy")
        return store.run(run.id)

    yield start
    for run in started:
        process = record.read_json(run.folder / record.PROCESS) or {}
        if identity.start_time(process.get("pid", 0)) == process.get("start_time"):
            os.kill(process["pid"], signal.SIGKILL)


def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


# --- several runs -----------------------------------------------------------------------------------------------------------------


def test_an_experiment_in_the_background_prints_its_ids(mopo: Command, store: Store) -> None:
    store.queue.set_slots(0)
    done = mopo("run", "--preset", "smoke", "--seeds", "0-2", "--tag", "t", "--note", "n", "--group", "my group", "-b")
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    runs = [store.run(run_id) for run_id in ids]
    assert [run.seed for run in runs] == [0, 1, 2]
    assert {(run.state, run.group, run.tags, run.note) for run in runs} == {(RunState.QUEUED, "my group", ("t",), "n")}
    assert "3 runs in group my group; 0 slots on this host" in done.stderr
    listed = json.loads(mopo("queue", "--json").stdout)
    assert [(row["position"], row["id"], row["state"]) for row in listed["jobs"]] == [
        (1, ids[0], "queued"),
        (2, ids[1], "queued"),
        (3, ids[2], "queued"),
    ]
    assert mopo("queue", "move", ids[2], "--first").returncode == 0
    assert mopo("queue", "move", ids[0], "--to", "2").returncode == 0
    assert [job.run_id for job in store.queue.waiting()] == [ids[2], ids[0], ids[1]]
    assert mopo("queue", "move", ids[2], "--last").returncode == 0
    assert [job.run_id for job in store.queue.waiting()] == [ids[0], ids[1], ids[2]]
    refused = mopo("queue", "move", ids[2])
    assert (refused.returncode, "--first, --last and --to" in refused.stderr) == (2, True)
    shown = mopo("queue")
    assert [line.split()[:2] for line in shown.stdout.splitlines()[1:]] == [[str(i + 1), ids[i]] for i in range(3)]
    assert mopo("queue", "rm", ids[1]).returncode == 0
    assert store.run(ids[1]).state is RunState.STOPPED
    timed_out = mopo("wait", "my group", "--timeout", "0.1")
    assert (timed_out.returncode, "2 of 3 runs go on" in timed_out.stderr) == (1, True)
    stopped = mopo("stop", "my group")
    assert stopped.returncode == 0, stopped.stderr
    assert f"left alone: {ids[1]} is stopped" in stopped.stderr
    assert {store.run(run_id).state for run_id in ids} == {RunState.STOPPED}
    assert mopo("wait").returncode == 0  # nothing to wait for


def test_one_impossible_run_of_an_experiment_and_none_is_made(mopo: Command, store: Store) -> None:
    done = mopo("run", "--preset", "smoke", "--algorithm", "mbpo", "--sweep", "rollout.coefficient=0,1", "-b")
    assert (done.returncode, "mbpo has no penalty" in done.stderr) == (2, True)
    for wrong in (("--seeds", "4-0"), ("--sweep", "nothing"), ("--bell", "-b"), ("--on-finish", "no-such-program")):
        assert mopo("run", "--preset", "smoke", *wrong).returncode == 2
    assert store.runs() == []


def test_an_experiment_is_followed_with_a_line_per_change(mopo: Command, tmp_path: Path) -> None:
    (tmp_path / "nowhere.hdf5").write_text("no data")
    fails = (*FAILS[:-1], str(tmp_path / "nowhere.hdf5"), "--task", "hopper-medium")
    done = mopo("run", *fails, "--seeds", "3,4", "--json")
    assert done.returncode == 1, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["seed"], row["state"]) for row in rows] == [(3, "failed"), (4, "failed")]
    for row in rows:
        lines = [line for line in done.stderr.splitlines() if row["id"] in line]
        assert [line.split()[3] for line in lines] == ["running", "failed:"]
        assert "nowhere.hdf5" in lines[1]
    plan = json.loads(mopo("run", "--preset", "smoke", "--seeds", "0,1", "--dry-run", "--json").stdout)
    assert [run["config"]["seed"] for run in plan["runs"]] == [0, 1]
    assert plan["runs"][0]["origins"]["compute.threads"].endswith("one slot each")


def test_a_run_alone_in_front_takes_two_threads_and_one_among_others_one(mopo: Command, store: Store) -> None:
    def threads(*arguments: str) -> int:
        done = mopo("run", "--preset", "smoke", "--dry-run", "--json", *arguments)
        return int(json.loads(done.stdout)["config"]["compute.threads"])

    store.queue.set_slots(2)
    alone = min(identity.cores(), 2)
    assert (threads(), threads("-b"), threads("-b", "--threads", "2")) == (alone, 1, 2)
    store.queue.set_slots(1)
    assert threads() == 1
    store.queue.set_slots(2)
    done = mopo("run", "--preset", "smoke", "-b", "--dry-run")
    assert "one slot each" in done.stdout


def test_in_front_of_a_full_queue_a_run_waits_and_ctrl_c_takes_it_out(
    store: Store, environment: dict[str, str], tmp_path: Path
) -> None:
    store.queue.set_slots(0)
    process = subprocess.Popen(
        [sys.executable, "-m", "mopo_tui.cli", "run", "--preset", "smoke"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "ant-angle" in process.stderr.readline()
    line = process.stderr.readline()
    assert "waits in the queue, next: 0 of 0 slots taken" in line
    assert "--now" in line
    until(lambda: store.queue.waiting())
    time.sleep(0.5)  # it follows by now
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert store.queue.waiting() == []
    assert store.runs()[0].state is RunState.STOPPED


def test_ctrl_c_stops_a_whole_experiment(store: Store, environment: dict[str, str], tmp_path: Path) -> None:
    store.queue.set_slots(0)
    process = subprocess.Popen(
        [sys.executable, "-m", "mopo_tui.cli", "run", "--preset", "smoke", "--seeds", "0-2"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert "3 runs in group ant-angle-mopo-" in process.stderr.readline()
    time.sleep(0.5)  # it follows by now
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "stopping 3 runs" in err
    assert [line.split()[1] for line in out.splitlines()] == ["stopped"] * 3
    assert store.queue.waiting() == []


def test_settings_that_change_nothing_are_said_and_stand_among_the_events(mopo: Command, store: Store) -> None:
    said = "sac.discount (--set sac.discount) changes nothing: awac does not use it"
    wanted = ("run", "--task", "hopper-random", "-p", "smoke", "-a", "awac", "--set", "sac.discount=0.9")
    dry = mopo(*wanted, "--dry-run", "--json")
    assert (dry.returncode, dry.stderr) == (0, f"mopo: {said}\n")
    assert json.loads(dry.stdout)["config"]["sac.discount"] == 0.9
    store.queue.set_slots(0)
    done = mopo(*wanted, "-b")
    assert done.returncode == 0
    assert f"mopo: {said}\n" in done.stderr
    events, _ = record.read_rows(store.run(done.stdout.strip()).folder / record.EVENTS)
    assert [(event["kind"], event["message"]) for event in events] == [("alert", said)]


def test_like_and_a_file_on_the_command_line(mopo: Command, make_run: Callable[..., Run], tmp_path: Path) -> None:
    run = make_run("first")
    like = ("run", "--like", "first", "--set", "sac.discount=0.5", "--dry-run", "--json")
    plan = json.loads(mopo(*like).stdout)
    assert (plan["config"]["preset"], plan["origins"]["preset"]) == ("smoke", f"like {run.id}")
    assert plan["config"]["sac.discount"] == 0.5
    assert mopo("run", "--like", "nope", "--dry-run").returncode == 4
    (tmp_path / "exp.toml").write_text('preset = "smoke"\n[experiment]\nseeds = "0-1"\ngroup = "g"\n')
    plan = json.loads(mopo("run", "--config", "exp.toml", "--dry-run", "--json").stdout)
    assert (plan["group"], len(plan["runs"])) == ("g", 2)
    assert "seed" in mopo("run", "--config", "exp.toml", "--dry-run").stdout


# --- supervising ------------------------------------------------------------------------------------------------------------------


def test_pause_resume_and_stop_of_a_running_group(mopo: Command, store: Store, running: Callable[..., Run]) -> None:
    runs = [running(group="g"), running(group="g")]
    assert mopo("pause", "g").returncode == 0
    until(lambda: {store.run(run.id).state for run in runs} == {RunState.PAUSED}, 3)
    assert mopo("pause", "g").returncode == 2
    assert store.queue.used() == 2  # a paused run keeps its slots
    assert mopo("resume", runs[0].id).returncode == 0
    until(lambda: store.run(runs[0].id).state is RunState.RUNNING, 3)
    assert store.run(runs[1].id).state is RunState.PAUSED
    assert mopo("stop", "--state", "paused").returncode == 0  # stopping works while paused
    until(lambda: store.run(runs[1].id).state is RunState.STOPPED, 3)
    assert not (runs[1].folder / "control" / "paused").exists()
    assert store.run(runs[0].id).state is RunState.RUNNING
    (runs[0].folder / "go").touch()
    waited = mopo("wait", "g")
    assert waited.returncode == 1
    assert f"{runs[0].id} ant-angle-mopo-s0 finished  return 5.0" in waited.stderr
    assert mopo("wait", runs[0].id).returncode == 0
    assert mopo("stop", "--all").returncode == 2
    assert mopo("stop", "--state", "stoped").returncode == 2


def test_kill_asks_and_defaults_to_no(
    mopo: Command, store: Store, running: Callable[..., Run], environment: dict[str, str]
) -> None:
    run = running("the one")
    refused = mopo("kill", run.id)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)

    def on_a_terminal(answer: bytes) -> str:
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "mopo_tui.cli", "kill", run.id], environment)
        text = b""
        while b"[y/N]" not in text:
            text += os.read(terminal, 1000)
        os.write(terminal, answer)
        try:
            while more := os.read(terminal, 1000):
                text += more
        except OSError:
            pass
        os.waitpid(pid, 0)
        return text.decode()

    said = on_a_terminal(b"\n")
    assert "Kill the one?" in said
    assert "nothing killed" in said
    assert store.run(run.id).state is RunState.RUNNING
    assert f"killed {run.id}" in on_a_terminal(b"y\n")
    assert store.run(run.id).state.over


def test_a_run_of_another_host_is_never_signalled(mopo: Command, store: Store, running: Callable[..., Run]) -> None:
    here, there = running(), running()
    process = record.read_json(there.folder / record.PROCESS) or {}
    record.write_json(there.folder / record.PROCESS, {**process, "host": "elsewhere"})
    assert store.run(there.id).state is RunState.RUNNING  # by its heartbeat
    done = mopo("kill", here.id, there.id, "--yes")
    assert done.returncode == 2
    assert f"{there.id} runs on elsewhere: stop it there" in done.stderr
    until(lambda: store.run(here.id).state.over, 5)
    assert identity.start_time(process["pid"]) == process["start_time"]
    assert mopo("stop", there.id).returncode == 0  # a request, which its engine reads
    until(lambda: identity.start_time(process["pid"]) is None)


def test_restart_is_a_new_run_of_the_same_configuration(
    mopo: Command, store: Store, make_run: Callable[..., Run]
) -> None:
    store.queue.set_slots(0)
    run = make_run("again", tags=("t",), group="g")
    assert (mopo("restart", run.id, "-b").returncode, mopo("resume", run.id, "-b").returncode) == (2, 0)
    assert mopo("stop", run.id).returncode == 0
    done = mopo("restart", run.id, "-b")
    assert done.returncode == 0, done.stderr
    new = store.run(done.stdout.strip())
    assert new.id != run.id
    assert (new.name, new.tags, new.group, new.state) == ("again", ("t",), "g", RunState.QUEUED)
    assert (new.folder / record.CONFIG).read_text() == (run.folder / record.CONFIG).read_text()
    assert (record.read_json(new.folder / record.RUN) or {})["restarts"] == run.id
    assert store.run(run.id).state is RunState.STOPPED


def test_names_with_blanks_and_dots_and_what_leaves_the_store(
    mopo: Command, store: Store, running: Callable[..., Run]
) -> None:
    run = running("näher ../x [bold]")
    assert mopo("pause", "näher ../x [bold]").returncode == 0
    until(lambda: store.run(run.id).state is RunState.PAUSED, 3)
    outside = store.root.parent / "x"
    record.create_run(outside, {"id": "x"}, "")
    for command in ("stop", "pause", "resume", "kill", "restart", "wait"):
        done = mopo(command, "../x")
        assert (done.returncode, "no run '../x'" in done.stderr) == (4, True), done
    assert mopo("queue", "rm", "../x").returncode == 4
    assert mopo("queue", "move", "../x", "--first").returncode == 4
    assert sorted(path.name for path in (outside / "control").iterdir()) == []


def test_slots_are_shown_and_set(mopo: Command, store: Store) -> None:
    assert json.loads(mopo("queue", "slots", "--json").stdout)["slots"] == identity.cores()
    assert mopo("queue", "slots", "5").stdout.startswith("5 slots on ")
    assert store.queue.slots() == 5
    assert mopo("queue", "slots", "many").returncode == 2
    assert mopo("queue", "slots", "auto").returncode == 0
    assert store.queue.slots() == identity.cores()


# --- at the end -------------------------------------------------------------------------------------------------------------------

PROGRAM = """#!/bin/sh
echo "$MOPO_STATE $MOPO_RUN $# $1" > "$0.said"
for last; do :; done
echo "$last" >> "$0.said"
pwd >> "$0.said"
echo told
"""


@pytest.mark.parametrize("where", ["command line", "own file"])
def test_the_command_at_the_end_comes_from_the_person_alone(
    mopo: Command, store: Store, tmp_path: Path, where: str
) -> None:
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "notify"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    command = f"{program} 'two words'"
    own = tmp_path / "config" / "mopo-tui" / "config.toml"
    option: tuple[str, ...] = ("--on-finish", command)
    if where == "own file":
        own.parent.mkdir(parents=True)
        own.write_text(f'on_finish = "{command}"\n')
        option = ()
    (tmp_path / "bad.hdf5").write_text("no data")
    fails = ("--preset", "smoke", "--dataset", str(tmp_path / "bad.hdf5"), "--task", "hopper-medium", "--threads", "1")
    run_id = mopo("run", *fails, "-b", *option).stdout.strip()
    notes = list((tmp_path / "data" / "mopo-tui" / "launches").iterdir())
    said = tmp_path / "bin" / "notify.said"
    until(lambda: said.exists() and said.read_text().count("\n") == 3)
    folder = str(store.run(run_id).folder)
    assert said.read_text().splitlines() == [f"failed {folder} 2 two words", folder, str(tmp_path)]
    until(lambda: "told" in (store.run(run_id).folder / record.CONSOLE).read_text())
    assert not any(note.exists() for note in notes)
    told = {
        path.name for path in store.run(run_id).folder.rglob("*") if path.is_file() and b"notify" in path.read_bytes()
    }
    assert told == {record.CONSOLE} | ({record.RUN} if option else set())  # there as the command line that was typed


def test_nothing_that_others_wrote_is_run_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mopo_tui.manager import on_finish

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "run"
    folder.mkdir()
    for name in on_finish.INHERITED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MINARI_DATASETS_PATH", "/here")
    on_finish.keep(folder, ("/bin/true", "x"))
    path = on_finish._path(folder)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    note = on_finish.read(folder)
    assert (note.command, note.variables) == (("/bin/true", "x"), {"MINARI_DATASETS_PATH": "/here"})
    path.chmod(0o660)  # another could have written it
    assert on_finish.read(folder) == on_finish.Note()
    path.chmod(0o600)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert on_finish.read(folder) == on_finish.Note()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    record.write_json(path, {"command": "rm", "variables": {"LD_PRELOAD": "x"}})
    path.chmod(0o600)
    assert on_finish.read(folder) == on_finish.Note()
    with pytest.raises(on_finish.OnFinishError, match="no program"):
        on_finish.parse("no-such-program-at-all")
    for text in ("", "'open"):
        with pytest.raises(on_finish.OnFinishError):
            on_finish.parse(text)


def test_the_bell_rings_on_a_terminal_alone(
    mopo: Command, store: Store, running: Callable[..., Run], environment: Any
) -> None:
    run = running("bell")
    (run.folder / "go").touch()
    until(lambda: store.run(run.id).state is RunState.FINISHED)
    assert "\a" not in mopo("wait", "bell", "--bell").stderr
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "mopo_tui.cli", "wait", "bell", "--bell"], environment)
    text = b""
    try:
        while more := os.read(terminal, 1000):
            text += more
    except OSError:
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"\a\x1b]9;1 of 1 runs finished\x07" in text
