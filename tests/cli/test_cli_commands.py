"""The command line as a person meets it: real processes, their exit codes, what is on stdout and what on stderr."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import record
from mopo_tui.manager import Run, Store

Command = Callable[..., "subprocess.CompletedProcess[str]"]

# `follow` on a run whose supervisor starts a small program instead of the engine.
FOLLOW = """
import subprocess, sys
from pathlib import Path
from mopo_tui.cli.errors import guarded
from mopo_tui.cli.follow import follow
from mopo_tui.manager import Store
take_over = (
    "import sys; from pathlib import Path; from mopo_tui.manager.supervisor import take_over; "
    "take_over(Path(sys.argv[1]), sys.argv[2:])"
)
folder = Path(sys.argv[1])
store = Store(folder.parent)
run = store.run(folder.name)
with open(folder / "console.log", "ab") as console:
    starter = [sys.executable, "-P", "-c", take_over, str(folder), sys.executable, "-P", "-c", sys.argv[2], str(folder)]
    subprocess.run(starter, cwd=folder, stdout=console, stderr=console, start_new_session=True, check=True)
sys.exit(guarded(lambda: sys.exit(follow(store, run, as_json="json" in sys.argv))))
"""
CHILD = """
import os, signal, sys, time
from pathlib import Path
from engine.record import Recorder
recorder = Recorder(Path(sys.argv[1]))
"""
LISTENS = """
recorder.enter("policy", "improving the policy")
while not recorder.stop_requested():
    time.sleep(0.02)
