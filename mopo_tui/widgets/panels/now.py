"""What happens now: stages with progress and time left, alerts with their reason, the last lines of the log. Lines of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap

from engine.config import MODEL_BASED
from mopo_tui.manager import Run
from mopo_tui.manager.run import number_of
from mopo_tui.run_view import RunView
from mopo_tui.widgets.palette import STATES
from mopo_tui.widgets.seeds import Group
from mopo_tui.widgets.words import bar, cut, duration, fitting, score_text, short_id

Part = tuple[str, str, bool]  # text, colour's name, bold
Line = tuple[Part, ...]
_STATES_FIRST = ("failed", "lost", "running", "paused", "queued", "stopped", "finished")
_LEAST_LOG = 4  # rows that the log keeps, its head among them, where there are alerts
_LEAST_BAR, _WIDEST_BAR = 4, 32


def now(group: Group, log: Sequence[str], log_of: Run | None, rows: int, columns: int) -> list[Line]:
    """At most `rows` lines of at most `columns` characters about a run, or about each seed of a group.

    Args:
        log: the last lines of the log of `log_of`.
    """
    if group.single:
        head = _stages(*group.members[0], columns)
    else:
        head = _seeds([run for run, _ in group.members], max(rows // 2, 2), columns)
    alerts = _alerts(group, columns)
    room = rows - len(head)
    blank: list[Line] = [()] if room > len(alerts) + _LEAST_LOG + 2 else []
    told = _newest(alerts, max(room - 2 * len(blank) - (_LEAST_LOG if log else 0), 1))
    room -= len(told) + len(blank) * (2 if told else 1)
    lines = [*head, *(blank if told else ()), *told]
    if log_of is not None and room >= 2:
        lines += [*blank, *_log(group, log, log_of, room, columns)]
    return lines[:rows]


# --- stages of a run --------------------------------------------------------------------------------------------------------------


def planned_stages(run: Run, view: RunView | None) -> list[str]:
    """The stages of a run in their order, as far as its algorithm tells; those that were entered besides come first."""
    entered = list(dict.fromkeys(stage for stage, _ in view.entered)) if view is not None else []
    if run.job != "train":
        planned = [run.stage] if run.stage else []
    elif run.algorithm == "mb2po":
        planned = ["policy", "dynamics", "finetune", "evaluation"]
    elif run.algorithm in MODEL_BASED:
        planned = ["dynamics", "policy", "evaluation"]
    else:
        planned = ["policy", "evaluation"]
    return [*(stage for stage in entered if stage not in planned), *planned]


def seconds_of(stage: str, run: Run, view: RunView | None) -> float | None:
    """How long a stage took that is over: as the result says, else from its last beginning to that of the next one."""
    recorded = (run.result or {}).get("stages")
    if isinstance(recorded, dict) and (told := number_of(recorded, stage)) is not None:
        return told
    entered = view.entered if view is not None else ()
    begins = [i for i, (name, _) in enumerate(entered) if name == stage]
    if not begins:
        return None
    begun = entered[begins[-1]][1]
    return next((t - begun for name, t in entered[begins[-1] + 1 :] if name != stage), None)


def _stage_left(run: Run, view: RunView | None) -> float | None:
    """Seconds that the stage under way still takes at the pace it had so far; None where that cannot be told."""
    share, told = number_of(run.summary, "stage_progress"), number_of(run.summary, "t")
    begins = [t for stage, t in (view.entered if view is not None else ()) if stage == run.stage]
    # A stage that was entered twice had done something before it began again.
    if not share or told is None or len(begins) != 1 or run.eta_s is None:
        return None
    return min(max(told - begins[0], 0.0) * (1 - share) / share, run.eta_s)


def _stages(run: Run, view: RunView | None, columns: int) -> list[Line]:
    stages = planned_stages(run, view)
    width = max((len(stage) for stage in stages), default=0)
    here = stages.index(run.stage) if run.stage in stages else -1
    state, over = run.state.value, run.state.over
    glyph, ink = STATES[state]
    lines: list[Line] = []
    for i, stage in enumerate(stages):
        name = f"{stage:<{width}}"
        if i == here and state != "finished":
            lines.append(_moving(glyph, ink, name, run, _stage_left(run, view), columns))
        elif i < here or state == "finished":
            seconds = seconds_of(stage, run, view)
            skipped = seconds is None and state == "finished" and stage != "evaluation"
            took = "not entered" if skipped and stage == "finetune" else "" if seconds is None else duration(seconds)
            mark = ("– ", "faint", False) if took == "not entered" else ("✓ ", "green", False)
            lines.append((mark, (name, "muted", False), (f"  {took}" if took else "", "muted", False)))
        else:
            lines.append((("○ ", "faint", False), (name, "faint" if over else "muted", False)))
    lines.append(_whole(run, width, columns))
    if run.reason:
        lines += _hanging(f"{glyph} ", ink, run.reason, columns)
    return lines


def _moving(glyph: str, ink: str, name: str, run: Run, left: float | None, columns: int) -> Line:
    """The stage under way."""
    share = number_of(run.summary, "stage_progress") or 0.0
    percent = f" {share * 100:3.0f} %"
    words = [f"{duration(left)} left"] if left is not None and run.state.value == "running" else []
    words.append(str(run.summary.get("detail") or ""))
    room = columns - len(name) - 3 - len(percent) - 2
    tail = _beside_bar(words, room)
    done, open_part = _bar(share, room - len(tail))
    return (
        (f"{glyph} ", ink, True),
        (name, "text", True),
        (f" {done}", ink, False),
        (open_part, "faint", False),
        (percent, "text", False),
        (f"  {tail}" if tail else "", "muted", False),
    )


def _beside_bar(words: Sequence[str], room: int) -> str:
    """What stands beside a bar: as much as leaves room for one; the first word, the time left, matters more than the bar."""
    there = [word for word in words if word]
    return fitting(there, max(room - _LEAST_BAR - 2, 0)) or fitting(there[:1], room)


def _bar(share: float, room: int) -> tuple[str, str]:
    return bar(share, min(room, _WIDEST_BAR)) if room >= _LEAST_BAR else ("", "")


def _whole(run: Run, width: int, columns: int) -> Line:
    """All stages together."""
    state = run.state.value
    if state == "finished":
        wall = number_of(run.result or {}, "wall_s")
        return (
            ("  ", "text", False),
            (f"{'all':<{width}}  {duration(wall)}" if wall is not None else "", "muted", False),
        )
    if state == "queued":
        return (("  waits to be started", "muted", False),)
    percent = f" {run.progress * 100:3.0f} %"
    eta = run.eta_s if state in ("running", "paused") else None
    tail = f"  {duration(eta)} left" if eta is not None else ""
    done, open_part = _bar(run.progress, columns - max(width, 3) - 3 - len(percent) - max(len(tail), 2))
    return (
        (f"  {'all':<{width}} ", "muted", False),
        (done, STATES[state][1], False),
        (open_part, "faint", False),
        (percent, "text", False),
        (tail, "text", False),
    )


# --- the seeds of a group ---------------------------------------------------------------------------------------------------------


def _called(runs: Sequence[Run]) -> dict[str, str]:
    """What each run is called beside the others, by its id: its seed, and where that is not enough its id's last word."""
    several = Counter(run.seed for run in runs)
    return {run.id: f"s{run.seed}" + (f" {short_id(run.id)}" if several[run.seed] > 1 else "") for run in runs}


