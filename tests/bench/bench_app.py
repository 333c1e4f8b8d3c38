"""How the app feels: the real `mopo-tui` in a pseudo-terminal of 120×40, on stores of many runs.

    python tests/bench/bench_app.py [PART…]

Wall-clock times are what a person waits, and are longer where other programs compute: of several rounds the least counts. Processor
time is user and system time of the app's process, all its threads. Byte code is kept, as it is of an installed package.
"""

from __future__ import annotations

import json
import math
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tui"))

import charts_update
from in_terminal import AppTerminal
from many_runs import write_run, write_store

from engine import record
from mopo_tui.manager import identity

LISTED, FIRST, OPENED, ROUNDS = 500, 100, 20, 5
METRICS = (
    *(f"dynamics/val_loss/{member}" for member in range(7)),
    *("eval/return", "eval/model_return", "policy/q", "policy/critic_loss", "policy/actor_loss", "policy/temperature"),
    *("policy/entropy", "rollout/reward", "rollout/penalty", "rollout/length", "uncertainty/mean", "uncertainty/p50"),
    "uncertainty/p95",
)
failed = False


def report(what: str, value: float, most: float, unit: str, more: str = "") -> None:
    """Print one row of the table."""
    global failed
    failed |= value > most
    verdict = "" if value <= most else "  MORE THAN WANTED"
    print(f"{what:<58}{value:8.2f} {unit:<4} of {most:g}{verdict}" + (f"   {more}" if more else ""), flush=True)


def p95(values: list[float]) -> float:
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def past(root: Path) -> None:
    """Runs of an hour ago: an index keeps only what has settled."""
    when = time.time() - 3600.0
    for path in sorted(root.rglob("*"), reverse=True):
        os.utime(path, (when, when))


