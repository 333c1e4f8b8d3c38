"""torch.compile with a cache of its own: one per user, processor, torch and C++ compiler, on this machine's disk.

torch's own default is a folder of a guessable name in the temporary folder, whoever made it. What lies in such a cache is loaded
as machine code, so ours is used only where it belongs to this user and nobody else may write into it. And a process that dies
while the C++ compiler writes leaves a torn library, over which every later process stumbles, or computes with other instructions
than before (torch tries by one of these libraries what the processor can do). So a process marks when it compiles, and the next
one removes what was written since a mark whose process is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from engine.control import CompileError

CACHE = "TORCHINDUCTOR_CACHE_DIR"  # torch's variable; a user who has set it is obeyed
BINARIES = ("*.so", "*.o", "*.gch", "*.pch")
MARK = "compiling-"


def compiler() -> str | None:
    """The C++ compiler that torch.compile will call, or None."""
    return shutil.which(os.environ.get("CXX", "g++"))


def use_cache() -> Path:
    """The folder that this process compiles into: made if need be, told to torch, and rid of what a killed process left torn."""
    import torch._inductor.config as inductor  # a second of importing that runs without compiling are spared
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    chosen, headers = os.environ.get(CACHE), Path(default_cache_dir())
    if not chosen or Path(chosen) == headers:  # torch itself sets the variable to its default
        chosen = str(_own(Path(tempfile.gettempdir()) / f"mopo-compiled-{os.getuid()}") / _key())
        os.environ[CACHE] = chosen
    folder = Path(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    # Headers compiled beforehand lie in torch's default folder, whatever the variable says.
    inductor.cpp_cache_precompile_headers = _ours_alone(headers)
    mend(folder, headers)
    return folder


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled as one graph for the shapes it is called with, at its first call.

    Raises (when called):
        CompileError: it does not compile.
    """
    from torch._dynamo.exc import BackendCompilerFailed

    cache = use_cache()
    compiled = torch.compile(function, fullgraph=True, dynamic=False)
    called = False

    def step(*arguments: Any) -> Any:
        nonlocal called
        if called:
            return compiled(*arguments)
        try:
            with marked(cache):
                found = compiled(*arguments)
        except BackendCompilerFailed as error:
            reason = str(getattr(error, "inner_exception", error)).strip().splitlines()[0]
            raise CompileError(f"{reason}: remove {cache}, or set compute.compile=false") from error
        called = True
        return found

    return step


@contextlib.contextmanager
def marked(cache: Path) -> Iterator[None]:
    """While something is compiled a file says so, locked for as long as this process lives."""
    descriptor, mark = tempfile.mkstemp(dir=cache, prefix=MARK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        # Before it was locked another process may have taken it for a dead one's, and removed it.
        Path(mark).unlink(missing_ok=True)
        os.close(descriptor)


def mend(*folders: Path) -> None:
    """Remove what was compiled since a process began that never finished; of the first folder, where marks lie, and the others.

    What another process compiles just now may be among it: torch looks again before it loads a library, and makes it anew.
    """
    for mark in folders[0].glob(f"{MARK}*"):
        try:
            with mark.open("r+") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                begun = mark.stat().st_mtime
                for binary in (path for folder in folders for pattern in BINARIES for path in folder.rglob(pattern)):
                    with contextlib.suppress(FileNotFoundError):
                        if binary.stat().st_mtime >= begun:
                            binary.unlink()
                mark.unlink()
        except (BlockingIOError, FileNotFoundError):  # its process lives, or has just ended
            continue


def _own(folder: Path) -> Path:
    """`folder` if it is this user's alone, else a new one for this process."""
    return folder if _ours_alone(folder) else Path(tempfile.mkdtemp(prefix="mopo-compiled-"))


def _ours_alone(folder: Path) -> bool:
    """Whether a folder, made if need be, belongs to this user and nobody else may write into it."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.getuid()
        and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _key() -> str:
    """What machine code depends on: processor, torch, compiler."""
    command, version = compiler(), ""
    if command is not None:
        version = subprocess.run([command, "-dumpfullversion"], capture_output=True, text=True, check=False).stdout
    parts = (platform.machine(), _features(), torch.__version__, platform.python_version(), version)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _features() -> str:
    """The processor's instruction sets as Linux names them, else what it is called."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
