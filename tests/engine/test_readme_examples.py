"""The README's examples of extending the project, run as it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_data_d4rl import rollout, store

ROOT = Path(__file__).parents[2]
SMALL = ("--preset", "smoke", "--threads", "1", "--set", "dataset.size=2000", "--set", "policy.epochs=1")
SMALL += ("--set", "dynamics.hidden=[16, 16, 16, 16]", "--set", "sac.hidden=[16, 16]")


def example(name: str) -> str:
    """The fenced block after `<!-- example: name -->`."""
    found = re.search(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None, name
    return found.group(1)


def test_the_library_example_is_the_one_that_is_run() -> None:
    assert example("library") == (ROOT / "tests" / "manager" / "library_example.py").read_text()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout to change."""
    for package in ("engine", "mopo_tui"):
        shutil.copytree(ROOT / package, tmp_path / "checkout" / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "checkout"


def mopo(checkout: Path, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MOPO_")}
    places = {
        "HOME": tmp_path / "home",
        "MOPO_RUNS": tmp_path / "runs",
        "MOPO_DATA": tmp_path / "data",
        "MINARI_DATASETS_PATH": tmp_path / "minari",
        "MOPO_TASKS": tmp_path / "tasks.toml",
        "PYTHONPATH": checkout,
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [sys.executable, "-P", "-m", "mopo_tui.cli", *arguments],
        cwd=tmp_path,
        env={**clean, **{k: str(v) for k, v in places.items()}},
        capture_output=True,
        text=True,
        timeout=300,
    )


def changed(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_task_of_the_readme_trains(tmp_path: Path) -> None:
    (tmp_path / "tasks.toml").write_text(example("task"))
    store(tmp_path / "my_hopper.hdf5", rollout("Hopper-v5", 2000))
    listed = mopo(ROOT, tmp_path, "tasks", "my-hopper")
    assert "my_hopper.hdf5" in listed.stdout, listed.stderr
    done = mopo(ROOT, tmp_path, "run", "--task", "my-hopper", "--preset", "smoke", "--threads", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "final policy" in done.stdout
    assert "evaluated in Hopper-v5" in done.stdout


def test_the_penalty_of_the_readme_trains(tmp_path: Path, copy: Path) -> None:
    file = copy / "engine" / "dynamics" / "uncertainty.py"
    file.write_text(file.read_text() + "\n\n" + example("penalty"))
    changed(
        copy / "engine" / "config.py", '("max_aleatoric", "max_disag', '("mean_aleatoric", "max_aleatoric", "max_disag'
    )
    chosen = ("--set", "rollout.uncertainty=mean_aleatoric")
    done = mopo(copy, tmp_path, "run", "--task", "halfcheetah-medium-replay", *SMALL, *chosen)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_agent_of_the_readme_trains(tmp_path: Path, copy: Path) -> None:
    algorithms = copy / "engine" / "algorithms"
    (algorithms / "cloning.py").write_text(example("agent"))
    table = algorithms / "__init__.py"
    table.write_text(
        table.read_text() + '\nfrom engine.algorithms.cloning import cloning\n\nRECIPES["cloning"] = cloning\n'
    )
    changed(copy / "engine" / "config.py", '"awac", "bc")', '"awac", "bc", "cloning")')
    done = mopo(copy, tmp_path, "run", "--task", "halfcheetah-medium-replay", "--algorithm", "cloning", *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "final policy" in done.stdout
