"""All histograms of a run, not only the newest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine import record
from engine.record import Recorder
from mopo_tui.manager import Run
from mopo_tui.manager.series import RunReader

BINS = record.HISTOGRAM_BINS + 2


def counts(value: int) -> list[int]:
    return [value] * BINS


def write(recorder: Recorder, update: int, value: int) -> None:
    recorder.step, recorder.update = 100 + update, update
    recorder.histograms({"rollout": counts(value)})


def test_every_round_is_kept_with_its_update(make_run: Callable[..., Run]) -> None:
    run = make_run()
    recorder, reader = Recorder(run.folder, echo=lambda _: None), RunReader(run.folder)
    recorder.histograms({"data": counts(9)})
    for i in range(5):
        write(recorder, 1000 * i, i)
        reader.refresh()
    updates, found = reader.histograms("rollout")
    assert updates.tolist() == [0, 1000, 2000, 3000, 4000]
    assert found[:, 7].tolist() == [0, 1, 2, 3, 4]
    assert reader.histograms("data")[1].shape == (1, BINS)
    assert reader.histograms("other")[0].shape == (0,)
    assert reader.histograms("other")[1].shape == (0, BINS)


def test_what_a_resumed_run_measures_again_counts_once(make_run: Callable[..., Run]) -> None:
    run = make_run()
    recorder, reader = Recorder(run.folder, echo=lambda _: None), RunReader(run.folder)
    for update, value in ((1000, 1), (2000, 2), (3000, 3), (2000, 20), (3000, 30), (4000, 40)):
        write(recorder, update, value)
    reader.refresh()
    updates, found = reader.histograms("rollout")
    assert updates.tolist() == [1000, 2000, 3000, 4000]
    assert found[:, 0].tolist() == [1, 20, 30, 40]


def test_a_long_run_keeps_some_hundred_and_loses_no_count(make_run: Callable[..., Run]) -> None:
    run = make_run()
    recorder, reader = Recorder(run.folder, echo=lambda _: None), RunReader(run.folder)
    for i in range(700):
        write(recorder, i, 1)
    reader.refresh()
    updates, found = reader.histograms("rollout")
    assert 128 <= len(updates) <= 256
    assert (np.diff(updates) > 0).all()
    assert updates[-1] == 699
    assert found[:, 3].sum() == 700
    newest = reader.histogram("rollout")
    assert newest is not None
    assert newest[3] == 1


def test_a_file_written_anew_begins_anew(make_run: Callable[..., Run]) -> None:
    run = make_run()
    recorder, reader = Recorder(run.folder, echo=lambda _: None), RunReader(run.folder)
    for i in range(3):
        write(recorder, i, i)
    reader.refresh()
    (run.folder / record.HISTOGRAMS).unlink()
    write(recorder, 0, 5)
    reader.refresh()
    assert reader.histograms("rollout")[1][:, 0].tolist() == [5]
