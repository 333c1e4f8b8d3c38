"""What the quick commands load, and how fast they answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "gymnasium", "minari", "numpy", "textual", "h5py", "mujoco", "safetensors")


@pytest.mark.parametrize("arguments", [["--help"], ["ls"], ["tasks"], ["run", "--help"], ["data", "ls"]])
def test_quick_commands_load_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = f"""
import sys
from mopo_tui.cli import main
try:
    main({arguments!r})
except SystemExit as end:
    assert not end.code, end.code
print("\\nLOADED", *(name for name in {HEAVY!r} if name in sys.modules))
"""
    environment = {**os.environ, "MOPO_RUNS": str(tmp_path / "runs"), "MOPO_DATA": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"
