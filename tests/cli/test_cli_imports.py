"""What the quick commands load: time differs from machine to machine, a module is loaded or it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from many_runs import write_store

from mopo_tui.cli.table import COMMANDS

HEAVY = ("torch", "gymnasium", "minari", "numpy", "textual", "h5py", "mujoco", "safetensors", "pandas", "matplotlib")
CODE = """
import sys
from mopo_tui.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print("\\nLOADED", *sorted(sys.modules))
"""


def loaded(tmp_path: Path, *arguments: str) -> set[str]:
    """The modules that a command has loaded when it is done."""
    environment = {**os.environ, "MOPO_RUNS": str(tmp_path / "runs"), "MOPO_DATA": str(tmp_path), "HOME": str(tmp_path)}
    command = [sys.executable, "-c", CODE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split()[1:])


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--help"], ["ls"], ["tasks"], ["run", "--help"], ["data", "ls"], ["ls", "--all", "--sort-by", "policy/q"]),
        *(["ls", "--filter", "rollout.length=5"], ["ls", "--json"], ["logs", "latest"], ["tag", "latest", "+x"]),
        *(["note", "latest", "x"], ["rm", "latest", "--yes"], ["restore"], ["config", "show"], ["config", "path"]),
        *(["doctor"], ["watch", "ant-angle-mopo-s0"], ["queue"]),
    ],
    ids=" ".join,
)
def test_quick_commands_load_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    write_store(tmp_path / "runs", 6, rows=2)
    assert loaded(tmp_path, *arguments) & set(HEAVY) == set()


def test_a_listing_loads_what_it_shows_and_no_more(tmp_path: Path) -> None:
    write_store(tmp_path / "runs", 6, rows=2)
    for path in (tmp_path / "runs").rglob("*"):
        os.utime(path, (1.79e9, 1.79e9))
    loaded(tmp_path, "ls")  # makes the index
    modules = loaded(tmp_path, "ls", "--state", "finished")
    # rich's tables and the whole configuration take longer to load than the runs to read.
    assert modules & {"rich.console", "rich.table", "engine.config", "tomli", "mopo_tui.manager.filters"} == set()
    others = {target.partition(":")[0] for target in COMMANDS.values()} - {"runs", "completion"}
    assert modules & {f"mopo_tui.cli.{name}" for name in others} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_says_what_it_does(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mopo_tui.cli", name, "--help"],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: mopo {name} ")


def test_help_tells_every_command_in_a_line_and_a_typo_is_mended(tmp_path: Path) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "mopo_tui.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})

    listed = call("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert all(len(line) <= 80 and len(line.split()) > 3 for line in listed)
    done = call("compere")
    assert (done.returncode, "Did you mean 'compare'?" in done.stderr) == (2, True)
