"""Many jobs under kill -9 of their supervisors, at any moment: none is lost, none runs twice at once, never more than the slots."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from amount import amount
from trivial_launcher import WORK, Shooting, Trivial

from engine import record
from mopo_tui.manager import Run, RunState, Store, StoreError, identity

SLOTS, JOBS = 3, amount(60, 200)


def kill_a_supervisor(store: Store) -> bool:
    """Kill one that holds a claim, whatever it is doing."""
    claims = store.queue.claimed()
    if not claims:
        return False
    claimant = random.choice(claims).claimant
    assert claimant is not None
    if not identity.same_process(claimant["pid"], claimant["start_time"], claimant["boot_id"]):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(claimant["pid"], signal.SIGKILL)
        return True
    return False


def most_at_once(log: Path) -> int:
    """The most programs that were at work at the same time."""
    marks = sorted((int(line.split()[1]), line.split()[0] == "begin") for line in log.read_text().splitlines())
    now = most = 0
    for _, began in marks:
        now += 1 if began else -1
        most = max(most, now)
    return most


def test_many_jobs_under_random_kills(tmp_path: Path, make_run: Callable[..., Run]) -> None:
    launcher = Shooting(SLOTS, 1.0, WORK.replace("SECONDS", "0.05"))
    store = Store(tmp_path / "runs", launcher)
    first = make_run()
    runs = [first]
    text = (first.folder / record.CONFIG).read_text()
    about = record.read_json(first.folder / record.RUN) or {}
    for i in range(JOBS - 1):  # what `create` makes, without its checks
        folder = store.root / f"{first.id}-{i:03d}"
        record.create_run(folder, {**about, "id": folder.name}, text)
        runs.append(store.run(folder.name))
    store.enqueue(runs)
    assert len(store.queue.waiting()) == JOBS
    killed, end, log = 0, time.monotonic() + 240, store.root / "work.log"
    while any(job for job in (*store.queue.waiting(), *store.queue.claimed())):
        assert time.monotonic() < end, f"{len(store.queue.waiting())} jobs still wait"
        store.advance()  # as any command does
        with store.queue._locked():  # without it, a look may see a claim that goes and the next one that comes
            assert store.queue.used() <= SLOTS
        killed += random.random() < 0.3 and kill_a_supervisor(store)
        time.sleep(random.uniform(0.0, 0.1))
    print(f"{killed} supervisors killed at work, {launcher.shot} on their way")
    assert killed + launcher.shot > JOBS / 10
    lines = log.read_text().splitlines()
    begun = [line.split()[2] for line in lines if line.startswith("begin")]
    assert sorted(begun) == sorted(run.id for run in runs)  # each of them, and none a second time
    assert not any(line.startswith("twice") for line in lines)
    assert most_at_once(log) <= SLOTS
    assert [(run.id, run.reason) for run in store.runs() if run.state is not RunState.FINISHED] == []


def test_two_hosts_share_one_queue_and_signal_none_of_each_others_runs(
    tmp_path: Path, make_run: Callable[..., Run]
) -> None:
    here, there = (
        Store(tmp_path / "runs", Trivial(1, 0.2, WORK.replace("SECONDS", "0.4"), name)) for name in ("", "B")
    )
    runs = [make_run() for _ in range(8)]
    here.enqueue(runs)
    end, seen = time.monotonic() + 60, set[str]()
    while any((*here.queue.waiting(), *here.queue.claimed())):
        assert time.monotonic() < end, f"{len(here.queue.waiting())} jobs still wait"
        for store in (here, there):
            store.advance()
            with store.queue._locked():
                assert store.queue.used() <= 1
        for claim in here.queue.claimed():
            process = record.read_json(here.root / claim.run_id / record.PROCESS)
            if process is not None and process["host"] == "B" and "B" not in seen:
                assert here.run(claim.run_id).state in (RunState.RUNNING, RunState.FINISHED)  # by its heartbeat
                with pytest.raises(StoreError, match="runs on B: stop it there"):
                    here.abort(here.run(claim.run_id))
                seen.add("B")
        time.sleep(0.05)
    assert [(run.id, run.reason) for run in here.runs() if run.state is not RunState.FINISHED] == []
    lines = (here.root / "work.log").read_text().splitlines()
    assert sorted(line.split()[2] for line in lines if line.startswith("begin")) == sorted(run.id for run in runs)
    assert most_at_once(here.root / "work.log") <= 2
    hosts = [(record.read_json(run.folder / record.PROCESS) or {})["host"] for run in runs]
    assert set(hosts) == {"B", identity.host()}
    assert seen


@pytest.mark.parametrize("moment", ["forked", "recorded"])
def test_a_supervisor_killed_before_it_lets_go_leaves_a_job_that_runs_once(
    tmp_path: Path, make_run: Callable[..., Run], moment: str
) -> None:
    where = {"forked": "self.pid = pid", "recorded": "error = engine.let_go()"}[moment]
    run = make_run()
    store = Store(tmp_path / "runs", Trivial(1))
    store.enqueue([run])
    code = f"""
import inspect, os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from trivial_launcher import Trivial
from mopo_tui.manager import supervisor
text = inspect.getsource(supervisor)
assert text.count({where!r}) >= 1
line = next(line for line in text.splitlines() if line.strip() == {where!r})
indent = line[: len(line) - len(line.lstrip())]
text = text.replace(line, f"{{indent}}os.kill(os.getpid(), signal.SIGKILL)", 1)
exec(compile(text, "supervisor", "exec"), supervisor.__dict__)
supervisor.take_over(Path({str(run.folder)!r}), [sys.executable, "-c", "open('ran', 'w')"], queued=True, launcher=Trivial(1))
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=60)
    end = time.monotonic() + 20
    while (claims := store.queue.claimed()) == [] or identity.start_time((claims[0].claimant or {})["pid"]) is not None:
        assert time.monotonic() < end, "the supervisor was not killed"
        time.sleep(0.02)
    assert len(store.queue.claimed()) == 1
    store.advance()
    while store.run(run.id).state is not RunState.FINISHED:
        assert time.monotonic() < end, (store.run(run.id), (run.folder / record.CONSOLE).read_text())
        time.sleep(0.02)
    assert not (run.folder / "ran").exists()  # the engine of the killed supervisor never began
    assert (store.root / "work.log").read_text().count("begin") == 1
