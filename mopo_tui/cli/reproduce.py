"""`mopo reproduce`: a run once more, and whether it is the same."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from mopo_tui.cli.options import JsonOption, NameOption, RunArgument, RunsOption

if TYPE_CHECKING:
    from engine.config import TrainConfig
    from mopo_tui.manager import Run, Store
    from mopo_tui.manager.reproduce import Check

_POLL_SECONDS = 0.5
_SHOWN = 8  # metrics that are not the same


def reproduce(
    run: RunArgument,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", min=1, help="Only the first policy epochs: a short check."),
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="RUN2", help="Compare with this run; run nothing.")
    ] = None,
    name: NameOption = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a run again from its configuration, seed and data, and compare every metric.

    On the same processor, threads, versions and commit the two are expected to be identical, and exit code 1 says that they
    are not. Elsewhere it is told what differs, and how the difference compares with that between seeds.
    """
    from engine import record
    from mopo_tui.cli import errors, output
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager.reproduce import again, arithmetic, check

    runs = Store.open(store)
    first = _one(runs, run)
    if against is None:
        config = again(first)
        _tell(first, config)
        created = runs.create(config, name=name or f"{first.name[:90]} again", command=["mopo", *sys.argv[1:]])
        # As a later attempt of a run does: the engine takes over what stands there.
        record.write_json(created.folder / record.ENVIRONMENT, {"compute": arithmetic(first)})
        planned = config.policy.epochs + (config.mb2po.stage1_epochs if config.algorithm == "mb2po" else 0)
        short = epochs is not None and epochs < planned
        if epochs is not None and short:
            runs.stop_after(created, epochs * config.policy.updates_per_epoch)
        second = _follow(runs, created, short=short)
    elif epochs is not None or name is not None:
        raise StoreError("--against runs nothing: --epochs and --name have no meaning with it")
    else:
        second = _one(runs, against)
        if first.folder == second.folder:
            raise StoreError(f"{first.id} is compared with itself: name another run")
    found = check(runs, first, second)
    if as_json:
        output.document(found.to_json())
    else:
        _print(found)
    if not found.rows or not (found.identical or found.reasons):
        raise typer.Exit(errors.FAILED)


def _one(store: Store, reference: str) -> Run:
    from mopo_tui.manager import StoreError
    from mopo_tui.manager.groups import find_runs

    found = find_runs(store, [reference])
    if len(found) > 1:
        raise StoreError(f"{reference!r} means {len(found)} runs: name one")
    return found[0]


def _tell(run: Run, config: TrainConfig) -> None:
    """What is run again, and what is already known to be different from then."""
    from importlib.metadata import PackageNotFoundError, version

    from engine import record
    from mopo_tui.cli import output
    from mopo_tui.manager.datasets import dataset_status
    from mopo_tui.manager.run import text_of
    from mopo_tui.manager.state import clean

    about = record.read_json(run.folder / record.RUN) or {}
    environment = record.read_json(run.folder / record.ENVIRONMENT) or {}
    command = about.get("command")
    if isinstance(command, list) and command:
        output.narrate(clean(f"{run.id} was started by: {' '.join(map(str, command))}"))
    commit = text_of(environment, "git_commit")
    threads = config.compute.threads
    output.narrate(
        f"again with its whole configuration, seed {config.seed}, {threads} thread{'s' if threads != 1 else ''}"
        + (f"; commit then: {commit}" if commit else "")
    )
    versions, dataset = environment.get("versions"), environment.get("dataset")
    for library, then in versions.items() if isinstance(versions, dict) else ():
        try:
            now = version(str(library))
        except PackageNotFoundError:
            now = "none"
        if now != then:
            output.narrate(clean(f"{library}: {then} then, {now} now"))
    then = text_of(dataset, "fingerprint") if isinstance(dataset, dict) else ""
    status = dataset_status(config)
    if not status.present:
        output.narrate(f"dataset {status.id} is made ready first")
    elif then and status.fingerprint != then:
        output.narrate(f"dataset {status.id} is another one now: {then[:12]} then, {status.fingerprint[:12]} now")


def _follow(store: Store, run: Run, *, short: bool) -> Run:
    """Launch `run` and wait for its end; Ctrl-C stops it. One that is `short` stops by itself."""
    from mopo_tui.cli import output
    from mopo_tui.cli.follow import LiveView, PlainView
    from mopo_tui.manager.state import RunState

    if place := store.launch(run):
        output.narrate(
            f"{run.id} waits in the queue, {'next' if place == 1 else f'place {place}'}: {store.why_waiting(run)}; "
            f"`mopo resume {run.id[-4:]} --now` in another terminal starts it at once"
        )
    output.narrate(str(run.folder))
    view = LiveView() if sys.stderr.isatty() else PlainView()
    try:
        while not (now := store.run(run.id)).state.over:
            view.show(now)
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        store.stop(run)
        output.narrate(f"asked {run.id} to stop; `mopo reproduce RUN --against {run.id[-4:]}` compares what it has")
        raise
    finally:
        view.end()
    if now.state is not RunState.FINISHED and not (short and now.state is RunState.STOPPED):
        output.narrate(f"{now.id} {now.state.value}: {now.reason}")
    return now


def _print(found: Check) -> None:
    from mopo_tui.cli import output
    from mopo_tui.manager.sections import Section
    from mopo_tui.widgets.section_text import show

    if not found.rows:
        verdict = "nothing to compare: they have no metric in common yet"
    elif found.identical:
        verdict = f"identical: {found.rows} values of {found.metrics} metrics, up to step {found.last_step:.0f}"
    else:
        verdict = f"not identical: {len(found.deviations)} of {found.metrics} metrics differ, up to step {found.last_step:.0f}"
    expected = "expected to be identical" if not found.reasons else "not expected to be identical, since they differ in"
    sections = [Section(f"{found.a} and {found.b}: {expected}", lines=[f"! {line}" for line in found.reasons])]
    rows = [[each.metric, f"{each.step:.0f}", f"{each.a:.9g}", f"{each.b:.9g}"] for each in found.deviations[:_SHOWN]]
    more = len(found.deviations) - len(rows)
    notes = [f"and {more} metrics more; --json has all"] if more else []
    notes += [f"rows in one of them alone: {', '.join(found.missing)}"] if found.missing else []
    columns = ("first difference", "step", found.a[-4:], found.b[-4:])
    sections.append(Section(verdict, columns=columns, rows=rows, left=frozenset(columns[:1]), notes=notes))
    if (spread := found.spread) is not None and not found.identical:
        lines = [
            f"return after {spread.update:.0f} policy updates: {spread.a:.1f} and {spread.b:.1f}, {spread.b - spread.a:+.1f}"
        ]
        if spread.mean is None or spread.std is None:
            lines.append(
                f"other seeds of this setting evaluated there: {spread.seeds}; two or more would say how far seeds spread"
            )
        else:
            lines.append(f"{spread.seeds} other seeds there: {spread.mean:.1f} ± {spread.std:.1f}")
            if spread.std > 0:
                lines.append(
                    f"so the two lie {abs(spread.b - spread.a) / spread.std:.1f} standard deviations of the seeds apart"
                )
        sections.append(Section("against the spread of the seeds", lines=lines))
    show(sections, output.console())
