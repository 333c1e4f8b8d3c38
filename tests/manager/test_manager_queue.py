"""The queue: who is next, who may start, what becomes of the jobs of dead supervisors."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from trivial_launcher import WORK, Trivial

from engine import record
from mopo_tui.manager import LaunchError, Run, RunState, Store, StoreError, identity
from mopo_tui.manager import queue as queue_module
from mopo_tui.manager.launcher import ThisHost, missing_device
from mopo_tui.manager.queue import Queue, QueueError
from mopo_tui.manager.state import PAUSED_MARK, QUEUED_MARK, SUPERVISOR_LOCK

SLEEPS = WORK.replace("SECONDS", "600")
WAITS_FOR_GO = WORK.replace(
    "time.sleep(SECONDS)", "\nwhile not os.path.exists(os.path.join(folder, 'go')): time.sleep(0.02)"
)


@pytest.fixture
def trivial(store: Store) -> Iterator[Callable[..., Store]]:
    """The store with a launcher of programs that wait for a file called go; whatever runs is ended after the test."""

    def make(slots: int = 2, look: float = 30.0, code: str = WAITS_FOR_GO) -> Store:
        return Store(store.root, Trivial(slots, look, code))

    yield make
    for folder in store.root.glob("2*"):
        process = record.read_json(folder / record.PROCESS) or {}
        for name, started in (("supervisor_pid", "supervisor_start_time"), ("pid", "start_time")):
            pid = process.get(name)
            if isinstance(pid, int) and identity.start_time(pid) == process.get(started):
                os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(map(running_engine, store.root.glob("2*"))) and time.monotonic() < deadline:
        time.sleep(0.02)


def running_engine(folder: Path) -> bool:
    process = record.read_json(folder / record.PROCESS) or {}
    return isinstance(process.get("pid"), int) and identity.start_time(process["pid"]) == process.get("start_time")


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def order(queue: Queue) -> list[str]:
    return [job.run_id for job in queue.waiting()]


def go(run: Run) -> None:
    (run.folder / "go").touch()


# --- order ------------------------------------------------------------------------------------------------------------------------


def test_first_come_first_served_whatever_the_clock_says(
    store: Store, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [make_run() for _ in range(3)]
    clock = time.time()
    for i, run in enumerate(runs):
        monkeypatch.setattr(time, "time", lambda i=i: clock - 86_400 * i)  # set back by a day each time
        store.queue.put(run.id, 1)
    assert order(store.queue) == [run.id for run in runs]
    assert [store.queue.position(run.id) for run in runs] == [1, 2, 3]
    assert {store.run(run.id).state for run in runs} == {RunState.QUEUED}
    store.queue.put(runs[0].id, 1)  # again: it keeps its place
    assert order(store.queue) == [run.id for run in runs]


def test_moving_to_every_place_and_until_no_number_is_left_between_two(
    store: Store, make_run: Callable[..., Run]
) -> None:
    ids = [make_run().id for _ in range(5)]
    for run_id in ids:
        store.queue.put(run_id, 1)
    expected = list(ids)
    for step in range(60):  # 20 halvings use up the room between two
        run_id, place = ids[step % 2], 3
        expected.remove(run_id)
        expected.insert(place - 1, run_id)
        store.queue.move(run_id, place)
        assert order(store.queue) == expected
    for place, at in ((1, 0), (99, 4), (0, 0)):
        expected.remove(ids[4])
        expected.insert(at, ids[4])
        store.queue.move(ids[4], place)
        assert order(store.queue) == expected
    with pytest.raises(QueueError, match="does not wait"):
        store.queue.move("nobody", 1)


def test_what_lies_in_the_queue_folder_and_is_no_job_is_left_alone(store: Store, make_run: Callable[..., Run]) -> None:
    run = make_run()
    store.queue.put(run.id, 1)
    outside = store.root.parent / "outside"
    record.create_run(outside, {"id": "outside"}, "")
    for name in (
        "1,..%2Foutside.job",
        "1,.hidden.job",
        "x,y.job",
        "1,2,3.job",
        "1.job",
        ".job",
        "1,a,h,notapid,s,b,.claim",
        "notes.txt",
    ):
        (store.queue.folder / name).write_text("{}")
    assert order(store.queue) == [run.id]
    store.advance()
    assert (store.queue.folder / "1,..%2Foutside.job").exists()
    assert not (outside / record.CONSOLE).exists()


@pytest.mark.parametrize("name", ["with blanks, commas and %2F", "ünïcødé ☃", "a~b'c\"d"])
def test_any_folder_name_can_wait(trivial: Callable[..., Store], make_run: Callable[..., Run], name: str) -> None:
    store = trivial()
    run = make_run()
    run.folder.rename(store.root / name)
    renamed = store.run(name)
    assert store.launch(renamed) == 0
    go(renamed)
    until(lambda: store.run(name).state is RunState.FINISHED)
    until(lambda: store.queue.claimed() == [])


# --- slots ------------------------------------------------------------------------------------------------------------------------


def test_never_more_than_the_slots_and_the_next_one_starts_at_an_end(
    trivial: Callable[..., Store], make_run: Callable[..., Run]
) -> None:
    store = trivial(slots=2)
    runs = [make_run() for _ in range(4)]
    assert [store.launch(run) for run in runs] == [0, 0, 1, 2]
    assert (store.queue.used(), order(store.queue)) == (2, [runs[2].id, runs[3].id])
    assert [store.run(run.id).state.value for run in runs] == ["running", "running", "queued", "queued"]
    store.queue.move(runs[3].id, 1)
    go(runs[0])
    until(lambda: store.run(runs[3].id).state is RunState.RUNNING)  # nobody but the supervisor that ended did it
    assert store.run(runs[2].id).state is RunState.QUEUED
    for run in runs:
        go(run)
    until(lambda: all(store.run(run.id).state is RunState.FINISHED for run in runs))
    until(lambda: store.queue.claimed() == [])
    assert not any((run.folder / QUEUED_MARK).exists() and store.run(run.id).state is RunState.QUEUED for run in runs)


def test_a_run_takes_as_many_slots_as_threads_and_none_overtakes_it(
    trivial: Callable[..., Store], make_run: Callable[..., Run]
) -> None:
    store = trivial(slots=3)
    one, big, small = make_run(), make_run(**{"compute.threads": 3}), make_run()
    huge = make_run(**{"compute.threads": 50})
    assert [store.launch(run) for run in (one, big, small, huge)] == [0, 1, 2, 3]
    store.advance()
    assert store.queue.used() == 1  # the small one would fit, but it is not its turn
    go(one)
    until(lambda: store.run(big.id).state is RunState.RUNNING)
    assert store.queue.used() == 3
    go(big)
    until(lambda: store.run(small.id).state is RunState.RUNNING)
    go(small)
    until(lambda: store.run(huge.id).state is RunState.RUNNING)  # more than there are counts as all of them


def test_launching_one_starts_what_waited_before_it_too(
    trivial: Callable[..., Store], make_run: Callable[..., Run]
) -> None:
    store = trivial(slots=2)
    first, second = make_run(), make_run()
    store.enqueue([first])  # and whoever did it was killed
    assert store.launch(second) == 0
    until(lambda: store.run(first.id).state is RunState.RUNNING)
    assert store.queue.waiting() == []


def test_now_jumps_the_queue_and_is_counted(trivial: Callable[..., Store], make_run: Callable[..., Run]) -> None:
    store = trivial(slots=1)
    first, second, third = make_run(), make_run(), make_run()
    assert [store.launch(first), store.launch(second), store.launch(third, now=True)] == [0, 1, 0]
    assert (store.queue.used(), store.queue.slots()) == (2, 1)
    go(third)
    until(lambda: store.run(third.id).state is RunState.FINISHED)
    until(lambda: store.queue.used() == 1)
    assert store.run(second.id).state is RunState.QUEUED


def test_slots_of_this_host(store: Store, make_run: Callable[..., Run]) -> None:
    assert store.queue.slots() == identity.cores()
    store.queue.set_slots(7)
    assert Queue(store.root).slots() == 7
    store.queue.set_slots(0)  # nothing starts
    assert store.launch(make_run()) == 1
    store.queue.set_slots(None)
    assert store.queue.slots() == identity.cores()
    (store.queue.folder / f"slots-{identity.host()}.json").write_text('{"slots": "many"}')
    assert store.queue.slots() == identity.cores()
    with pytest.raises(QueueError, match="between 0 and"):
        store.queue.set_slots(-1)


def test_only_the_owner_starts_a_job_and_others_do_not_wait_for_it(
    trivial: Callable[..., Store], make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = trivial(slots=1)
    theirs = make_run()
    store.enqueue([theirs])
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    assert not store.queue.may_start(theirs.id)
    assert store.queue.claim(theirs.id) is None
    assert store.queue.claim(theirs.id, anyway=True) is None
    store.advance()
    monkeypatch.undo()
    assert store.run(theirs.id).state is RunState.QUEUED
    assert store.queue.may_start(theirs.id)
    # A job that I own and that names a folder of somebody else's is none of mine either.
    lstat = Path.lstat

    class Theirs:
        st_uid, st_mode = me + 1, 0o040755

    monkeypatch.setattr(Path, "lstat", lambda path: Theirs() if path == theirs.folder else lstat(path))
    assert not store.queue.may_start(theirs.id)


def test_a_job_without_its_run_is_dropped(store: Store, make_run: Callable[..., Run]) -> None:
    import shutil

    gone, there = make_run(), make_run()
    store.queue.set_slots(0)
    store.enqueue([gone, there])
    shutil.rmtree(gone.folder)
    store.advance()
    assert order(store.queue) == [there.id]


# --- claims -----------------------------------------------------------------------------------------------------------------------


def test_a_claim_says_who_has_it_and_only_one_gets_it(store: Store, make_run: Callable[..., Run]) -> None:
    run = make_run("with a name")
    store.enqueue([run])
    claim = store.queue.claim(run.id)
    assert claim is not None
    me = os.getpid()
    assert claim.claimant == {
        "host": identity.host(),
        "pid": me,
        "start_time": identity.start_time(me),
        "boot_id": identity.boot_id(),
        "gpu": "",
    }
    assert store.queue.claim(run.id) is None
    assert (order(store.queue), store.queue.used()) == ([], 1)
    store.queue.release(claim)
    assert store.queue.used() == 0


@pytest.mark.parametrize("gone", ["pid", "reused pid", "reboot"])
def test_a_dead_owners_claim_goes_back_to_its_place(
    store: Store, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    store.queue.set_slots(1)
    first, second = make_run(), make_run()
    store.enqueue([first, second])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    me = identity.start_time(os.getpid())
    wrong = {"pid": {"pid": ended.pid}, "reused pid": {"start_time": f"{me}1"}, "reboot": {"boot_id": "before"}}[gone]
    truth = ThisHost.me
    with monkeypatch.context() as patch:
        patch.setattr(ThisHost, "me", lambda self: {**truth(self), **wrong})
        assert store.queue.claim(first.id) is not None
    assert order(store.queue) == [second.id]
    assert store.queue.may_start(first.id) is True  # found dead, and back in front
    assert order(store.queue) == [first.id, second.id]


def test_a_live_claim_and_one_of_another_host_stay(
    store: Store, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs, late = make_run(), make_run(), make_run()
    store.enqueue([ours, theirs, late])
    assert store.queue.claim(ours.id, anyway=True) is not None
    truth = ThisHost.me
    with monkeypatch.context() as patch:
        patch.setattr(ThisHost, "me", lambda self: {**truth(self), "host": "elsewhere", "pid": 1})
        assert store.queue.claim(theirs.id, anyway=True) is not None
        assert store.queue.claim(late.id, anyway=True) is not None
    store.queue._tidy()
    assert {job.run_id for job in store.queue.claimed()} == {ours.id, theirs.id, late.id}
    assert store.queue.used() == 1  # the slots of another host are its own
    # One that never began, and says nothing for long, is given back; one that began is that host's to tell of.
    record.write_json(late.folder / record.PROCESS, {"attempt": 1, "pid": 1, "host": "elsewhere"})
    record.append_row(late.folder / record.ATTEMPTS, {"attempt": 1, "event": "start"})
    monkeypatch.setattr(queue_module, "_age", lambda _: 100.0)
    store.queue._tidy()
    assert {job.run_id for job in store.queue.claimed()} == {ours.id, late.id}
    assert order(store.queue) == [theirs.id]


def test_a_trainer_without_its_supervisor_keeps_its_slot_to_its_end(
    trivial: Callable[..., Store], make_run: Callable[..., Run]
) -> None:
    store = trivial(slots=1)
    run, next_one = make_run(), make_run()
    assert [store.launch(run), store.launch(next_one)] == [0, 1]
    process = record.read_json(run.folder / record.PROCESS) or {}
    os.kill(process["supervisor_pid"], signal.SIGKILL)
    until(lambda: identity.start_time(process["supervisor_pid"]) is None)
    store.advance()
    assert store.run(run.id).state is RunState.RUNNING
    assert store.run(next_one.id).state is RunState.QUEUED
    go(run)
    until(lambda: store.run(run.id).state is RunState.FINISHED)
    # By any command, once the trainer that has its result has ended, too.
    until(lambda: store.advance() or store.run(next_one.id).state is RunState.RUNNING)
    assert [job.run_id for job in store.queue.claimed()] == [next_one.id]


def test_a_run_that_was_killed_with_its_supervisor_is_lost_and_not_started_again(
    trivial: Callable[..., Store], make_run: Callable[..., Run]
) -> None:
    store = trivial(slots=1)
    run = make_run()
    store.launch(run)
    process = record.read_json(run.folder / record.PROCESS) or {}
    until(lambda: (run.folder / "at-work").exists())
    for name in ("supervisor_pid", "pid"):
        os.kill(process[name], signal.SIGKILL)
    until(lambda: store.run(run.id).state is RunState.LOST, 3.0)
    store.advance()
    assert (store.queue.claimed(), store.queue.waiting()) == ([], [])
    assert store.run(run.id).state is RunState.LOST
    (run.folder / "at-work").unlink()
    store.launch(store.run(run.id))  # a person may
    go(run)
    until(lambda: store.run(run.id).state is RunState.FINISHED)


@pytest.mark.parametrize(
    ("left", "again"),
    [
        ((), True),  # recorded, and killed before it let the engine go
        ((record.RESULT,), False),  # killed right after: the engine has finished alone
        ((record.EXIT,), False),
        (("start",), False),
    ],
)
def test_what_a_dead_supervisor_left_tells_whether_its_engine_began(
    store: Store, make_run: Callable[..., Run], left: tuple[str, ...], again: bool
) -> None:
    store.queue.set_slots(0)
    run = make_run()
    store.enqueue([run])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    gone = {"pid": ended.pid, "start_time": "1", "boot_id": identity.boot_id(), "host": identity.host()}
    claim = store.queue.waiting()[0].path
    name = f"{claim.name.removesuffix('.job')},{identity.host()},{ended.pid},1,{identity.boot_id()},.claim"
    claim.rename(claim.with_name(name))
    record.write_json(run.folder / record.PROCESS, {**gone, "attempt": 1, "earlier_result": None, "events_from": 0})
    for what in left:
        if what == "start":
            record.append_row(run.folder / record.ATTEMPTS, {"attempt": 1, "event": "start"})
        else:
            record.write_json(run.folder / what, {"t": 1.0, "attempt": 1, "returncode": 1})
    store.advance()
    assert store.queue.claimed() == []
    assert (order(store.queue) == [run.id]) is again
    assert (store.run(run.id).state is RunState.QUEUED) is again


def test_another_supervisor_starts_what_waits_when_one_was_killed(
    trivial: Callable[..., Store], make_run: Callable[..., Run]
) -> None:
    store = trivial(slots=2, look=0.3)
    stays, dies, waits = make_run(), make_run(), make_run()
    assert [store.launch(run) for run in (stays, dies, waits)] == [0, 0, 1]
    process = record.read_json(dies.folder / record.PROCESS) or {}
    os.kill(process["supervisor_pid"], signal.SIGKILL)
    go(dies)
    until(lambda: Store(store.root).run(waits.id).state is RunState.RUNNING)  # by the supervisor of the first


def test_without_file_locks_two_that_took_the_last_slot_both_let_go(
    store: Store, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.queue.set_slots(1)
    first, second = make_run(), make_run()
    store.enqueue([first, second])

    def unsupported(*_: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    queue = store.queue
    take = Queue._take
    # Between the look and the rename of the first, the second is taken by somebody else.
    monkeypatch.setattr(
        Queue, "_take", lambda self, job, gpu: (take(self, queue.waiting()[1], ""), take(self, job, gpu))[1]
    )
    assert queue.claim(first.id) is None
    monkeypatch.setattr(Queue, "_take", take)
    assert (order(queue), queue.used()) == ([first.id], 1)
    queue.release(queue.claimed()[0])
    assert queue.claim(first.id) is not None


# --- ways in and out --------------------------------------------------------------------------------------------------------------


def test_stopping_what_waits_takes_it_out(trivial: Callable[..., Store], make_run: Callable[..., Run]) -> None:
    store = trivial(slots=1)
    runs, waits, ended = make_run(), make_run(), make_run()
    store.launch(ended)
    until(lambda: store.run(ended.id).state is RunState.RUNNING)
    os.kill((record.read_json(ended.folder / record.PROCESS) or {})["pid"], signal.SIGTERM)
    until(lambda: store.run(ended.id).state is RunState.STOPPED)
    until(lambda: store.queue.claimed() == [])
    assert [store.launch(run) for run in (runs, waits, store.run(ended.id))] == [0, 1, 2]
    assert store.run(ended.id).state is RunState.QUEUED  # it waits for its second attempt
    store.stop(store.run(waits.id))
    store.stop(store.run(ended.id))
    assert order(store.queue) == []
    assert (store.run(waits.id).state, store.run(waits.id).reason) == (
        RunState.STOPPED,
        "taken out of the queue before it began",
    )
    assert store.run(ended.id).state is RunState.STOPPED
    assert store.launch(store.run(waits.id)) == 1  # and in again
    assert store.run(waits.id).state is RunState.QUEUED
    store.abort(store.run(waits.id))
    assert store.run(waits.id).state is RunState.STOPPED


def test_what_cannot_start_is_not_queued_and_neither_are_the_others(store: Store, make_run: Callable[..., Run]) -> None:
    fine, finished, torn = make_run(), make_run(), make_run()
    record.write_json(finished.folder / record.RESULT, {"t": 1.0})
    (torn.folder / record.RUN).write_text("{")
    for bad, why in ((finished, "finished and cannot be started"), (torn, "no JSON object")):
        with pytest.raises(StoreError, match=why):
            store.enqueue([fine, bad])
    assert order(store.queue) == []


def test_a_supervisor_that_cannot_come_up_leaves_no_job_and_its_words(
    store: Store, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    broken = [sys.executable, "-c", "import sys; sys.exit('no room for me')"]
    monkeypatch.setattr(ThisHost, "command", lambda *_, **__: broken)
    with pytest.raises(LaunchError, match="was not started: no room for me"):
        store.launch(run)
    assert order(store.queue) == []
    failed = store.run(run.id)
    assert (failed.state, failed.reason) == (RunState.FAILED, "the supervisor did not come up: no room for me")
    monkeypatch.setattr(ThisHost, "command", lambda *_, **__: ["/nowhere/python"])
    with pytest.raises(LaunchError, match="could not be started"):
        store.launch(run)
    assert order(store.queue) == []
    monkeypatch.undo()
    store.enqueue([failed])  # another time it may come up
    assert store.run(run.id).state is RunState.QUEUED


def test_a_job_whose_folder_cannot_be_used_fails_with_the_reason_and_holds_up_nobody(
    trivial: Callable[..., Store], make_run: Callable[..., Run]
) -> None:
    store = trivial(slots=1)
    no_log, no_mark, fine = make_run(), make_run(), make_run()
    (no_log.folder / record.CONSOLE).mkdir()  # the launcher cannot open it
    (no_mark.folder / PAUSED_MARK).mkdir()  # its supervisor cannot take it away
    store.enqueue([no_log, no_mark, fine])
    go(fine)
    until(lambda: store.advance() or store.run(fine.id).state is RunState.FINISHED)
    for run, name in ((no_log, record.CONSOLE), (no_mark, PAUSED_MARK)):
        told = store.run(run.id)
        assert (told.state, told.reason) == (
            RunState.FAILED,
            f"could not be started: Is a directory: {run.folder / name}",
        )
    assert "could not be started: Is a directory" in (no_mark.folder / record.CONSOLE).read_text()


def test_a_job_that_has_not_begun_says_why(store: Store, make_run: Callable[..., Run]) -> None:
    run = make_run()
    store.enqueue([run])
    assert store.run(run.id).reason == ""
    (run.folder / record.CONSOLE).write_text("the run could not be started: No space left on device\n")
    assert store.run(run.id).state is RunState.QUEUED
    assert store.run(run.id).reason == "the run could not be started: No space left on device"


def test_a_full_disk_at_the_start_leaves_the_job_waiting_and_no_engine(
    store: Store, make_run: Callable[..., Run]
) -> None:
    run = make_run()
    store.enqueue([run])
    code = f"""
