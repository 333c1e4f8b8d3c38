"""How fast metrics become columns: a run of 20 metrics over 50 000 rows, opened for the first time, again, and while it grows.

    python tests/bench/bench_columns.py

Each time is the least of several, in seconds: of processor time, which other programs disturb less, and by the clock.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROWS, METRICS, TIMES = 50_000, 20, 5


def write(path: Path, rows: int, start: int = 0) -> None:
    """`rows` rows of metrics.jsonl as the engine writes them."""
    from engine import record

    rng = random.Random(start)
    with open(path, "a", encoding="utf-8") as f:
        for step in range(start, start + rows):
            values = {f"policy/metric_{i}": rng.gauss(0, 1) for i in range(METRICS)}
            row = {
                "step": step,
                "epoch": step // 100,
                "stage": "policy",
                "t": 1.79e9 + step,
                "update": step,
                "m": values,
            }
            f.write(record.dumps(row) + "\n")


def least(action: Callable[[], object], before: Callable[[], object] = lambda: None) -> tuple[float, float]:
    """Processor time and clock time of `action`, each the least of several."""
    found = []
    for _ in range(TIMES):
        before()
        processor, clock = time.process_time(), time.perf_counter()
        action()
        found.append((time.process_time() - processor, time.perf_counter() - clock))
    return min(p for p, _ in found), min(c for _, c in found)


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ["XDG_CACHE_HOME"] = f"{place}/cache"
        from engine import record
        from mopo_tui.manager import RunReader

        folder = Path(place) / "run"
        folder.mkdir()
        path = folder / record.METRICS
        write(path, ROWS)
        print(f"{ROWS * METRICS / 1e6:.0f} million values in {path.stat().st_size / 1e6:.0f} MB of rows")

        def read() -> None:
            reader = RunReader(folder)
            reader.refresh()
            assert len(reader.series("policy/metric_0")) == ROWS

        cold = least(read, lambda: shutil.rmtree(f"{place}/cache", ignore_errors=True))
        again = least(read)
        reader, end = RunReader(folder), ROWS
        reader.refresh()

        def grow() -> None:
            nonlocal end
            write(path, 1, end)
            end += 1

        follow = least(reader.refresh, grow)
        for name, (processor, clock) in {"cold": cold, "opened again": again, "one row more": follow}.items():
            print(f"{name:<14}{processor:9.4f} s of processor time {clock:9.4f} s by the clock")


if __name__ == "__main__":
    main()
