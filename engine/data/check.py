"""Checking a dataset before anything is learnt from it: what is wrong with the rows, and which environment they look like.

    python -P -m engine.data.check FOLDER [--json]

checks a flat cache. Exit codes: 0 nothing worse than a note, 1 a warning or an error, 2 wrong arguments, 3 the dataset cannot be
read. It needs numpy alone, so it starts in a fraction of a second.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from engine.data.dataset import DatasetError, TransitionDataset
from engine.data.likeness import (
    ANT_STATE,
    ROBOTS,
    SAMPLE_ROWS,
    UNKNOWN,
    Likeness,
    called,
    healthy,
    looks_like,
    reward_gap,
    robot_of,
)
from engine.data.report import taken_evenly
from engine.record import dumps

__all__ = ["Finding", "Likeness", "check", "looks_like", "main"]

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")
NOTHING_WORSE, FINDINGS, UNREADABLE = 0, 1, 3

TIME_LIMIT = 1000  # steps, of every environment known here
FEWEST_ROWS = 320  # a batch of 256 beside the fifth that the ensemble's training holds out
USUAL_ROWS = 50_000  # half of the smallest published set
MIXED_UP_ROWS = range(1_199_000, 1_200_920)  # hopper-medium-expert-v0 has 1,200,919, less what a reader drops
_PIECE = 1 << 14  # rows at a time
_SAME = 1e-4  # relative: s' and the next s are one number, of which a file may hold one rounded
_ROUNDED = 1e-5  # a number in float32 beside a bound
_HIGHEST = 5.0  # metres above or below its start: more than any of the robots jumps or falls
_CLIPPED = 10.0  # Hopper's observed velocities end here


@dataclass(frozen=True)
class Finding:
    """Something about a dataset that its user should know.

    Attributes:
        level: "error": what is learnt from it or reported of it would be wrong; "warning": look at it first; "note": good to know.
        code: a short name that stays the same.
        message: one line: what, and what to do.
        rows: how many rows it concerns.
        first_row: the first of them; None where it concerns the whole.
    """

    level: Level
    code: str
    message: str
    rows: int
    first_row: int | None


# What single rows can have wrong: code -> level, message. {rows} is how many there are.
ROW_FINDINGS: dict[str, tuple[Level, str]] = {
    "not-finite": ("error", "{rows} with NaN or infinite values: drop them, or find what wrote them"),
    "action-range": (
        "error",
        "{rows} with actions outside [-1, 1], the largest {worst:.4g}, which no policy here can take: "
        "scale all actions, or drop these rows",
    ),
    "terminal-values": ("error", "{rows} with a terminal flag that is neither 0 nor 1: mend the source's terminals"),
    "terminal-inside": ("error", "{rows} terminal inside an episode, which must end there: mend the episode ends"),
    "broken-episode": (
        "error",
        "inside an episode, s' of {rows} is not the next row's s: episode ends are missing, or rows were dropped or "
        "shuffled; mend them, since returns and lengths are wrong",
    ),
    "hidden-reset": (
        "error",
        "s' of {rows} is the start of another episode, a jump that a model would learn: "
        "drop these rows and end the episode before them",
    ),
    "timeouts-as-terminals": (
        "error",
        "every episode of {limit:,} steps ends in a terminal ({rows}): time-outs were stored as terminals, and a critic "
        "would learn that nothing follows; set these to 0",
    ),
    "height": (
        "error",
        "s' of {rows} is more than {highest:g} m from the height at which {robot} begins, where it cannot come: "
        "the values are broken, or normalised; drop these rows or mend them",
    ),
    "unhealthy": (
        "error",
        "{rows} not terminal although {robot} ends its episode there (it goes on with {rule}): "
        "mark them terminal, or use data of the standard environment",
    ),
    "healthy-terminal": (
        "error",
        "{rows} terminal although {robot} goes on there (with {rule}), and a critic would learn that nothing follows: "
        "set those that are time-outs or cuts to 0",
    ),
    "never-terminal": ("error", "{rows} terminal, though no state of {robot} ends its episode: set all terminals to 0"),
    "split-episode": (
        "warning",
        "s' of {rows} that end an episode is the next row's s: join the two, or drop these rows if their s' was taken "
        "from the next episode",
    ),
    "duplicate-rows": ("warning", "{rows} the same as the next: something was written twice; drop the copies"),
}


def check(dataset: TransitionDataset, family: str | None = None, source: str | None = None) -> list[Finding]:
    """What is wrong with a dataset, the worst first; a million rows of 64 columns take about half a second.

    Args:
        family: the robot ("Hopper", "Walker2d", "HalfCheetah", "Ant") whose rules hold. None: that of the manifest's environment,
            and where it names none, the one that the rows look like.
        source: where the data comes from, a published name or file name. None: what the manifest says.
    """
    if not len(dataset):
        return [Finding("error", "few-rows", "there are no rows: choose another source", 0, None)]
    ends = dataset.episode_ends
    if not len(ends) or ends[-1] != len(dataset) or (np.diff(ends, prepend=0) <= 0).any():
        return [Finding("error", "episode-ends", "the episode ends do not divide the rows: build it again", 0, None)]
    like = looks_like(dataset)
    declared = dataset.manifest.get("environment")
    if not family and declared:
        family = robot_of(declared)
    elif not family and like.name != UNKNOWN:
        family = like.name
    findings = list(_about_environment(dataset, family, declared, like))
    robot = family if family in ROBOTS and like.name == family else None
    scan = _scan(dataset, robot)
    findings += _about_rows(dataset, scan, robot)
    findings += _about_columns(dataset, scan, robot)
    findings += _about_lengths(dataset)
    if robot:
        findings += _about_rewards(dataset, robot, declared, like)
    findings += _about_source(dataset, family, source)
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


@dataclass
class _Scan:
    """What one pass over the rows finds: how many rows each code of ROW_FINDINGS holds for, and the first of them."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    worst_action: float = 0.0
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ROW_FINDINGS, 0))
    first: dict[str, int] = field(default_factory=dict)

    def add(self, code: str, holds: NDArray[np.bool_], start: int) -> None:
        count = int(np.count_nonzero(holds))
        if count:
            self.first.setdefault(code, start + int(holds.argmax()))
            self.rows[code] += count