import errno, os, sys
from pathlib import Path
from engine import record
from mopo_tui.manager import supervisor
write = record.write_atomically
def full(path, content):
    if path.name == record.PROCESS:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))
    write(path, content)
record.write_atomically = full
supervisor.take_over(Path({str(run.folder)!r}), [sys.executable, "-c", "open('ran', 'w')"], queued=True)
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60)
    assert "could not be started: No space left on device" in done.stdout
    until(lambda: not queue_module.locks.held(run.folder / SUPERVISOR_LOCK))
    assert order(store.queue) == [run.id]
    assert store.run(run.id).state is RunState.QUEUED
    assert not (run.folder / "ran").exists()


def test_two_managers_at_once_start_each_run_once(trivial: Callable[..., Store], make_run: Callable[..., Run]) -> None:
    store = trivial(slots=8, code=WORK.replace("SECONDS", "0.2"))
    runs = [make_run() for _ in range(6)]
    store.enqueue(runs)
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from trivial_launcher import WORK, Trivial
from mopo_tui.manager import Store
store = Store(Path({str(store.root)!r}), Trivial(8, 30.0, WORK.replace("SECONDS", "0.2")))
for _ in range(5):
    store.advance()
"""
    managers = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [manager.wait(60) for manager in managers] == [0, 0, 0]
    until(lambda: all(store.run(run.id).state is RunState.FINISHED for run in runs))
    log = (store.root / "work.log").read_text()
    assert (log.count("begin"), log.count("twice")) == (6, 0)
    assert {store.run(run.id).attempt for run in runs} == {1}


def test_reading_commands_start_what_waits_and_an_idle_store_costs_one_look(
    store: Store, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []
    monkeypatch.setattr(Queue, "_tidy", lambda self: called.append(self.root))
    monkeypatch.setattr(ThisHost, "start", lambda _, folder, **__: called.append(folder))
    Store.open(store.root)
    assert called == []
    run = make_run()
    store.enqueue([run])
    Store.open(store.root)
    assert called == [store.root, run.folder]


# --- GPUs -------------------------------------------------------------------------------------------------------------------------

NVIDIA_SMI = """#!/bin/sh
[ "$1" = "--query-gpu=index,uuid,memory.total,memory.free" ] || exit 2
cat {table}
"""


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts an nvidia-smi on PATH that tells of GPUs with that much free memory, in MiB of 16000."""
    folder = tmp_path / "bin"
    folder.mkdir()
    table = tmp_path / "gpus.csv"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def tell(*free: int) -> None:
        rows = [f"{i}, GPU-{i:04d}, 16000, {there}\n" for i, there in enumerate(free)]
        table.with_suffix(".new").write_text("".join(rows))
        table.with_suffix(".new").rename(table)
        (folder / "nvidia-smi").write_text(NVIDIA_SMI.format(table=table))
        (folder / "nvidia-smi").chmod(0o755)
        if str(folder) not in os.environ["PATH"]:
            monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return tell


