"""How busy the host is: out of /proc and nvidia-smi, and in the top line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from screen_text import fixed, settled, text_of, until

from mopo_tui.app import MopoApp
from mopo_tui.machine import GpuLoad, Load, Machine, read_gpus
from mopo_tui.manager import Store


def put(
    proc: Path, stat: str, memory: str = "MemTotal: 16000000 kB\nMemFree: 1 kB\nMemAvailable: 12000000 kB\n"
) -> None:
    (proc / "stat").write_text(stat + "\ncpu0 1 1 1 1\n")
    (proc / "meminfo").write_text(memory)


def test_cpu_is_the_busy_share_since_the_last_look(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    put(tmp_path, "cpu  100 0 50 800 50 0 0 0 0 0")
    first = machine.look()
    assert first.cpu is None
    assert (first.used, first.total) == (4_000_000 * 1024, 16_000_000 * 1024)
    put(tmp_path, "cpu  130 0 60 850 60 0 0 0 0 0")  # 40 busy of 100
    assert machine.look().cpu == pytest.approx(40.0)


@pytest.mark.parametrize("stat", ["", "cpu  a b c d e", "cpu  1"])
def test_a_host_without_proc_says_nothing(tmp_path: Path, stat: str) -> None:
    machine = Machine(tmp_path / "nothing")
    assert machine.look() == machine.look() == Load()
    assert Load().words() == ()
    put(tmp_path, stat, "MemTotal: x\n")
    assert Machine(tmp_path).look() == Load()


def test_this_host_is_read() -> None:
    load = Machine().look()
    assert load.total > load.used > 0


def fake_smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_gpus_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_smi(tmp_path / "bin", 'echo "80, 1024, 8192"; echo "[N/A], 0, 8192"', monkeypatch)
    gpus = read_gpus()
    assert gpus == (GpuLoad(80.0, 1 << 30, 1 << 33), GpuLoad(0.0, 0.0, 1 << 33))
    assert Load(gpus=gpus).words() == ("2 GPUs  40 %  1.1/17 GB",)
    fake_smi(tmp_path / "bin", 'echo "80, 1, 2"; exit 9', monkeypatch)
    assert read_gpus() == ()


def test_the_words_keep_their_width() -> None:
    one, other = Load(3.0, 0.9e9, 16e9), Load(100.0, 15.9e9, 16e9)
    assert one.words() == ("CPU   3 %", "mem  0.9/16 GB")
    assert [len(part) for part in one.words()] == [len(part) for part in other.words()]


@pytest.mark.parametrize("width", [80, 120])
async def test_the_top_line_says_host_runs_and_load(finished_store: Store, width: int) -> None:
    app = fixed(MopoApp(finished_store))
    async with app.run_test(size=(width, 24)) as pilot:
        await settled(pilot, app)
        await until(pilot, lambda: "CPU  43 %  mem  3.1/16 GB" in text_of(app).splitlines()[0])
        top = text_of(app).splitlines()[0]
        assert "node" in top
        for words in ("▶ 1", "○ 1", "✓ 3", "✗ 1"):
            assert words in top
        assert ("1 running" in top) == (width == 120)


async def test_a_narrow_top_line_leaves_out_whole_parts(finished_store: Store) -> None:
    app = fixed(MopoApp(finished_store))
    async with app.run_test(size=(50, 24)) as pilot:
        await settled(pilot, app)
        top = text_of(app).splitlines()[0]
        assert top.endswith("CPU  43 %")
        assert "✗ 1" in top
