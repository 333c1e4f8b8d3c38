"""Scoring a policy: whoever plays the episodes, the figures are the same."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from engine_process import new_run, small, start, wait_for

from engine import evaluation, record
from engine.control import Stopped
from engine.evaluation import Episodes, Evaluator, deterministic, run_episodes
from engine.policy import Policy
from engine.randomness import numpy_generator

HOPPER, STREAM = "Hopper-v5", (3, "evaluation", 5)


@pytest.fixture
def policy() -> Policy:
    rng = numpy_generator("test policy")
    sizes = ((11, 16), (16, 6))
    weights = tuple(rng.normal(0, 0.3, size).astype(np.float32) for size in sizes)
    return Policy(weights, tuple(np.zeros(b, np.float32) for _, b in sizes), (-5.0, 2.0), {})


def same(a: Episodes, b: Episodes) -> bool:
    figures = all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("returns", "behaviour_returns", "progress", "lengths")
    )
    return (
        figures
        and len(a.recorded) == len(b.recorded)
        and all(
            np.array_equal(one.observations, other.observations)
            and np.array_equal(one.actions, other.actions)
            and np.array_equal(one.rewards, other.rewards)
            and one.terminated is other.terminated
            for one, other in zip(a.recorded, b.recorded, strict=True)
        )
    )


@pytest.mark.parametrize("keep", [False, True])
def test_helpers_change_no_bit(policy: Policy, keep: bool) -> None:
    shared, alone = Evaluator(HOPPER, {}, helpers=2), Evaluator(HOPPER, {})
    told: list[int] = []
    found = shared.run(policy, 17, STREAM, told.append, keep)
    assert len(shared._team) == 2
    assert same(found, alone.run(policy, 17, STREAM, keep=keep))
    assert same(found, run_episodes(alone._env, deterministic(policy), 17, STREAM, keep=keep))
    assert told[-1] == 17
    assert told == sorted(told)
    again = shared.run(policy, 17, STREAM, keep=keep)  # the same helpers
    assert same(found, again)
    processes = list(shared._team.values())
    shared.close()
    assert not [process for process in processes if process.is_alive()]


def test_few_episodes_start_nobody(policy: Policy) -> None:
    evaluator = Evaluator(HOPPER, {}, helpers=7)
    evaluator.run(policy, 2 * evaluation.FEWEST_EPISODES - 1, STREAM)
    assert evaluator._team == {}
    evaluator.run(policy, 2 * evaluation.FEWEST_EPISODES, STREAM)
    assert len(evaluator._team) == 1
    evaluator.close()


def test_a_killed_helper_is_done_without(policy: Policy) -> None:
    shared, alone = Evaluator(HOPPER, {}, helpers=1), Evaluator(HOPPER, {})

    def kill(finished: int) -> None:
        if finished == 4:
            for process in list(shared._team.values()):
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join()

    found = shared.run(policy, 12, STREAM, kill)
    assert shared._team == {}
    assert same(found, alone.run(policy, 12, STREAM))
    assert same(shared.run(policy, 12, STREAM), found)  # and stays so


def test_what_a_helper_raises_is_raised_here(policy: Policy) -> None:
    narrow = Policy((policy.weights[0][:5], policy.weights[1]), policy.biases, (-5.0, 2.0), {})
    with pytest.raises(ValueError, match="takes observations"):
        Evaluator(HOPPER, {}, helpers=1).run(narrow, 12, STREAM)


def test_a_stop_in_the_middle_is_a_stop(policy: Policy) -> None:
    def stop(finished: int) -> None:
        if finished >= 3:
            raise Stopped(143, "stopped")

    evaluator = Evaluator(HOPPER, {}, helpers=1)
    with pytest.raises(Stopped):
        evaluator.run(policy, 20, STREAM, stop)
    evaluator.close()


def test_a_run_that_is_stopped_takes_its_helpers_along(tmp_path: Path) -> None:
    folder = new_run(tmp_path, tmp_path / "run", small(**{
        "dataset.size": 1000, "evaluation.calibration": False, "evaluation.final_episodes": 100_000, "compute.threads": 2,
        "algorithm": "bc",
    }))  # fmt: skip
    process = start(tmp_path, folder)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(lambda: any(row["stage"] == "evaluation" for row in record.read_rows(folder / record.EVENTS)[0]), 60)
    wait_for(lambda: len(children.read_text().split()) > 1, 30)
    pids = children.read_text().split()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 143
    wait_for(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], 5)


def test_a_run_of_two_threads_scores_as_its_helpers_say_and_leaves_none(tmp_path: Path) -> None:
    folder = new_run(tmp_path, tmp_path / "run", small(**{
        "dataset.size": 1000, "evaluation.calibration": False, "evaluation.final_episodes": 9, "compute.threads": 2,
        "algorithm": "bc",
    }))  # fmt: skip
    process = start(tmp_path, folder)
    seen: set[str] = set()

    def over() -> bool:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        except OSError:
            children = []
        seen.update(children)
        return process.poll() is not None

    wait_for(over, 120)
    assert process.returncode == 0
    assert seen
    wait_for(lambda: not [pid for pid in seen if Path(f"/proc/{pid}").exists()], 5)
    result = record.read_json(folder / "result.json")
    assert result is not None
    policy = Policy.load(folder / "checkpoints" / "final.safetensors")
    found = Evaluator(HOPPER, {}).run(policy, 9, (0, "evaluation", "final"))
    assert result["final"]["return"] == float(found.returns.mean())
