"""What the panels show of a run that the real Recorder wrote."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from realistic import HALFCHEETAH_REFERENCES
from seeds_store import read

from engine.tasks import task
from mopo_tui.manager import RunState, Store
from mopo_tui.manager.series import RunReader, Series
from mopo_tui.run_view import Readers, RunView, read_view
from mopo_tui.widgets.drawing import draw
from mopo_tui.widgets.glyphs import Look
from mopo_tui.widgets.panels import EVERY_PANEL, TITLES, Options, axes, choices, panel, panels
from mopo_tui.widgets.panels.calibration import calibration
from mopo_tui.widgets.panels.dynamics import dynamics
from mopo_tui.widgets.panels.optimisation import optimisation
from mopo_tui.widgets.panels.score import score
from mopo_tui.widgets.panels.uncertainty import uncertainty
from mopo_tui.widgets.seeds import Group, alone
from mopo_tui.widgets.words import headline, score_text


def test_elites_are_bright_and_drawn_last(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    plot = dynamics([alone(run, view)]).plot
    inks = [line.ink for line in plot.lines]
    assert len(plot.lines) == 7
    assert len(view.elites) == 5
    assert inks[:2] == ["faint", "faint"]
    assert len(set(inks[2:])) == 5
    assert "faint" not in inks[2:]
    assert {int(line.end_label) for line in plot.lines[2:]} == set(view.elites)
    assert plot.y_log
    assert not dynamics([alone(run, view)], Options(log=False)).plot.y_log


def test_histograms_are_shares_with_quantiles_and_penalty(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    panel = uncertainty([alone(run, view)])
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
    panel = uncertainty([alone(run, changed)])
    assert "123 beyond the axis" in panel.numbers
    assert panel.plot.histograms[1].heights.sum() < 100


def test_ant_angle_tells_the_truth_about_doing_nothing(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    panel = score([alone(run, view)])
    lines = {reference.label.rsplit(" ", 1)[0]: reference.value for reference in panel.plot.references}
    assert lines == {
        "batch best": 2331.6, "do-nothing": 1001.7, "batch mean": 874.2, "random": -58.4, "paper 2531, its": 2530.9,
    }  # fmt: skip
    progress, returns = panel.plot.lines
    assert (progress.label, returns.label) == ("progress", "return")
    np.testing.assert_allclose(progress.y, returns.y - 1000)
    assert panel.numbers[1].startswith("progress ")
    assert "doing nothing 1002" in panel.numbers


def test_a_task_with_a_scale_shows_scores_between_0_and_100(finished_store: Store) -> None:
    run, view = read(finished_store, "t5j1")
    panel = score([alone(run, view)])
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
    assert dynamics([alone(running, empty)]).plot.empty == "waits for the first dynamics epoch"
    assert score([alone(running, empty)]).plot.empty == "waits for the first evaluation"
    known = RunView(running.id, config={"evaluation.every": 5})
    assert score([alone(running, known)]).plot.empty == "no evaluation yet: the first comes after epoch 5"
    failed = finished_store.find("b8n6")
    assert "ended before" in score([alone(failed, RunView(failed.id))]).plot.empty
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


# --- groups of seeds, several groups, both stages, every metric -------------------------------------------------------------------


def test_seeds_are_a_mean_a_band_and_thin_lines(mopo: Group) -> None:
    panel = score([mopo])
    thin, (mean,) = [line for line in panel.plot.lines if line.behind], [line for line in panel.plot.lines if line.bold]
    assert [line.label for line in thin] == ["seed 0", "seed 1", "seed 2"]
    assert mean.x[-1] == 60_000  # as far as all of them are
    at = 40_000
    scores = [float(line.y[line.x == at][0]) for line in thin]
    assert float(mean.y[mean.x == at][0]) == pytest.approx(np.mean(scores))
    (band,) = panel.plot.bands
    assert float(band.low[band.x == at][0]) == pytest.approx(min(scores))
    assert float(band.high[band.x == at][0]) == pytest.approx(max(scores))
    assert "(n = 3)" in panel.numbers[0]
    assert ("━", "sky", "mean of 3 seeds") in panel.plot.legend


def test_a_seed_that_has_nothing_yet_is_not_counted(mopo: Group) -> None:
    waiting = Group([*mopo.members[:2], (mopo.members[2][0], None)], "mopo")
    assert "(n = 2)" in score([waiting]).numbers[0]
    assert len([line for line in score([waiting]).plot.lines if line.behind]) == 2


@pytest.mark.parametrize("place", [0, 2])
def test_a_seed_in_the_queue_takes_no_scale_from_those_that_run(mopo: Group, place: int) -> None:
    members = list(mopo.members)
    members[place] = (dataclasses.replace(members[place][0], state=RunState.QUEUED), RunView(members[place][0].id))
    panel = score([Group(members, "mopo")])
    assert panel.title == "Normalized score"
    assert panel.plot.right is not None
    assert panel.plot.references == score([mopo]).plot.references


def test_long_runs_are_averaged_on_few_points(mopo: Group) -> None:
    step = np.arange(50_000.0)
    series = Series(step, step, step, step, np.sin(step / 9000))
    long = Group([(run, RunView(run.id, series={"policy/q": series})) for run, _ in mopo.members])
    (mean,) = [line for line in optimisation([long]).plot.lines if line.bold]
    assert len(mean.x) < 3000
    np.testing.assert_allclose(mean.y, np.sin(mean.x / 9000), atol=0.01)


def test_groups_lie_over_each_other_each_in_its_stroke(mopo: Group, mbpo: Group) -> None:
    for name in EVERY_PANEL:
        shown = panel(name, [mopo, mbpo])
        assert not shown.plot.is_empty, name
        if shown.plot.lines:
            inks = {(line.ink, line.dash) for line in shown.plot.lines if line.bold}
            assert inks == {("sky", ""), ("orange", "dashed")}, name
        assert [text for _, _, text in shown.plot.legend if text in ("mopo", "mbpo")] == ["mopo", "mbpo"], name
        assert any("mbpo" in text for text in shown.numbers), name
        assert len({line.label for line in shown.plot.lines}) == len(shown.plot.lines), name


def test_counts_of_seeds_are_added(mopo: Group) -> None:
    together = uncertainty([mopo]).plot.histograms[1].heights
    each = [uncertainty([alone(*member)]).plot.histograms[1].heights for member in mopo.members]
    np.testing.assert_allclose(together, np.mean(each, axis=0))  # as many samples in each


def test_uncertainty_over_time_is_a_column_a_round(mopo: Group) -> None:
    run, view = mopo.members[0]
    heat = uncertainty([alone(run, view)], Options(metric="time")).plot.heat
    assert heat is not None
    assert heat.x_edges.tolist() == [1000.0 * i for i in range(101)]
    # In each column the median of the drawn bins is the recorded median.
    medians = [heat.y_edges[int(np.searchsorted(np.cumsum(column) / column.sum(), 0.5))] for column in heat.values.T]
    np.testing.assert_allclose(medians, view.series["uncertainty/p50"].value, rtol=0.15)
    both = uncertainty([mopo], Options(metric="time")).plot
    assert both.heat is not None
    assert both.heat.values.shape[1] == 100
    assert {reference.label for reference in both.references} == {"data p50", "data p95"}


def test_the_penalty_stands_beside_the_reward(mopo: Group) -> None:
    penalty = np.mean([view.last("rollout/penalty") or 0.0 for _, view in mopo.read])
    assert uncertainty([mopo]).title == f"Uncertainty, mean penalty {penalty:.2f} beside reward 1.40"


def test_best_epochs_are_marked_where_the_fit_told_them(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    assert {mark.x for mark in dynamics([alone(run, view)]).plot.marks} == {24}
    assert len(dynamics([alone(run, view)]).plot.marks) == len(view.elites)
    earlier = dataclasses.replace(view, best_epochs=dict.fromkeys(range(7), 10.0))
    marks = dynamics([alone(run, earlier)]).plot.marks
    assert {mark.x for mark in marks} == {10}
    heights = {float(view.losses[m].value[9]) for m in view.elites}
    assert {mark.y for mark in marks} == heights


def test_x_is_epoch_step_or_wall_clock(finished_store: Store) -> None:
    run, view = read(finished_store, "x7k2")
    last = {x: dynamics([alone(run, view)], Options(x=x)).plot for x in axes("dynamics")}
    assert {x: plot.x_title for x, plot in last.items()} == {"epoch": "epoch", "step": "steps", "time": "time"}
    assert last["epoch"].lines[0].x[-1] == 24
    assert last["step"].lines[0].x[-1] == 24 * 313
    assert last["time"].lines[0].x[0] == 0
    assert last["time"].x_unit == "s"
    for name in EVERY_PANEL:
        for x in axes(name):
            plot = panel(name, [alone(run, view)], Options(x=x)).plot
            assert all(np.isfinite(line.x).all() for line in plot.lines), (name, x)


def test_both_stages_are_one_curve_with_a_line_at_the_change(mb2po: Group) -> None:
    for x, place in (("update", 50_000), ("epoch", 50), ("step", 50_000 + 24 * 313)):
        plot = score([mb2po], Options(x=x)).plot
        assert [(vertical.value, vertical.label) for vertical in plot.verticals] == [(place, "stage 2")]
        (line,) = plot.lines
        assert (np.diff(line.x) > 0).all()
        assert line.x[-1] == {"update": 150_000, "epoch": 150, "step": 150_000 + 24 * 313}[x]
    time = score([mb2po], Options(x="time")).plot.verticals
    assert len(time) == 1


def test_the_second_axis_is_the_raw_return(mopo: Group) -> None:
    plot = score([mopo]).plot
    assert plot.right is not None
    _, view = mopo.members[0]
    scores, returns = (view.series[f"eval/{name}"].value for name in ("normalized_score", "return"))
    np.testing.assert_allclose(plot.right.factor * scores + plot.right.offset, returns)


def test_the_model_stands_beside_reality(mopo: Group) -> None:
    run, view = mopo.members[0]
    shown = calibration([alone(run, view)])
    assert [line.label for line in shown.plot.lines] == ["real", "model", "penalised"]
    assert len({line.dash for line in shown.plot.lines}) == 3
    np.testing.assert_array_equal(shown.plot.lines[0].y, view.series["eval/discounted_return"].value)
    assert shown.numbers[0].startswith("rank correlation 0.")
    held = int(np.sum(view.series["calibration/lower_bound"].value))
    assert shown.numbers[1] == f"bound held at {held} of 20"
    assert shown.numbers[2].startswith("open-loop error 1: 0.05")


def test_every_choice_of_a_panel_can_be_shown(mopo: Group, mbpo: Group, mb2po: Group) -> None:
    for groups in ([mopo], [mb2po], [mopo, mbpo]):
        for name in EVERY_PANEL:
            for key, title in choices(name, groups):
                shown = panel(name, groups, Options(metric=key))
                assert not shown.plot.is_empty, (name, key)
                assert not shown.plot.empty.startswith("cannot be shown"), (name, key)
                assert title
    metrics = [key for key, _ in choices("optimisation", [mb2po])]
    assert {
        "policy/q",
        "policy/weight",
        "policy/weight_clipped",
        "policy/advantage",
        "speed/updates_per_s",
        "gate",
    } <= set(metrics)
    assert "policy/temperature" not in metrics
    errors = calibration([mopo], Options(metric="calibration/open_loop")).plot
    assert [line.end_label for line in errors.lines] == ["1", "5", "10", "20"]


def test_the_gate_says_what_it_decided_and_by_which_figures(mb2po: Group) -> None:
    words = dict(optimisation([mb2po], Options(metric="gate")).plot.words)
    assert words["gate"].startswith("enters stage 2: the batch is wide")
    assert words["random u"].startswith("1.42 · median u of random actions")


def test_smoothing_is_passed_on(mopo: Group) -> None:
    options = Options(smoothing=0.9)
    assert all(line.smoothing == 0.9 for line in optimisation([alone(*mopo.members[0])], options).plot.lines)
    (mean,) = [line for line in optimisation([mopo], options).plot.lines if line.bold]
    assert mean.smoothing == 0.9


def test_why_there_is_nothing_is_said_in_words(mopo: Group) -> None:
    run, _ = mopo.members[2]

    def empty(name: str, **changes: object) -> str:
        fields = {key: changes.pop(key) for key in ("stages", "gate") if key in changes}
        return panel(name, [alone(dataclasses.replace(run, **changes), RunView(run.id, **fields))]).plot.empty  # type: ignore[arg-type]

    assert empty("dynamics", algorithm="bc") == "BC fits no model"
    assert empty("calibration", algorithm="sac") == "SAC fits no model"
    assert empty("uncertainty") == "waits for the first model rollout"
    assert empty("optimisation") == "waits for the first policy epoch"
    stage_1 = (("policy", 0.0),)
    assert (
        empty("dynamics", algorithm="mb2po", stages=stage_1)
        == "stage 1 learns from the batch alone; the model comes after it"
    )
    ended = mopo.members[0][0].state
    stays = ("stays with stage 1: the batch is narrow",)
    assert empty("uncertainty", algorithm="mb2po", state=ended, gate=stays).endswith(
        "the gate stays with stage 1: the batch is narrow"
    )
    assert panel("score", [Group([(run, None)])]).plot.empty == "reading …"


def test_a_panel_that_fails_says_so_in_its_place(mopo: Group) -> None:
    run, view = mopo.members[0]
    broken = dataclasses.replace(view, histograms={"rollout": "no counts"})  # type: ignore[dict-item]
    shown = panel("uncertainty", [alone(run, broken)])
    assert shown.plot.empty.startswith("cannot be shown: ")
    assert shown.title == TITLES["uncertainty"]


def test_what_a_gate_said_cannot_steer_the_terminal(mb2po: Group, tmp_path: Path) -> None:
    run, _ = mb2po.members[0]
    folder = shutil.copytree(run.folder, tmp_path / "copy")
    with open(folder / "events.jsonl", "a") as f:
        f.write('{"kind": "gate", "message": "yes \\u001b[31m red", "step": 1}\n')
    reader = RunReader(folder)
    reader.refresh()
    assert "\x1b" not in "".join(read_view("copy", reader).gate)


@pytest.mark.parametrize("size", [(8, 40), (12, 60), (25, 100), (45, 190)])
def test_every_panel_fills_every_size(mopo: Group, mbpo: Group, mb2po: Group, size: tuple[int, int]) -> None:
    for groups in ([alone(*mopo.members[0])], [mopo], [mopo, mbpo], [mb2po]):
        for name in EVERY_PANEL:
            for metric in ("", "time", "gate"):
                plot = panel(name, groups, Options(metric=metric)).plot
                for look in (Look(), Look("blocks", False), Look("ascii")):
                    drawn = draw(plot, *size, look, cursor=40_000).lines()
                    assert (len(drawn), {len(line) for line in drawn}) == (size[0], {size[1]}), (name, metric)
                    assert look.kind != "ascii" or "\n".join(drawn).isascii()
