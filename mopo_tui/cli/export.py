"""`mopo export`: runs as CSV, JSON, Parquet, TensorBoard's event files, one HTML page, Markdown, or small run folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mopo_tui.cli.compare import AllSeedsOption, RunsArgument
from mopo_tui.cli.options import RunsOption

if TYPE_CHECKING:
    from mopo_tui.manager import Run
    from mopo_tui.manager.sections import Section
    from mopo_tui.manager.series import Floats, RunReader

Format = Literal["csv", "json", "parquet", "tensorboard", "html", "md", "run"]
_FOLDERS = ("tensorboard", "run")  # what is no single file
_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #24292f; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; display: block; overflow-x: auto; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #a3abb3; } th.text, td.text { text-align: left; }
.note { color: #5f6872; margin: .15rem 0; overflow-wrap: anywhere; } .warning { color: #a03d00; }
figure { display: inline-block; margin: .3rem .6rem .3rem 0; vertical-align: top; } svg { max-width: 100%; height: auto; }
"""


def export(
    references: RunsArgument,
    to: Annotated[Format, typer.Option("--format", "-f", help="What to write.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="PATH", help="The file; for tensorboard and run a folder; - for standard output."
        ),
    ],
    all_seeds: AllSeedsOption = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    kilobytes: Annotated[
        int | None,
        typer.Option("--kilobytes", min=1, help="For run: at most so much of metrics and histograms a run; else 160."),
    ] = None,
    policy: Annotated[bool, typer.Option("--policy", help="For run: with the best and the final policy.")] = False,
    store: RunsOption = None,
) -> None:
    """Write what runs have recorded, for other programs or for a reader: a file is written whole or not at all.

    --format run writes finished runs as small run folders, which mopo and the app take like any other: no checkpoints, and of
    long files of rows as many as there is room for.
    """
    import sys

    from mopo_tui.cli import output
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager import export as exports
    from mopo_tui.manager.groups import find_runs

    printed = str(out) == "-"
    if printed and to in ("parquet", *_FOLDERS):
        raise StoreError(f"--format {to} needs a {'folder' if to in _FOLDERS else 'file'}: --out PATH")
    if to != "run" and (kilobytes is not None or policy):
        raise StoreError(f"{'--policy' if policy else '--kilobytes'} counts with --format run only")
    if to not in _FOLDERS and not printed:
        exports.check_target(out, force)
    runs = find_runs(Store.open(store), references, all_seeds=all_seeds)
    if to == "run":
        from engine import record
        from mopo_tui.manager import thinned

        most = thinned.MOST_BYTES if kilobytes is None else 1000 * kilobytes
        folders = thinned.write(runs, out, most_bytes=most, policies=policy, force=force)
        for folder in folders:
            output.narrate(f"wrote {folder}, {record.bytes_of(folder) / 1e3:.0f} kB")
        print(out)
        return
    for run in runs:
        if not run.state.over:
            output.narrate(f"{run.id} is {run.state.value}: what it has recorded so far is written")
    if to == "tensorboard":
        for file in exports.write_tensorboard(runs, out, force):
            output.narrate(f"wrote {file}")
        print(out)
        return
    content: str | bytes
    if to == "parquet":
        content = exports.to_parquet(runs)
    else:
        content = {"csv": exports.to_csv, "json": exports.to_json, "html": page, "md": document}[to](runs)
    if printed:
        assert isinstance(content, str)
        sys.stdout.write(content)
        return
    exports.write_target(out, content)
    output.narrate(f"wrote {len(runs)} run{'s' if len(runs) > 1 else ''}, {out.stat().st_size / 1e6:.2f} MB")
    print(out)


def document(runs: Sequence[Run]) -> str:
    """The comparison's tables and each run's configuration in Markdown."""
    from mopo_tui.manager.sections import markdown

    return markdown(_written(runs))


# --- one page ---------------------------------------------------------------------------------------------------------------------


def page(runs: Sequence[Run]) -> str:
    """One page that needs nothing else: scores, curves, histograms, events, configuration. Whatever comes from a run folder
    stands in it as text."""
    from mopo_tui.cli.curves import inline
    from mopo_tui.manager import compare
    from mopo_tui.manager.export import read

    title = runs[0].name if len(runs) == 1 else f"{len(runs)} runs"
    readers = [read(run) for run in runs]
    written = _written(runs)
    blocks = [_section(section) for section in written[: -len(runs)]]
    blocks.append(f"<h2>Curves</h2>{_figure(inline(compare(runs)), 'scores over training')}")
    blocks += _charts(runs, readers)
    blocks += [_histograms(run, reader) for run, reader in zip(runs, readers, strict=True)]
    blocks += [_section(section) for section in written[-len(runs) :]]
    blocks += [_events(run, reader) for run, reader in zip(runs, readers, strict=True)]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(blocks)
        + "\n</body>\n</html>\n"
    )


def _written(runs: Sequence[Run]) -> list[Section]:
    """The tables of a comparison, and at the end one of each run's configuration and origin."""
    from mopo_tui.manager import compare
    from mopo_tui.manager.comparison_tables import tables

    return [*tables(compare(runs), every=True), *map(_configuration, runs)]


