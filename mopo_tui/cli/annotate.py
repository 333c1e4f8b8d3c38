"""`mopo tag`, `note`, `rename`, `rm`, `restore`: what a person says of runs, and which ones they keep."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mopo_tui.cli.completion import complete_runs
from mopo_tui.cli.options import JsonOption, RunArgument, RunsOption

if TYPE_CHECKING:
    from mopo_tui.manager import Run, Store


def tag(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run, or a group.", autocompletion=complete_runs)],
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="+TAG -TAG ...", help="Tags to give and to take away; none: print them."),
    ] = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a run, or all of a group, tags and take some away: mopo tag RUN +good -todo."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store, StoreError
    from mopo_tui.manager.annotations import change_tags
    from mopo_tui.manager.groups import find_runs

    found = find_runs(Store.open(store), [run])
    for change in changes or []:
        if change[:1] not in ("+", "-"):
            raise StoreError(f"tag {change!r}: +{change} gives it, -{change} takes it away")
    add = [change[1:] for change in changes or [] if change.startswith("+")]
    remove = [change[1:] for change in changes or [] if change.startswith("-")]
    if changes:
        found = [change_tags(each, add, remove) for each in found]
    if as_json:
        output.document([{"id": each.id, "tags": each.tags} for each in found])
        return
    for each in found:
        if changes:
            output.narrate(f"{each.id}: {' '.join(each.tags) or 'no tags'}")
        elif each.tags or len(found) > 1:
            print(*([each.id] if len(found) > 1 else []), *each.tags)


def note(
    run: RunArgument,
    text: Annotated[
        list[str] | None, typer.Argument(metavar="TEXT", help="The note; none: print it. An empty text takes it away.")
    ] = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a note on a run, or print the one it has."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store
    from mopo_tui.manager.annotations import write_note

    chosen = Store.open(store).find(run)
    if text is not None:
        chosen = write_note(chosen, " ".join(text))
    if as_json:
        output.document({"id": chosen.id, "note": chosen.note})
    elif text is not None:
        output.narrate(f"{chosen.id}: {'noted' if chosen.note else 'no note'}")
    elif chosen.note:
        print(chosen.note)


def rename(
    run: RunArgument,
    name: Annotated[str, typer.Argument(help="What to call it; empty: as it was called at first.")],
    store: RunsOption = None,
) -> None:
    """Call a run something else. Its id and its folder stay."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store
    from mopo_tui.manager.annotations import rename as rename_run

    runs = Store.open(store)
    renamed = rename_run(runs.find(run), name)
    output.narrate(f"{renamed.id} is called {renamed.name}")
    others = [other.id for other in runs.runs() if other.name == renamed.name and other.id != renamed.id]
    if others:
        output.narrate(
            f"so are {len(others)} other runs: name them by their ids" if len(others) > 1 else f"so is {others[0]}"
        )


def rm(
    references: Annotated[
        list[str] | None,
        typer.Argument(metavar="RUN...", help="Runs, or groups of runs.", autocompletion=complete_runs),
    ] = None,
    empty_trash: Annotated[bool, typer.Option("--empty-trash", help="Delete for good what was removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: RunsOption = None,
) -> None:
    """Move runs to the store's trash; asks first. `mopo restore` brings them back until the trash is emptied."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store, StoreError, trash
    from mopo_tui.manager.groups import find_runs

    runs = Store.open(store)
    if empty_trash:
        if references:
            raise StoreError("--empty-trash deletes all that is in the trash: name no runs with it")
        _empty(runs, yes)
        return
    if not references:
        raise StoreError("which runs? mopo rm RUN...")
    found = find_runs(runs, references)
    for run in found:
        trash.check_removable(runs, run)
    if not _agreed(f"Move to the trash: {_told(found)}?", yes):
        output.narrate("nothing removed")
        return
    for run in found:
        trash.remove(runs, run)
    short = " ".join(run.id[-4:] for run in found[:3]) + (" …" if len(found) > 3 else "")
    output.narrate(f"moved {_count(len(found))} to the trash; `mopo restore {short}` brings back")


def restore(
    references: Annotated[
        list[str] | None, typer.Argument(metavar="RUN...", help="Runs in the trash; none: list them.")
    ] = None,
    store: RunsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring runs back from the store's trash, or list what is in it."""
    from mopo_tui.cli import output
    from mopo_tui.manager import Store, trash

    runs = Store.open(store)
    if references:
        chosen = [trash.find(runs, reference) for reference in references]
        restored = [trash.restore(runs, run) for run in {run.id: run for run in chosen}.values()]
        if as_json:
            output.document([run.to_json() for run in restored])
        for run in restored if not as_json else ():
            output.narrate(f"{run.id} is back")
        return
    there = trash.trash_of(runs).runs()
    if as_json:
        output.document([run.to_json() for run in there])
    elif not there:
        output.narrate("the trash is empty")
    for run in there if not as_json else ():
        print(run.id, run.problem or run.name)


def _empty(runs: Store, yes: bool) -> None:
    from engine import record
    from mopo_tui.cli import output
    from mopo_tui.manager import trash

    there = trash.trash_of(runs)
    found, size = there.runs(), record.bytes_of(there.root)
    if not found and not size:
        output.narrate("the trash is empty")
    elif _agreed(f"Delete for good: {_told(found)} ({size / 1e6:.1f} MB)?", yes):
        trash.empty(runs)
        output.narrate(f"deleted {_count(len(found))}, {size / 1e6:.1f} MB")
    else:
        output.narrate("nothing deleted")


def _agreed(question: str, yes: bool) -> bool:
    """Whether the person says so; no is the default, and without a terminal only --yes is an answer."""
    from mopo_tui.manager import StoreError

    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise StoreError("this asks first, and there is no terminal to answer on: say --yes")
    return typer.confirm(question, default=False, err=True)


def _told(runs: list[Run]) -> str:
    """Runs by name and the end of their id, so that nobody takes one for another."""
    named = [f"{run.name or run.id} ({run.id[-4:]}, {run.state.value})" for run in runs]
    return ", ".join(named[:10]) + (f" and {len(named) - 10} more" if len(named) > 10 else "")


def _count(number: int) -> str:
    return f"{number} run" + ("s" if number != 1 else "")
