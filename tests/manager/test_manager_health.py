"""What `mopo doctor` looks at, on machines that are put together here."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from many_runs import write_run

from engine import record
from mopo_tui.manager import Store, health
from mopo_tui.manager.health import BAD, OK, WARN, Check

Program = Callable[[str, str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Puts a shell script in a program's place; nothing but sh is there besides."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sh").symlink_to(shutil.which("sh") or "/bin/sh")
    monkeypatch.setenv("PATH", str(folder))

    def make(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!{folder / 'sh'}\n{script}\n")
        path.chmod(0o755)

    return make


# --- software ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("there", "bounds", "expected"),
    [
        ("2.13.0+cpu", ">=2.11,<2.14", True),
        ("2.14.0", ">=2.11,<2.14", False),
        ("2.9.1", ">=2.11,<2.14", False),
        ("8.0", ">=8,<9", True),
        ("10.0rc1", ">=10", True),
        ("1.0", "", True),
    ],
)
def test_versions_keep_to_their_bounds(there: str, bounds: str, expected: bool) -> None:
    assert health._within(there, bounds) is expected


def test_missing_and_untested_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["typer>=0.1", "rich>=999", 'numpy[all]>=1; extra == "dev"', "a-package-that-is-not-there>=1"]
    monkeypatch.setattr(health, "requires", lambda _: wanted)
    found = {check.level: check for check in health.packages() if check.name == "packages"}
    assert found[BAD].found == "missing: a-package-that-is-not-there"
    assert "rich" in found[WARN].found
    assert "wanted >=999" in found[WARN].found
    assert "typer" in found[OK].found
    assert "numpy" not in found[OK].found
    assert found[BAD].advice


def test_here_every_package_that_is_declared_is_there() -> None:
    assert [check.level for check in health.packages()] == [OK, OK]


def test_a_compiler_is_found_or_missed(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    assert health.compiler().level == WARN
    program("clang++", "")
    assert health.compiler().level == OK


def test_a_wrong_configuration_is_bad(tmp_path: Path) -> None:
    assert health.configuration().level == OK
    (tmp_path / "cwd" / "mopo.toml").write_text("sed = 3\n")
    check = health.configuration()
    assert (check.level, "did you mean 'seed'" in check.found) == (BAD, True)


# --- hardware ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("content", "quota"), [("max 100000", None), ("150000 100000", 1.5), ("", None)])
def test_what_a_container_gives(tmp_path: Path, content: str, quota: float | None) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert health._cpu_quota(tmp_path / "cpu.max") == quota


def test_a_container_that_gives_less_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_cpu_quota", lambda: 0.5)
    check = health.processor()
    assert (check.level, "0.5" in check.found, check.advice.endswith("to 1")) == (WARN, True, True)


def test_memory_that_runs_out(tmp_path: Path) -> None:
    table = tmp_path / "meminfo"
    for free, level in ((1_000_000, WARN), (8_000_000, OK)):
        table.write_text(f"MemTotal: 16000000 kB\nMemAvailable: {free} kB\n")
        assert health.memory(table).level == level
    assert health.memory(tmp_path / "nowhere").level == OK


def test_the_gemm_route_is_that_of_the_last_run_that_recorded_one(store: Store) -> None:
    assert "no run has recorded it" in health.gemm(store.root).found
    assert "no run has recorded it" in health.gemm(store.root / "nowhere").found
    for number, route in ((0, "stock"), (1, "onednn")):
        folder = write_run(store.root, number, "finished", 1)
        record.write_json(folder / record.ENVIRONMENT, {"compute": {"gemm": route, "threads": 2, "compiled": True}})
    write_run(store.root, 2, "queued", 1)
    check = health.gemm(store.root)
    assert check.found == f"onednn, 2 threads, compiled (as {folder.name} recorded it)"


def test_gpus(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    (none,) = health.gpus()
    assert (none.level, "none" in none.found) == (OK, True)
    program("nvidia-smi", "echo 'A GPU, 70000, 81559, 550.1'; echo 'A GPU, 5, 81559, 550.1'")
    monkeypatch.setattr(health, "version", lambda _: "2.13.0+cpu")
    first, second, build = health.gpus()
    assert first.found == "cuda:0 A GPU, 70000 of 81559 MiB free, driver 550.1"
    assert second.found.startswith("cuda:1")
    assert (build.level, "without CUDA" in build.found) == (WARN, True)
    monkeypatch.setattr(health, "version", lambda _: "2.13.0+cu128")
    assert len(list(health.gpus())) == 2
    program("nvidia-smi", "echo 'Failed to initialize NVML: \033[2JDriver mismatch'; exit 18")
    (broken,) = health.gpus()
    assert (broken.level, broken.found) == (WARN, "nvidia-smi: Failed to initialize NVML:  [2JDriver mismatch")
    monkeypatch.setattr(health, "SECONDS", 0.1)
    program("nvidia-smi", "while :; do :; done")
    (silent,) = health.gpus()
    assert (silent.level, "no answer" in silent.found) == (WARN, True)


# --- places -----------------------------------------------------------------------------------------------------------------------


def test_the_file_system_is_that_of_the_deepest_mount(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:50 / /home rw shared:1 - nfs4 server:/home rw\n"
        "3 2 0:51 / /home/a\\040b rw - fuse.sshfs host: rw\n"
        "4 1 0:52 / /homely rw - tmpfs tmpfs rw\n"
        "torn line\n"
    )
    for path, kind in (
        ("/var/x", "ext4"),
        ("/home", "nfs4"),
        ("/home/ada/runs", "nfs4"),
        ("/home/a b/runs", "fuse.sshfs"),
        ("/homely/x", "tmpfs"),
        ("/homeless", "ext4"),
    ):
        assert health.file_system(Path(path), table) == kind
    assert health.file_system(Path("/"), tmp_path / "nowhere") == ""
    assert [health._networked(kind) for kind in ("nfs4", "fuse.sshfs", "lustre", "ext4", "tmpfs")] == [True] * 3 + [
        False
    ] * 2


def test_locks_are_tried_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    assert health.locks_work(folder)
    assert list(folder.iterdir()) == []
    monkeypatch.setattr(health.fcntl, "flock", lambda *_: None)  # a file system that lets everybody have the lock
    assert not health.locks_work(folder)

    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(health.fcntl, "flock", refuse)
    assert not health.locks_work(folder)
    assert list(folder.iterdir()) == []
    assert health._locks(folder).level == WARN


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    found = list(health.store(tmp_path / "a" / "b"))
    assert found[0].found == f"{tmp_path / 'a' / 'b'} (made by the first run)"
    assert not (tmp_path / "a").exists()
    assert {check.level for check in found} <= {OK, WARN}


def test_a_store_that_cannot_be_written_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert [check.level for check in health.store(tmp_path) if "cannot be written" in check.found] == [BAD]


@pytest.mark.parametrize(("free", "level"), [(5e8, BAD), (5e9, WARN), (5e10, OK)])
def test_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str) -> None:
    monkeypatch.setattr(health.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, int(free)))  # type: ignore[attr-defined]
    assert health._room("disk", tmp_path).level == level


def test_datasets_that_are_there_and_that_are_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "data" / "mopo-tui"
    found = {check.name: check for check in health.data()}
    assert "none yet" in found["datasets"].found
    folder = root / "datasets" / "mopo" / "x"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("{")
    checks = [check for check in health.data() if check.name == "datasets"]
    assert [check.level for check in checks] == [OK, WARN]
    assert checks[1].advice == "mopo data rm mopo/x"
    (tmp_path / "file").touch()
    monkeypatch.setenv("MOPO_DATA", str(tmp_path / "file"))
    assert [check.level for check in health.data()] == [BAD]


# --- the session ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "linger", "level", "advice"),
    [
        ("echo no", "exit 1", OK, ""),
        ("echo yes", "echo yes", OK, ""),
        ("echo yes", "echo no", WARN, "loginctl enable-linger"),
        ("echo yes", "exit 1", WARN, "loginctl enable-linger"),
        ("echo cannot connect >&2; exit 1", "exit 1", OK, ""),
    ],
)
def test_what_a_logout_ends(program: Program, policy: str, linger: str, level: str, advice: str) -> None:
    program("loginctl", f'case "$1" in show-session) {policy};; show-user) {linger};; esac')
    check = health.logout()
    assert (check.level, check.advice) == (level, advice)


def test_without_systemd_a_logout_ends_nothing(program: Program) -> None:
    del program  # nothing is on the path
    assert health.logout().level == OK


def test_terminals(program: Program) -> None:
    def found(**environment: str) -> dict[str, Check]:
        return {check.name: check for check in health.terminal(environment)}

    assert found(TERM="xterm-256color")["terminal"].level == OK
    assert "16 million" in found(TERM="xterm", COLORTERM="truecolor")["terminal"].found
    assert found(TERM="vt100")["terminal"].level == WARN
    assert found(TERM="dumb")["terminal"].level == found()["terminal"].level == WARN
    assert "tmux" not in found(TERM="screen-256color")
    for setting, level in (("echo on", OK), ("echo external", WARN), ("exit 1", WARN)):
        program("tmux", setting)
        assert found(TERM="tmux-256color", TMUX="/tmp/x,1,0")["tmux"].level == level


def test_an_encoding_without_the_charts_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health.locale, "getpreferredencoding", lambda _: "ANSI_X3.4-1968")
    assert next(health.terminal({"TERM": "xterm-256color"})).level == WARN