@dataclass(frozen=True)
class _Piece:
    """Rows of one pass, from row `start` on: their parts, and masks over them.

    Attributes:
        end: the last rows of episodes; limit: of those that have as many steps as the time limit.
        following: each row's next one; the last piece has one fewer of them.
    """

    start: int
    rows: NDArray[np.float32]
    s: NDArray[np.float32]
    a: NDArray[np.float32]
    s_next: NDArray[np.float32]
    finite: NDArray[np.bool_]
    terminal: NDArray[np.bool_]
    end: NDArray[np.bool_]
    limit: NDArray[np.bool_]
    following: NDArray[np.float32]


def _limit(dataset: TransitionDataset) -> int:
    return int(dataset.manifest.get("max_episode_steps") or TIME_LIMIT)


def _pieces(dataset: TransitionDataset) -> Iterator[_Piece]:
    """The rows a piece at a time: the arrays of a pass stay in the cache, and a mapped file is never in memory whole."""
    obs, act, count = dataset.observation_dim, dataset.action_dim, len(dataset)
    end, limit = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
    end[dataset.episode_ends - 1] = True
    limit[dataset.episode_ends[dataset.episode_lengths == _limit(dataset)] - 1] = True
    for start in range(0, count, _PIECE):
        rows = np.asarray(dataset.rows[start : start + _PIECE])
        until = start + len(rows)
        yield _Piece(
            start,
            rows,
            s=rows[:, :obs],
            a=rows[:, obs : obs + act],
            s_next=rows[:, obs + act + 1 : -1],
            finite=np.asarray(np.isfinite(rows).all(axis=1)),
            terminal=rows[:, -1] > 0,
            end=end[start:until],
            limit=limit[start:until],
            following=np.asarray(dataset.rows[start + 1 : until + 1]),
        )


