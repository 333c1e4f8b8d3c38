"""The incremental reader against real writers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine import record
from engine.record import Recorder
from mopo_tui.manager import Run
from mopo_tui.manager.series import RunReader

WRITER = """
import sys
from pathlib import Path
from engine.record import Recorder
recorder = Recorder(Path(sys.argv[1]), echo=lambda line: None)
recorder.stage = "policy"
for i in range(1000):
    recorder.step, recorder.update = 500 + i, i
    recorder.metrics({"policy/q": i * 0.5, "eval/return": float("nan") if i == 7 else -i}, epoch=i // 10)
"""


def silent(folder: Path) -> Recorder:
    return Recorder(folder, echo=lambda _: None)


def test_reader_follows_a_writer_row_by_row(make_run: Callable[..., Run]) -> None:
    run = make_run()
    reader = RunReader(run.folder)
    assert not reader.refresh()
    assert len(reader.series("policy/q")) == 0
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(run.folder)])
    lengths = []
    while writer.poll() is None:
        if reader.refresh():
            lengths.append(len(reader.series("policy/q")))
    assert writer.returncode == 0
    reader.refresh()
    assert not reader.refresh()
    assert lengths == sorted(lengths)
    assert len(lengths) > 3  # it was read while it was written
    assert reader.names() == ["eval/return", "policy/q"]
    q = reader.series("policy/q")
    np.testing.assert_array_equal(q.step, 500 + np.arange(1000.0))
    np.testing.assert_array_equal(q.update, np.arange(1000.0))
    np.testing.assert_array_equal(q.epoch, np.arange(1000) // 10)
    np.testing.assert_array_equal(q.value, np.arange(1000) * 0.5)
    score = reader.series("eval/return").value
    assert np.isnan(score[7])
    assert score[8] == -8.0
    assert abs(q.t[-1] - time.time()) < 60


def test_torn_line_is_not_yet_and_a_cut_one_is_skipped(make_run: Callable[..., Run]) -> None:
    run = make_run()
    path = run.folder / record.METRICS
    recorder = silent(run.folder)
    recorder.step = 1
    recorder.metrics({"policy/q": 1.0})
    with open(path, "ab") as f:
        f.write(b'{"step": 2, "m": {"policy/q": 2.')
    reader = RunReader(run.folder)
    reader.refresh()
    assert reader.series("policy/q").value.tolist() == [1.0]
    recorder.step = 3
    recorder.metrics({"policy/q": 3.0})  # the next attempt ends the torn line first
    assert reader.refresh()
    assert reader.series("policy/q").value.tolist() == [1.0, 3.0]


def test_resumed_run_replaces_what_it_measures_again(make_run: Callable[..., Run]) -> None:
    run = make_run()
    recorder = silent(run.folder)
    reader = RunReader(run.folder)
    for step, value in ((1, 10), (2, 20), (4, 40), (2, 21), (3, 31), (5, 51)):
        recorder.step = step
        recorder.metrics({"policy/q": value, "dynamics/train_loss": -value})
        reader.refresh()
    series = reader.series("policy/q")
    assert series.step.tolist() == [1, 2, 3, 4, 5]
    assert series.value.tolist() == [10, 21, 31, 40, 51]


def test_histograms_events_and_environment(make_run: Callable[..., Run]) -> None:
    run = make_run()
    reader = RunReader(run.folder)
    recorder = silent(run.folder)
    counts = [0] * 162
    recorder.histograms({"data": [1, *counts[1:]], "rollout": [2, *counts[1:]]})
    recorder.histograms({"rollout": [3, *counts[1:]]})
    recorder.histograms({"rollout": [9]})  # not of this format: not shown
    recorder.event("elites", "five are chosen", elites=[4, 0, 2, 6, 1], val_loss=[1.0] * 7)
    recorder.environment(references={"random": {"return": -20.0}, "scale": None})
    assert reader.refresh()
    rollout, data = reader.histogram("rollout"), reader.histogram("data")
    assert rollout is not None
    assert data is not None
    assert (rollout[0], data[0], rollout.shape) == (3, 1, (162,))
    assert reader.histogram("other") is None
    assert reader.elites == (4, 0, 2, 6, 1)
    assert [event["kind"] for event in reader.events] == ["elites"]
    assert reader.references["random"]["return"] == -20.0
    assert reader.config["preset"] == "smoke"
    assert not reader.refresh()


def test_file_that_became_shorter_is_read_anew(make_run: Callable[..., Run]) -> None:
    run = make_run()
    recorder = silent(run.folder)
    reader = RunReader(run.folder)
    for step in range(5):
        recorder.step = step
        recorder.metrics({"policy/q": step})
    reader.refresh()
    (run.folder / record.METRICS).unlink()
    recorder.step = 9
    recorder.metrics({"policy/q": 9})
    assert reader.refresh()
    assert reader.series("policy/q").step.tolist() == [9]


@pytest.mark.parametrize(
    "line", ["[1]", '{"step": null, "m": {"a": 1}}', '{"step": 1, "m": [1]}', '{"step": 1, "m": {"a": null}}']
)
def test_rows_of_no_use_are_passed_over(make_run: Callable[..., Run], line: str) -> None:
    run = make_run()
    (run.folder / record.METRICS).write_text(line + "\n")
    reader = RunReader(run.folder)
    reader.refresh()
    assert reader.names() == []
