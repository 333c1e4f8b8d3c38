"""Is everything here that training needs? Versions, processor, GPU, places, logout, terminal; nothing heavy is imported."""

from __future__ import annotations

import fcntl
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mopo_tui.manager import locations
from mopo_tui.manager.state import clean

if TYPE_CHECKING:
    from mopo_tui.manager.run import Run

OK, WARN, BAD = "ok", "warn", "bad"
PACKAGE = "mopo-tui"
SECONDS = 5.0  # that another program may take to answer
LOW_DISK, NO_DISK = 10e9, 1e9  # bytes: a paper run with its data takes about 2 GB
LOW_MEMORY = 2e9
NETWORK = ("nfs", "cifs", "smb", "sshfs", "lustre", "beegfs", "gpfs", "ceph", "glusterfs", "afs", "9p", "orangefs")


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it stands ("ok", "warn", "bad"), and what to do where it is not well."""

    name: str
    level: str
    found: str
    advice: str = ""

    def to_json(self) -> dict[str, str]:
        return asdict(self)


def checks(root: Path) -> Iterator[Check]:
    """Every check, one after the other; `root` is the run store, which need not exist."""
    yield from packages()
    yield processor()
    yield memory()
    yield compiler()
    yield gemm(root)
    yield from gpus()
    yield from store(root)
    yield from data()
    yield configuration()
    yield logout()
    yield from terminal(os.environ)


# --- software ---------------------------------------------------------------------------------------------------------------------


def packages() -> Iterator[Check]:
    """Python, and what pyproject.toml asks for."""
    yield Check("python", OK, f"{platform.python_version()}, {sys.executable}")
    found, missing, outside = [], [], []
    for name, bounds in _required():
        try:
            there = version(name)
        except PackageNotFoundError:
            missing.append(name)
            continue
        found.append(f"{name} {there}")
        if not _within(there, bounds):
            outside.append(f"{name} {there}, wanted {bounds}")
    advice = f"reinstall: {Path(sys.executable).name} -m pip install --upgrade {PACKAGE}"
    if missing:
        yield Check("packages", BAD, f"missing: {', '.join(missing)}", advice)
    if outside:
        yield Check("packages", WARN, f"not tested with: {'; '.join(outside)}", advice)
    yield Check("packages", OK, ", ".join(found))


def _required() -> list[tuple[str, str]]:
    """Name and bounds of each dependency that is always needed."""
    wanted = []
    for line in requires(PACKAGE) or ():
        requirement, _, marker = line.partition(";")
        found = re.match(r"\s*([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(.*)", requirement)
        if found and "extra" not in marker:
            wanted.append((found[1], found[2].strip().replace(" ", "")))
    return wanted


def _within(there: str, bounds: str) -> bool:
    """Whether a version keeps to bounds such as ">=2.11,<2.14"."""
    have = _numbers(there)
    for bound in filter(None, bounds.split(",")):
        sign, limit = re.match(r"([<>=!~]*)(.*)", bound).groups()  # type: ignore[union-attr]
        other = _numbers(limit)
        if (sign == ">=" and have < other) or (sign == "<" and have >= other):
            return False
    return True


def _numbers(text: str) -> tuple[int, ...]:
    release = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in release[0].split(".")) if release else ()


def compiler() -> Check:
    """torch.compile makes the updates faster where there is a C++ compiler."""
    chosen = os.environ.get("CXX", "")
    found = next((path for name in (chosen, "g++", "clang++", "c++") if name and (path := shutil.which(name))), None)
    if found:
        return Check("compiler", OK, found)
    return Check("compiler", WARN, "no C++ compiler: updates run uncompiled, slower", "install g++ or clang++")


def configuration() -> Check:
    """Whether files and variables make a valid configuration."""
    from engine.config import ConfigError
    from mopo_tui.manager.new_run import resolve_run

    files = locations.configuration_files()
    try:
        resolve_run([])
    except ConfigError as error:
        return Check("configuration", BAD, clean(str(error)), "`mopo config validate FILE` checks a file")
    return Check("configuration", OK, ", ".join(map(str, files)) or "no files; defaults count")


# --- hardware ---------------------------------------------------------------------------------------------------------------------


def processor() -> Check:
    from mopo_tui.manager.identity import cores

    usable, whole = cores(), os.cpu_count() or 1
    words = f"{usable} of {whole} cores" if usable != whole else f"{whole} core" + ("s" if whole > 1 else "")
    quota = _cpu_quota()
    if quota is not None and quota < usable:
        return Check(
            "processor",
            WARN,
            f"{words}, but only {quota:g} may be used at a time",
            f"set compute.threads, and queue slots, to {max(1, int(quota))}",
        )
    if limit := os.environ.get("OMP_NUM_THREADS"):
        words += f"; OMP_NUM_THREADS={clean(limit)}, which runs do not heed"
    return Check("processor", OK, words)


def _cpu_quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Cores that a container gives; None where it sets no limit."""
    try:
        quota, period = file.read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


