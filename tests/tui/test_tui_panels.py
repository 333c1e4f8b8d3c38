"""What the panels show of a run that the real Recorder wrote."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from realistic import HALFCHEETAH_REFERENCES

from engine.tasks import task
from mopo_tui.manager import Run, Store
from mopo_tui.manager.series import RunReader
from mopo_tui.run_view import Readers, RunView, read_view
from mopo_tui.widgets.panels import dynamics, panels, score, uncertainty
from mopo_tui.widgets.words import headline, score_text


def read(store: Store, tail: str) -> tuple[Run, RunView]:
    run = store.find(tail)
    reader = RunReader(run.folder)
    reader.refresh()
    return run, read_view(run.id, reader)


def test_elites_are_bright_and_drawn_last(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    plot = dynamics(run, view).plot
    inks = [line.ink for line in plot.lines]
    assert len(plot.lines) == 7
    assert len(view.elites) == 5
    assert inks[:2] == ["faint", "faint"]
    assert len(set(inks[2:])) == 5
    assert "faint" not in inks[2:]
    assert {int(line.end_label) for line in plot.lines[2:]} == set(view.elites)
    assert plot.y_log
    assert not dynamics(run, view, log=False).plot.y_log


def test_histograms_are_shares_with_quantiles_and_penalty(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    panel = uncertainty(run, view)
    data, rollouts = panel.plot.histograms
    assert data.filled
    assert not rollouts.filled
    assert data.heights.sum() == pytest.approx(100)
    assert rollouts.heights.sum() == pytest.approx(100)
    # The median bin of the drawn histogram agrees with the recorded median.
    at = int(np.searchsorted(np.cumsum(rollouts.heights), 50))
    assert rollouts.edges[at] <= (view.last("uncertainty/p50") or 0) * 1.05
    assert rollouts.edges[at + 1] >= (view.last("uncertainty/p50") or 0) * 0.95
    penalty = view.last("rollout/penalty")
    assert penalty is not None
    assert f"{penalty:.3f}" in panel.title
    assert panel.numbers[0].startswith("rollouts p50 ")
    assert panel.numbers[1].startswith("data p50 0.28")


def test_samples_beyond_the_edges_are_told(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    counts = np.array(view.histograms["rollout"])
    counts[-1] = 123
    changed = dataclasses.replace(view, histograms={**view.histograms, "rollout": counts})
    panel = uncertainty(run, changed)
    assert "123 beyond the axis" in panel.numbers
    assert panel.plot.histograms[1].heights.sum() < 100


def test_ant_angle_tells_the_truth_about_doing_nothing(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    panel = score(run, view)
    lines = {reference.label.rsplit(" ", 1)[0]: reference.value for reference in panel.plot.references}
    assert lines == {"batch best": 2331.6, "do-nothing": 1001.7, "batch mean": 874.2, "random": -58.4}
    progress, returns = panel.plot.lines
    assert (progress.label, returns.label) == ("progress", "return")
    np.testing.assert_allclose(progress.y, returns.y - 1000)
    assert panel.numbers[1].startswith("progress ")
    assert "doing nothing 1002" in panel.numbers


def test_a_task_with_a_scale_shows_scores_between_0_and_100(finished_store: Store) -> None:
    run, view = read(finished_store, "t5j1")
    panel = score(run, view)
    values = sorted(reference.value for reference in panel.plot.references)
    scale = task(run.task).normalized_score
    names = ("random", "do_nothing", "batch_mean", "batch_best")
    recorded = [scale(HALFCHEETAH_REFERENCES[name]["return"]) for name in names]
    assert values == pytest.approx(sorted([100.0, 72.1, *recorded]))
    assert panel.plot.lines[0].label == "score"
    assert np.nanmax(panel.plot.lines[0].y) < 100
    assert panel.plot.lines[0].x[-1] == 100_000


def test_empty_panels_say_why(finished_store: Store) -> None:
    queued, nothing = read(finished_store, "p0d2")
    assert all("queued" in p.plot.empty and p.plot.is_empty for p in panels(queued, nothing).values())
    running = finished_store.find("k3v9")
    empty = RunView(running.id)
    assert dynamics(running, empty).plot.empty == "waits for the first dynamics epoch"
    assert score(running, empty).plot.empty == "waits for the first evaluation"
    failed = finished_store.find("b8n6")
    assert "ended before" in score(failed, RunView(failed.id)).plot.empty
    broken = panels(running, RunView(running.id, problem="cannot be read: gone"))
    assert all(p.plot.empty == "cannot be read: gone" for p in broken.values())


def test_headline_is_the_final_score_or_the_last_return(finished_store: Store) -> None:
    cheetah, ant, running = (finished_store.find(t) for t in ("t5j1", "x7k2", "k3v9"))
    assert headline(cheetah) == ("final score", cheetah.result["final"]["normalized_score"] if cheetah.result else None)
    assert headline(ant)[0] == "final return"
    assert headline(running) == ("last return", running.return_last)
    assert score_text(finished_store.find("p0d2")) == ""


def test_readers_post_only_what_is_new(finished_store: Store) -> None:
    run = finished_store.find("x7k2")
    readers = Readers(most=1)
    assert readers.refresh(run.id, run.folder) is not None
    assert readers.refresh(run.id, run.folder) is None
    assert readers.again(run.id) is not None
    other = finished_store.find("m4q8")
    readers.refresh(other.id, other.folder)
    assert readers.again(run.id) is None
