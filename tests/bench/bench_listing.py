"""How long `mopo --help`, `mopo ls` with 500 runs, and a completed run name take: `make bench` prints it.

Wall time is what a person waits, on an idle machine; where other programs compute, the processor time says more.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many_runs import write_store

RUNS, REPEATS = 500, 11
TARGETS = {"mopo --help": 0.120, "mopo ls": 0.150}  # seconds, warm


def timed(arguments: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Wall and processor seconds of one call of `mopo`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "mopo_tui.cli", *arguments]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def report(name: str, arguments: list[str], environment: dict[str, str], repeats: int = REPEATS) -> None:
    """Print median and best of `repeats` calls."""
    walls, processors = zip(*(timed(arguments, environment) for _ in range(repeats)), strict=True)
    target = f", wanted {1000 * TARGETS[name]:.0f}" if name in TARGETS else ""
    print(
        f"{name:<40} median {1000 * statistics.median(walls):5.0f} ms, best {1000 * min(walls):5.0f} ms, "
        f"processor {1000 * min(processors):5.0f} ms{target}",
        flush=True,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "runs"
        write_store(root, RUNS)
        past = time.time() - 3600.0  # as runs of yesterday: an index keeps only what has settled
        for path in root.rglob("*"):
            os.utime(path, (past, past))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its byte code
        environment = {**os.environ, "MOPO_RUNS": str(root), "MOPO_DATA": place}
        report("mopo --help", ["--help"], environment)
        report("mopo ls (first, without an index)", ["ls"], environment, repeats=1)
        report("mopo ls", ["ls"], environment)
        report("mopo ls --all", ["ls", "--all"], environment)
        report(
            "mopo ls --all --sort-by policy/q (first)", ["ls", "--all", "--sort-by", "policy/q"], environment, repeats=1
        )
        report("mopo ls --all --sort-by policy/q", ["ls", "--all", "--sort-by", "policy/q"], environment)
        completing = {"_MOPO_COMPLETE": "complete_bash", "COMP_WORDS": "mopo show hopper", "COMP_CWORD": "2"}
        report("completing a run's name", [], environment | completing)


if __name__ == "__main__":
    main()