def memory(file: Path = Path("/proc/meminfo")) -> Check:
    try:
        found = dict(line.split(":", 1) for line in file.read_text().splitlines() if ":" in line)
        free, whole = (1024 * int(found[name].split()[0]) for name in ("MemAvailable", "MemTotal"))
    except (OSError, KeyError, ValueError, IndexError):
        return Check("memory", OK, "not told by this system")
    words = f"{free / 1e9:.1f} of {whole / 1e9:.1f} GB free"
    if free < LOW_MEMORY:
        return Check("memory", WARN, words, "end something, or lower dataset.size and rollout.starts")
    return Check("memory", OK, words)


def gemm(root: Path) -> Check:
    """How the last run of the store that recorded it multiplied matrices: measuring it here would load torch."""
    from engine import record
    from mopo_tui.manager.store import Store

    for run in _newest(Store(root)):
        compute = (record.read_json(run.folder / record.ENVIRONMENT) or {}).get("compute")
        if isinstance(compute, dict) and isinstance(compute.get("gemm"), str):
            threads = compute.get("threads")
            compiled = "compiled" if compute.get("compiled") is True else "not compiled"
            words = f"{clean(compute['gemm'])}, {threads} threads, {compiled}" if isinstance(threads, int) else ""
            return Check("GEMM route", OK, f"{words or clean(compute['gemm'])} (as {run.id} recorded it)")
    return Check("GEMM route", OK, "no run has recorded it yet; each measures it at its start")


def _newest(store: Any) -> list[Run]:
    from mopo_tui.manager.index import listing

    return [listed.run for listed in listing(store) if not listed.run.problem] if store.root.is_dir() else []


