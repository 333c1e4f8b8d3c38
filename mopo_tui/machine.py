"""How busy this host is: CPU and memory out of /proc, GPUs as nvidia-smi tells them (no Textual). Read off the UI thread."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

GPU_SECONDS = 5.0  # between two looks at the GPUs
_GPU_TIMEOUT = 10.0
_GPU_QUERY = ("--query-gpu=utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")
_MIB, _GB = 1 << 20, 1e9


@dataclass(frozen=True)
class GpuLoad:
    """One GPU: how busy in %, and its memory in bytes."""

    busy: float
    used: float
    total: float


@dataclass(frozen=True)
class Load:
    """The host at one moment.

    Attributes:
        cpu: busy share of all cores since the last look, in %; None at the first look and where there is no /proc.
        used, total: memory in bytes; 0 where it is not known.
    """

    cpu: float | None = None
    used: float = 0.0
    total: float = 0.0
    gpus: tuple[GpuLoad, ...] = ()

    def words(self) -> tuple[str, ...]:
        """CPU, memory and GPUs in a few words each, of fixed width, so that nothing moves beside them."""
        said = []
        if self.cpu is not None:
            said.append(f"CPU {self.cpu:3.0f} %")
        if self.total:
            said.append(f"mem {_memory(self.used, self.total)}")
        if self.gpus:
            count = len(self.gpus)
            name = "GPU" if count == 1 else f"{count} GPUs"
            busy = sum(gpu.busy for gpu in self.gpus) / count
            memory = _memory(sum(gpu.used for gpu in self.gpus), sum(gpu.total for gpu in self.gpus))
            said.append(f"{name} {busy:3.0f} % {memory}")
        return tuple(said)


def _memory(used: float, total: float) -> str:
    whole = f"{total / _GB:.0f}"
    now = f"{used / _GB:.1f}" if total < 100 * _GB else f"{used / _GB:.0f}"
    return f"{now:>{len(whole) + (2 if total < 100 * _GB else 0)}}/{whole} GB"


class Machine:
    """Looks at this host. `begin` starts a thread for the GPUs where there is nvidia-smi, which may take seconds to answer."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc
        self._before: tuple[float, float] | None = None  # busy and all jiffies
        self._gpus: tuple[GpuLoad, ...] = ()
        self._ended = threading.Event()

    def begin(self) -> None:
        """Start to look at the GPUs, if any, and take the first look at the CPU, which the next one needs."""
        self.look()
        if shutil.which("nvidia-smi") is not None:
            threading.Thread(target=self._watch_gpus, name="gpus", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def look(self) -> Load:
        """The host now; answers at once."""
        cpu = None
        now = self._jiffies()
        if now is not None and self._before is not None and now[1] > self._before[1]:
            cpu = 100.0 * (now[0] - self._before[0]) / (now[1] - self._before[1])
        self._before = now
        used, total = self._memory()
        return Load(cpu, used, total, self._gpus)

    def _jiffies(self) -> tuple[float, float] | None:
        try:
            first = (self._proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
            # user nice system idle iowait irq softirq steal; what comes behind is in user and nice already
            times = [float(word) for word in first[1:9]]
            idle = times[3] + times[4]
        except (OSError, ValueError, IndexError):
            return None
        return sum(times) - idle, sum(times)

    def _memory(self) -> tuple[float, float]:
        found: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in (self._proc / "meminfo").read_text(encoding="ascii").splitlines():
                name, _, rest = line.partition(":")
                if name in ("MemTotal", "MemAvailable"):
                    found[name] = float(rest.split()[0]) * 1024
        if len(found) < 2:
            return 0.0, 0.0
        return found["MemTotal"] - found["MemAvailable"], found["MemTotal"]

    def _watch_gpus(self) -> None:
        while not self._ended.is_set():
            self._gpus = read_gpus()
            self._ended.wait(GPU_SECONDS)


def read_gpus() -> tuple[GpuLoad, ...]:
    """The GPUs now; none where nvidia-smi fails. What it does not know of one counts as 0."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", *_GPU_QUERY], capture_output=True, text=True, timeout=_GPU_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = []
    for line in asked.stdout.splitlines() if asked.returncode == 0 else ():
        fields = [_number(part) for part in line.split(",")]
        if len(fields) == 3 and fields[2]:
            found.append(GpuLoad(fields[0], fields[1] * _MIB, fields[2] * _MIB))
    return tuple(found)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:  # [N/A]
        return 0.0
