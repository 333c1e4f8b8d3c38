"""Engine processes for tests: real ones, on small runs, with one data root for all runs of a module."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

from engine.config import BehaviourConfig, TrainConfig, resolve, to_toml
from engine.record import ENVIRONMENT, METRICS, create_run, read_rows, write_json

_numbers = itertools.count(1)


def environment(home: Path) -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "MINARI_DATASETS_PATH": str(home / "minari")}


def new_run(home: Path, folder: Path, config: TrainConfig | BehaviourConfig) -> Path:
    """A run folder for `config`, with the arithmetic that any machine has: a probe of speeds may tell two runs differently."""
    create_run(folder, {"id": folder.name, "job": config.kind, "paths": {"data": str(home / "data")}}, to_toml(config))
    write_json(folder / ENVIRONMENT, {"compute": {"gemm": "stock", "compiled": False}})
    return folder


def smoke(**overrides: object) -> TrainConfig:
    values = {"task": "halfcheetah-medium-replay", "preset": "smoke", "compute.threads": 1, **overrides}
    return resolve([("test", values)]).config


def small(**overrides: object) -> TrainConfig:
    """A hopper that soon falls, with networks so small that a run takes little more than its processes."""
    values = {"task": "hopper-medium-replay", "sac.hidden": (16, 16), "awac.hidden": (16, 16)}
    return smoke(**{**values, "dynamics.hidden": (16,) * 4, **overrides})


class Started:
    """An engine process; of `subprocess.Popen`, what these tests use."""

    def __init__(self, pid: int, output: Path) -> None:
        self.pid, self._output = pid, output

    @property
    def returncode(self) -> int | None:
        return _codes.get(self.pid)

    def poll(self) -> int | None:
        _listen(0.0)
        return self.returncode

    def wait(self, timeout: float = 120.0) -> int:
        end = time.monotonic() + timeout
        while (code := self.returncode) is None:
            left = end - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            _listen(left)
        return code

    def communicate(self, timeout: float = 120.0) -> tuple[str, None]:
        self.wait(timeout)
        return self._output.read_text(encoding="utf-8"), None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


_codes: dict[int, int] = {}  # by process that has ended


_heard = bytearray()  # of a line that is not whole yet, or not looked at


@cache
def _forks() -> subprocess.Popen[bytes]:
    script = Path(__file__).with_name("engine_forks.py")
    command = [sys.executable, "-P", str(script)]
    forks = subprocess.Popen(
        command, env=environment(Path.home()), stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    atexit.register(forks.communicate)
    return forks


def _listen(seconds: float) -> dict[str, int]:
    """The next thing that is told within so many seconds; empty where nothing is."""
    told = _forks().stdout
    assert told is not None
    while b"\n" not in _heard:
        if not select.select([told], [], [], seconds)[0]:
            return {}
        heard = os.read(told.fileno(), 1 << 16)
        assert heard, "the process that forks engines has ended"
        _heard.extend(heard)
    line, _, rest = bytes(_heard).partition(b"\n")
    _heard[:] = rest
    said: dict[str, int] = json.loads(line)
    if "code" in said:
        _codes[said["pid"]] = said["code"]
    return said


def start_anew(home: Path, folder: Path) -> subprocess.Popen[str]:
    """An engine process on `folder` as a supervisor starts it, which takes seconds more."""
    command = [sys.executable, "-P", "-m", "engine", str(folder)]
    pipes: dict[str, int] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=folder, env=environment(home), text=True, **pipes)


def start(home: Path, folder: Path) -> Started:
    """An engine process on `folder`, forked from one that has torch loaded."""
    output = folder.with_name(f"{folder.name}.{next(_numbers)}.output")
    requests = _forks().stdin
    assert requests is not None
    request = {"folder": str(folder), "environment": environment(home), "output": str(output)}
    requests.write(json.dumps(request).encode() + b"\n")
    while True:
        said = _listen(120.0)
        if said and "code" not in said:
            _codes.pop(said["pid"], None)  # of an earlier process with this number
            return Started(said["pid"], output)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def learning_metrics(folder: Path) -> list[tuple[int, str, dict[str, float]]]:
    rows, _ = read_rows(folder / METRICS)
    return [
        (row["step"], row["stage"], {k: v for k, v in row["m"].items() if not k.startswith("speed/")}) for row in rows
    ]