def on_gpu(make_run: Callable[..., Run], device: str = "cuda") -> Run:
    return make_run(**{"compute.device": device})


def test_a_gpu_run_waits_for_memory_that_others_leave_free(
    trivial: Callable[..., Store], make_run: Callable[..., Run], gpus: Callable[..., None]
) -> None:
    gpus(100, 200)
    store = trivial(slots=0, look=0.2, code=WORK.replace("SECONDS", "0.3"))
    run = on_gpu(make_run)
    assert store.launch(run) == 1
    time.sleep(0.8)
    assert store.run(run.id).state is RunState.QUEUED  # several looks later
    gpus(100, 12_000)
    until(lambda: store.run(run.id).state is RunState.FINISHED)  # no command in between, and no CPU slot


def test_a_run_that_waits_for_a_gpu_can_be_hurried(
    trivial: Callable[..., Store], make_run: Callable[..., Run], gpus: Callable[..., None]
) -> None:
    gpus(100)
    store = trivial(look=0.2, code=WORK.replace("SECONDS", "0.3"))
    run = on_gpu(make_run)
    assert store.launch(run) == 1
    until(lambda: queue_module.locks.held(run.folder / SUPERVISOR_LOCK))
    assert store.launch(run, now=True) == 0
    until(lambda: store.run(run.id).state is RunState.FINISHED)
    until(lambda: store.queue.claimed() == [])
    assert store.queue.waiting() == []