def _scan(dataset: TransitionDataset, robot: str | None) -> _Scan:
    """One pass over the rows."""
    full = dataset.episode_ends[dataset.episode_lengths == _limit(dataset)] - 1
    # One terminal at the limit can be chance where it is not known which states are terminal; every one is not.
    timeouts_end = len(full) > (0 if robot else 1) and bool((dataset.terminals[full] > 0).all())
    scan = _Scan(np.asarray(dataset.rows[0]), np.asarray(dataset.rows[0]))
    # Rows that are not finite are counted, and left out where it matters.
    with np.errstate(invalid="ignore", over="ignore"):
        for piece in _pieces(dataset):
            _values(scan, piece)
            timeout = piece.limit & piece.terminal & timeouts_end
            reset = np.zeros_like(timeout)
            if robot:
                timeout, reset = _states(scan, piece, robot, timeout, dataset.terminal_next_observations)
            scan.add("timeouts-as-terminals", timeout, piece.start)
            _joints(scan, piece, reset)
    return scan


def _values(scan: _Scan, piece: _Piece) -> None:
    rows, d = piece.rows, piece.rows[:, -1]
    scan.low, scan.high = np.minimum(scan.low, rows.min(axis=0)), np.maximum(scan.high, rows.max(axis=0))
    scan.add("not-finite", ~piece.finite, piece.start)
    size = np.abs(piece.a).max(axis=1)
    scan.worst_action = max(scan.worst_action, float(size[piece.finite].max(initial=0)))
    scan.add("action-range", piece.finite & (size > 1 + _ROUNDED), piece.start)
    scan.add("terminal-values", piece.finite & (d != 0) & (d != 1), piece.start)
    scan.add("terminal-inside", piece.terminal & ~piece.end, piece.start)


