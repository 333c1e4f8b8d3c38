"""Real supervisors and real children: every way a run can end, told from its folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from child_programs import TAKE_OVER, spawn

from engine import record
from mopo_tui.manager import Run, RunState, Store, StoreError, identity
from mopo_tui.manager.supervisor import engine_command

FOREVER = """
(folder / "up").touch()
time.sleep(600)
"""


def wait_for(path: Path, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} did not come"
        time.sleep(0.01)


def process_of(run: Run) -> dict[str, int]:
    process = record.read_json(run.folder / record.PROCESS)
    assert process is not None
    return process


def test_finished_run_records_its_attempt_and_its_environment(supervised, state_within) -> None:
    run = supervised(
        """
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GOMP_SPINCOUNT", "PYTHONUNBUFFERED")
        print(" ".join(os.environ[n] for n in names), Path.cwd() == folder, os.getpgrp() == os.getpid())
        with Recorder(folder) as recorder:
            recorder.result(final={"return": 1.5})
        """
    )
    now = state_within(run, RunState.FINISHED, seconds=10)
    assert now.result is not None
    assert now.result["final"] == {"return": 1.5}
    assert now.progress == 1.0
    assert (run.folder / record.CONSOLE).read_text().splitlines()[0] == "1 1 1 2000 1 True True"
    wait_for(run.folder / record.EXIT)
    exited = record.read_json(run.folder / record.EXIT)
    assert exited is not None
    assert (exited["attempt"], exited["returncode"], exited["signal"]) == (1, 0, None)


def test_failure_gives_the_event_else_the_last_line_of_the_log(supervised, state_within) -> None:
    quiet = supervised("print('could not\\x1b[31m open'); sys.exit(3)")
    now = state_within(quiet, RunState.FAILED, seconds=10)
    assert now.reason == "exit code 3: could not [31m open"
    assert now.returncode == 3
    telling = supervised(
        """
        with Recorder(folder) as recorder:
            recorder.event("failed", "the loss is NaN")
        print("other words")
        sys.exit(1)
        """
    )
    assert state_within(telling, RunState.FAILED, seconds=10).reason == "exit code 1: the loss is NaN"


def test_killed_trainer_is_failed_with_its_signal(supervised, state_within) -> None:
    run = supervised(FOREVER)
    assert state_within(run, RunState.RUNNING).state is RunState.RUNNING
    os.kill(process_of(run)["pid"], signal.SIGKILL)
    now = state_within(run, RunState.FAILED)
    assert "SIGKILL" in now.reason


def test_killed_supervisor_leaves_the_run_running_until_its_result(supervised, state_within) -> None:
    run = supervised(
        """
        with Recorder(folder) as recorder:
            while not (folder / "go").exists():
                time.sleep(0.02)
            recorder.result(final={"return": 2.0})
        """
    )
    os.kill(process_of(run)["supervisor_pid"], signal.SIGKILL)
    time.sleep(0.2)
    assert state_within(run, RunState.RUNNING).state is RunState.RUNNING
    (run.folder / "go").touch()
    state_within(run, RunState.FINISHED)


def test_both_killed_is_lost(supervised, state_within) -> None:
    run = supervised(FOREVER)
    process = process_of(run)
    os.kill(process["supervisor_pid"], signal.SIGKILL)
    os.kill(process["pid"], signal.SIGKILL)
    now = state_within(run, RunState.LOST)
    assert "gone without a result" in now.reason


def test_reused_pid_and_earlier_boot_are_not_alive(make_run, store: Store) -> None:
    run = make_run()
    me = os.getpid()
    truth = {
        "attempt": 1,
        "pid": me,
        "pgid": me,
        "start_time": identity.start_time(me),
        "boot_id": identity.boot_id(),
        "host": identity.host(),
        "supervisor_pid": None,
        "started": time.time(),
    }

    def state(**changes: object) -> RunState:
        record.write_json(run.folder / record.PROCESS, {**truth, **changes})
        return store.run(run.id).state

    assert state() is RunState.RUNNING
    assert state(start_time="1") is RunState.LOST
    assert state(boot_id="another") is RunState.LOST
    (run.folder / record.CONTROL / "paused").touch()
    assert state() is RunState.PAUSED


def test_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert identity.start_time(child.pid) is None
    child.wait()


def test_run_on_another_host_lives_by_its_heartbeat(make_run, store: Store) -> None:
    run = make_run()
    record.write_json(
        run.folder / record.PROCESS,
        {"attempt": 1, "pid": os.getpid(), "host": "elsewhere", "boot_id": "b", "start_time": "1", "started": 0},
    )
    beat = run.folder / record.HEARTBEAT
    beat.touch()
    assert store.run(run.id).state is RunState.RUNNING
    os.utime(beat, (time.time() - 100, time.time() - 100))
    assert store.run(run.id).state is RunState.LOST


def test_terminating_the_supervisor_stops_the_engine_and_all_it_started(supervised, state_within) -> None:
    run = supervised(
        """
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        helper = subprocess.Popen([sys.executable, "-c", deaf])
        (folder / "helper").write_text(str(helper.pid))
        (folder / "up").touch()
        time.sleep(600)
        """
    )
    wait_for(run.folder / "up")
    helper = int((run.folder / "helper").read_text())
    time.sleep(0.3)  # the helper has set its handler
    os.kill(process_of(run)["supervisor_pid"], signal.SIGTERM)
    now = state_within(run, RunState.STOPPED)
    assert now.returncode == 143
    assert identity.start_time(helper) is None


def test_abort_ends_an_engine_that_does_not_listen(supervised, state_within, store: Store) -> None:
    run = supervised("signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOREVER)
    wait_for(run.folder / "up")
    store.abort(store.run(run.id))
    assert "SIGKILL" in state_within(run, RunState.FAILED).reason


def test_a_signal_in_the_moment_of_the_start_is_not_lost(make_run: Callable[..., Run], store: Store) -> None:
    run = make_run()
    code = f"""
