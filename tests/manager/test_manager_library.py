"""The manager as a library, as another program uses it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from mopo_tui.manager import Store

EXAMPLE = Path(__file__).with_name("library_example.py")


def test_the_worked_example_runs(tmp_path: Path) -> None:
    """Two seeds launched, followed and compared by a program of twenty lines; made shorter here."""
    text = EXAMPLE.read_text()
    short = '"preset": "smoke", "dataset.size": 1000, "policy.epochs": 2, "evaluation.calibration": False, "sac.hidden": (16, 16)'
    assert '"preset": "smoke"' in text
    (tmp_path / "example.py").write_text(text.replace('"preset": "smoke"', short))
    places = {"MOPO_RUNS": str(tmp_path / "runs"), "MOPO_DATA": str(tmp_path / "data"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "example.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, **places},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert any(re.fullmatch(r"[12] evaluations, best -?\d+\.\d", line) for line in lines), lines
    assert re.fullmatch(r"mopo: -?\d+\.\d ± \d+\.\d over 2 seeds", lines[-1]), lines
    found = {run.name: run.state.value for run in Store(tmp_path / "runs").runs()}
    assert found == {"example 0": "finished", "example 1": "finished"}


def test_the_library_draws_nothing_and_learns_nothing() -> None:
    code = (
        "import sys; from mopo_tui.manager import RunReader, Store, compare, find_runs, setting_key; "
        "print([n for n in ('torch', 'textual', 'rich', 'typer', 'matplotlib', 'pandas', 'scipy') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
