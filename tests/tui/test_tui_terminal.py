"""The real `mopo-tui` in real terminals: other sizes while it runs, tmux, slow lines, without Unicode, without colours; killed, and
with the store changing under it."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from in_terminal import START, AppTerminal, Screen
from many_runs import write_run, write_store

from engine import record
from mopo_tui.manager import Run, RunState, Store, identity

SMALL, WIDE, LARGE = (80, 24), (120, 40), (200, 50)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty runs; tests read them only."""
    root = tmp_path_factory.mktemp("terminal") / "runs"
    write_store(root, 30)
    return root


def listed(screen: Screen) -> bool:
    return "hopper-medium" in screen.text


def opened(terminal: AppTerminal) -> AppTerminal:
    """The app once it shows its runs and has drawn them."""
    terminal.until(listed, 60)
    terminal.quiet(1.2)  # the runs of a row are read one after the other
    return terminal


def body(screen: Screen) -> list[str]:
    """The screen without its top line, where the host's load changes by itself."""
    return screen.lines[1:]


# --- sizes ------------------------------------------------------------------------------------------------------------------------


def test_after_another_size_the_screen_is_as_if_it_had_begun_with_it(runs: Path) -> None:
    fresh = {}
    for size in (SMALL, LARGE):
        with AppTerminal(runs, *size) as terminal:
            fresh[size] = body(opened(terminal).screen)
    with AppTerminal(runs, *SMALL) as terminal:
        opened(terminal)
        for size in (LARGE, SMALL, LARGE):
            terminal.resize(*size)
            terminal.until(lambda screen, size=size: body(screen) == fresh[size])
        for size in (SMALL, WIDE, (40, 12), LARGE, SMALL):  # faster than it can follow
            terminal.resize(*size)
        terminal.until(lambda screen: body(screen) == fresh[SMALL])
        terminal.press("q")
        assert terminal.ended() == 0


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux here")
def test_inside_tmux(runs: Path, tmp_path: Path) -> None:
    def tmux(*arguments: str) -> str:
        command = ["tmux", "-S", str(tmp_path / "tmux"), "-f", os.devnull, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    def until(text: str, gone: str = "") -> list[str]:
        for _ in range(300):
            now = tmux("capture-pane", "-p")
            if text in now and not (gone and gone in now):
                return now.splitlines()
            time.sleep(0.1)
        raise AssertionError(now)

    environment = {**os.environ, "MOPO_RUNS": str(runs), "LANG": "C.UTF-8", "TERM": "xterm-256color"}
    tmux("new-session", "-d", "-x", "80", "-y", "24", *START)
    try:
        assert "╭─ Runs" in until("hopper-medium")[1]
        tmux("resize-window", "-x", "200", "-y", "50")
        lines = until("Validation loss")
        assert len(lines) == 50
        assert max(map(len, lines)) <= 200
        tmux("send-keys", "?")
        until("─ Keys ─")
        tmux("send-keys", "Escape")
        until("hopper-medium", gone="─ Keys ─")
        tmux("send-keys", "q")
        for _ in range(100):
            if subprocess.run(["tmux", "-S", str(tmp_path / "tmux"), "has-session"], capture_output=True).returncode:
                return
            time.sleep(0.1)
        raise AssertionError("it has not ended")
    finally:
        subprocess.run(["tmux", "-S", str(tmp_path / "tmux"), "kill-server"], capture_output=True)


# --- slow lines -------------------------------------------------------------------------------------------------------------------


def test_over_a_slow_line_a_key_is_answered_by_the_newest_state(runs: Path) -> None:
    """100 keys, each of which changes the whole right side, at 6 KB a second: a film of them would take a minute."""
    with AppTerminal(runs, *WIDE) as terminal:
        opened(terminal)

        def slowly(true: Callable[[Screen], bool], seconds: float) -> float:
            begun = time.perf_counter()
            while not true(terminal.screen) and time.perf_counter() < begun + seconds:
                terminal.read(0.05, 300)
                time.sleep(0.05)
            return time.perf_counter() - begun

        before = terminal.got
        for number in range(100):
            terminal.press("j" if number % 10 < 5 else "k")
            slowly(lambda _: False, 0.05)
        terminal.press("?")
        took = slowly(lambda screen: "─ Keys ─" in screen.text, 30)
        assert took < 12, f"help after {took:.1f} s"
        assert terminal.got - before < 120_000
        terminal.press("\x1b")
        terminal.quiet(1.2)
        # What was held back meanwhile is there once the line is free.
        moved = body(terminal.screen)
        terminal.resize(*LARGE)
        terminal.quiet(1.2)
        terminal.resize(*WIDE)
        terminal.until(lambda screen: body(screen) == moved)
        terminal.press("q")
        assert terminal.ended() == 0


# --- what a terminal lacks --------------------------------------------------------------------------------------------------------


def test_a_terminal_without_unicode_gets_ascii_alone(runs: Path) -> None:
    with AppTerminal(runs, *WIDE, environment={"LANG": "C"}) as terminal:
        opened(terminal)
        assert terminal.screen.lines[1].startswith("+- Runs ---")
        assert "Enter Open" in terminal.screen.lines[-1]
        assert re.search(r" \d\d\.\d$", terminal.screen.lines[1])  # the score, not as large digits of + and -
        for keys in (
            "jl",
            "\x1b",
            "?",
            "\x1b",
            "a",
            "\x1b",
            "Q",
            "\x1b",
            "o",
            "\x1b",
            "d",
            "\x1b",
            "\x10",
            "\x1b",
            "z",
        ):
            terminal.press(keys)
            terminal.quiet()
        terminal.press("\x1b")
        terminal.quiet()
        terminal.press("q")
        assert terminal.ended() == 0
        assert terminal.written.isascii()


def test_without_colours_there_are_only_greys(runs: Path) -> None:
    with AppTerminal(runs, *WIDE, environment={"NO_COLOR": "1"}) as terminal:
        opened(terminal)
        terminal.press("j?")
        terminal.quiet()
        styles = re.findall(r"\x1b\[([\d;]*)m", terminal.written.decode())
        colours = [found for style in styles for found in re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", style)]
        assert colours
        assert [each for each in colours if len(set(each)) > 1] == []
        rest = {n for style in styles for n in re.sub(r"[34]8;2;\d+;\d+;\d+", "", style).split(";") if n}
        assert not [
            n for n in rest if 30 <= int(n) <= 37 or 40 <= int(n) <= 47 or 90 <= int(n) <= 107 or n in ("38", "48")
        ]


# --- the store changes under it ---------------------------------------------------------------------------------------------------


def test_five_hundred_runs_at_once(tmp_path: Path) -> None:
    ready, root = tmp_path / "ready", tmp_path / "runs"
    write_store(ready, 503)
    root.mkdir()
    folders = sorted(ready.iterdir())
    for folder in folders[:3]:
        folder.rename(root / folder.name)
    with AppTerminal(root, *WIDE) as terminal:
        terminal.until(lambda screen: "3 finished" in screen.text, 60)
        for folder in folders[3:]:
            folder.rename(root / folder.name)
        terminal.press("?")
        assert terminal.until(lambda screen: "─ Keys ─" in screen.text) < 5
        terminal.press("\x1b")
        terminal.until(lambda screen: re.search(r"✓ 4\d\d finished", screen.text) is not None, 20)
        terminal.press("G")
        terminal.until(lambda screen: "▌" in "".join(line[1:3] for line in screen.lines[-6:]))
        terminal.press("q")
        assert terminal.ended() == 0


def test_a_run_that_comes_is_seen_within_a_second_and_one_that_is_killed_within_three(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    write_store(root, 30)
    waits, ends = [], []
    with AppTerminal(root, *WIDE) as terminal:
        opened(terminal)
        for number in range(3):
            folder = write_run(tmp_path / "made", 100 + number, "lost", 5)
            child = subprocess.Popen(["sleep", "60"])
            try:
                who = {"pid": child.pid, "pgid": child.pid, "start_time": identity.start_time(child.pid)}
                about = {"attempt": 1, **who, "boot_id": identity.boot_id(), "host": identity.host()}
                record.write_json(folder / record.PROCESS, {**about, "supervisor_pid": child.pid, "started": 1.0})
                folder.rename(root / folder.name)
                waits.append(terminal.until(lambda screen: "▶ 1 running" in screen.text, 10))
                terminal.read_for(random.Random(number).uniform(0, 1))
            finally:
                child.kill()
                child.wait()
            ends.append(terminal.until(lambda screen: "running" not in screen.lines[0], 10))
    assert min(waits) < 1.0, waits  # other programs can only make it longer
    assert min(ends) < 3.0, ends


def test_the_store_may_go_and_come_back(tmp_path: Path) -> None:
    root, away = tmp_path / "runs", tmp_path / "away"
    write_store(root, 10)
    with AppTerminal(root, *WIDE) as terminal:
        opened(terminal)
        before = body(terminal.screen)
        root.rename(away)
        terminal.until(lambda screen: "No runs yet." in screen.text)
        terminal.press("jklozcsQ\x1b")  # none of them ends it
        terminal.quiet()
        away.rename(root)
        terminal.until(lambda screen: body(screen) == before)
        shutil.rmtree(root)
        terminal.until(lambda screen: "No runs yet." in screen.text)
        terminal.press("q")
        assert terminal.ended() == 0


# --- killed during a launch -------------------------------------------------------------------------------------------------------


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Path]:
    """A store whose runs are ended at the end."""
    root = tmp_path / "runs"
    yield root
    store = Store(root)
    for run in store.runs():
        if run.state in (RunState.RUNNING, RunState.QUEUED, RunState.PAUSED):
            store.abort(run)


def test_killed_during_a_launch_it_leaves_a_run_that_goes_on_or_waits(launched: Path, tmp_path: Path) -> None:
    environment = {
        "MOPO_DATA": str(tmp_path / "data"),
        "MOPO_THREADS": "1",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    seen: list[Run] = []
    for seconds in (0.0, 0.15, 0.4):
        with AppTerminal(launched, *WIDE, environment=environment) as terminal:
            terminal.until(lambda screen: "New run" in screen.text, 60)
            terminal.quiet()
            terminal.press("a")
            terminal.until(lambda screen: "built first" in screen.text or "present" in screen.text)
            terminal.press("\r")
            end = time.perf_counter() + 10
            while not list(launched.glob("2*")) and time.perf_counter() < end and not seen:
                terminal.read(0.005)
            terminal.read_for(seconds)
            terminal.process.send_signal(signal.SIGKILL)
            terminal.process.wait()
        store = Store.open(launched)
        runs = [run for run in store.runs() if run.id not in {each.id for each in seen}]
        for run in runs:
            assert not run.problem
            assert run.state in (RunState.QUEUED, RunState.RUNNING)
            if run.state is RunState.QUEUED and not store.queue.position(run.id):
                store.launch(run)  # it was made and not yet queued: it can be started like any other
            end = time.monotonic() + 30
            while store.run(run.id).state is RunState.QUEUED and time.monotonic() < end:
                store.advance()
                time.sleep(0.1)
            now = store.run(run.id)
            assert now.state in (RunState.RUNNING, RunState.FINISHED), now.reason
            store.abort(now)
        seen += runs
        # What a write was killed in has a hidden name, which nobody reads.
        assert not [path for path in launched.rglob("*.tmp*") if not path.name.startswith(".")]
    assert seen
