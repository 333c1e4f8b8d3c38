"""What a person can do with runs: with which it can be done, what is asked before, and what is said after (no Textual)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from mopo_tui.manager import LaunchError, Run, Store, StoreError, trash
from mopo_tui.manager.annotations import change_tags, write_note
from mopo_tui.manager.annotations import rename as call
from mopo_tui.widgets.words import default_named, short_id, title_of

AT_WORK = ("queued", "running", "paused")
ENDED = ("finished", "stopped", "failed", "lost")
_COMMAND = ("mopo-tui",)


@dataclass(frozen=True)
class Deed:
    """One thing to do with each of some runs.

    Attributes:
        fits: the states in which it can be done.
        do: does it with one run and says what happened, as the end of a sentence that begins with the run's name.
        verb: of the question before it; empty where it is done without asking.
        about: what the question's second line says; {dashboard.restore} stands for that action's key, here and in what `do` says.
        title: over the toast that follows.
    """

    fits: tuple[str, ...]
    do: Callable[[Store, Run], str]
    title: str
    verb: str = ""
    about: str = ""


def _stop(store: Store, run: Run) -> str:
    store.stop(run)
    return "is taken out of the queue" if run.state == "queued" else "is asked to stop; it ends within seconds"


def _pause(store: Store, run: Run) -> str:
    store.pause(run)
    return "is asked to pause; it keeps its memory and its slots"


def _resume(store: Store, run: Run) -> str:
    if run.state == "paused":
        store.unpause(run)
        return "goes on"
    return _placed(store.launch(run), "goes on from its last checkpoint")


def _kill(store: Store, run: Run) -> str:
    store.abort(run)
    return "is taken out of the queue" if run.state == "queued" else "is killed"


def _restart(store: Store, run: Run) -> str:
    again = store.restart(run, _COMMAND)
    return _placed(store.launch(again), "begins again") + f" as {short_id(again.id)}"


def _delete(store: Store, run: Run) -> str:
    trash.remove(store, run)
    return "lies in the trash; {dashboard.restore} brings it back"


def _placed(place: int, started: str) -> str:
    return f"waits in the queue, place {place}" if place else started


DEEDS: dict[str, Deed] = {
    "stop": Deed(AT_WORK, _stop, "Stopping", "Stop", "It ends within seconds and keeps what it has recorded."),
    "pause": Deed(("running",), _pause, "Pausing"),
    "resume": Deed(("paused", "stopped", "failed", "lost"), _resume, "Resumed"),
    "kill": Deed(AT_WORK, _kill, "Killed", "Kill", "It ends at once; resumed, it goes on from its last checkpoint."),
    "restart": Deed(
        ENDED, _restart, "Restarted", "Restart", "A new run from the beginning; the old one stays as it is."
    ),
    "delete": Deed(
        ("queued", *ENDED, "unreadable"),
        _delete,
        "Deleted",
        "Delete",
        "It goes to the trash; {dashboard.restore} brings it back.",
    ),
}


def fitting_runs(name: str, store: Store, runs: Iterable[Run]) -> tuple[Run, ...]:
    """Those of `runs` with which the deed can be done. A run that came with the store is only there to be looked at."""
    return tuple(run for run in runs if run.state.value in DEEDS[name].fits and store.owns(run))


def called(run: Run) -> str:
    """What a run is called in a question and a toast: its name, and the end of its id."""
    return f"{title_of(run) if default_named(run) else run.name} ({short_id(run.id)})"


def all_called(runs: Sequence[Run]) -> str:
    """What several runs are called: each by the end of its id."""
    if len(runs) == 1:
        return called(runs[0])
    ids = " ".join(short_id(run.id) for run in runs[:6]) + (" …" if len(runs) > 6 else "")
    return f"{len(runs)} runs of {runs[0].task} {runs[0].algorithm or runs[0].job} ({ids})"


@dataclass(frozen=True)
class Outcome:
    """What was done, and what was not, one line each."""

    done: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def carry_out(store: Store, runs: Sequence[Run], do: Callable[[Store, Run], str], fits: Sequence[str] = ()) -> Outcome:
    """Do it with each run as it is now; what goes wrong with one keeps no other from it.

    Args:
        fits: the states in which it can be done; none: all of them.
    """
    done: list[str] = []
    failed: list[str] = []
    for run in runs:
        try:
            now = store.named(run.id)
            if now is None:
                failed.append(f"{called(run)} is no longer there")
            elif fits and now.state.value not in fits:
                failed.append(f"{called(run)} is {now.state.value} by now")
            else:
                done.append(f"{called(now)} {do(store, now)}")
        except (StoreError, LaunchError, OSError, ValueError) as error:
            failed.append(str(error))
    return Outcome(tuple(done), tuple(failed))


# --- a person's own words ---------------------------------------------------------------------------------------------------------


def retag(before: Iterable[str], text: str) -> Callable[[Store, Run], str]:
    """Give runs the tags of `text`, and take away those of `before` that it no longer has."""
    words = list(dict.fromkeys(text.replace(",", " ").split()))
    gone = [tag for tag in before if tag not in words]

    def do(_store: Store, run: Run) -> str:
        tags = change_tags(run, words, gone).tags
        return f"has the tags {' '.join(tags)}" if tags else "has no tags"

    return do


def renote(text: str) -> Callable[[Store, Run], str]:
    """Put `text` in place of the notes of runs."""

    def do(_store: Store, run: Run) -> str:
        return "has a note" if write_note(run, text).note else "has no note"

    return do


def rename(text: str, *, several: bool) -> Callable[[Store, Run], str]:
    """Call runs `text`; several of a row keep their seeds at the end."""

    def do(_store: Store, run: Run) -> str:
        name = f"{text}-s{run.seed}" if several and text else text
        return f"is called {call(run, name).name}"

    return do
