"""The incremental reader against real writers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine import record
from engine.record import Recorder
from mopo_tui.manager import Run, locations
from mopo_tui.manager import series as series_module
from mopo_tui.manager.series import RunReader, over_seeds

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


@pytest.mark.parametrize("torn", [False, True])
def test_the_final_score_is_no_point_of_the_curve(make_run: Callable[..., Run], torn: bool) -> None:
    """It stands at the step of the last evaluation, and may be that of another policy: of MB2PO's first stage."""
    run = make_run()
    recorder = silent(run.folder)
    recorder.stage = "finetune"
    for recorder.step in (10, 20):
        recorder.update = recorder.step
        recorder.metrics({"eval/return": float(recorder.step)})
    recorder.stage = "evaluation"
    recorder.metrics({"eval/return": 1000.0})
    if torn:  # read line by line
        with open(run.folder / record.METRICS, "a") as f:
            f.write("no row\n")
    reader = RunReader(run.folder)
    reader.refresh()
    assert reader.series("eval/return").value.tolist() == [10.0, 20.0]


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


def test_curves_over_seeds_are_averaged_where_all_have_values() -> None:
    a = (np.array([0.0, 10.0, 20.0]), np.array([0.0, 10.0, 20.0]))
    b = (np.array([5.0, 15.0]), np.array([7.0, 11.0]))
    x, mean, low, high = over_seeds([a, b])
    assert x.tolist() == [5.0, 10.0, 15.0]
    assert (low.tolist(), high.tolist()) == ([5.0, 9.0, 11.0], [7.0, 10.0, 15.0])
    assert mean.tolist() == [6.0, 9.5, 13.0]


# --- many rows --------------------------------------------------------------------------------------------------------------------


def one_by_one(path: Path) -> dict[str, dict[float, tuple[float, ...]]]:
    """metric → step → (update, epoch, t, value), the last row of each step: the plainest reading there is."""
    found: dict[str, dict[float, tuple[float, ...]]] = {}
    for row in record.read_rows(path)[0]:
        for name, value in row["m"].items():
            head = (float(row.get(key, "nan")) for key in ("update", "epoch", "t"))
            found.setdefault(name, {})[row["step"]] = (*head, float(value))
    return found


