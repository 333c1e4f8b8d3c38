"""`mopo doctor` as a person calls it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.cells import cell_len

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_each_line_has_a_level_and_what_is_not_well_has_advice(mopo: Command, tmp_path: Path) -> None:
    done = mopo("doctor", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert {"python", "packages", "processor", "GEMM route", "GPU", "run store", "file system", "logout"} <= {
        check["name"] for check in found
    }
    assert {check["level"] for check in found} <= {"ok", "warn"}
    assert all(check["advice"] for check in found if check["level"] != "ok")
    assert not (tmp_path / "runs").exists()  # looking makes nothing


def test_something_bad_is_an_exit_code(mopo: Command, tmp_path: Path) -> None:
    (tmp_path / "mopo.toml").write_text("sed = 1\n")
    done = mopo("doctor")
    assert done.returncode == 3
    line = next(line for line in done.stdout.splitlines() if "configuration" in line)
    assert line.startswith("✗ configuration")
    assert "→ `mopo config validate FILE`" in done.stdout
    assert done.stderr.startswith("1 bad, ")


def test_lines_keep_to_the_width(terminal: Callable[..., Any], tmp_path: Path) -> None:
    screen = terminal("doctor", columns=80)
    assert screen.returncode == 0
    assert "\x1b[32m✓\x1b[0m python" in screen.raw
    words = [line for line in screen.text.splitlines() if str(tmp_path) not in line and "/python" not in line]
    assert max(map(cell_len, words)) <= 80