def write_values(folder: Path, rows: int) -> None:
    """`rows` noisy rows of 20 metrics in place of the run's own ones."""
    rng = random.Random(rows)
    with open(folder / record.METRICS, "w", encoding="utf-8") as f:
        for row in range(rows):
            level = 2000.0 * (1 - math.exp(-3 * row / rows))
            values = {name: round(level * (1 + 0.1 * rng.gauss(0, 1)), 3) for name in METRICS}
            head = {"step": 100 * row, "epoch": row // 50, "stage": "policy", "t": 1.79e9 + row, "update": 100 * row}
            f.write(json.dumps({**head, "m": values}) + "\n")


def running(folder: Path) -> None:
    """Let the run be one that this process computes."""
    me = os.getpid()
    about = {"attempt": 1, "pid": me, "pgid": me, "start_time": identity.start_time(me), "supervisor_pid": me}
    record.write_json(
        folder / record.PROCESS, {**about, "boot_id": identity.boot_id(), "host": identity.host(), "started": 1.79e9}
    )
    (folder / record.EXIT).unlink(missing_ok=True)


def rows_of(terminal: AppTerminal) -> list[str]:
    """The screen without its top line, where the host's load changes by itself."""
    return terminal.screen.lines[1:]


def opened(root: Path) -> AppTerminal:
    """The app once it shows its runs."""
    terminal = AppTerminal(root, environment={"MOPO_DATA": str(root.parent / "data")})
    terminal.until(lambda screen: "hopper-medium" in screen.text, 60)
    terminal.quiet()
    return terminal


def first_paint(place: Path) -> None:
    root = place / "first"
    write_store(root, FIRST)
    past(root)
    walls, processors = [], []
    for _ in range(ROUNDS + 2):  # the first ones write byte code and the index
        with AppTerminal(root, environment={"MOPO_DATA": str(place / "data")}) as terminal:
            terminal.until(lambda screen: "hopper-medium" in screen.text, 60)
            walls.append(1000 * (time.perf_counter() - terminal.begun))
            processors.append(1000 * terminal.processor())
    more = f"median {statistics.median(walls[2:]):.0f} ms, processor {min(processors[2:]):.0f} ms"
    report(f"first paint with {FIRST} runs, listed", min(walls[2:]), 500, "ms", more)


def row_seen(place: Path) -> None:
    root = place / "seen"
    write_store(root, FIRST)
    past(root)
    folder = write_run(root, 505, "lost", 60)
    running(folder)
    rng, waits = random.Random(0), []
    with opened(root) as terminal:
        terminal.press("g")
        terminal.quiet()
        for number in range(40):
            terminal.read_for(rng.uniform(0.1, 0.7))
            value = 3001 + 7 * number
            row = {"step": 60_000 + number, "epoch": 60, "stage": "policy", "t": time.time(), "update": 60_000 + number}
            with open(folder / record.METRICS, "a", encoding="utf-8") as f:
                f.write(json.dumps({**row, "m": {"eval/return": float(value)}}) + "\n")
            waits.append(terminal.until(lambda screen, word=str(value): word in screen.text))
    report("row written → seen, p95", p95(waits), 1.0, "s", f"median {statistics.median(waits):.2f} s")


def charts(_place: Path) -> None:
    for label, smoothing in (("raw", 0.0), ("smoothed", 0.99)):
        ms, size, _ = charts_update.measure(smoothing)
        report(f"one update of 6 charts × 3 series × 50k points, {label}", ms, 25, "ms")
        report(f"… to the terminal, {label}", size / 1000, 5, "KB")


def many(place: Path) -> Path:
    """500 runs."""
    root = place / "many"
    if not root.exists():
        write_store(root, LISTED)
        past(root)
    return root


def keys(place: Path) -> None:
    root = many(place)
    write_values(write_run(root, 505, "finished", 1), 50_000)
    past(root)
    # From the list to the long run and away from it, a row opened and closed, its panels, one zoomed, and back.
    moves = [*"jkjjkkGgjk", *"jlhkjjkGkg", *"jkjkjkGkkg"]
    panels = ["\r", *"\t\t\t\t\t\t", *"123456", "1", "z", "\t", "\t", "\x1b", "\x1b"]
    sequence = [*moves, *panels, *moves]
    best: tuple[float, ...] | None = None
    with opened(root) as terminal:
        terminal.press("g")
        terminal.read_for(3.0)  # the long run is read for the first time
        terminal.quiet()
        for _ in range(ROUNDS):
            first, whole, processor, escapes = [], [], [], []
            for key in sequence:
                terminal.quiet(0.15)
                before, used, begun = rows_of(terminal), terminal.processor(), time.perf_counter()
                terminal.press(key)
                changed, last, now = 0.0, 0.0, begun
                while now - max(begun, begun + last) < (0.12 if changed else 1.0):
                    came = terminal.read(0.02)
                    now = time.perf_counter()
                    if came and rows_of(terminal) != before:
                        before, last = rows_of(terminal), now - begun
                        changed = changed or last
                if changed:
                    first.append(1000 * changed)
                    escapes += first[-1:] if key == "\x1b" else []
                    whole.append(1000 * last)
                    processor.append(1000 * (terminal.processor() - used))
            assert len(first) > 0.7 * len(sequence), f"{len(first)} of {len(sequence)} keys changed the screen"
            found = (p95(first), p95(whole), p95(processor), statistics.median(first), min(escapes))
            best = found if best is None else min(best, found)
    assert best is not None
    more = (
        f"median {best[3]:.0f} ms, Esc {best[4]:.0f} ms; all is quiet by {best[1]:.0f} ms, processor {best[2]:.0f} ms"
    )
    report(f"key → changed screen, {LISTED} runs and 1M values, p95", best[0], 50, "ms", more)


def idle(place: Path) -> None:
    root = many(place)
    shares, sizes = [], []
    with opened(root) as terminal:
        terminal.read_for(5.0)
        for _ in range(ROUNDS):
            used, got, begun = terminal.processor(), terminal.got, time.perf_counter()
            terminal.read_for(8.0)
            seconds = time.perf_counter() - begun
            shares.append(100 * (terminal.processor() - used) / seconds)
            sizes.append((terminal.got - got) / seconds)
    more = f"least {min(shares):.2f} %, {statistics.median(sizes):.0f} bytes/s to the terminal"
    report(f"idle with {LISTED} runs, median", statistics.median(shares), 1.0, "%", more)


def memory(place: Path) -> None:
    root = place / "memory"
    write_store(root, LISTED)
    for number in range(OPENED):
        write_values(write_run(root, 505 + 10 * number, "finished", 1), 2000)
    past(root)
    with opened(root) as terminal:
        terminal.press("g")
        listed = terminal.memory() / 1e6
        for _ in range(OPENED):
            terminal.read_for(0.3)
            terminal.quiet(0.2)
            terminal.press("j")
        terminal.quiet()
        terminal.read_for(2.0)
        report(
            f"memory, {LISTED} runs listed and {OPENED} of 40k values opened", terminal.memory() / 1e6, 150, "MB",
            f"{listed:.0f} MB before one is opened",
        )  # fmt: skip


PARTS: dict[str, Callable[[Path], None]] = {
    "first": first_paint, "seen": row_seen, "charts": charts, "keys": keys, "idle": idle, "memory": memory,
}  # fmt: skip


def main() -> None:
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    wanted = sys.argv[1:] or list(PARTS)
    print(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as place:
        os.environ |= {"XDG_CACHE_HOME": f"{place}/cache", "XDG_STATE_HOME": f"{place}/state"}
        for name in wanted:
            PARTS[name](Path(place))
    print(f"load of the machine {os.getloadavg()[0]:.1f} at the end")
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