def write_rows(path: Path, count: int, seed: int = 0, metrics: int = 3, start: int = 0) -> None:
    """Rows of three kinds, of which some measure what others do, too, with steps measured again and values that are no numbers."""
    rng = np.random.default_rng(seed)
    step = start
    with open(path, "a") as f:
        for _ in range(count):
            step = max(0, step + int(rng.integers(-3, 10)))
            kind = rng.integers(3)
            values: dict[str, float] = {f"policy/{i}": float(rng.normal()) for i in range(metrics)}
            if kind == 1:
                values = {"eval/return": float("nan") if rng.random() < 0.2 else float(rng.normal()), "policy/0": 1.5}
            row = {"step": step, "epoch": step // 10, "t": 1e9 + step, **({"update": step} if kind == 2 else {})}
            f.write(record.dumps({**row, "m": values}) + "\n")


def assert_reads(reader: RunReader, path: Path) -> None:
    expected = one_by_one(path)
    assert reader.names() == sorted(expected)
    for name, rows in expected.items():
        series = reader.series(name)
        assert series.step.tolist() == sorted(rows)
        columns = np.array([rows[step] for step in sorted(rows)]).T
        for ours, theirs in zip((series.update, series.epoch, series.t, series.value), columns, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_columns_are_what_reading_row_by_row_gives(make_run: Callable[..., Run]) -> None:
    path = make_run().folder / record.METRICS
    reader = RunReader(path.parent)
    for part in range(4):  # the same whether rows come at once or bit by bit
        write_rows(path, 400, seed=part)
        reader.refresh()
    assert_reads(reader, path)
    whole = RunReader(path.parent)
    whole.refresh()
    assert_reads(whole, path)


def test_one_bad_line_among_many_costs_no_other(make_run: Callable[..., Run]) -> None:
    path = make_run().folder / record.METRICS
    write_rows(path, 250)
    before = one_by_one(path)
    lines = path.read_text().splitlines()
    bad = [
        '{"step": 1, "m": {"policy/0": 2.', '"policy/1": 3}}', "[]", "null", "", '{"step": 7, "m": {"policy/0": null}}',
        '{"step": 8, "m": {"policy/0": [1.0]}}', '{"step": "x", "m": {"policy/0": 1.0}}', '{"step": 9}', "[" * 100_000,
        '{"step": 9, "m": {"policy/0": 1' + "0" * 400 + "}}",
    ]  # fmt: skip
    for i, line in enumerate(bad):
        lines.insert(20 * i, line)
    path.write_text("\n".join(lines) + "\n")
    reader = RunReader(path.parent)
    reader.refresh()
    for name, rows in before.items():
        assert reader.series(name).value.tolist() == pytest.approx([rows[s][-1] for s in sorted(rows)], nan_ok=True)


def test_arrays_that_were_handed_out_do_not_change(make_run: Callable[..., Run]) -> None:
    run = make_run()
    reader, recorder = RunReader(run.folder), silent(run.folder)
    for step in (1, 2, 3):
        recorder.step = step
        recorder.metrics({"policy/q": step})
    reader.refresh()
    early = reader.series("policy/q")
    for step in (2, 4, 5):
        recorder.step = step
        recorder.metrics({"policy/q": 10 * step})
        reader.refresh()
    assert early.value.tolist() == [1, 2, 3]
    assert reader.series("policy/q").value.tolist() == [1, 20, 3, 40, 50]


def test_following_a_run_costs_what_is_new(make_run: Callable[..., Run]) -> None:
    run = make_run()
    path = run.folder / record.METRICS
    write_rows(path, 20_000, metrics=8)
    reader, recorder = RunReader(run.folder), silent(run.folder)
    reader.refresh()
    recorder.step = 10_000_000

    def another_row() -> int:
        recorder.step += 1
        recorder.metrics({f"policy/{i}": i for i in range(8)})
        tracemalloc.start()
        reader.refresh()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    another_row()  # makes room
    assert max(another_row() for _ in range(20)) < 60_000  # bytes; the columns have millions
    assert len(reader.series("policy/7")) > 10_000


@pytest.fixture
def kept(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A run whose columns are in the cache: its metrics and the cache's file."""
    monkeypatch.setattr(series_module, "_KEPT_FROM", 20_000)
    path = make_run().folder / record.METRICS
    write_rows(path, 1000)
    RunReader(path.parent).refresh()
    (file,) = (locations.user_cache() / "columns").iterdir()
    return path, file


def parsed_bytes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[RunReader, int]:
    """A fresh reader, and how many bytes of JSON it parsed."""
    real, parsed = series_module._columns, []
    monkeypatch.setattr(series_module, "_columns", lambda data: parsed.append(len(data)) or real(data))
    reader = RunReader(folder)
    assert reader.refresh()
    monkeypatch.setattr(series_module, "_columns", real)
    return reader, sum(parsed)


def test_a_run_opened_again_is_not_parsed_again(kept: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = kept
    reader, parsed = parsed_bytes(monkeypatch, path.parent)
    assert parsed == 0
    assert_reads(reader, path)
    size = path.stat().st_size
    write_rows(path, 10, seed=5)  # steps that were measured before
    reader.refresh()
    assert_reads(reader, path)
    again, parsed = parsed_bytes(monkeypatch, path.parent)
    assert parsed == path.stat().st_size - size
    assert_reads(again, path)


@pytest.mark.parametrize("what", ["deleted", "torn", "empty", "other file", "end changed", "shorter", "a folder"])
def test_a_cache_that_does_not_fit_is_not_believed(
    kept: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path, file = kept
    if what == "deleted":
        shutil.rmtree(file.parent)
    elif what == "torn":
        file.write_bytes(file.read_bytes()[:-500])
    elif what == "empty":
        file.write_bytes(b"")
    elif what == "other file":
        path.unlink()
        write_rows(path, 1500, seed=9)
    elif what == "end changed":
        lines = path.read_text().splitlines(keepends=True)
        lines[-1] = lines[-1].replace('"step": ', '"step": 1')
        path.write_text("".join(lines))
    elif what == "shorter":
        path.write_text("".join(path.read_text().splitlines(keepends=True)[:900]))
    else:
        file.unlink()
        file.mkdir()
    reader, parsed = parsed_bytes(monkeypatch, path.parent)
    assert parsed == path.stat().st_size
    assert_reads(reader, path)


def test_a_cache_that_would_run_code_is_not_loaded(kept: tuple[Path, Path], tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return Path.touch, (tmp_path / "ran",)

    path, file = kept
    with np.load(file) as arrays:
        np.savez(file, **{**arrays, "values0": np.array([Evil()], dtype=object)})
    reader = RunReader(path.parent)
    reader.refresh()
    assert_reads(reader, path)
    assert not (tmp_path / "ran").exists()


def test_without_a_cache_folder_a_run_is_read_all_the_same(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(series_module, "_KEPT_FROM", 20_000)
    path = make_run().folder / record.METRICS
    write_rows(path, 1000)
    reader = RunReader(path.parent)
    assert reader.refresh()
    assert_reads(reader, path)


def test_what_nobody_opens_for_a_month_goes(kept: tuple[Path, Path], make_run: Callable[..., Run]) -> None:
    _, file = kept
    os.utime(file, (0, time.time() - 31 * 86_400))
    other = make_run().folder / record.METRICS
    write_rows(other, 1000)
    RunReader(other.parent).refresh()
    assert not file.exists()
    assert len(list(file.parent.iterdir())) == 1
