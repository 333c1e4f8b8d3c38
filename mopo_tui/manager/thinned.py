"""Finished runs as small folders, to be kept with a project or sent to somebody: what lists, panels and comparisons show of them.

Dropped are checkpoints (but the policies, where they are asked for), requests, whatever is about the process, who owned the run and
where its data lay, and the name and system of its host (processor and versions stay); metrics.jsonl and histograms.jsonl lose rows
where they are too long. No number that stays is another one than before.
"""

from __future__ import annotations

import bisect
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from engine import record
from mopo_tui.manager.errors import StoreError
from mopo_tui.manager.run import Run
from mopo_tui.manager.state import RunState

MOST_BYTES = 160_000  # of metrics and histograms of one run, unless somebody says otherwise
POLICIES = ("best.safetensors", "final.safetensors")
_OF_A_PROCESS = (record.PROCESS, record.EXIT, record.HEARTBEAT)
_ROWS = (record.METRICS, record.HISTOGRAMS)
_OF_ONE_PLACE = {record.RUN: ("owner", "paths"), record.ENVIRONMENT: ("host", "platform")}
_ALL = "all of them"  # the kind of rows that no room is saved with


def write(runs: Sequence[Run], folder: Path, *, most_bytes: int, policies: bool, force: bool) -> list[Path]:
    """A folder of its id under `folder` for each run, whole or not at all.

    Args:
        most_bytes: of each run's metrics and histograms together; scores and the ends of stages stay whatever they take.
        policies: whether the best and the final policy come along.
        force: whether folders that are there already are replaced.

    Returns:
        the new run folders.

    Raises:
        StoreError: a run is not finished, its folder is there already, or something cannot be read or written.
    """
    for run in runs:
        if run.problem or run.state is not RunState.FINISHED:
            raise StoreError(f"{run.id} is {run.state.value}: only finished runs are written as run folders")
        target = folder / run.id
        if os.path.lexists(target) and (not force or target.resolve() == run.folder.resolve()):
            raise StoreError(f"{target} is there already" + ("" if force else "; --force replaces it"))
    return [_write(run, folder / run.id, most_bytes, policies) for run in runs]


def _write(run: Run, target: Path, most_bytes: int, policies: bool) -> Path:
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for file in sorted(run.folder.iterdir()):
            plain = file.is_file() and not file.is_symlink() and not file.name.startswith(".")
            if plain and file.name not in (*_OF_A_PROCESS, *_ROWS):
                shutil.copyfile(file, unfinished / file.name)
        for name, dropped in _OF_ONE_PLACE.items():
            if about := record.read_json(run.folder / name):
                record.write_json(unfinished / name, {key: value for key, value in about.items() if key not in dropped})
        for name, text in _thinned({name: _lines(run.folder / name) for name in _ROWS}, most_bytes).items():
            (unfinished / name).write_bytes(text)
        if policies:
            (unfinished / record.CHECKPOINTS).mkdir()
            for name in POLICIES:
                if (run.folder / record.CHECKPOINTS / name).is_file():
                    shutil.copyfile(run.folder / record.CHECKPOINTS / name, unfinished / record.CHECKPOINTS / name)
        if target.exists():
            shutil.rmtree(target)
        os.rename(unfinished, target)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise StoreError(f"{error.filename or target}: {error.strerror}") from None
    return target


def _lines(path: Path) -> list[bytes]:
    """The whole lines of a file of rows; none where it is missing."""
    try:
        return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    except FileNotFoundError:
        return []


def _thinned(files: Mapping[str, Sequence[bytes]], most_bytes: int) -> dict[str, bytes]:
    """The rows of each file that stay: as many of every kind, evenly spaced, as there is room for."""
    kinds = {name: _kinds(lines) for name, lines in files.items()}

    def kept(count: int) -> dict[str, bytes]:
        found = {}
        for name, lines in files.items():
            rows = {i for kind, at in kinds[name].items() for i in (at if kind == _ALL else _spread(at, count))}
            found[name] = b"".join(lines[i] for i in sorted(rows))
        return found

    longest = max((len(at) for found in kinds.values() for at in found.values()), default=0)
    counts = range(2, max(longest, 2) + 1)  # two of a kind, its first and its last, stay in any case
    fitting = bisect.bisect_right(counts, most_bytes, key=lambda count: sum(map(len, kept(count).values())))
    return kept(counts[max(fitting - 1, 0)])


def _kinds(lines: Sequence[bytes]) -> dict[str, list[int]]:
    """The lines that measure the same, by stage and names. Rows with scores are of a kind that stays whole."""
    kinds: dict[str, list[int]] = defaultdict(list)
    for i, line in enumerate(lines):
        try:
            row = json.loads(line)
            names = sorted(row.get("m") or row.get("counts") or ())
        except (ValueError, AttributeError, TypeError):
            continue  # no reader takes it for a row
        scored = any(str(name).startswith("eval/") for name in names)
        kinds[_ALL if scored else f"{row.get('stage')} {names}"].append(i)
    return kinds


def _spread(at: Sequence[int], count: int) -> list[int]:
    """`count` of them, evenly spaced, with the first and the last."""
    if len(at) <= count:
        return list(at)
    step = (len(at) - 1) / (count - 1)
    return [at[round(i * step)] for i in range(count)]
