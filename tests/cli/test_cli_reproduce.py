"""`mopo reproduce`: when two runs count as one and the same, and a real run once more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finished_runs import CHEETAH, environment, write

from engine import record
from mopo_tui.manager import Run, Store, reproduce

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def rows(run: Run) -> list[dict[str, Any]]:
    return record.read_rows(run.folder / record.METRICS)[0]


def rewrite(run: Run, changed: list[dict[str, Any]]) -> None:
    (run.folder / record.METRICS).write_text("".join(record.dumps(row) + "\n" for row in changed))


def checked(mopo: Command, a: Run, b: Run) -> tuple[int, dict[str, Any]]:
    done = mopo("reproduce", a.id, "--against", b.id, "--json")
    return done.returncode, json.loads(done.stdout)


def test_the_same_numbers_are_identical_whatever_the_clock_says(mopo: Command, store: Store) -> None:
    a, b = write(store, 3000.0), write(store, 3000.0, **{"compute.reuse": False})
    changed = rows(b)
    for row in changed:
        row["t"] += 1000
        row["m"] = {name: 2 * value if name.startswith("speed/") else value for name, value in row["m"].items()}
    rewrite(b, changed)
    done = mopo("reproduce", a.id, "--against", b.id)
    assert done.returncode == 0, done.stderr
    assert "expected to be identical" in done.stdout
    assert re.search(r"\nidentical: \d+ values of 11 metrics, up to step 220\n", done.stdout), done.stdout
    code, found = checked(mopo, a, b)
    assert (code, found["identical"], found["reasons"], found["rows"]) == (0, True, [], 3 * 2 + 8 * 4)


def test_the_first_difference_is_named_and_fails(mopo: Command, store: Store) -> None:
    a, b = write(store, 3000.0), write(store, 3000.0)
    changed = rows(b)
    for row in changed:
        if row["epoch"] > 2 and "eval/return" in row["m"]:
            row["m"]["eval/return"] *= 1 + 1e-15
    rewrite(b, changed)
    code, found = checked(mopo, a, b)
    assert (code, found["identical"]) == (1, False)
    assert [(d["metric"], d["step"]) for d in found["deviations"]] == [("eval/return", 170.0)]
    text = mopo("reproduce", a.id, "--against", b.id).stdout
    assert "not identical: 1 of 11 metrics differ" in text
    assert "return after 200 policy updates" in text


def test_the_shorter_run_decides_how_far_is_compared(mopo: Command, store: Store) -> None:
    a, b = write(store, 3000.0), write(store, 3000.0)
    kept = [row for row in rows(b) if row["step"] <= 120]
    rewrite(b, kept[:-1])  # the last row of the last step is under way
    code, found = checked(mopo, a, b)
    assert (code, found["identical"], found["last_step"]) == (0, True, 120.0)
    rewrite(b, [row for row in kept if row["step"] != 70])  # a gap before the end
    code, found = checked(mopo, a, b)
    assert (code, found["identical"]) == (1, False)
    assert "policy/q" in found["missing"]
    rewrite(b, [])
    assert checked(mopo, a, b)[0] == 1


def test_a_final_evaluation_is_not_taken_for_one_during_training(mopo: Command, store: Store) -> None:
    a, b = write(store, 3000.0), write(store, 3000.0)
    rewrite(b, [row for row in rows(b) if row["step"] <= 120])
    record.append_row(
        b.folder / record.METRICS,
        {"step": 120, "update": 100, "epoch": 2, "stage": "evaluation", "t": 0.0, "m": {"eval/return": 7.0}},
    )
    assert checked(mopo, a, b)[1]["identical"]


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ({"versions": {"torch": "2.12.0"}}, "versions: torch 2.13.0 | 2.12.0"),
        ({"cpu": "another CPU"}, "machine: cpu a CPU | another CPU"),
        ({"compute": {"device": "cpu", "threads": 2, "gemm": "stock", "compiled": False}}, "compute: threads 1 | 2"),
        ({"dataset": {"id": "x", "fingerprint": "e" * 64}}, f"data: fingerprint {'f' * 64} | {'e' * 64}"),
        ({"git_commit": "abc"}, "code: commit 0123456789ab | abc"),
        ({"git_commit": "0123456789ab+"}, "changed after its commit"),
        ({"host": "other", "platform": "other"}, None),
    ],
)
def test_elsewhere_it_says_what_differs_and_how_far_seeds_spread(
    mopo: Command, store: Store, origin: dict[str, Any], reason: str | None
) -> None:
    a = write(store, 3000.0)
    b = write(store, 3100.0, origin=environment(**origin))
    for seed, value in ((1, 2800.0), (2, 3200.0)):
        write(store, value, seed=seed)
    code, found = checked(mopo, a, b)
    assert code == (1 if reason is None else 0)
    assert bool(found["reasons"]) == (reason is not None)
    assert reason is None or any(reason in line for line in found["reasons"]), found["reasons"]
    spread = found["spread"]
    assert (spread["a"], spread["b"], spread["seeds"], spread["mean"]) == (3000.0, 3100.0, 2, 3000.0)
    assert spread["std"] == pytest.approx(282.84, abs=0.01)
    assert "0.4 standard deviations of the seeds apart" in mopo("reproduce", a.id, "--against", b.id).stdout


def test_what_cannot_be_reproduced_is_one_line(mopo: Command, store: Store) -> None:
    a = write(store, 3000.0)
    for arguments, code, words in (
        (("nope",), 4, "no run"),
        ((a.id, "--against", a.id), 2, "with itself"),
        ((a.id, "--against", "nope"), 4, "no run"),
        ((a.id, "--against", a.id[:4], "--epochs", "1"), 2, "runs nothing"),
    ):
        done = mopo("reproduce", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done
        assert words in done.stderr
    about = record.read_json(a.folder / record.RUN) or {}
    record.write_json(a.folder / record.RUN, {**about, "job": "behaviour"})
    assert "only training runs" in mopo("reproduce", a.id).stderr
    assert len(store.runs()) == 1


SMALL = ("--task", CHEETAH, "--preset", "smoke", "--threads", "1", "--set", "dataset.size=1000")
SHORT = ("--set", "policy.updates_per_epoch=20", "--set", "evaluation.calibration=false")
NETWORKS = ("--set", "dynamics.hidden=[16, 16, 16, 16]", "--set", "sac.hidden=[16, 16]")


def test_a_real_run_is_the_same_again(mopo: Command, store: Store) -> None:
    """On this machine and from this checkout: every value, and after the first epoch alone, too."""
    first = mopo("run", *SMALL, *SHORT, *NETWORKS, "--name", "first", OMP_NUM_THREADS="1")
    assert first.returncode == 0, first.stdout + first.stderr
    done = mopo("reproduce", "first", "--json", OMP_NUM_THREADS="1")
    found = json.loads(done.stdout)
    assert found["identical"], found
    assert done.returncode == 0
    assert found["rows"] > 40
    again = store.run(found["b"])
    assert (again.state.value, again.name, again.seed) == ("finished", "first again", 0)
    assert "was started by: mopo run" in done.stderr
    arithmetic = [(record.read_json(run.folder / record.ENVIRONMENT) or {})["compute"] for run in store.runs()]
    assert arithmetic[0] == arithmetic[1]
    assert "reuse = false" in (again.folder / record.CONFIG).read_text()
    short = mopo("reproduce", "first", "--epochs", "1", "--json", OMP_NUM_THREADS="1")
    found = json.loads(short.stdout)
    assert found["identical"], found
    assert [row["epoch"] for row in rows(store.run(found["b"])) if "eval/return" in row["m"]] == [1]
    assert found["last_step"] == min(row["step"] for row in rows(store.run(found["a"])) if "eval/return" in row["m"])
    # A later attempt goes on to the end.
    resumed = mopo("resume", found["b"], OMP_NUM_THREADS="1")
    assert resumed.returncode == 0, resumed.stderr
    assert store.run(found["b"]).state.value == "finished"
    assert json.loads(mopo("reproduce", "first", "--against", found["b"], "--json").stdout)["identical"]


def test_ctrl_c_stops_the_run_that_was_begun(store: Store, environment: dict[str, str], tmp_path: Path) -> None:
    run = write(store, 3000.0, **{"dataset.size": 1000, "policy.epochs": 500})
    process = subprocess.Popen(
        [sys.executable, "-m", "mopo_tui.cli", "reproduce", run.id],
        cwd=tmp_path,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not (begun := [r for r in store.runs() if r.id != run.id and r.state.value == "running"]):
        assert time.monotonic() < end, process.communicate()
        time.sleep(0.2)
    os.kill(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "asked" in told
    while not store.run(begun[0].id).state.over:
        assert time.monotonic() < end + 60
        time.sleep(0.2)
    assert store.run(begun[0].id).state.value == "stopped"


def test_the_same_processor_takes_over_how_matrices_are_multiplied(store: Store) -> None:
    here = reproduce._processor()
    cases: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"cpu": here, "compute": {"gemm": "onednn", "compiled": False}}, {"gemm": "onednn", "compiled": False}),
        ({"cpu": "another", "compute": {"gemm": "onednn", "compiled": False}}, {}),
        ({"cpu": here, "compute": {"gemm": "made up", "compiled": "yes"}}, {}),
        ({"cpu": here, "compute": None}, {}),
    ]
    for origin, taken in cases:
        run = write(store, 1.0, origin=environment(**origin))
        assert reproduce.arithmetic(run) == taken
