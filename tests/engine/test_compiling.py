"""The compiled files: whose they are, and that torn ones are made again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import compiling

STEP = """
import torch
from engine.compute import Compute
compute = Compute.choose(threads=1, gemm="stock", compiled=True)
step = compute.compile(lambda t: torch.relu(t).sum() + 7)
print(float(step(torch.ones(64))))
"""
needs_a_compiler = pytest.mark.skipif(compiling.compiler() is None, reason="no C++ compiler")


def process(cache: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, compiling.CACHE: str(cache), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", STEP],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def libraries(cache: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in cache.rglob("*.so")}


@needs_a_compiler
def test_what_a_killed_process_left_torn_is_made_again(tmp_path: Path) -> None:
    killed = process(tmp_path)
    until = time.monotonic() + 120
    while not libraries(tmp_path) and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()
    begun = libraries(tmp_path)
    assert begun
    assert list(tmp_path.glob("compiling-*"))
    for library in begun:  # as it is where the linker was killed, which is too quick to be met
        library.write_bytes(library.read_bytes()[:100])

    assert process(tmp_path).communicate()[0].split() == ["71.0"]
    whole = libraries(tmp_path)
    assert all(whole[path] > 1000 for path in begun)
    assert not list(tmp_path.glob("compiling-*"))

    torn = next(iter(whole))
    torn.write_bytes(b"")
    said = process(tmp_path).communicate()[0]  # torn by something else: nobody's mark says so
    assert said.split() == ["71.0"] or "compute.compile=false" in said.splitlines()[-1]


def test_only_what_a_dead_process_wrote_is_removed(tmp_path: Path) -> None:
    before, after = tmp_path / "a" / "before.so", tmp_path / "a" / "after.so"
    before.parent.mkdir()
    for library, age in ((before, 100.0), (after, 0.0)):
        library.write_bytes(b"code")
        os.utime(library, (time.time() - age, time.time() - age))
    with compiling.marked(tmp_path):
        (mark,) = tmp_path.glob("compiling-*")
        os.utime(mark, (time.time() - 50, time.time() - 50))
        compiling.mend(tmp_path)  # its process lives
        assert {before, after} == set(libraries(tmp_path))
    assert not mark.exists()
    compiling.mend(tmp_path)
    assert {before, after} == set(libraries(tmp_path))
    mark.touch()
    os.utime(mark, (time.time() - 50, time.time() - 50))
    compiling.mend(tmp_path)
    assert {before} == set(libraries(tmp_path))
    assert not mark.exists()


@needs_a_compiler
def test_what_does_not_compile_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "g++"
    compiler.write_text("#!/bin/sh\necho no space left >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    said = process(tmp_path / "cache").communicate()[0].splitlines()
    assert "CompileError" in said[-1]
    assert f"remove {tmp_path / 'cache'}, or set compute.compile=false" in said[-1]


def test_the_folder_is_this_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compiling.CACHE, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first = compiling.use_cache()
    assert first.parent.parent == tmp_path
    assert os.environ[compiling.CACHE] == str(first)
    assert first.parent.stat().st_mode & 0o077 == 0
    monkeypatch.delenv(compiling.CACHE)
    assert compiling.use_cache() == first

    first.parent.chmod(0o777)  # anybody could have put a library there
    monkeypatch.delenv(compiling.CACHE)
    assert compiling.use_cache().parent != first.parent
    first.rmdir()
    first.parent.rmdir()
    first.parent.symlink_to(tmp_path / "elsewhere")
    monkeypatch.delenv(compiling.CACHE)
    assert compiling.use_cache().parent != first.parent
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_the_user_chose_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiling.CACHE, str(tmp_path / "mine"))
    assert compiling.use_cache() == tmp_path / "mine"


def test_another_processor_has_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv(compiling.CACHE, raising=False)
    here = compiling.use_cache()
    monkeypatch.delenv(compiling.CACHE)
    monkeypatch.setattr(compiling, "_features", lambda: "flags : sse2")
    assert compiling.use_cache() != here
