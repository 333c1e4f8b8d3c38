"""Short texts that the app's parts share: durations, scores, progress bars, parts that fit a width (no Textual)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mopo_tui.manager import Run
from mopo_tui.widgets.scale import number

ELLIPSIS = "…"


def duration(seconds: float) -> str:
    """Seconds as 48 s, 2:31 min or 1:05 h."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def bar(fraction: float, width: int) -> tuple[str, str]:
    """The done and the open part of a progress bar; half cells count."""
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    done = "━" * (halves // 2) + ("╸" if halves % 2 else "")
    return done, "─" * (width - len(done))


def cut(text: str, width: int) -> str:
    """`text`, with an ellipsis in place of what does not fit."""
    if len(text) <= width:
        return text
    return text[: max(width - 1, 0)] + ELLIPSIS if width > 0 else ""


def fitting(parts: Sequence[str], width: int, between: str = "  ") -> str:
    """As many of the parts as fit, the first ones first."""
    text = ""
    for part in parts:
        longer = f"{text}{between}{part}" if text else part
        if len(longer) > width:
            break
        text = longer
    return text


def place_of(path: Path) -> str:
    """A path, the person's own folder written as ~."""
    home, text = str(Path.home()), str(path)
    return "~" + text[len(home) :] if text.startswith(home + os.sep) else text


def seeds_text(seeds: Sequence[int]) -> str:
    """Rising seeds in short: 0–2 7."""
    parts: list[str] = []
    for i, seed in enumerate(seeds):
        if i and seed == seeds[i - 1] + 1:
            parts[-1] = f"{parts[-1].partition('–')[0]}–{seed}"
        else:
            parts.append(str(seed))
    return " ".join(parts)


def short_id(run_id: str) -> str:
    """The last word of an id, which `mopo` takes for the whole."""
    return run_id.rsplit("-", 1)[-1]


def title_of(run: Run) -> str:
    """What the run does: task, algorithm or job, seed."""
    if run.problem and not run.task:
        return run.id
    what = run.algorithm if run.job == "train" else run.job
    return f"{run.task} {what} s{run.seed}".strip()


def default_named(run: Run) -> bool:
    """True where the name says no more than `title_of`."""
    return run.name.replace("-", " ") == title_of(run).replace("-", " ") or not run.name


def headline(run: Run) -> tuple[str, float | None]:
    """The one number that matters: normalized score where the task has a scale, else return; final where there is one."""
    final = (run.result or {}).get("final")
    if isinstance(final, dict):
        for key, label in (("normalized_score", "final score"), ("return", "final return")):
            value = final.get(key)
            if isinstance(value, (int, float)):
                return label, float(value)
    if run.score_last is not None:
        return "last score", run.score_last
    return "last return", run.return_last


def score_text(run: Run) -> str:
    """The headline for a row of a list: "score 54.0", "return 1512", or nothing yet."""
    label, value = headline(run)
    return "" if value is None else f"{label.split()[-1]} {number(value)}"