recorder.event("stopped", "stopped on request")
sys.exit(143)
"""


@pytest.fixture
def follow(make_run: Callable[..., Run], environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    def start(code: str, *more: str) -> subprocess.Popen[str]:
        run = make_run()
        return subprocess.Popen(
            [sys.executable, "-c", FOLLOW, str(run.folder), CHILD + code, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    return start


def write_result(run: Run) -> None:
    score = {
        "return": 1203.25,
        "return_std": 12.5,
        "length": 980.0,
        "normalized_score": None,
        "progress": 205.0,
        "episodes": 100,
    }
    mean = {"return": 1100.0, "normalized_score": None, "evaluations": 10}
    record.write_json(
        run.folder / record.ENVIRONMENT,
        {
            "references": {"random": {"return": -60.5}, "do_nothing": {"return": 1000.0}},
            "dataset": {"fingerprint": "f" * 64},
        },
    )
    result = {"t": time.time(), "final": score, "mean_last_10": mean, "best": {"return": 1300.0}, "wall_s": 75.0}
    record.write_json(run.folder / record.RESULT, result)


# --- reading ---------------------------------------------------------------------------------------------------------------------


def test_empty_store_says_what_to_do(mopo: Command) -> None:
    done = mopo("ls")
    assert (done.returncode, done.stdout) == (0, "")
    assert "no runs" in done.stderr
    assert json.loads(mopo("ls", "--json").stdout) == []


def test_ls_lists_sound_and_torn_runs(mopo: Command, make_run: Callable[..., Run]) -> None:
    finished, torn = make_run("näher ../x [bold]"), make_run()
    write_result(finished)
    record.write_json(
        finished.folder / record.SUMMARY, {"return_last": 1203.25, "return_best": 1300.0, "progress": 1.0}
    )
    (torn.folder / record.RUN).write_text("{")
    done = mopo("ls")
    assert done.returncode == 0
    line = next(line for line in done.stdout.splitlines() if finished.id in line)
    assert "✓" in line
    assert "näher ../x [bold]" in line
    assert "1203.2" in line
    assert "1300.0" in line
    assert "run.json is no JSON object" in done.stdout
    assert "\x1b" not in done.stdout
    rows = {row["id"]: row for row in json.loads(mopo("ls", "--json").stdout)}
    assert rows[finished.id]["state"] == "finished"
    assert rows[finished.id]["result"]["final"]["return"] == 1203.25
    assert rows[torn.id]["problem"]
    narrow = mopo("ls", COLUMNS="80").stdout
    assert all(len(line) <= 80 for line in narrow.splitlines())
    assert finished.id[-4:] in narrow


def test_missing_run_and_bad_configuration_are_one_line_each(mopo: Command, tmp_path: Path) -> None:
    for arguments, code, words in (
        (("logs", "nope"), 4, "no run 'nope'"),
        (("stop", "../x"), 4, "no run '../x'"),
        (("compare", "a", "b"), 4, "no run 'a'"),
        (("tasks", "ant-angel"), 2, "did you mean 'ant-angle'"),
        (("run", "--set", "rollout.lenth=3"), 2, "did you mean 'rollout.length'"),
        (("run", "--set", "rollout.length"), 2, "key=value"),
        (("run", "--preset", "fast"), 2, "smoke, quick"),
        (("run", "--name", "a\nb"), 2, "name"),
        (("data", "build", "ant-angle", "--size", "1"), 2, "at least 100"),
        (("data", "train-behaviour", "cat"), 2, "unknown behaviour"),
        (("ls", "--runs", "file"), 2, "cannot be used as run store"),
    ):
        (tmp_path / "file").write_text("")
        done = mopo(*arguments)
        assert (done.returncode, done.stdout) == (code, ""), (arguments, done)
        assert words in done.stderr, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
    assert mopo("nonsense").returncode == 2
    assert Store.open(tmp_path / "runs").runs() == []


def test_dry_run_tells_every_value_and_its_origin(mopo: Command, tmp_path: Path) -> None:
    (tmp_path / "mopo.toml").write_text("seed = 5\n")
    arguments = ("run", "--preset", "smoke", "--set", "rollout.coefficient=2", "--threads", "1", "--dry-run")
    plan = json.loads(mopo(*arguments, "--json", MOPO_DEVICE="cpu").stdout)
    assert plan["config"]["rollout.coefficient"] == 2.0
    assert plan["origins"]["rollout.coefficient"] == "--set rollout.coefficient"
    assert (plan["config"]["seed"], Path(plan["origins"]["seed"]).name) == (5, "mopo.toml")
    assert plan["origins"]["dataset.size"] == "preset smoke"
    assert plan["origins"]["compute.device"] == "MOPO_DEVICE"
    assert (plan["dataset"]["id"], plan["dataset"]["present"]) == ("mopo/ant-angle/5k-v0", False)
    text = mopo(*arguments).stdout
    assert "--set rollout.coefficient" in text
    assert "dataset mopo/ant-angle/5k-v0: will be built" in text
    assert "GB of memory" in text
    assert plan["expected"]["seconds"] > 0
    assert not any((tmp_path / "runs").glob("*/run.json"))


def test_dry_run_tells_of_a_device_that_is_not_there(mopo: Command, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho '0, GPU-0000, 16000, 9000'\n")
    program.chmod(0o755)
    with_a_gpu = {"PATH": f"{program.parent}:{os.environ['PATH']}", "CUDA_VISIBLE_DEVICES": "0"}
    none, one = "there is no GPU on this host", "there is only one GPU on this host"
    sweep = ("--sweep", "compute.device=cpu,cuda,cuda:1")
    for arguments, machine, told in (
        (("--device", "cuda"), {"CUDA_VISIBLE_DEVICES": ""}, {"cuda": none}),
        (("--device", "cuda:3"), with_a_gpu, {"cuda:3": one}),
        (("--device", "cuda"), with_a_gpu, {}),
        (sweep, with_a_gpu, {"cuda:1": one}),
        (sweep, {"CUDA_VISIBLE_DEVICES": ""}, {"cuda": none, "cuda:1": none}),
    ):
        done = mopo("run", "--preset", "smoke", *arguments, "--dry-run", "--json", **machine)
        lines = [f"mopo: compute.device = {device}: {why}, so it would fail here" for device, why in told.items()]
        assert (done.returncode, done.stderr.splitlines()) == (0, lines)
        assert json.loads(done.stdout)


def test_compare_shows_scores_differences_and_warnings(mopo: Command, make_run: Callable[..., Run]) -> None:
    write_result(make_run("a"))
    make_run("b", seed=1)
    done = mopo("compare", "a", "b")
    assert done.returncode == 0
    assert "1203.2 ± 12.5" in done.stdout
    assert "do-nothing policy" in done.stdout
    assert "left out of A: seed 1" in done.stdout
    found = json.loads(mopo("compare", "a", "b", "--json").stdout)
    assert [run["name"] for run in found["runs"]] == ["a", "b"]
    assert found["differing"] == [{"key": "seed", "values": [0, 1]}]
    assert found["runs"][0]["final"]["progress"] == 205.0


def test_tasks_and_datasets_as_json(mopo: Command) -> None:
    assert {task["name"] for task in json.loads(mopo("tasks", "--json").stdout)} >= {
        "ant-angle",
        "halfcheetah-medium-replay",
    }
    assert json.loads(mopo("tasks", "halfcheetah-mixed", "--json").stdout)["name"] == "halfcheetah-medium-replay"
    assert "2530.9" in mopo("tasks", "ant-angle").stdout
    assert json.loads(mopo("data", "ls", "--json").stdout) == []


def test_logs_print_the_last_lines_without_control_characters(mopo: Command, make_run: Callable[..., Run]) -> None:
    run = make_run()
    write_result(run)
    (run.folder / record.CONSOLE).write_text("one\ntwo\x1b[2J\nthree\n")
    assert mopo("logs", run.id, "-n", "2").stdout == "two [2J\nthree\n"
    assert mopo("logs", run.id, "-f").stdout == "one\ntwo [2J\nthree\n"


def test_a_log_that_is_not_there_or_cannot_be_read_is_one_line(mopo: Command, make_run: Callable[..., Run]) -> None:
    run = make_run()
    silent = mopo("logs", run.id)
    assert (silent.returncode, silent.stdout) == (0, "")
    assert silent.stderr == f"{run.id} has written nothing yet: it is queued\n"
    (run.folder / record.CONSOLE).mkdir()
    torn = mopo("logs", run.id)
    assert (torn.returncode, torn.stdout) == (2, "")
    assert torn.stderr == f"mopo: {run.folder / record.CONSOLE}: cannot be read: Is a directory\n"


def test_output_that_nobody_reads_is_no_error(make_run: Callable[..., Run], environment: dict[str, str]) -> None:
    run = make_run()
    (run.folder / record.CONSOLE).write_text("line\n" * 100_000)
    command = f"{sys.executable} -m mopo_tui.cli logs {run.id} | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("line\n", "")


# --- following -------------------------------------------------------------------------------------------------------------------


def test_finished_run_prints_folder_table_folder(follow: Callable[..., subprocess.Popen[str]], store: Store) -> None:
    process = follow(
        """