def test_a_home_that_cannot_be_written_keeps_no_run_from_starting(
    trivial: Callable[..., Store], make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    store, run = trivial(), make_run()
    with pytest.raises(StoreError, match="cannot be queued"):
        store.launch(run, on_finish=["/bin/true"])
    assert store.queue.waiting() == []
    assert store.launch(run) == 0


def test_a_run_is_started_with_the_variables_of_its_own_launch(
    trivial: Callable[..., Store], make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = "import os, sys; open(sys.argv[1] + '/seen', 'w').write(os.environ.get('MINARI_DATASETS_PATH', 'none'))"
    store = trivial(slots=0, code=told)
    here, there, nowhere = make_run(), make_run(), make_run()
    for run, value in ((here, "/here"), (there, "/there"), (nowhere, None)):
        if value is None:
            monkeypatch.delenv("MINARI_DATASETS_PATH")
        else:
            monkeypatch.setenv("MINARI_DATASETS_PATH", value)
        store.enqueue([run])
    monkeypatch.setenv("MINARI_DATASETS_PATH", "/elsewhere")
    trivial(slots=1, code=told).advance()  # each starts the next
    until(lambda: all((run.folder / record.EXIT).exists() for run in (here, there, nowhere)))
    assert [(run.folder / "seen").read_text() for run in (here, there, nowhere)] == ["/here", "/there", "none"]


def test_each_gpu_has_one_run_and_a_chosen_one_is_waited_for(
    store: Store, make_run: Callable[..., Run], gpus: Callable[..., None]
) -> None:
    gpus(12_000, 12_000)
    first, second, third = (on_gpu(make_run, device) for device in ("cuda:1", "cuda", "cuda"))
    store.enqueue([first, second, third])
    claims = [store.queue.claim(run.id) for run in (third, second, first)]
    assert claims[0] is None  # it is not its turn: two GPUs, and two before it
    assert [claim.claimant["gpu"] for claim in claims[1:] if claim and claim.claimant] == ["GPU-0000", "GPU-0001"]
    assert store.queue.claim(third.id) is None
    assert claims[1] is not None
    store.queue.release(claims[1])
    again = store.queue.claim(third.id)
    assert again is not None
    assert again.claimant is not None
    assert again.claimant["gpu"] == "GPU-0000"


def test_the_engine_sees_the_gpu_it_was_given(
    trivial: Callable[..., Store], make_run: Callable[..., Run], gpus: Callable[..., None]
) -> None:
    gpus(100, 12_000)
    told = "import os, sys; open(sys.argv[1] + '/seen', 'w').write(os.environ.get('CUDA_VISIBLE_DEVICES', 'none'))"
    store = trivial(look=0.2, code=told)
    run, plain = on_gpu(make_run), make_run()
    for one in (run, plain):
        store.launch(one)
        until(lambda one=one: (one.folder / record.EXIT).exists())
    assert (run.folder / "seen").read_text() == "GPU-0001"
    assert (plain.folder / "seen").read_text() == "none"


def test_visible_devices_limit_and_order_the_gpus(gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(1, 2, 3)
    for chosen, indices in (("2,0", [2, 0]), ("GPU-0001", [1]), ("", []), ("1,7,0", [1])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
        assert [gpu.index for gpu in ThisHost().gpus()] == indices
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert [(gpu.free, gpu.total) for gpu in ThisHost().gpus()][:1] == [(1 << 20, 16_000 << 20)]


def test_a_device_that_is_not_there_is_told(gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(1, 2)
    for device in ("cpu", "cuda", "cuda:1"):
        assert missing_device(ThisHost(), device) == ""
    assert missing_device(ThisHost(), "cuda:2") == "there are only 2 GPUs on this host"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert missing_device(ThisHost(), "cuda") == "there is no GPU on this host"


def test_without_nvidia_smi_a_gpu_run_waits_and_holds_up_nobody(
    trivial: Callable[..., Store], make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (ThisHost().gpus(), ThisHost().has_gpus()) == ([], False)
    store = trivial()
    assert store.launch(on_gpu(make_run)) == 1
    cpu = make_run()
    assert store.launch(cpu) == 0
    go(cpu)
    until(lambda: store.run(cpu.id).state is RunState.FINISHED)
