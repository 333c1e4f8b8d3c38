"""`mopo stop`, `pause`, `resume`, `kill`, `restart`, `wait` and `queue`: what a person does with runs that are there."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from mopo_tui.cli.completion import complete_runs, complete_state
from mopo_tui.cli.options import BackgroundOption, JsonOption, RunArgument, RunsOption
from mopo_tui.cli.run import BellOption, NowOption, OnFinishOption

if TYPE_CHECKING:
    from pathlib import Path

    from mopo_tui.manager import Run, Store

RunArguments = Annotated[
    list[str] | None, typer.Argument(metavar="RUN...", help="Runs, or groups of runs.", autocompletion=complete_runs)
]
StateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="STATE", help="Only runs in that state; repeatable.", autocompletion=complete_state
    ),
]
AllOption = Annotated[bool, typer.Option("--all", help="All runs of the store that this can be done with.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
queue_app = typer.Typer(invoke_without_command=True, help="Show and order the runs that wait for a slot of this host.")


def stop(
    references: RunArguments = None, state: StateOption = None, every: AllOption = False, store: RunsOption = None
) -> None:
    """Ask runs to stop; they end within seconds and keep what they have. One that waits leaves the queue."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store

    runs = Store.open(store)
    for run in _chosen(runs, references, state, every, "stop", ("queued", "running", "paused")):
        runs.stop(run)
        output.narrate(f"took {run.id} out of the queue" if run.state == "queued" else f"asked {run.id} to stop")


