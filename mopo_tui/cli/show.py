"""`mopo show`: everything about one run."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mopo_tui.cli.options import JsonOption, RunArgument, RunsOption

if TYPE_CHECKING:
    from mopo_tui.manager.details import Details

_INDENT = 13
_FILES = 12  # files told by name, the largest ones


def show(run: RunArgument, store: RunsOption = None, as_json: JsonOption = False) -> None:
    """Tell everything about one run: state and why, command, data, versions, stages, scores, alerts, files."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store
    from mopo_tui.manager.details import read_details

    details = read_details(Store.open(store).find(run))
    if as_json:
        output.document(details.to_json())
        return
    _print(details)


def _print(details: Details) -> None:
    from mopo_tui.cli import grid, output
    from mopo_tui.cli.result import gate_lines, scores_table
    from mopo_tui.cli.runs import GLYPHS
    from mopo_tui.manager.scores import scale_words

    run, colour, width = details.run, grid.coloured(), grid.width()
    glyph, style = GLYPHS[run.state.value]
    print(f"{grid.styled(glyph, style, colour)} {grid.styled(run.name or run.id, 'bold', colour)}")
    for title, text in _lines(details):
        for i, line in enumerate(grid.wrapped(text, None if width is None else max(20, width - _INDENT))):
            print(grid.styled(f"{'' if i else title:<{_INDENT}}", "dim", colour) + line)
    table = scores_table(run, details.environment)
    if table.row_count:
        print()
        output.console().print(table)
    scale = scale_words(details.environment)
    for line in ([scale] if scale else []) + gate_lines(run):
        for part in grid.wrapped(line, width):
            print(part)
    if details.alerts:
        print()
        print(grid.styled("alerts", "bold", colour))
        for alert in details.alerts:
            ago = f"{output.age(alert.t)} ago" if alert.t else ""
            print(f"{ago:<9} {alert.stage:<10} {alert.message}".rstrip())
    print()
    total = sum(file.bytes for file in details.files)
    print(grid.styled(f"files, {_size(total)} in {run.folder}", "bold", colour))
    largest = sorted(details.files, key=lambda file: -file.bytes)[:_FILES]
    for file in sorted(largest, key=lambda file: file.path):
        print(f"{_size(file.bytes):>9}  {file.path}")
    if len(details.files) > _FILES:
        print(f"{'':>9}  and {len(details.files) - _FILES} smaller ones")


def _lines(details: Details) -> Iterator[tuple[str, str]]:
    """What is known, as title and text; nothing of what is not."""
    from mopo_tui.cli import output
    from mopo_tui.manager.run import text_of
    from mopo_tui.manager.scores import evaluated_in
    from mopo_tui.manager.state import clean

    run, environment = details.run, details.environment
    yield "id", run.id
    yield "state", _state(details)
    if run.problem:
        return
    if not run.state.over:
        eta = f", {output.duration(run.eta_s)} left" if run.eta_s is not None else ""
        stage = f", {run.stage} {text_of(run.summary, 'detail')}".rstrip() if run.stage else ""
        yield "progress", f"{100 * run.progress:.0f}%{stage}{eta}"
    what = f"{run.algorithm or run.job} on {run.task}" + (f", preset {run.preset}" if run.preset else "")
    yield "task", f"{what}, seed {run.seed}"
    yield "created", f"{_when(run.created)}" + (f" by {run.owner}" if run.owner else "")
    if details.command:
        yield "command", shlex.join(details.command)
    for title, text in (("group", run.group), ("tags", " ".join(run.tags)), ("note", run.note)):
        if text:
            yield title, text
    if details.setting:
        yield "setting", details.setting
    dataset = _table(environment, "dataset")
    if dataset:
        size, episodes = (_count(dataset.get(key)) for key in ("size", "episodes"))
        parts = [text_of(dataset, "id"), f"{size} transitions", f"{episodes} episodes"]
        yield "data", ", ".join([*parts, f"fingerprint {text_of(dataset, 'fingerprint')[:12]}"])
    elif source := details.config.get("dataset.source"):
        yield "data", clean(str(source)) + ", not opened yet"
    if where := clean(evaluated_in(environment)):
        yield "environment", where
    versions = _table(environment, "versions")
    if versions:
        told = [f"{clean(str(name))} {clean(str(version))}" for name, version in versions.items()]
        yield "versions", ", ".join([f"python {text_of(environment, 'python')}", *told])
    if text_of(environment, "host"):
        yield "machine", _machine(environment)
    if text_of(environment, "git_commit"):
        yield "commit", text_of(environment, "git_commit")
    if details.stages:
        parts = [f"{name} {output.duration(seconds)}" for name, seconds in details.stages.items()]
        yield "stages", ", ".join(parts)


def _state(details: Details) -> str:
    from mopo_tui.cli import output

    run = details.run
    words = run.state.value
    if details.wall_s is not None:
        words += f" after {output.duration(details.wall_s)}"
    if details.ended:
        words += f", {output.age(details.ended)} ago"
    if run.attempt > 1:
        words += f", attempt {run.attempt}"
    reason = run.problem or run.reason
    return f"{words}: {reason}" if reason else words


def _machine(environment: Mapping[str, Any]) -> str:
    from mopo_tui.manager.run import text_of

    compute = _table(environment, "compute")
    parts = [text_of(environment, "host"), text_of(environment, "cpu"), f"{_count(environment.get('cores'))} cores"]
    if compute:
        threads = _count(compute.get("threads"))
        parts += [text_of(compute, "device"), f"{threads} thread" + ("s" if threads != "1" else "")]
        parts += [f"GEMM {text_of(compute, 'gemm')}", "compiled" if compute.get("compiled") is True else "not compiled"]
    return ", ".join(part for part in parts if part)


def _table(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _count(value: Any) -> str:
    """A recorded whole number; a dash for none."""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else "–"


def _when(t: float) -> str:
    import time

    from mopo_tui.cli import output

    try:
        return f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(t))}, {output.age(t)} ago"
    except (OverflowError, OSError, ValueError):  # a time that no calendar has
        return "–"


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