def _seeds(runs: Sequence[Run], most: int, columns: int) -> list[Line]:
    """A line for each run; of more than `most` those that need a look first."""
    called = _called(runs)
    width = max(len(name) for name in called.values())
    shown = sorted(runs, key=lambda run: (run.seed, run.id))
    left_out = 0
    if len(shown) > most:
        known = {state: i for i, state in enumerate(_STATES_FIRST)}
        shown = sorted(shown, key=lambda run: known.get(run.state.value, len(known)))[: most - 1]
        left_out = len(runs) - len(shown)
    lines: list[Line] = []
    for run in shown:
        glyph, ink = STATES[run.state.value]
        name = f"{called[run.id]:<{width}}"
        head: Line = ((f"{glyph} ", ink, True), (f"{name} ", "text", True))
        if run.state.value in ("running", "paused"):
            stage = f"{cut(run.stage, 10):<10}"
            percent = f" {run.progress * 100:3.0f} %"
            left = f"{duration(run.eta_s)} left" if run.eta_s is not None else ""
            room = columns - width - 3 - len(stage) - 1 - len(percent) - 2
            tail = _beside_bar([left, score_text(run)], room)
            done, open_part = _bar(run.progress, room - len(tail))
            lines.append(
                (*head, (f"{stage} ", "muted", False), (done, ink, False), (open_part, "faint", False),
                 (percent, "text", False), (f"  {tail}" if tail else "", "muted", False))
            )  # fmt: skip
            continue
        words = (
            [f"{run.state.value:<8}", run.reason, score_text(run)]
            if run.reason
            else [f"{run.state.value:<8}", score_text(run)]
        )
        text = cut("  ".join(word for word in words if word), columns - width - 3)
        lines.append((*head, (text, ink if run.reason else "muted", False)))
    if left_out:
        counts = Counter(run.state.value for run in runs if run not in shown)
        told = ", ".join(f"{count} {state}" for state, count in counts.most_common())
        lines.append(((cut(f"  … and {told}", columns), "muted", False),))
    return lines