import os, signal, sys
from pathlib import Path
from mopo_tui.manager import supervisor
fork = os.fork
def signalled():
    pid = fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
os.fork = signalled
supervisor.supervise(Path({str(run.folder)!r}), [sys.executable, "-c", "open('ran', 'w')"])
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
    assert store.run(run.id).state is RunState.STOPPED
    assert not (run.folder / "ran").exists()


def test_run_outlives_its_launcher(make_run, state_within) -> None:
    run = make_run()
    launcher = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from child_programs import PREAMBLE, TAKE_OVER, spawn
from pathlib import Path
from mopo_tui.manager.run import read_run
folder = {str(run.folder)!r}
child = [sys.executable, "-P", "-c", PREAMBLE + "time.sleep(2)\\nwith Recorder(folder) as r: r.result(final=dict())", folder]
spawn([sys.executable, "-P", "-c", TAKE_OVER, folder, *child], read_run(Path(folder)))
print("up", flush=True)
time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", launcher], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.killpg(process.pid, signal.SIGHUP)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert state_within(run, RunState.RUNNING).state is RunState.RUNNING
    state_within(run, RunState.FINISHED, seconds=10)


def test_each_attempt_counts_for_itself(supervised, state_within, store: Store) -> None:
    run = supervised("with Recorder(folder) as recorder: recorder.result(final={})")
    state_within(run, RunState.FINISHED, seconds=10)
    wait_for(run.folder / record.EXIT)
    again = supervised(FOREVER, store.run(run.id))
    now = state_within(again, RunState.RUNNING)
    assert now.attempt == 2
    assert now.result is None  # the result is that of the first attempt
    with pytest.raises(StoreError, match="is running and cannot be started"):
        store.launch(now)
    os.kill(process_of(run)["pid"], signal.SIGTERM)
    state_within(run, RunState.STOPPED)
    rows, _ = record.read_rows(run.folder / record.ATTEMPTS)
    assert [(row["attempt"], row["event"]) for row in rows] == [(1, "start"), (1, "end"), (2, "start"), (2, "end")]


def test_second_supervisor_leaves_the_run_alone(supervised) -> None:
    run = supervised(FOREVER)
    second = subprocess.run(
        [sys.executable, "-P", "-m", "mopo_tui.manager.supervisor", str(run.folder)],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert second.returncode == 1
    assert "another supervisor" in second.stdout
    assert process_of(run)["attempt"] == 1


def test_program_that_cannot_be_started_is_a_failure(make_run, state_within) -> None:
    run = make_run()
    spawn([sys.executable, "-P", "-c", TAKE_OVER, str(run.folder), "/nowhere/python"], run)
    now = state_within(run, RunState.FAILED)
    assert "could not be started" in now.reason
    assert "/nowhere/python" in now.reason


def test_supervisor_starts_the_engine_of_this_installation_and_loads_little(make_run: Callable[..., Run]) -> None:
    run = make_run()
    (run.folder / "engine").mkdir()
    (run.folder / "engine" / "__init__.py").write_text("raise SystemExit('a foreign engine')")
    command = engine_command(run.folder)
    assert command == [sys.executable, "-P", "-m", "engine", str(run.folder)]
    seen = subprocess.run(
        [*command[:2], "-c", "import engine; print(engine.__file__)"],
        cwd=run.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(run.folder) not in seen.stdout
    code = "import sys, mopo_tui.manager.supervisor; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    for name in ("numpy", "torch", "typer", "rich", "textual", "tomli", "platformdirs"):
        assert name not in loaded
