"""What an update of charts costs: a real Textual app in a pseudo-terminal of 200×50, six charts of three series of 50 000 points,
each series a point longer at every update.

    python tests/bench/charts_update.py

Processor time is user and system time of the whole app from one update to the next, the least of several repeats of 20 updates;
bytes are what the terminal gets. At most 25 ms and 5 KB are wanted. Other programs on the machine make the times longer, not the
bytes.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios

CHARTS, SERIES, POINTS = 6, 3, 50_000
UPDATES, REPEATS, PAUSE = 20, 5, 0.05
ROWS, COLUMNS = 50, 200
MOST_MS, MOST_BYTES = 25.0, 5_000


def child(report: int, smoothing: float) -> None:
    """The app itself; tells the parent on `report` when a repeat begins and what it took."""
    import resource

    import numpy as np
    from textual.app import App, ComposeResult
    from textual.containers import Grid

    from mopo_tui.widgets.chart import Chart
    from mopo_tui.widgets.plot import Line, Plot

    total = POINTS + UPDATES * (REPEATS + 1)
    rng = np.random.default_rng(0)
    x = np.arange(float(total))
    waves = np.sin(x / 9000) + 0.2 * rng.normal(size=(CHARTS, SERIES, total)) + np.arange(SERIES)[None, :, None]
    inks = ("sky", "orange", "green")

    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return usage.ru_utime + usage.ru_stime

    def say(**values: float) -> None:
        os.write(report, (json.dumps(values) + "\n").encode())

    class Bench(App[None]):
        CSS = "Grid { grid-size: 3 2; } Chart { border: round gray; }"

        def compose(self) -> ComposeResult:
            with Grid():
                for i in range(CHARTS):
                    yield Chart(id=f"chart{i}")

        def on_mount(self) -> None:
            self.run_worker(self._bench())

        def _show(self, count: int) -> None:
            for i in range(CHARTS):
                lines = [
                    Line(f"series {s}", x[:count], waves[i, s, :count], inks[s], end_label=str(s), smoothing=smoothing)
                    for s in range(SERIES)
                ]
                numbers = [f"last {line.y[-1]:.3f}" for line in lines]
                self.query_one(f"#chart{i}", Chart).show(Plot(lines, x_title="updates"), f"chart {i}", numbers)

        async def _bench(self) -> None:
            self._show(POINTS)
            await asyncio.sleep(1.0)
            count = POINTS
            for repeat in range(REPEATS + 1):  # the first one warms up
                say(begins=repeat)
                await asyncio.sleep(0.2)
                before = used()
                for _ in range(UPDATES):
                    count += 1
                    self._show(count)
                    await asyncio.sleep(PAUSE)
                spent = used() - before
                before = used()
                for _ in range(UPDATES):
                    await asyncio.sleep(PAUSE)
                say(ms=1000 * spent / UPDATES, idle=1000 * (used() - before) / UPDATES)
            self.exit()

    Bench().run()


def measure(smoothing: float) -> tuple[float, float, float]:
    """Processor time in ms and bytes of one update, and processor time between updates when nothing comes."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    told, report = os.pipe()
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", str(report), str(smoothing)],
        stdin=slave, stdout=slave, stderr=slave, pass_fds=(report,), env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.close(report)
    got, bytes_of, times, idle, pending = 0, [], [], [], b""
    while True:
        ready, _, _ = select.select([master, told], [], [], 60)
        if not ready:
            process.kill()
            raise SystemExit("the app has not answered for a minute")
        if master in ready:
            try:
                got += len(os.read(master, 65536))
            except OSError:
                break
        elif told in ready:  # read after all that the terminal got before it
            data = os.read(told, 65536)
            if not data:
                break
            pending += data
            *lines, pending = pending.split(b"\n")
            for line in lines:
                values = json.loads(line)
                if "begins" in values:
                    got = 0
                else:
                    bytes_of.append(got / UPDATES)
                    times.append(values["ms"])
                    idle.append(values["idle"])
    process.wait()
    if process.returncode or len(times) <= REPEATS:
        raise SystemExit(f"the app ended with {process.returncode}")
    return min(times[1:]), sorted(bytes_of[1:])[REPEATS // 2], min(idle[1:])


def main() -> None:
    failed = False
    for label, smoothing in (("raw lines", 0.0), ("smoothed over raw lines", 0.99)):
        ms, size, idle = measure(smoothing)
        failed |= ms > MOST_MS or size > MOST_BYTES
        print(f"{label}: {ms:.1f} ms of processor time and {size:.0f} bytes an update; idle {idle:.2f} ms", flush=True)
    if failed:
        print(f"more than {MOST_MS:.0f} ms or {MOST_BYTES} bytes", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), float(sys.argv[3]))
    else:
        main()
