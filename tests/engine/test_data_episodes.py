"""Several processes collect what one would have collected, stop when they are told to, and never outlive their parent."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.data.dataset import DatasetError, row_width
from engine.data.episodes import Share, Source, fill
from engine.policy import Policy
from engine.randomness import numpy_generator

HOPPER = Source("Hopper-v5", {}, 1000, (0, "test"))


def nothing(*_: object) -> None:
    pass


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy of the hopper's sizes that nobody trained: it falls after some ten steps."""
    rng, sizes = numpy_generator("test policy"), (11, 16, 6)
    weights = tuple(rng.normal(0, 0.3, (a, b)).astype(np.float32) for a, b in itertools.pairwise(sizes))
    path = tmp_path / "policy.safetensors"
    Policy(weights, tuple(np.zeros(b, np.float32) for b in sizes[1:]), (-5.0, 2.0), {}).save(path)
    return path


def collected(shares: list[Share], workers: int, poll: Callable[[], object] = nothing) -> tuple[np.ndarray, object]:
    rows = np.full((sum(share.rows for share in shares), row_width(11, 3)), np.nan, dtype=np.float32)
    return rows, fill(rows, 3, HOPPER, shares, poll, nothing, workers)


def test_any_number_of_processes_gives_the_same_rows(policy: Path) -> None:
    shares = [Share(0, None, 700), Share(1000, policy, 1), Share(2000, policy, 1501), Share(3000, policy, 40)]
    alone, ends = collected(shares, 1)
    assert not np.isnan(alone).any()
    for workers in (2, 3):
        rows, their_ends = collected(shares, workers)
        np.testing.assert_array_equal(rows, alone)
        assert their_ends == ends
    assert multiprocessing.active_children() == []


def test_whole_episodes_at_the_time_limit_are_the_same_too() -> None:
    """Half-cheetahs never fall: each episode but the last has its thousand steps, and the last is cut."""
    source = Source("HalfCheetah-v5", {}, 1000, (0, "test"))
    both = []
    for workers in (1, 2):
        rows = np.empty((2300, row_width(17, 6)), dtype=np.float32)
        assert fill(rows, 6, source, [Share(0, None, 2300)], nothing, nothing, workers) == [[1000, 2000, 2300]]
        both.append(rows)
    np.testing.assert_array_equal(*both)


def test_progress_counts_up_to_the_last_row(policy: Path) -> None:
    told: list[int] = []
    rows = np.empty((3000, row_width(11, 3)), dtype=np.float32)
    fill(rows, 3, HOPPER, [Share(0, None, 1000), Share(1, policy, 2000)], nothing, told.append, 2)
    assert told == sorted(told)
    assert told[-1] == 3000


def test_what_a_worker_raises_arrives_as_itself(tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no policy")
    with pytest.raises(DatasetError, match=r"bad\.safetensors: not a policy file") as raised:
        collected([Share(0, None, 200), Share(1000, bad, 200)], 2)
    assert "load_policy" in raised.value.__notes__[0]  # where it happened
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_is_one_clear_error() -> None:
    def kill_one() -> None:
        for child in multiprocessing.active_children()[:1]:
            child.kill()

    with pytest.raises(DatasetError, match=r"ended before its work was done \(exit code -9\)"):
        collected([Share(0, None, 100_000)], 2, kill_one)
    assert multiprocessing.active_children() == []


def test_stepping_environments_needs_no_torch() -> None:
    code = "import sys, engine.data.episodes; print('torch' in sys.modules, 'mujoco' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "True"], done.stderr


_ENDLESS = """
import multiprocessing, signal, sys
import numpy as np
from engine.control import Stopped
from engine.data.dataset import row_width
from engine.data.episodes import Share, Source, fill

asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
rows = np.empty((2_000_000, row_width(17, 6)), dtype=np.float32)
told = False

def poll():
    if asked:
        raise Stopped(143, "stopped by SIGTERM")

def progress(filled):
    global told
    if filled and not told:  # they are at work
        told = True
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)

try:
    fill(rows, 6, Source("HalfCheetah-v5", {}, 1000, (0,)), [Share(0, None, len(rows))], poll, progress, 2)
except Stopped as stopped:
    sys.exit(stopped.code)
"""


def endless() -> tuple[subprocess.Popen[str], list[int]]:
    """A process whose two workers are at work, and their ids."""
    process = subprocess.Popen(
        [sys.executable, "-c", _ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    workers = [int(word) for word in process.stdout.readline().split()]
    assert len(workers) == 2
    return process, workers


def gone(pid: int) -> bool:
    """Whether the process has ended, be it that nobody has asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def wait_until_gone(workers: list[int], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not all(gone(pid) for pid in workers):
        assert time.monotonic() < end, "a worker outlived its parent"
        time.sleep(0.02)


def test_workers_die_with_their_parent() -> None:
    process, workers = endless()
    process.kill()
    process.wait()
    wait_until_gone(workers, 5)


@pytest.mark.parametrize("group", [False, True], ids=["process", "process group"])
def test_a_stop_takes_effect_at_once_and_takes_the_workers_along(group: bool) -> None:
    process, workers = endless()
    begun = time.monotonic()
    (os.killpg if group else os.kill)(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - begun < 2
    assert (process.returncode, errors) == (143, "")
    assert all(gone(pid) for pid in workers)