recorder.enter("dynamics", "fitting")
recorder.summary(force=True, stage_progress=0.5, detail="epoch 1/2", speed=12.0, speed_unit="steps/s", eta_s=65.0)
time.sleep(0.6)
recorder.environment(references={"random": {"return": -60.5}})
recorder.event("evaluation", "epoch 5: return 12.0")
recorder.result(final={"return": 1203.25, "return_std": 12.5, "episodes": 100, "progress": 205.0}, wall_s=75.0)
"""
    )
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    folder = str(store.runs()[0].folder)
    lines = out.splitlines()
    assert lines[0] == lines[-1] == folder
    assert any("final policy (100 episodes)" in line and "1203.2" in line and "205.0" in line for line in lines)
    assert any("random policy" in line and "-60.5" in line for line in lines)
    assert "dynamics 50% epoch 1/2 12 steps/s ETA 1m05s" in err
    assert "epoch 5: return 12.0" in err


def test_json_is_the_only_thing_on_stdout(follow: Callable[..., subprocess.Popen[str]]) -> None:
    process = follow("recorder.result(final={'return': float('nan')})", "json")
    out, _ = process.communicate(timeout=30)
    document = json.loads(out)
    assert process.returncode == 0
    assert (document["state"], document["result"]["final"]["return"]) == ("finished", "NaN")
    assert document["folder"].endswith(document["id"])


def test_engine_that_fails_before_it_begins_shows_its_last_words(
    follow: Callable[..., subprocess.Popen[str]],
) -> None:
    process = follow("import a_module_that_is_not_there")
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "exit code 1: ModuleNotFoundError" in err
    assert "Traceback" in err  # the log's lines, indented
    assert "console.log" in err
    assert "Traceback" not in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_first_interrupt_stops_the_run_and_waits(
    follow: Callable[..., subprocess.Popen[str]], store: Store, number: int, code: int
) -> None:
    process = follow(LISTENS)
    assert process.stderr is not None
    assert "policy" in process.stderr.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert "stopping" in err
    assert store.runs()[0].state.value == "stopped"


def test_second_interrupt_aborts(follow: Callable[..., subprocess.Popen[str]], store: Store) -> None:
    process = follow("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nrecorder.enter('policy', '')\ntime.sleep(600)")
    assert process.stderr is not None
    assert "policy" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert "stopping" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "aborting" in err
    assert "SIGKILL" in store.runs()[0].reason


# --- with the real engine --------------------------------------------------------------------------------------------------------


def test_real_engine_reports_a_device_that_is_not_there(mopo: Command, store: Store) -> None:
    done = mopo("run", "--preset", "smoke", "--threads", "1", "--device", "cuda:7", "--json")
    assert done.returncode == 3, done.stderr
    document = json.loads(done.stdout)
    assert document["state"] == "failed"
    assert "cuda:7" in document["reason"]
    assert store.run(document["id"]).returncode == 3


def test_background_run_is_stopped_by_command(mopo: Command, store: Store) -> None:
    done = mopo("data", "train-behaviour", "halfcheetah", "--threads", "1", "-b", "--name", "in the back")
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.strip()
    events = store.run(run_id).folder / record.EVENTS
    end = time.monotonic() + 60
    while not events.exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    refused = mopo("resume", run_id)
    assert (refused.returncode, "is running and cannot be started" in refused.stderr) == (2, True)
    assert mopo("stop", "in the back").returncode == 0
    while store.run(run_id).state.value == "running":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert store.run(run_id).state.value == "stopped"
    assert mopo("stop", run_id).returncode == 2


def test_a_stopped_training_run_is_resumed_and_a_finished_one_goes_on(mopo: Command, store: Store) -> None:
    small = ("--preset", "smoke", "--threads", "1", "--size", "3000", "--set", "evaluation.calibration=false")
    small += ("--set", "sac.hidden=[16, 16]")
    run = (
        "run",
        "--task",
        "halfcheetah-random",
        "--algorithm",
        "sac",
        *small,
        "--set",
        "policy.epochs=14",
        "--set",
        "evaluation.every=7",
    )
    run_id = mopo(*run, "-b").stdout.strip()
    end = time.monotonic() + 90
    while not (store.run(run_id).folder / "checkpoints" / "state.safetensors").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    assert mopo("stop", run_id).returncode == 0
    while store.run(run_id).state.value == "running":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert store.run(run_id).state.value == "stopped"
    resumed = mopo("resume", run_id)
    assert resumed.returncode == 0, resumed.stderr
    assert "final policy (2 episodes)" in resumed.stdout
    assert "between the batch's mean (0) and its best episode (100)" in resumed.stdout
    assert "evaluated in HalfCheetah-v5, gymnasium" in resumed.stdout
    further = mopo("resume", run_id, "--epochs", "21")
    assert further.returncode == 0, further.stderr
    assert "epoch 21" in further.stderr + further.stdout
    refused = mopo("resume", run_id, "--epochs", "21")
    assert (refused.returncode, "trained for 21 epochs already" in refused.stderr) == (2, True)
    assert "no ensembles are kept yet" in mopo("models", "ls").stderr


@pytest.mark.parametrize("arguments", [[], ["--runs", "elsewhere"]])
def test_the_app_without_a_terminal_says_so_at_once(mopo: Command, arguments: list[str]) -> None:
    done = mopo(*arguments)
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert done.stdout == ""


def test_an_impossible_device_is_refused_before_a_run_exists(mopo: Command, store: Store) -> None:
    done = mopo("run", "--device", "tpu")
    assert done.returncode == 2
    assert "cpu, cuda or cuda:N" in done.stderr
    assert store.runs() == []


def test_a_file_in_place_of_the_data_root_is_said(mopo: Command, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = mopo("data", "ls", MOPO_DATA=str(tmp_path / "file"))
    assert done.returncode == 2
    assert "no folder" in done.stderr


def test_config_set_keeps_comments_and_refuses_what_is_no_key(mopo: Command, tmp_path: Path) -> None:
    file = tmp_path / "mopo.toml"
    file.write_text("# mine\nseed = 3 # lucky\n\n[rollout]\n# careful\nlength = 5\n")
    assert mopo("config", "set", "rollout.coefficient", "2.5").returncode == 0
    assert mopo("config", "set", "paths.data", str(tmp_path / "elsewhere")).returncode == 0
    text = file.read_text()
    assert text.startswith("# mine\nseed = 3 # lucky\n\n[rollout]\n# careful\nlength = 5\ncoefficient = 2.5\n")
    for wrong, word in (("rollout.coeficient=1", "rollout.coefficient"), ("rollout.length=0", "at least 1")):
        done = mopo("config", "set", *wrong.split("="))
        assert done.returncode == 2
        assert word in done.stderr
        assert file.read_text() == text
    plan = mopo("run", "--dry-run", "--preset", "smoke", "--json")
    assert json.loads(plan.stdout)["config"]["rollout.coefficient"] == 2.5
    assert mopo("config", "unset", "rollout.coefficient").returncode == 0
    assert "coefficient" not in file.read_text()
    assert mopo("config", "unset", "rollout.coefficient").returncode == 2
    file.write_text("[[")
    done = mopo("config", "set", "seed", "1")
    assert done.returncode == 2
    assert "TOML" in done.stderr
    assert file.read_text() == "[["
