"""The text of what happens now, pinned as it is written; WRITE_SCREENS=1 writes the file anew, to be looked at."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from screen_text import WRITE
from seeds_store import read

from mopo_tui.manager import Run, Store
from mopo_tui.manager.state import RunState
from mopo_tui.run_view import RunView
from mopo_tui.widgets.panels.now import now, planned_stages
from mopo_tui.widgets.seeds import Group, alone

FILE = Path(__file__).parent / "charts" / "now.txt"
SIZES = ((10, 37), (15, 76), (24, 120))
LOG = [
    f"[policy] epoch {epoch}: return {1900 + epoch}.0 (std over episodes 41.0), progress {900 + epoch}.0"
    for epoch in range(50, 60)
]
ALERTS = (
    ("dynamics", "member 3 diverges from the others: holdout MSE 2.1 in dynamics epoch 9, 11 times the median"),
    ("policy", "Q explodes: mean 1.2e+09 in policy epoch 31; the batch's largest reward for ever is worth 412"),
    ("policy", "no better score for 20 evaluations (best return 2016.2)"),
)


def changed(run: Run, view: RunView, state: RunState, reason: str = "", **changes: object) -> tuple[Run, RunView]:
    summary = {
        **run.summary,
        **{name: value for name, value in changes.items() if name in ("stage_progress", "detail")},
    }
    stage = str(changes.get("stage", run.stage))
    now_ = dataclasses.replace(run, state=state, reason=reason, summary=summary, stage=stage, result=None)
    return now_, dataclasses.replace(view, alerts=changes.get("alerts", view.alerts))  # type: ignore[arg-type]


def groups(finished: Store, seeds: Store) -> dict[str, Group]:
    running, queued = read(finished, "k3v9"), read(finished, "p0d2")
    failed, done = read(finished, "b8n6"), read(finished, "t5j1")
    three = [read(seeds, f"aaa{seed}") for seed in range(3)]
    many = [
        (dataclasses.replace(three[seed % 3][0], seed=seed, id=f"{three[0][0].id}{seed}"), three[seed % 3][1])
        for seed in range(20)
    ]
    many[7] = changed(*many[7], RunState.FAILED, "exit code 1: the critic's loss is not finite after 31000 updates")
    twice = [*three, (dataclasses.replace(three[1][0], id="a-twin"), three[1][1])]
    return {
        "running": alone(*running),
        "running, with alerts": alone(*changed(*running, RunState.RUNNING, alerts=ALERTS)),
        "paused": alone(*changed(*running, RunState.PAUSED)),
        "queued": alone(*queued),
        "failed": alone(*failed),
        "finished": alone(*done),
        "MB2PO in its second stage": alone(*read(seeds, "ccc0")),
        "seeds": Group([*three[:2], changed(*three[2], RunState.RUNNING, alerts=ALERTS[1:])]),
        "a seed run twice": Group(twice),
        "twenty seeds": Group(many),
    }


def test_what_is_said_of_runs_and_rows(finished_store: Store, seeds_store: Store) -> None:
    parts = []
    for name, group in groups(finished_store, seeds_store).items():
        log_of = group.members[-1][0]
        log = [] if log_of.state is RunState.QUEUED else LOG
        for rows, columns in SIZES:
            lines = now(group, log, log_of, rows, columns)
            texts = ["".join(text for text, _, _ in line).rstrip() for line in lines]
            assert len(texts) <= rows
            assert max(map(len, texts)) <= columns, (name, columns, texts)
            parts += [f"=== {name}, {columns}×{rows}", *texts, ""]
    text = "\n".join(parts)
    if os.environ.get(WRITE):
        FILE.write_text(text, encoding="utf-8")
    assert text == FILE.read_text(encoding="utf-8")


@pytest.mark.parametrize("rows", range(1, 12))
@pytest.mark.parametrize("columns", [1, 8, 14, 20, 31])
def test_any_room_will_do(finished_store: Store, seeds_store: Store, rows: int, columns: int) -> None:
    for group in groups(finished_store, seeds_store).values():
        assert len(now(group, LOG, group.members[0][0], rows, columns)) <= rows


def test_stages_by_algorithm(finished_store: Store) -> None:
    run, _ = read(finished_store, "p0d2")

    def stages(**changes: object) -> list[str]:
        return planned_stages(dataclasses.replace(run, **changes), None)  # type: ignore[arg-type]

    assert stages(algorithm="mopo") == ["dynamics", "policy", "evaluation"]
    assert stages(algorithm="mb2po") == ["policy", "dynamics", "finetune", "evaluation"]
    assert stages(algorithm="awac") == ["policy", "evaluation"]
    assert stages(job="dataset", stage="data") == ["data"]
    assert stages(job="behaviour", stage="") == []
