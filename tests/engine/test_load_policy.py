"""`engine.load_policy` and what else a run leaves behind, without torch and without running what a folder says."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import engine
from engine import load_policy, record
from engine.policy import Policy
from engine.tasks import OWN_TASKS_VARIABLE
from engine.trained import World, named_world, recorded_world

SHIPPED = sorted((Path(engine.__file__).parent / "data" / "policies" / "halfcheetah").glob("*.safetensors"))
OBSERVATION = np.linspace(-1, 1, 17)

ALONE = """
import sys
import engine
before = [name for name in ("numpy", "torch", "gymnasium", "safetensors") if name in sys.modules]
import numpy
policy = engine.load_policy(sys.argv[1])
action = policy(numpy.zeros(17))
after = [name for name in ("torch", "gymnasium", "mujoco", "minari", "mopo_tui") if name in sys.modules]
print(before, after, action.shape, action.dtype)
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with a final policy and another best one, both of which ship as halfcheetah's snapshots."""
    folder = tmp_path / "run"
    record.create_run(folder, {"task": "halfcheetah-medium", "job": "train"}, "")
    shutil.copy(SHIPPED[0], folder / record.CHECKPOINTS / "final.safetensors")
    shutil.copy(SHIPPED[-1], folder / record.CHECKPOINTS / "best.safetensors")
    return folder


def world(folder: Path, environment: Any) -> None:
    record.write_json(folder / record.ENVIRONMENT, {"environment": environment})


# --- policies ---------------------------------------------------------------------------------------------------------------------


