"""Programs that tests put in the engine's place, and the start of supervisors for them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence

from engine import record
from mopo_tui.manager import Run

LAUNCH_SECONDS = 20.0
TAKE_OVER = """
import sys
from pathlib import Path
from mopo_tui.manager.supervisor import take_over
sys.exit(take_over(Path(sys.argv[1]), sys.argv[2:]))
"""
PREAMBLE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from engine.record import Recorder
folder = Path(sys.argv[1])
"""


def spawn(command: Sequence[str], run: Run) -> None:
    """Start a supervisor and wait until it has recorded the attempt's process."""
    with open(run.folder / record.CONSOLE, "ab") as console:
        starter = subprocess.Popen(
            command, cwd=run.folder, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
        )
    end = time.monotonic() + LAUNCH_SECONDS
    while (record.read_json(run.folder / record.PROCESS) or {}).get("attempt", run.attempt) == run.attempt:
        # The starter ends well as soon as the supervisor is on its own feet; only a failure is the last word.
        assert starter.poll() in (None, 0)
        assert time.monotonic() < end, (run.folder / record.CONSOLE).read_text()
        time.sleep(0.01)
    starter.wait()  # it has forked the supervisor and ended