def _states(
    scan: _Scan, piece: _Piece, robot: str, timeout: NDArray[np.bool_], known_end: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Hold s' against the robot's rules; returns which of `timeout` are, and where s' is another episode's start.

    Args:
        timeout: terminal rows at the time limit that may be time-outs.
        known_end: False where s' of terminal rows is not known.
    """
    start, s_next = piece.start, piece.s_next
    reset = piece.finite & _at_start(robot, s_next) & ~_at_start(robot, piece.s)
    scan.add("hidden-reset", reset, start)
    scan.add("height", piece.finite & (np.abs(s_next[:, 0] - ROBOTS[robot].start[0]) > _HIGHEST), start)
    scan.add("unhealthy", piece.finite & ~piece.terminal & ~piece.limit & ~healthy(robot, s_next, _ROUNDED), start)
    if known_end or not ROBOTS[robot].healthy:
        goes_on = healthy(robot, s_next, -_ROUNDED)
        if robot == "Hopper":  # its rule bounds velocities at ±100, which a clipped one does not tell
            goes_on &= np.abs(s_next[:, len(ROBOTS[robot].start) :]).max(axis=1) < _CLIPPED
        timeout = timeout & goes_on
        code = "healthy-terminal" if ROBOTS[robot].healthy else "never-terminal"
        scan.add(code, piece.finite & piece.terminal & goes_on & ~timeout & ~reset, start)
    return timeout, reset


def _joints(scan: _Scan, piece: _Piece, reset: NDArray[np.bool_]) -> None:
    """Hold each row against the next one."""
    n = len(piece.following)
    s_following = piece.following[:, : piece.s.shape[1]]
    same = (np.abs(piece.s_next[:n] - s_following) <= _SAME * (1 + np.abs(s_following))).all(axis=1)
    both, end = piece.finite[:n] & np.isfinite(s_following).all(axis=1), piece.end[:n]
    scan.add("broken-episode", both & ~same & ~end & ~piece.terminal[:n], piece.start)
    scan.add("split-episode", both & same & end & ~reset[:n], piece.start)
    alike = piece.rows[:n, 0] == piece.following[:, 0]  # rules out nearly all, which spares comparing them whole
    alike[alike] = (piece.rows[:n][alike] == piece.following[alike]).all(axis=1)
    scan.add("duplicate-rows", alike, piece.start)


def _at_start(name: str, observations: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which states an episode could have started in; no step of 600,000 recorded ones led into such a state by itself."""
    robot = ROBOTS[name]
    column = len(robot.start)
    positions, velocities = (noise + _ROUNDED for noise in robot.start_noise)
    at: NDArray[np.bool_] = np.abs(observations[:, column]) <= velocities  # rules out most, which spares them the rest
    state = observations[at][:, :ANT_STATE]
    near = np.abs(state[:, :column] - np.array(robot.start, dtype=np.float32)) <= positions
    at[at] = near.all(axis=1) & (np.abs(state[:, column:]) <= velocities).all(axis=1)
    return at


def _counted(count: int, what: str = "row") -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _about_rows(dataset: TransitionDataset, scan: _Scan, robot: str | None) -> Iterator[Finding]:
    rule = ROBOTS[robot].healthy if robot else ""
    about = {"worst": scan.worst_action, "limit": _limit(dataset), "robot": robot, "rule": rule, "highest": _HIGHEST}
    for code, (level, message) in ROW_FINDINGS.items():
        count = scan.rows[code]
        if count:
            yield Finding(level, code, message.format(rows=_counted(count), **about), count, scan.first[code])


def _about_environment(
    dataset: TransitionDataset, family: str | None, declared: str | None, like: Likeness
) -> Iterator[Finding]:
    count = len(dataset)
    if family not in ROBOTS:
        which = (
            f"{family or declared or 'the environment'} is not known here" if family or declared else like.reasons[0]
        )
        message = f"{which}: heights, terminals and rewards are not checked"
        yield Finding("note", "unknown-environment", message, count, None)
    elif not ROBOTS[family].fits(dataset):
        message = (
            f"{family} has {' or '.join(map(str, ROBOTS[family].observation_dims))} observations and "
            f"{ROBOTS[family].action_dim} actions, the data {dataset.observation_dim} and {dataset.action_dim}: "
            "it is another environment's; choose a task that fits"
        )
        yield Finding("error", "dimensions", message, count, None)
    elif like.name == UNKNOWN:
        message = (
            f"the rows do not look like {family}: {like.reasons[0]}; observations that were normalised or reordered "
            "must be restored"
        )
        yield Finding("error", "environment", message, count, None)
    elif like.name != family:
        message = f"the rows look like {like.name}, not like {family}: {like.reasons[1]}; choose a task that fits"
        yield Finding("error", "environment", message, count, None)


def _about_columns(dataset: TransitionDataset, scan: _Scan, robot: str | None) -> Iterator[Finding]:
    obs, act, count = dataset.observation_dim, dataset.action_dim, len(dataset)
    constant = np.flatnonzero(scan.low == scan.high)
    for kind, first, last in (("s", 0, obs), ("a", obs, obs + act), ("r", obs + act, obs + act + 1)):
        columns = [int(c) - first for c in constant if first <= c < last]
        # Contact forces of parts that touch nothing are 0 throughout, and all of them in older versions.
        usual = robot == "Ant" and kind == "s" and all(c >= ANT_STATE for c in columns)
        if columns and count > 1:
            named = "r" if kind == "r" else f"{kind}[{', '.join(map(str, columns[:8]))}{', …' if columns[8:] else ''}]"
            message = f"{named} never changes: " + (
                "contact forces that are always 0; nothing to do"
                if usual
                else "nothing can be learnt from it; see that the source has it right"
            )
            yield Finding("note" if usual else "warning", "constant-column", message, count, 0)


def _about_lengths(dataset: TransitionDataset) -> Iterator[Finding]:
    count, limit, lengths = len(dataset), _limit(dataset), dataset.episode_lengths
    if count < FEWEST_ROWS:
        message = f"{_counted(count)}: training needs {FEWEST_ROWS} at the very least; use more data"
        yield Finding("error", "few-rows", message, count, None)
    elif count < USUAL_ROWS:
        message = f"{count:,} rows are few: published sets have 100,000 to 2,000,000"
        yield Finding("note", "few-rows", message, count, None)
    long = lengths > limit
    if long.any() and (dataset.manifest.get("max_episode_steps") or robot_of(dataset.manifest.get("environment"))):
        message = (
            f"{_counted(int(long.sum()), 'episode')} of more than {limit:,} steps, the time limit (the longest has "
            f"{lengths.max():,}): episode ends are missing; mend them"
        )
        yield Finding("error", "long-episode", message, int(lengths[long].sum()), int(dataset.episode_starts[long][0]))


def _about_rewards(dataset: TransitionDataset, robot: str, declared: str | None, like: Likeness) -> Iterator[Finding]:
    band = ROBOTS[robot].band
    if robot_of(declared) == robot and declared is not None:
        options = dataset.manifest.get("environment_options") or {}
        gap = reward_gap(robot, declared, options, taken_evenly(dataset, SAMPLE_ROWS), dataset.observation_dim)
        if gap > band:
            others = f"; they fit {called(like.environment, like.options)}" if like.environment else ""
            message = (
                f"the rewards are not {declared}'s, in which policies are evaluated: off by {gap:.3g} in the median{others}; "
                "use the data with a task of its own reward"
            )
            yield Finding("error", "rewards", message, len(dataset), None)
        elif like.environment and like.environment.endswith("-v4") and declared.endswith("-v5"):
            message = (
                f"the rows were made in v4 or older, policies are evaluated in {declared}: {like.environment} is nearer"
            )
            yield Finding("note", "version", message, len(dataset), None)
    elif like.environment is None and like.reward_gap is not None:
        message = (
            f"the rewards fit no environment of {robot} known here (off by {like.reward_gap:.3g} in the median): a policy learns "
            "them; make sure that it is evaluated by them, too"
        )
        yield Finding("note" if declared else "warning", "rewards", message, len(dataset), None)


def _about_source(dataset: TransitionDataset, family: str | None, source: str | None) -> Iterator[Finding]:
    stored = dataset.manifest.get("source")
    name = source or (stored.get("name") if isinstance(stored, dict) else stored) or ""
    name = Path(str(name).removeprefix("d4rl:")).name.removesuffix(".hdf5").replace("_", "-").lower()
    ours = dataset.manifest.get("origin") in ("collected", "training", "minari")
    mixed_up = name in ("hopper-medium-expert", "hopper-medium-expert-v0") or (
        family == "Hopper" and len(dataset) in MIXED_UP_ROWS
    )
    if mixed_up and not ours:
        message = (
            "this is D4RL's hopper-medium-expert-v0, which holds expert and replay data, no medium data: "
            "use hopper-medium-expert-v2"
        )
        yield Finding("warning", "known-fault", message, len(dataset), None)
    if re.fullmatch(r"(halfcheetah|hopper|walker2d|ant)-[a-z-]+-v1", name) and not ours:
        message = f"D4RL withdrew its v1 data: use {name.removesuffix('-v1')}-v2"
        yield Finding("warning", "known-fault", message, len(dataset), None)


# --- the command ------------------------------------------------------------------------------------------------------------------


def main(argv: list[str]) -> int:
    """Check the flat cache of the arguments and print the findings; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m engine.data.check", description="Check a dataset's flat cache.")
    parser.add_argument("folder", type=Path, help="the folder with dataset.json")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    arguments = parser.parse_args(argv)
    try:
        dataset = TransitionDataset.open(arguments.folder)
        dataset.verify()
    except DatasetError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    findings, like = check(dataset), looks_like(dataset)
    if arguments.json:
        about = {key: dataset.manifest.get(key) for key in ("id", "size", "episodes", "fingerprint", "environment")}
        found = [dataclasses.asdict(finding) for finding in findings]
        print(dumps({**about, "looks_like": dataclasses.asdict(like), "findings": found}, indent=1))
    else:
        print("\n".join(_lines(dataset, findings, like)))
    return NOTHING_WORSE if all(finding.level == "note" for finding in findings) else FINDINGS


def _lines(dataset: TransitionDataset, findings: list[Finding], like: Likeness) -> Iterator[str]:
    yield f"{dataset.id}: {_counted(len(dataset))}, {_counted(len(dataset.episode_ends), 'episode')}, fingerprint verified"
    named = called(like.environment, like.options) if like.environment else like.name
    yield f"looks like: {named} ({like.confidence})"
    yield from (f"  {reason}" for reason in like.reasons)
    for finding in findings:
        where = "" if finding.first_row is None else f" (first row {finding.first_row:,})"
        yield f"{finding.level}: {finding.message}{where} [{finding.code}]"
    yield ", ".join(_counted(sum(f.level == level for f in findings), level) for level in LEVELS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
