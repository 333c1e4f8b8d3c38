"""What may go wrong around a run: clocks set back, a full disk, supervisors that die first, real runs shot at."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from amount import amount

from engine import record
from engine.config import resolve
from mopo_tui.manager import Run, RunState, Store, StoreError, identity
from mopo_tui.manager.experiment import Description, plan
from mopo_tui.manager.launcher import ThisHost

RUNS = amount(4, 6)


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def process_of(run: Run) -> dict[str, int]:
    return record.read_json(run.folder / record.PROCESS) or {}


# --- clocks -----------------------------------------------------------------------------------------------------------------------

HOUR_BACK = """
time.time = lambda now=time.time: now() - 3600
"""


def test_a_clock_set_back_while_a_run_goes_on_changes_nothing(supervised, state_within, store: Store) -> None:
    finished = supervised(HOUR_BACK + "with Recorder(folder) as recorder: recorder.result(final={})")
    assert state_within(finished, RunState.FINISHED, seconds=10).result is not None
    failed = supervised(
        HOUR_BACK + "with Recorder(folder) as recorder: recorder.event('failed', 'the loss is NaN')\nsys.exit(1)"
    )
    assert state_within(failed, RunState.FAILED, seconds=10).reason == "exit code 1: the loss is NaN"
    # And a second attempt, which begins an hour before the end of the first, is not taken for finished.
    until(lambda: (finished.folder / record.EXIT).exists())
    again = supervised(HOUR_BACK + "(folder / 'up').touch()\ntime.sleep(600)", store.run(finished.id))
    until((again.folder / "up").exists)
    now = state_within(again, RunState.RUNNING)
    assert (now.attempt, now.result) == (2, None)
    os.kill(process_of(again)["pid"], signal.SIGKILL)
    assert state_within(again, RunState.FAILED).result is None


# --- supervisors that die first ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "state", "reason"),
    [
        ("recorder.event('stopped', 'stopped on request')\nsys.exit(143)", RunState.STOPPED, ""),
        ("recorder.event('failed', 'out of memory')\nsys.exit(1)", RunState.FAILED, "out of memory"),
        ("recorder.result(final={})", RunState.FINISHED, ""),
        ("print('no last words')", RunState.LOST, "its process is gone without a result: no last words"),
    ],
)
def test_what_an_engine_without_its_supervisor_said_last_counts(
    supervised, state_within, code: str, state: RunState, reason: str
) -> None:
    waits = "recorder = Recorder(folder)\nwhile not (folder / 'go').exists(): time.sleep(0.02)\n"
    run = supervised(waits + code)
    os.kill(process_of(run)["supervisor_pid"], signal.SIGKILL)
    until(lambda: identity.start_time(process_of(run)["supervisor_pid"]) is None)
    assert state_within(run, RunState.RUNNING).state is RunState.RUNNING
    (run.folder / "go").touch()
    now = state_within(run, state)
    assert now.reason == reason


def test_an_engine_is_not_let_go_before_its_process_is_recorded(supervised) -> None:
    run = supervised("(folder / 'seen').write_text((folder / 'process.json').read_text())\ntime.sleep(600)")
    until((run.folder / "seen").exists)
    seen = record.read_json(run.folder / "seen")
    assert seen is not None
    assert seen["pid"] == process_of(run)["pid"]
    assert identity.start_time(seen["pid"]) == seen["start_time"]


def test_the_engine_has_nothing_of_its_supervisor_open(supervised) -> None:
    run = supervised(
        "(folder / 'open').write_text(' '.join(sorted(os.listdir('/proc/self/fd'))))\n"
        "(folder / 'signals').write_text(Path('/proc/self/status').read_text())"
    )
    until((run.folder / "signals").exists)
    assert (run.folder / "open").read_text().split() == ["0", "1", "2", "3"]  # the last one is of the listing itself
    ignored = next(line for line in (run.folder / "signals").read_text().splitlines() if line.startswith("SigIgn"))
    mask = int(ignored.split()[1], 16)
    assert not mask & (1 << (signal.SIGTERM - 1))
    assert mask & (1 << (signal.SIGHUP - 1))  # a lost terminal is no reason to end


# --- a full disk ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KB, where this user may mount one."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_at_launch_leaves_no_half_made_folder(small_disk: Path) -> None:
    store = Store.open(small_disk / "runs")
    store.queue.set_slots(0)
    config = resolve([("test", {"preset": "smoke", "compute.threads": 1})]).config
    before = store.create(config)
    store.enqueue([before])
    filler = os.open(small_disk / "filler", os.O_WRONLY | os.O_CREAT)
    with pytest.raises(OSError, match="No space left"):
        os.writev(filler, [bytes(4096)] * 64) and os.writev(filler, [bytes(4096)] * 64)
    os.close(filler)
    listed = sorted(path.name for path in store.root.rglob("*"))
    with pytest.raises(StoreError, match="No space left on device"):
        store.create(config)
    with pytest.raises(StoreError, match="No space left on device"):
        store.create_all(plan(Description(seeds=(0, 1, 2)), [("test", {"preset": "smoke"})]))
    assert sorted(path.name for path in store.root.rglob("*")) == listed
    assert [run.id for run in store.runs()] == [before.id]
    assert store.run(before.id).state is RunState.QUEUED
    (small_disk / "filler").unlink()
    assert len(store.create_all(plan(Description(seeds=(0, 1, 2)), [("test", {"preset": "smoke"})]))) == 3


# --- real runs --------------------------------------------------------------------------------------------------------------------


def test_real_runs_under_random_kills_of_their_supervisors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOPO_DATA", str(tmp_path / "shared"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    shot = 0

    class Shooting(ThisHost):
        """One supervisor in three is killed while it comes up."""

        def start(self, folder: Path, *, queued: bool) -> subprocess.Popen[bytes]:
            nonlocal shot
            starter = super().start(folder, queued=queued)
            if random.random() < 1 / 3:
                time.sleep(random.uniform(0, 0.2))
                starter.send_signal(signal.SIGKILL)
                shot += 1
            return starter

    # Behaviour cloning on a small batch: every stage of a real run, in seconds.
    values = {
        "task": "hopper-random",
        "algorithm": "bc",
        "preset": "smoke",
        "dataset.size": 1000,
        "policy.epochs": 2,
        "compute.compile": False,
    }
    Store.open(tmp_path / "runs").queue.set_slots(2)
    store = Store(tmp_path / "runs", Shooting())
    runs = store.create_all(plan(Description(seeds=tuple(range(RUNS))), [("test", values)]))
    store.enqueue(runs)
    killed: set[int] = set()
    end = time.monotonic() + 300
    while store.queue.waiting() or store.queue.claimed():
        assert time.monotonic() < end, [(run.id, run.state, run.reason) for run in store.runs()]
        store.advance()
        at_work = [run for run in map(store.run, (run.id for run in runs)) if alive_engine(run)]
        assert len(at_work) <= 2
        claims = [job.claimant for job in store.queue.claimed() if job.claimant is not None]
        if claims and random.random() < 0.1:
            pid = random.choice(claims)["pid"]
            if identity.start_time(pid) is not None:
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(0.2)
    done = [store.run(run.id) for run in runs]
    assert [(run.state, run.reason) for run in done] == [(RunState.FINISHED, "")] * RUNS
    print(f"{len(killed)} supervisors killed at work, {shot} on their way")
    assert killed or shot
    for run in done:
        starts = [row for row in record.read_rows(run.folder / record.EVENTS)[0] if row["kind"] == "dataset"]
        assert len(starts) == 1  # one engine worked in each folder, once
        assert run.result is not None
        assert run.result["epochs"] == 2


def alive_engine(run: Run) -> bool:
    process = process_of(run)
    return identity.start_time(process.get("pid", 0)) == process.get("start_time", "none")


def test_the_engine_pauses_and_goes_on_in_a_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOPO_DATA", str(tmp_path / "shared"))
    store = Store.open(tmp_path / "runs")
    store.queue.set_slots(1)
    values = {
        "task": "hopper-random",
        "algorithm": "bc",
        "preset": "smoke",
        "dataset.size": 1000,
        "policy.epochs": 100_000,
        "evaluation.every": 100_000,
        "compute.compile": False,
        "compute.threads": 1,
    }
    run = store.create(resolve([("test", values)]).config)
    try:
        assert store.launch(run) == 0
        until((run.folder / record.METRICS).exists, 120)  # it learns
        store.pause(store.run(run.id))
        until(lambda: store.run(run.id).state is RunState.PAUSED, 15)
        pid = process_of(run)["pid"]
        rows = (run.folder / record.METRICS).stat().st_size
        ticks = Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[-1].split()[11]
        time.sleep(1.0)
        assert (run.folder / record.METRICS).stat().st_size == rows
        later = Path(f"/proc/{pid}/stat").read_text().rsplit(") ")[-1].split()[11]
        assert int(later) - int(ticks) <= 20  # a fifth of a second of work in one second, at most: it sleeps
        store.unpause(store.run(run.id))
        until(lambda: store.run(run.id).state is RunState.RUNNING, 15)
        until(lambda: (run.folder / record.METRICS).stat().st_size > rows)
        store.pause(store.run(run.id))
        until(lambda: store.run(run.id).state is RunState.PAUSED, 15)
        store.stop(store.run(run.id))
        until(lambda: store.run(run.id).state is RunState.STOPPED, 15)
    finally:
        store.abort(store.run(run.id))


def test_importing_the_stores_module_stays_light() -> None:
    code = "import sys, mopo_tui.manager.store; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    for name in ("numpy", "torch", "textual", "rich", "tomlkit", "tomllib", "hashlib"):
        assert name not in loaded, name
