"""Every action a key can ask for, in one table: bindings, footer, help and command palette are made from it."""

from __future__ import annotations

from dataclasses import dataclass

from textual.binding import Binding, BindingType


@dataclass(frozen=True)
class Action:
    """One thing that a person can ask for.

    Attributes:
        name: the Textual action; screen or widget has a method `action_<name>`.
        keys: as Textual names them; the first one stands in footer and help.
        shown: how the first key is written there.
        label: one or two words for the footer.
        help: one line for the help and the palette.
        where: the screen or widget it belongs to.
        footer: whether the footer has room for it.
    """

    name: str
    keys: tuple[str, ...]
    shown: str
    label: str
    help: str
    where: str
    footer: bool = True
    priority: bool = False


TITLES = {
    "everywhere": "Everywhere",
    "list": "List of runs",
    "dashboard": "Dashboard",
    "compare": "Compare",
    "form": "New run",
    "trash": "Trash",
    "queue": "Queue",
    "log": "Log",
    "log_text": "Lines of the log",
}

ACTIONS: tuple[Action, ...] = (
    Action("move(-1)", ("up", "k"), "↑ k", "Up", "one run up", "list", footer=False),
    Action("move(1)", ("down", "j"), "↓ j", "Down", "one run down", "list", footer=False),
    Action("page(-1)", ("pageup",), "PgUp", "Page up", "one page up", "list", footer=False),
    Action("page(1)", ("pagedown",), "PgDn", "Page down", "one page down", "list", footer=False),
    Action("first", ("g", "home"), "g", "First", "the newest run", "list", footer=False),
    Action("last", ("G", "end"), "G", "Last", "the oldest run", "list", footer=False),
    Action("open", ("enter",), "⏎", "Open", "show a row's seeds; on a run go to its panels", "list"),
    Action("unfold", ("l", "right"), "l →", "Seeds", "show the seeds of a row", "list", footer=False),
    Action("fold", ("h", "left"), "h ←", "Fold", "hide the seeds of a row", "list", footer=False),
    Action("back", ("escape",), "Esc", "Runs", "back to the list of runs", "dashboard"),
    Action("new", ("a",), "a", "New run", "start a run: task, algorithm, preset, seed", "dashboard"),
    Action("mark", ("space",), "Space", "Mark", "mark the run for comparing, or unmark it; two at most", "dashboard"),
    Action("compare", ("c",), "c", "Compare", "the two marked runs side by side on the same axes", "dashboard"),
    Action("stop", ("s",), "s", "Stop", "let the run, or all of a row, stop and keep what it has", "dashboard"),
    Action("pause", ("p",), "p", "Pause", "let the run pause between two gradient steps", "dashboard"),
    Action("resume", ("r",), "r", "Resume", "go on with a paused, stopped, failed or lost run", "dashboard"),
    Action("kill", ("K",), "K", "Kill", "end the run at once, if stopping does not help", "dashboard", footer=False),
    Action(
        "restart", ("R",), "R", "Restart", "the same again from the beginning, as a new run", "dashboard", footer=False
    ),
    Action("tag", ("t",), "t", "Tag", "the run's tags, with blanks between", "dashboard", footer=False),
    Action("note", ("e",), "e", "Note", "write or edit the run's note", "dashboard", footer=False),
    Action("rename", ("m",), "m", "Rename", "give the run another name", "dashboard", footer=False),
    Action("delete", ("D",), "D", "Delete", "move the run to the trash", "dashboard", footer=False),
    Action("restore", ("u",), "u", "Restore", "bring a run back from the trash", "dashboard", footer=False),
    Action("filter", ("slash",), "/", "Filter", "list only runs that fit: score>80 and tag=baseline", "dashboard"),
    Action("sort", ("S",), "S", "Sort", "order by a field, setting or metric; -score the other way", "dashboard"),
    Action("zoom", ("z",), "z", "Zoom", "one panel on the whole area; Tab chooses the next", "dashboard"),
    Action(
        "log_scale", ("L",), "L", "Log", "validation loss on a logarithmic or linear axis", "dashboard", footer=False
    ),
    Action("close", ("escape",), "Esc", "Back", "back to the dashboard", "compare"),
    Action("next_panel", ("tab", "z"), "Tab", "Next panel", "the next panel, where only one fits", "compare"),
    Action("log_scale", ("L",), "L", "Log", "validation loss on a logarithmic or linear axis", "compare"),
    Action("log", ("o",), "o", "Log", "what the run says, as it comes", "dashboard", footer=False),
    Action("queue", ("Q",), "Q", "Queue", "what waits, in which order, and the slots", "dashboard", footer=False),
    Action("cursor(-1)", ("k",), "↑ k", "Up", "one run up", "queue", footer=False),
    Action("cursor(1)", ("j",), "↓ j", "Down", "one run down", "queue", footer=False),
    Action("place(-1)", ("K", "shift+up"), "K", "Sooner", "the run starts one place sooner", "queue"),
    Action("place(1)", ("J", "shift+down"), "J", "Later", "the run starts one place later", "queue"),
    Action("slots(1)", ("plus",), "+", "More slots", "one slot more for this host", "queue"),
    Action("slots(-1)", ("minus",), "-", "Fewer slots", "one slot less; what runs goes on", "queue"),
    Action("close", ("escape",), "Esc", "Back", "back from the queue", "queue"),
    Action("search", ("slash",), "/", "Search", "find a regular expression in the log", "log"),
    Action("match(1)", ("n",), "n", "Next", "the next match", "log"),
    Action("match(-1)", ("N",), "N", "Previous", "the match before", "log"),
    Action("wrap", ("w",), "w", "Wrap", "wrap long lines, or not", "log"),
    Action("follow", ("f",), "f", "Follow", "stay at the end of the log, or not", "log"),
    Action("close", ("escape",), "Esc", "Back", "back from the log", "log"),
    Action("scroll(-1)", ("up", "k"), "↑ k", "Up", "one row up", "log_text", footer=False),
    Action("scroll(1)", ("down", "j"), "↓ j", "Down", "one row down", "log_text", footer=False),
    Action("page(-1)", ("pageup",), "PgUp", "Page up", "one screen up", "log_text", footer=False),
    Action("page(1)", ("pagedown",), "PgDn", "Page down", "one screen down", "log_text", footer=False),
    Action("first", ("g", "home"), "g", "First", "the first line", "log_text", footer=False),
    Action("last", ("G", "end"), "G", "Last", "the last line, and follow", "log_text", footer=False),
    Action(
        "sideways(-8)",
        ("left", "h"),
        "h ←",
        "Left",
        "to the left, where lines are not wrapped",
        "log_text",
        footer=False,
    ),
    Action("sideways(8)", ("right", "l"), "l →", "Right", "to the right", "log_text", footer=False),
    Action("restore", ("enter",), "⏎", "Restore", "bring this run back", "trash"),
    Action("close", ("escape", "q"), "Esc", "Back", "leave the trash as it is", "trash"),
    Action("start", ("enter",), "⏎", "Start", "start the run", "form", priority=True),
    Action("next_field", ("down",), "↓", "Next", "the next field", "form", footer=False, priority=True),
    Action("previous_field", ("up",), "↑", "Previous", "the field before", "form", footer=False, priority=True),
    Action("close", ("escape",), "Esc", "Cancel", "leave without starting anything", "form"),
    Action("help", ("question_mark",), "?", "Help", "what each key does", "everywhere"),
    Action("quit", ("q",), "q", "Quit", "leave the app; runs go on", "everywhere"),
    Action("command_palette", ("ctrl+p",), "^p", "Palette", "find an action by its name", "everywhere", footer=False),
)


def bindings(where: str) -> list[BindingType]:
    """The bindings of one screen or widget."""
    return [
        Binding(
            ",".join(a.keys), a.name, a.label, show=a.footer, key_display=a.shown, priority=a.priority, tooltip=a.help
        )
        for a in ACTIONS
        if a.where == where
    ]