# --- alerts and log ---------------------------------------------------------------------------------------------------------------


def _alerts(group: Group, columns: int) -> list[list[Line]]:
    """Each alert as the lines it takes, the oldest first."""
    called = {} if group.single else _called([run for run, _ in group.members])
    found = []
    for run, view in group.members:
        alerts = view.alerts if view is not None else ()
        if not alerts and run.summary.get("alert"):
            alerts = (("", str(run.summary["alert"])),)
        for stage, message in alerts:
            whose = " ".join(word for word in (called.get(run.id, ""), stage) if word)
            found.append(_hanging("! ", "yellow", f"{whose}: {message}" if whose else message, columns))
    return found


def _newest(alerts: Sequence[list[Line]], rows: int) -> list[Line]:
    """As many of the newest alerts as fit, whole ones, and how many there are before them."""
    if not alerts:
        return []
    shown: list[list[Line]] = []
    for alert in reversed(alerts):
        more = 1 if len(shown) + 1 < len(alerts) else 0
        if sum(map(len, shown)) + len(alert) + more > rows:
            break
        shown.insert(0, alert)
    left_out = len(alerts) - len(shown)
    if not shown:
        return alerts[-1][:rows]
    before: list[Line] = (
        [((f"  {left_out} earlier alert{'s' if left_out > 1 else ''}", "muted", False),)] if left_out else []
    )
    return [*before, *(line for alert in shown for line in alert)]


def _log(group: Group, log: Sequence[str], log_of: Run, rows: int, columns: int) -> list[Line]:
    """The last lines, long ones wrapped, under a head."""
    whose = "log" if group.single else f"log of s{log_of.seed}"
    head: Line = ((f"─ {whose} ", "muted", False), ("─" * max(columns - len(whose) - 3, 0), "faint", False))
    if not log:
        return [head, (("nothing said yet", "muted", False),)]
    shown: list[str] = []
    for line in reversed(log):
        wrapped = wrap(line, max(columns, 8), subsequent_indent="  ") or [""]
        if len(shown) + len(wrapped) > rows - 1:
            return [head, *(((line, "text", False),) for line in shown or wrapped[1 - rows :])]
        shown = [*wrapped, *shown]
    return [head, *(((line, "text", False),) for line in shown)]


def _hanging(head: str, ink: str, text: str, columns: int) -> list[Line]:
    """A text under a glyph, on as many lines as it needs."""
    lines = wrap(text, max(columns - len(head), 8)) or [""]
    return [((head if i == 0 else " " * len(head), ink, True), (line, "text", False)) for i, line in enumerate(lines)]