def pause(
    references: RunArguments = None, state: StateOption = None, every: AllOption = False, store: RunsOption = None
) -> None:
    """Let runs pause between two gradient steps. They keep their memory and their slots; `mopo resume` lets them go on."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store

    runs = Store.open(store)
    for run in _chosen(runs, references, state, every, "pause", ("running",)):
        runs.pause(run)
        output.narrate(f"asked {run.id} to pause")


def resume(
    references: RunArguments = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="Go on with a finished run, to so many policy epochs in all.")
    ] = None,
    state: StateOption = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    background: BackgroundOption = False,
    now: NowOption = False,
    on_finish: OnFinishOption = None,
    bell: BellOption = False,
) -> None:
    """Go on with runs that are paused, or were stopped, failed or lost: from their last checkpoint, as if never interrupted."""
    from mopo_tui.cli import output
    from mopo_tui.cli.run import launch, launch_all
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager.new_run import finish_command

    finish = finish_command(on_finish)
    runs = Store.open(store)
    if epochs is not None:
        chosen = _named(runs, references or ())
        if len(chosen) != 1:
            raise StoreError("--epochs continues one run")
        runs.extend(chosen[0], epochs)
    else:
        can = ("paused", "stopped", "failed", "lost", "queued")
        try:
            chosen = _chosen(runs, references, state, False, "resume", can)
        except _NothingFits as error:
            raise StoreError(f"{error.run.id} is {error.run.state.value} and cannot be started") from None
    for run in chosen:
        if run.state == "paused":
            runs.unpause(run)
            output.narrate(f"{run.id} goes on")
    ended = [run for run in chosen if run.state != "paused"]
    if len(ended) == 1:
        launch(runs, ended[0], as_json=as_json, background=background, now=now, on_finish=finish, bell=bell)
    elif ended:
        launch_all(runs, ended, as_json=as_json, background=background, now=now, on_finish=finish, bell=bell)


def kill(
    references: RunArguments = None, state: StateOption = None, yes: YesOption = False, store: RunsOption = None
) -> None:
    """End runs now: SIGTERM, and SIGKILL for what is left after three seconds. `mopo resume` goes on from the last checkpoint."""
    from mopo_tui.cli import errors, output
    from mopo_tui.manager import Store, StoreError

    runs = Store.open(store)
    chosen = _chosen(runs, references, state, False, "kill", ("queued", "running", "paused"))
    for run in chosen:
        output.narrate(f"{run.id}  {run.name}  {run.state.value}")
    what = f"Kill {chosen[0].name or chosen[0].id}?" if len(chosen) == 1 else f"Kill these {len(chosen)} runs?"
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise StoreError("kill asks first, and there is no terminal to answer on: say --yes")
        if not typer.confirm(what, default=False, err=True):
            output.narrate("nothing killed")
            return
    refused = False
    for run in chosen:
        try:
            runs.abort(run)
        except StoreError as error:
            refused = True
            output.narrate(f"mopo: {error}")
        else:
            output.narrate(f"killed {run.id}" if run.state != "queued" else f"took {run.id} out of the queue")
    if refused:
        raise typer.Exit(errors.USAGE)


def restart(
    references: RunArguments = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    background: BackgroundOption = False,
    now: NowOption = False,
    on_finish: OnFinishOption = None,
    bell: BellOption = False,
) -> None:
    """Do runs again from the beginning: new runs with new ids and the same configuration; the old ones stay as they are."""
    from mopo_tui.cli import output
    from mopo_tui.cli.run import launch, launch_all
    from mopo_tui.manager import Store
    from mopo_tui.manager.new_run import finish_command

    finish = finish_command(on_finish)
    runs = Store.open(store)
    old = _chosen(runs, references, None, False, "restart", ("finished", "stopped", "failed", "lost"))
    made = [runs.restart(run, ["mopo", *sys.argv[1:]]) for run in old]
    for before, after in zip(old, made, strict=True):
        output.narrate(f"{before.id} again as {after.id}")
    if len(made) == 1:
        launch(runs, made[0], as_json=as_json, background=background, now=now, on_finish=finish, bell=bell)
    else:
        launch_all(runs, made, as_json=as_json, background=background, now=now, on_finish=finish, bell=bell)


def wait(
    references: RunArguments = None,
    state: StateOption = None,
    every: AllOption = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", metavar="SECONDS", min=0, help="Wait no longer than that.")
    ] = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
    bell: BellOption = False,
) -> None:
    """Wait until runs have ended, or all that have not yet, telling each change. Exit code 0 if all of them finished, else 1."""
    from mopo_tui.cli import errors, follow, output
    from mopo_tui.manager import RunState, Store

    runs = Store.open(store)
    every = every or not (references or state)
    chosen = _chosen(runs, references, state, every, "wait for", ())
    if not chosen:
        output.narrate("there is nothing to wait for")
    until = math.inf if timeout is None else time.monotonic() + timeout
    try:
        ended = follow.wait_for_all(runs, chosen, until=until)
    except KeyboardInterrupt:
        output.narrate("no longer waited for; the runs go on")
        raise
    left = [run for run in ended if not run.state.over]
    if left:
        output.narrate(
            f"after {timeout:g} s {len(left)} of {len(ended)} runs go on: {', '.join(run.id for run in left[:5])}"
        )
    if as_json:
        output.document([run.to_json() for run in ended])
    finished = sum(run.state is RunState.FINISHED for run in ended)
    if bell:
        follow.ring(f"{finished} of {len(ended)} runs finished")
    raise typer.Exit(errors.OK if finished == len(ended) else errors.FAILED)


class _NothingFits(ValueError):
    """No chosen run is in a state for what was asked; `run` is the first of them."""

    def __init__(self, run: Run) -> None:
        super().__init__(run.id)
        self.run = run


def _chosen(
    store: Store,
    references: Sequence[str] | None,
    states: Sequence[str] | None,
    every: bool,
    what: str,
    fits: Sequence[str],
) -> list[Run]:
    """The runs that a person means and with which `what` can be done; the others are named on stderr.

    Args:
        fits: states in which it can be done; none: in any.

    Raises:
        StoreError: no run is meant, a state that is none, or a run of another store.
        RunNotFound: no run goes by a reference.
        _NothingFits: it can be done with none of those that are named; for "resume", which says it in its own words.
    """
    from mopo_tui.cli import output
    from mopo_tui.manager import RunState, StoreError

    known = [state.value for state in RunState]
    for state in states or ():
        if state not in known:
            raise StoreError(f"--state {state}: there are {', '.join(known)}")
    if references:
        runs = _named(store, references)
    elif states or every:
        runs = [run for run in store.runs() if not run.problem and store.owns(run)]
        if every and not states:
            runs = [run for run in runs if not run.state.over]
        if fits:
            runs = [run for run in runs if run.state.value in fits]
    else:
        more = ", or --all" if what not in ("resume", "kill", "restart") else ""
        raise StoreError(
            f"{what} which runs? Name runs or groups{', or give --state' if what != 'restart' else ''}{more}"
        )
    if states:
        runs = [run for run in runs if run.state.value in states]
    if not fits:
        return runs
    if not runs:
        raise StoreError(f"no run in {store.root} is {' or '.join(states or fits)}")
    chosen = [run for run in runs if run.state.value in fits]
    if not chosen:
        if what == "resume":
            raise _NothingFits(runs[0])
        nothing = "there is nothing to stop" if what == "stop" else f"there is nothing to {what}"
        raise StoreError("; ".join(f"{run.id} is {run.state.value}" for run in runs[:3]) + f": {nothing}")
    for run in runs:
        if run not in chosen:
            output.narrate(f"left alone: {run.id} is {run.state.value}")
    return chosen


def _named(store: Store, references: Sequence[str]) -> list[Run]:
    """The runs of this store that go by these references, each once. A name may hold a slash; a path means nothing here."""
    from mopo_tui.manager import StoreError
    from mopo_tui.manager.groups import find_runs

    found: dict[str, Run] = {}
    for reference in references:
        for run in find_runs(store, [reference], paths=False):
            if not store.owns(run):
                raise StoreError(f"{run.id} came with this store and is only there to be looked at")
            found.setdefault(run.id, run)
    return list(found.values())


# --- the queue --------------------------------------------------------------------------------------------------------------------


@queue_app.callback()
def show(context: typer.Context, store: RunsOption = None, as_json: JsonOption = False) -> None:
    """List the runs that hold a slot and those that wait, in the order in which they start."""
    if context.invoked_subcommand is not None:
        context.obj = {"store": store}  # `mopo queue --runs DIR rm` means `mopo queue rm --runs DIR`
        return
    from mopo_tui.cli import grid, output
    from mopo_tui.cli.runs import GLYPHS
    from mopo_tui.manager import RunState, Store
    from mopo_tui.manager.state import clean

    runs = Store.open(store)
    queue = runs.queue
    waiting, used, slots = queue.waiting(), queue.used(), queue.slots()
    at_work = [job for job in queue.claimed() if job.run_id not in {waits.run_id for waits in waiting}]
    rows, cells = [], []
    for position, job in [*((0, job) for job in at_work), *enumerate(waiting, start=1)]:
        run = runs.named(job.run_id)
        state = (run.state if run is not None else RunState.UNREADABLE).value
        glyph, style = GLYPHS[state]
        state = "starting" if not position and state == "queued" else state
        name, host = run.name if run is not None else "", job.claimant["host"] if job.claimant else ""
        rows.append(
            {
                "position": position,
                "id": job.run_id,
                "name": name,
                "state": state,
                "slots": job.slots,
                "device": job.device,
                "host": host,
                "since": job.queued,
                "reason": run.reason if run is not None and run.state is RunState.QUEUED else "",
            }
        )
        taken = job.device if job.on_gpu else str(job.slots)
        cells.append(
            [
                grid.Cell(str(position or glyph), style),
                grid.Cell(clean(job.run_id)),
                grid.Cell(name),
                grid.Cell(state, style),
                grid.Cell(clean(host) if host != queue.launcher.host() else ""),
                grid.Cell(taken),
                grid.Cell(output.age(job.queued)),
            ]
        )
    if as_json:
        output.document({"slots": slots, "used": used, "jobs": rows})
        return
    columns = [
        grid.Column("", right=True),
        grid.Column("id"),
        grid.Column("name", shrinks=True, least=8),
        grid.Column("state"),
        grid.Column("host", shrinks=True),
        grid.Column("slots", right=True),
        grid.Column("since", right=True),
    ]
    for line in grid.lines(columns, cells, grid.width()) if cells else ():
        print(line)
    for row in rows:
        if row["reason"]:
            output.narrate(f"{row['id']} has not begun: {row['reason']}")
    output.narrate(f"{used} of {slots} slot{'s' if slots != 1 else ''} of this host taken, {len(waiting)} waiting")


@queue_app.command("move")
def move(
    context: typer.Context,
    run: RunArgument,
    first: Annotated[bool, typer.Option("--first", help="Before all others.")] = False,
    last: Annotated[bool, typer.Option("--last", help="Behind all others.")] = False,
    to: Annotated[int | None, typer.Option("--to", min=1, help="To that place.")] = None,
    store: RunsOption = None,
) -> None:
    """Give a waiting run another place in the queue."""
    from mopo_tui.cli import output
    from mopo_tui.manager import StoreError

    if first + last + (to is not None) != 1:
        raise StoreError("queue move needs one of --first, --last and --to N")
    runs = _opened(context, store)
    chosen = runs.find(run)
    place = 1 if first else to if to is not None else len(runs.queue.waiting())
    runs.queue.move(chosen.id, place)
    output.narrate(f"{chosen.id} is at place {runs.queue.position(chosen.id)} now")


@queue_app.command("rm")
def remove(context: typer.Context, references: RunArguments = None, store: RunsOption = None) -> None:
    """Take waiting runs out of the queue; they stay as stopped runs, and `mopo resume` puts them in again."""
    from mopo_tui.cli import output

    runs = _opened(context, store)
    for run in _chosen(runs, references, None, False, "take out of the queue", ("queued",)):
        runs.stop(run)
        output.narrate(f"took {run.id} out of the queue")


@queue_app.command("slots")
def set_slots(
    context: typer.Context,
    count: Annotated[
        str | None, typer.Argument(metavar="[N]", help="How many threads may compute at once here; auto: the cores.")
    ] = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set the slots of this host: a run takes one for each of its threads, and a GPU's own slot in place of them."""
    from mopo_tui.cli import output
    from mopo_tui.manager import StoreError

    runs = _opened(context, store)
    if count is not None:
        if count != "auto" and not count.isdecimal():
            raise StoreError(f"slots {count!r}: a number, or auto")
        runs.queue.set_slots(None if count == "auto" else int(count))
        runs.advance()
    launcher = runs.queue.launcher
    used, slots, gpus = runs.queue.used(), runs.queue.slots(), len(launcher.gpus())
    if slots == 0:
        output.narrate("0 slots: nothing that waits will start; `mopo queue slots auto` goes back to the cores")
    if as_json:
        output.document({"host": launcher.host(), "slots": slots, "used": used, "gpus": gpus})
    else:
        print(f"{slots} slots on {launcher.host()}, {used} taken; {gpus} GPU{'s' if gpus != 1 else ''}")


def _opened(context: typer.Context, store: Path | None) -> Store:
    from mopo_tui.manager import Store

    return Store.open(store if store is not None else (context.obj or {}).get("store"))
