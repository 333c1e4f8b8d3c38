"""Pausing: between two polls the engine sleeps until the request is gone, and nothing of it counts as progress."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_process import new_run, small, start, wait_for

from engine import record
from engine.control import Stopped, StopRequests
from engine.progress import Progress
from engine.record import Recorder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    record.create_run(tmp_path / "run", {"id": "run"}, "")
    return tmp_path / "run"


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


def after(seconds: float, do: object) -> None:
    threading.Timer(seconds, do).start()  # type: ignore[arg-type]


def test_it_sleeps_until_the_request_is_gone(folder: Path) -> None:
    recorder = Recorder(folder, echo=lambda _: None)
    stop = StopRequests(recorder)
    (folder / "control" / "pause").touch()
    seen: list[bool] = []
    after(0.3, lambda: seen.append((folder / "control" / "paused").exists()))
    after(0.6, (folder / "control" / "pause").unlink)
    begun, used = time.monotonic(), time.process_time()
    stop()
    assert 0.55 < time.monotonic() - begun < 3
    assert time.process_time() - used < 0.3  # it slept
    assert seen == [True]
    assert not (folder / "control" / "paused").exists()
    assert 0.55 < recorder.paused < 3
    assert [row["kind"] for row in record.read_rows(folder / record.EVENTS)[0]] == ["paused", "resumed"]


def test_the_heart_beats_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "HEARTBEAT_SECONDS", 0.05)
    with Recorder(folder, echo=lambda _: None) as recorder:
        stop = StopRequests(recorder)
        (folder / "control" / "pause").touch()
        times: list[int] = []
        for at in (0.2, 0.5):
            after(at, lambda: times.append((folder / record.HEARTBEAT).stat().st_mtime_ns))
        after(0.7, (folder / "control" / "pause").unlink)
        stop()
    assert times[1] > times[0]


@pytest.mark.parametrize("how", ["request", "signal"])
def test_stopping_works_while_paused(folder: Path, how: str) -> None:
    stop = StopRequests(Recorder(folder, echo=lambda _: None))
    (folder / "control" / "pause").touch()
    ask = (folder / "control" / "stop").touch if how == "request" else lambda: os.kill(os.getpid(), signal.SIGTERM)
    after(0.2, ask)
    with pytest.raises(Stopped) as stopped:
        stop()
    assert stopped.value.code == 143
    assert not (folder / "control" / "paused").exists()


def test_time_in_a_pause_is_no_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("engine.progress.time.monotonic", lambda: clock[0])
    recorder = Recorder(folder, echo=lambda _: None)
    monkeypatch.setattr(recorder, "summary_due", lambda: True)
    progress = Progress(recorder, {"dynamics": 1.0, "policy": 1.0})
    progress.begin("dynamics", "")
    clock[0] += 10 + 3600
    recorder.paused += 3600
    progress.update(0.5, "")
    recorder.summary(force=True)
    summary = record.read_json(folder / record.SUMMARY)
    assert summary is not None
    assert summary["eta_s"] == pytest.approx(10 + 20)  # half a stage in ten seconds, an hour of sleep aside


def test_a_runs_times_do_not_count_its_pauses(tmp_path: Path) -> None:
    folder = new_run(tmp_path, tmp_path / "run", small(**{"dataset.size": 1000, "evaluation.calibration": False}))
    (folder / "control").mkdir(exist_ok=True)
    (folder / "control" / "pause").touch()
    begun = time.monotonic()
    process = start(tmp_path, folder)
    wait_for((folder / "control" / "paused").exists, 60)
    time.sleep(4.0)
    (folder / "control" / "pause").unlink()
    assert process.wait(timeout=120) == 0
    took = time.monotonic() - begun
    result = record.read_json(folder / "result.json")
    assert result is not None
    assert result["wall_s"] < took - 4.0