def test_importing_the_engine_is_light_and_a_policy_acts_without_torch(run: Path) -> None:
    done = subprocess.run([sys.executable, "-c", ALONE, str(run)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] [] (6,) float32"


def test_it_is_the_tanh_of_the_mean_that_the_file_holds(run: Path) -> None:
    tensors = {name: array.astype(np.float64) for name, array in load_file(SHIPPED[0]).items()}
    hidden = OBSERVATION
    for layer in ("0", "1"):
        hidden = np.maximum(hidden @ tensors[f"{layer}/weight"] + tensors[f"{layer}/bias"], 0)
    expected = np.tanh((hidden @ tensors["2/weight"] + tensors["2/bias"])[:6])
    np.testing.assert_allclose(load_policy(run)(OBSERVATION), expected, atol=1e-5)


def test_an_observation_of_another_size_is_one_clear_line(run: Path) -> None:
    policy = load_policy(run)
    wrong = len(policy.weights[0]) + 1
    for observation in (np.zeros(wrong), np.zeros((4, wrong)), np.zeros(())):
        with pytest.raises(ValueError, match=rf"takes observations \(…, {wrong - 1}\), not \("):
            policy(observation)


def test_which_policy_and_from_where(run: Path) -> None:
    final, best = load_policy(run)(OBSERVATION), load_policy(str(run), "best")(OBSERVATION)
    np.testing.assert_array_equal(final, load_policy(SHIPPED[0])(OBSERVATION))
    np.testing.assert_array_equal(best, load_policy(run / "checkpoints" / "best.safetensors")(OBSERVATION))
    assert not np.array_equal(final, best)
    with pytest.raises(ValueError, match="which = 'last' is neither 'final' nor 'best'"):
        load_policy(run, "last")


def test_a_missing_policy_is_one_clear_line(run: Path, tmp_path: Path) -> None:
    checkpoints = run / record.CHECKPOINTS
    (checkpoints / "final.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"run: no final policy yet, but there is the best one$"):
        load_policy(run)
    (checkpoints / "best.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"run: no policy yet$"):
        load_policy(run)
    (checkpoints / "snapshots").mkdir()
    shutil.copy(SHIPPED[0], checkpoints / "snapshots")
    with pytest.raises(FileNotFoundError, match=r"no final policy, only those in checkpoints/snapshots$"):
        load_policy(run)
    with pytest.raises(FileNotFoundError, match=r"checkpoints: not a run folder, there is no run\.json$"):
        load_policy(checkpoints)
    with pytest.raises(FileNotFoundError, match="nowhere: no such file or folder"):
        load_policy(tmp_path / "nowhere")


def damaged(kind: str, path: Path) -> None:
    """Write a file that is no sound policy."""
    whole = SHIPPED[0].read_bytes()
    policy = Policy.load(SHIPPED[0])
    weights, biases = list(policy.weights), list(policy.biases)
    if kind == "torn":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(b"\x80\x04\x95cposix\nsystem\n(S'touch /tmp/never'\ntR.")
    elif kind == "another safetensors file":
        save_file({"x": np.zeros(3, dtype=np.float32)}, path)
    elif kind == "a header that is no object":
        save_file(load_file(SHIPPED[0]), path, metadata={"policy": json.dumps("text")})
    elif kind == "no layers":
        save_file({}, path, metadata={"policy": json.dumps({"log_std_bounds": [-20, 2]})})
    elif kind == "not finite":
        weights[1] = weights[1].copy()
        weights[1][3, 4] = np.nan
        Policy(tuple(weights), tuple(biases), (-20, 2), {}).save(path)
    elif kind == "a layer too narrow":
        weights[1] = weights[1][:-1]
        Policy(tuple(weights), tuple(biases), (-20, 2), {}).save(path)
    elif kind == "a bias too long":
        biases[0] = np.zeros(len(biases[0]) + 1, dtype=np.float32)
        Policy(tuple(weights), tuple(biases), (-20, 2), {}).save(path)


@pytest.mark.parametrize(
    "kind",
    [
        "torn",
        "empty",
        "pickle",
        "another safetensors file",
        "a header that is no object",
        "no layers",
        "not finite",
        "a layer too narrow",
        "a bias too long",
    ],
)
def test_a_damaged_policy_is_refused_with_its_name(run: Path, kind: str) -> None:
    path = run / "checkpoints" / "final.safetensors"
    damaged(kind, path)
    with pytest.raises(ValueError, match=r"final\.safetensors: not a policy file \(") as caught:
        load_policy(run)
    assert "\n" not in str(caught.value)


# --- environments -----------------------------------------------------------------------------------------------------------------


def test_the_environment_of_a_run_with_and_without_options(run: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has recorded no environment"):
        recorded_world(run)
    world(run, {"id": "HalfCheetah-v5"})
    assert recorded_world(run) == World("HalfCheetah-v5", {})
    world(run, {"id": "Hopper-v4", "options": {"legacy_contacts": True, "healthy_reward": 0.5}})
    assert recorded_world(run) == World("Hopper-v4", {"legacy_contacts": True, "healthy_reward": 0.5})
    assert named_world("Hopper-v4", recorded_world(run)) == recorded_world(run)
    assert named_world("Hopper-v5", recorded_world(run)) == World("Hopper-v5", {})


@pytest.mark.parametrize(
    "environment",
    ["Hopper-v5", {"id": 5}, {"options": {}}, {"id": "Hopper-v5", "options": []}, {"id": "A", "options": {"b": [1]}}],
)
def test_a_record_that_is_no_environment_is_refused(run: Path, environment: Any) -> None:
    world(run, environment)
    with pytest.raises(ValueError, match=r"environment\.json: "):
        recorded_world(run)


@pytest.mark.parametrize(
    "environment", [{"id": "os:Hopper-v5"}, {"id": "GymV26Environment-v0", "options": {"env_id": "os:Hopper-v5"}}]
)
def test_a_run_folder_cannot_name_code_to_run(run: Path, environment: Any) -> None:
    world(run, environment)
    with pytest.raises(ValueError, match="'os:Hopper-v5' could import a module, and no task of yours names it"):
        recorded_world(run)


def test_only_a_task_of_the_persons_own_may_import_a_module(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tmp_path / "tasks.toml"
    tasks.write_text(
        '[mine]\nlike = "hopper-medium"\nenvironment = "my_envs:Mine-v0"\ndataset = "mine.hdf5"\n'
        'environment_options = {slope = 2.0, map = "hills:2"}\n'
    )
    monkeypatch.setenv(OWN_TASKS_VARIABLE, str(tasks))
    world(run, {"id": "my_envs:Mine-v0", "options": {"slope": 3.0}})
    with pytest.raises(ValueError, match="could import a module"):
        recorded_world(run)  # the run is one of another task
    record.write_json(run / record.RUN, {"task": "mine"})
    assert recorded_world(run) == World("my_envs:Mine-v0", {"slope": 3.0})
    world(run, {"id": "my_envs:Mine-v0", "options": {"map": "hills:2"}})
    assert recorded_world(run) == World("my_envs:Mine-v0", {"map": "hills:2"})
    world(run, {"id": "my_envs:Mine-v0", "options": {"map": "os:2"}})
    with pytest.raises(ValueError, match="'os:2' could import a module"):
        recorded_world(run)
    world(run, {"id": "other_envs:Mine-v0"})
    with pytest.raises(ValueError, match="could import a module"):
        recorded_world(run)
    assert named_world("my_envs:Mine-v0", World("Hopper-v5")) == World(
        "my_envs:Mine-v0", {"slope": 2.0, "map": "hills:2"}
    )
    with pytest.raises(ValueError, match="only the environment of a task of your own may"):
        named_world("other_envs:Mine-v0", World("Hopper-v5"))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names of x86 kernels")
def test_a_policy_acts_the_same_whichever_kernels_the_processors_blas_takes() -> None:
    """Matrix products differ in their last bits between kernels; a robot's course would depend on that."""
    program = (
        "import hashlib, numpy as np\n"
        "from engine.data.behaviours import ladder\n"
        "s = np.random.default_rng(0).standard_normal((2000, 105)) * 3\n"
        "policy, rng = ladder('ant')[-1].policy(), np.random.default_rng(1)\n"
        "w = policy.weights[0].astype(np.float64)\n"
        "s = s[:, : len(w)]\n"
        "actions = [a for row in s for a in (policy(row), policy(row, rng))]\n"
        "print(hashlib.sha256(np.stack(actions)).hexdigest())\n"
        "print(hashlib.sha256(s @ w).hexdigest())\n"
    )
    acted, products = set(), set()
    for kernel in ("Prescott", "Nehalem", "Haswell"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OPENBLAS_CORETYPE": kernel, "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        )
        actions, product = done.stdout.split()
        acted.add(actions)
        products.add(product)
    assert len(acted) == 1
    if len(products) == 1:
        pytest.skip("numpy's BLAS does not let its kernels be chosen here")