def _configuration(run: Run) -> Section:
    import time

    from engine import record
    from mopo_tui.manager.differences import shown
    from mopo_tui.manager.run import text_of
    from mopo_tui.manager.sections import Section
    from mopo_tui.manager.settings import read_settings

    about = record.read_json(run.folder / record.RUN) or {}
    environment = record.read_json(run.folder / record.ENVIRONMENT) or {}
    command = about.get("command")
    versions, compute = environment.get("versions"), environment.get("compute")
    lines = {
        "state": run.state.value + (f": {run.reason}" if run.reason else ""),
        "created": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(run.created)),
        "command": shown(" ".join(map(str, command))) if isinstance(command, list) else "",
        "commit": text_of(environment, "git_commit"),
        "versions": shown(versions) if isinstance(versions, Mapping) else "",
        "machine": ", ".join(filter(None, (text_of(environment, "cpu"), text_of(environment, "platform")))),
        "compute": shown(compute) if isinstance(compute, Mapping) else "",
    }
    rows = [(shown(key), shown(value)) for key, value in read_settings(run.folder).items()]
    return Section(
        f"{run.id}: configuration",
        lines=[f"{name}: {line}" for name, line in lines.items() if line],
        columns=("key", "value"),
        rows=rows,
        left=frozenset({"key", "value"}),
    )


def _section(section: Section) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"] if section.title else []
    for line in section.lines:
        kind = "note warning" if line.startswith("!") else "note"
        parts.append(f'<p class="{kind}">{escape(line)}</p>')
    if section.rows:
        kinds = [' class="text"' if name in section.left else "" for name in section.columns]

        def row(cells: Iterable[str], tag: str) -> str:
            inner = (f"<{tag}{kind}>{escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
            return f"<tr>{''.join(inner)}</tr>"

        body = "".join(row(cells, "td") for cells in section.rows)
        parts.append(f"<table><thead>{row(section.columns, 'th')}</thead><tbody>{body}</tbody></table>")
    parts += [f'<p class="note">{escape(note)}</p>' for note in section.notes]
    return "\n".join(parts)


def _charts(runs: Sequence[Run], readers: Sequence[RunReader]) -> list[str]:
    """A chart for each metric, all runs in it, by panel; of one metric per member one chart, too."""
    from engine import record
    from mopo_tui.cli.curves import line_chart
    from mopo_tui.manager.state import clean

    families: dict[str, dict[str, list[str]]] = {}  # panel → family → its metrics
    for name in sorted({name for reader in readers for name in reader.names()}):
        known = record.metric(name)
        panel, family = ("other", name) if known is None else (known.panel, known.name)
        families.setdefault(panel, {}).setdefault(family, []).append(name)
    order = list(dict.fromkeys([*(entry.panel for entry in record.METRIC_TABLE), "other"]))
    blocks = []
    for panel in sorted(families, key=order.index):
        charts = []
        for family, names in families[panel].items():
            lines, axis = _lines(runs, readers, names)
            if lines:
                known = record.metric(names[0])
                about = f", {known.unit}" if known is not None and known.unit else ""
                several = ", mean of the members" if len(runs) > 1 and len(names) > 1 else ""
                chart = line_chart(f"{clean(family)}{about}{several}", lines, axis, log=panel == "dynamics")
                charts.append(_figure(chart, family))
        if charts:
            blocks.append(f"<h3>{escape(panel)}</h3>\n" + "\n".join(charts))
    return blocks


def _lines(
    runs: Sequence[Run], readers: Sequence[RunReader], names: Sequence[str]
) -> tuple[list[tuple[str, Floats, Floats]], str]:
    """A line for each run (of several members their mean), or for one run's members: against policy updates where all rows
    have them, else against steps."""
    import numpy as np

    from mopo_tui.manager.series import over_seeds

    every = [[reader.series(name) for name in names if len(reader.series(name))] for reader in readers]
    updates = all(np.isfinite(series.update).all() for found in every for series in found)
    lines = []
    for run, found in zip(runs, every, strict=True):
        curves = [(series.update if updates else series.step, series.value) for series in found]
        if len(runs) == 1 and len(names) > 1:
            lines += [(name.rpartition("/")[2], x, y) for name, (x, y) in zip(names, curves, strict=True)]
        elif curves:
            lines.append((f"{run.name} {run.id[-4:]}", *over_seeds(curves)[:2]))
    return lines, "policy updates" if updates else "gradient steps"


def _histograms(run: Run, reader: RunReader) -> str:
    """The newest histogram of u on model rollouts over that on the data."""
    import numpy as np

    from engine import record
    from mopo_tui.cli.curves import histogram_chart

    titles = (("data", "data"), ("rollout", "model rollouts"))
    counts = [(title, found) for name, title in titles if (found := reader.histogram(name)) is not None]
    if not counts:
        return ""
    edges = np.array(record.histogram_edges())
    held = np.flatnonzero(sum(found[1:-1] for _, found in counts))
    if not len(held):
        return ""
    first, last = held[0], held[-1] + 1
    shown = [(title, found[1:-1][first:last].astype(np.float64)) for title, found in counts]
    chart = histogram_chart(f"{run.name} {run.id[-4:]}: share of u", edges[first : last + 1], shown, "u")
    return _figure(chart, "histogram of u")


def _events(run: Run, reader: RunReader) -> str:
    from mopo_tui.manager.run import text_of
    from mopo_tui.manager.sections import Section

    rows = []
    for event in reader.events:
        step = event.get("step")
        words: tuple[Any, ...] = (
            step if isinstance(step, int) else "",
            text_of(event, "kind"),
            text_of(event, "message"),
        )
        rows.append([str(word) for word in words])
    columns = ("step", "kind", "message")
    return _section(Section(f"{run.id}: events", columns=columns, rows=rows, left=frozenset(columns[1:])))


def _figure(markup: str, label: str) -> str:
    return f'<figure role="img" aria-label="{escape(label)}">{markup}</figure>'