def gpus() -> Iterator[Check]:
    """The GPUs that nvidia-smi knows, and whether torch is built for them."""
    if shutil.which("nvidia-smi") is None:
        yield Check("GPU", OK, "none: nvidia-smi is not there; runs use the processor")
        return
    fields = "name,memory.free,memory.total,driver_version"
    done = _asked("nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    if done is None or done.returncode:
        said = clean(((done.stderr or done.stdout).strip().splitlines() or ["no answer"])[0]) if done else "no answer"
        yield Check(
            "GPU", WARN, f"nvidia-smi: {said}", "the driver may need to be loaded again, or the machine restarted"
        )
        return
    lines = [[clean(part.strip()) for part in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
    for i, line in enumerate(line for line in lines if len(line) == 4):
        yield Check("GPU", OK, f"cuda:{i} {line[0]}, {line[1]} of {line[2]} MiB free, driver {line[3]}")
    try:
        build = version("torch")
    except PackageNotFoundError:
        return
    if lines and build.endswith("+cpu"):
        yield Check(
            "GPU", WARN, f"torch {build} is built without CUDA", "install a CUDA build of torch to use --device cuda"
        )


# --- places -----------------------------------------------------------------------------------------------------------------------


def store(root: Path) -> Iterator[Check]:
    """The run store: can it be written, on what does it lie, do locks work, is there room?"""
    place = _existing(root)
    yield Check("run store", OK, str(root) + ("" if root.is_dir() else " (made by the first run)"))
    if not os.access(place, os.W_OK | os.X_OK):
        yield Check("run store", BAD, f"{place} cannot be written", "choose another with --runs or MOPO_RUNS")
    else:
        yield _locks(place)
    yield _room("disk of the runs", place)


def _locks(place: Path) -> Check:
    kind = file_system(place)
    words = f"{kind}, a network file system" if _networked(kind) else kind or "not told by this system"
    if locks_work(place):
        return Check("file system", OK, f"{words}; locks work")
    return Check(
        "file system",
        WARN,
        f"{words}; locks do not work",
        "start runs of this store from one host and one terminal at a time",
    )


def file_system(path: Path, table: Path = Path("/proc/self/mountinfo")) -> str:
    """The type of the file system that `path` lies on, such as ext4 or nfs4; empty where the system does not tell."""
    real = str(path.resolve())
    best, kind = "", ""
    try:
        lines = table.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split()
        if len(fields) < 5 or not after:
            continue
        mount = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):  # a later line lies over an earlier one
            best, kind = mount, clean(after.split()[0])
    return kind


def _networked(kind: str) -> bool:
    return any(name in kind.lower() for name in NETWORK)


def locks_work(folder: Path) -> bool:
    """Whether a second opener of a locked file is kept out there."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".lock-", suffix=".tmp") as first:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with open(first.name) as second:
                try:
                    fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    return True
    except OSError:
        pass
    return False


def _room(name: str, place: Path) -> Check:
    try:
        free = shutil.disk_usage(place).free
    except OSError as error:
        return Check(name, WARN, f"{place}: {error.strerror}")
    words = f"{free / 1e9:.1f} GB free"
    if free < NO_DISK:
        return Check(name, BAD, words, "make room: `mopo rm` with --empty-trash, `mopo data rm`, `mopo models rm`")
    if free < LOW_DISK:
        return Check(name, WARN, words, "a paper run with its data takes about 2 GB")
    return Check(name, OK, words)


def _existing(path: Path) -> Path:
    """The nearest folder that is there already."""
    return next((parent for parent in (path, *path.parents) if parent.is_dir()), Path("/"))


def data() -> Iterator[Check]:
    """The data root and the datasets in it."""
    from mopo_tui.manager.datasets import datasets

    try:
        root = locations.data_root()
        present = datasets()
    except (locations.LocationError, OSError) as error:
        yield Check("datasets", BAD, clean(str(error)), "choose another place with MOPO_DATA or paths.data")
        return
    sound = [status for status in present if status.present]
    size = sum(status.bytes for status in sound)
    words = f"{len(sound)}, {size / 1e9:.1f} GB" if sound else "none yet; a run's first stage makes what it needs"
    yield Check("datasets", OK, f"{words}, in {root}")
    for status in present:
        if not status.present:
            yield Check("datasets", WARN, clean(f"{status.id}: {status.problem}"), f"mopo data rm {status.id}")
    yield _room("disk of the data", _existing(root))


# --- the session ------------------------------------------------------------------------------------------------------------------


def logout() -> Check:
    """Whether this host ends what a person started when they log out."""
    if shutil.which("loginctl") is None:
        return Check("logout", OK, "no systemd-logind here: runs go on after a logout")
    policy = _asked("loginctl", "show-session", "--property=KillUserProcesses", "--value")
    kills = policy.stdout.strip() if policy is not None and policy.returncode == 0 else ""
    if kills not in ("yes", "no"):
        return Check("logout", OK, "systemd-logind does not answer: runs should go on after a logout")
    if kills == "no":
        return Check("logout", OK, "runs go on after a logout")
    lingers = _asked("loginctl", "show-user", str(os.getuid()), "--property=Linger", "--value")
    if lingers is not None and lingers.stdout.strip() == "yes":
        return Check("logout", OK, "KillUserProcesses=yes, and you linger: runs go on after a logout")
    return Check(
        "logout", WARN, "KillUserProcesses=yes: your runs are killed when you log out", "loginctl enable-linger"
    )


def terminal(environment: Mapping[str, str]) -> Iterator[Check]:
    """What the app can draw with."""
    encoding = (locale.getpreferredencoding(False) or "").lower()
    if "utf" in encoding:
        yield Check("unicode", OK, encoding)
    else:
        yield Check("unicode", WARN, f"{encoding or 'unknown'}: charts need Unicode", "export LANG=C.UTF-8")
    term = clean(environment.get("TERM", ""))
    deep = environment.get("COLORTERM") in ("truecolor", "24bit")
    if term in ("", "dumb"):
        yield Check(
            "terminal", WARN, f"TERM={term or '(not set)'}", "the app needs a terminal; the commands do without"
        )
    elif deep or "256color" in term or "direct" in term:
        yield Check("terminal", OK, f"{term}, {'16 million' if deep else '256'} colours")
    else:
        yield Check("terminal", WARN, f"{term}: few colours", f"export TERM={term}-256color, if your terminal has them")
    if environment.get("TMUX"):
        said = _asked("tmux", "show-options", "-sv", "set-clipboard")
        clipboard = said.stdout.strip() if said is not None and said.returncode == 0 else ""
        if clipboard == "on":
            yield Check("tmux", OK, "set-clipboard on: what the app copies reaches your clipboard")
        else:
            yield Check(
                "tmux",
                WARN,
                f"set-clipboard {clean(clipboard) or 'unknown'}: what the app copies stays in tmux",
                "tmux set -s set-clipboard on",
            )


def _asked(*command: str) -> subprocess.CompletedProcess[str] | None:
    """What another program answers; None where it is missing or takes too long."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
