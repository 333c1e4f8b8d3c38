"""Every action a key can ask for, in one table: bindings, footer, help and command palette are made from it, and a
configuration file names them. `keys` lays a person's own keys over it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.binding import BindingType


@dataclass(frozen=True)
class Action:
    """One thing that a person can ask for.

    Attributes:
        name: the Textual action; screen or widget has a method `action_<name>`.
        keys: as Textual names them; the first one stands in the footer.
        label: one or two words for the footer.
        help: one line for the help and the palette.
        where: the place it belongs to, one of `PLACES`.
        footer: whether the footer has room for it.
        priority: whether it comes before what the focused widget does with the key.
        word: what a configuration file calls it; else `name`, or of an action with an argument `label`.
    """

    name: str
    keys: tuple[str, ...]
    label: str
    help: str
    where: str
    footer: bool = True
    priority: bool = False
    word: str = ""

    @property
    def id(self) -> str:
        """What a configuration file calls it, below `keys`: dashboard.stop, list.page_up."""
        word = self.word or (self.label.lower().replace(" ", "_") if "(" in self.name else self.name)
        return f"{self.where}.{word}"


@dataclass(frozen=True)
class Place:
    """A screen, or a widget of it, with keys of its own.

    Attributes:
        title: over its keys in the help.
        within: the places whose keys count there, too; a key of this place comes before theirs.
        typing: whether a person types words there, so that single characters are no keys.
    """

    title: str
    within: tuple[str, ...] = ("everywhere",)
    typing: bool = False


PLACES: dict[str, Place] = {
    "everywhere": Place("Everywhere", ()),
    "list": Place("List of runs", ("dashboard", "everywhere")),
    "dashboard": Place("Dashboard"),
    "panels": Place("Panel with the focus", ("dashboard", "everywhere")),
    "chart": Place("Chart with the focus", ("panels", "dashboard", "compare", "data", "everywhere")),
    "compare": Place("Compare"),
    "choice": Place("Field with a few values", ("form", "build"), typing=True),
    "settings": Place("Settings of a new run", ("form",), typing=True),
    "form": Place("New run", (), typing=True),
    "confirm": Place("Question", ()),
    "datasets": Place("List of datasets", ("data", "everywhere")),
    "data": Place("Data"),
    "report": Place("Report of a dataset", ("data", "everywhere")),
    "play": Place("Watch a policy"),
    "build": Place("Build a dataset", (), typing=True),
    "trash": Place("Trash", ()),
    "queue": Place("Queue"),
    "log": Place("Log"),
    "log_text": Place("Lines of the log", ("log", "everywhere")),
    "prompt": Place("Line to type in", ("dashboard", "compare", "log", "data"), typing=True),
    "help": Place("Help", ()),
}

ACTIONS: tuple[Action, ...] = (
    Action("move(-1)", ("up", "k"), "Up", "one run up", "list", footer=False),
    Action("move(1)", ("down", "j"), "Down", "one run down", "list", footer=False),
    Action("page(-1)", ("pageup",), "Page up", "one page up", "list", footer=False),
    Action("page(1)", ("pagedown",), "Page down", "one page down", "list", footer=False),
    Action("first", ("g", "home"), "First", "the newest run", "list", footer=False),
    Action("last", ("G", "end"), "Last", "the oldest run", "list", footer=False),
    Action("open", ("enter",), "Open", "show a row's seeds; on a run go to its panels", "list"),
    Action("unfold", ("l", "right"), "Seeds", "show the seeds of a row", "list", footer=False),
    Action("fold", ("h", "left"), "Fold", "hide the seeds of a row", "list", footer=False),
    Action("next_panel(1)", ("tab",), "Panel", "the next panel", "panels", word="next"),
    Action("next_panel(-1)", ("shift+tab",), "Panel before", "the panel before", "panels", footer=False, word="before"),
    Action("view(1)", ("v",), "View", "what else the panel can show: over time, another metric", "panels"),
    Action("view(-1)", ("V",), "View before", "the view before", "panels", footer=False),
    Action("axis", ("x",), "Axis", "x in epochs, steps, updates or time", "panels"),
    Action("log_scale", ("L",), "Log axis", "a logarithmic axis, or a linear one", "panels"),
    Action("smooth(1)", ("plus",), "Smooth", "smoother lines, over the raw ones", "panels", word="smoother"),
    Action("smooth(-1)", ("minus",), "Smooth", "lines less smooth", "panels", word="rougher"),
    Action("back", ("escape",), "Runs", "back to the list of runs", "dashboard"),
    Action("zoom", ("z",), "Zoom", "one panel on the whole screen, or all again", "dashboard"),
    Action("new", ("a",), "New run", "start runs: task, data, algorithm, preset, seeds, settings", "dashboard"),
    Action("like", ("A",), "Like this", "start a run like this one, but …", "dashboard", footer=False),
    Action(
        "mark",
        ("space",),
        "Mark",
        "mark a run or a row of seeds, or unmark it; four at most",
        "dashboard",
    ),
    Action("compare", ("c",), "Compare", "two to four that are marked, side by side on shared axes", "dashboard"),
    Action("stop", ("s",), "Stop", "let the run, or all of a row, stop and keep what it has", "dashboard"),
    Action("pause", ("p",), "Pause", "let the run pause between two gradient steps", "dashboard"),
    Action("resume", ("r",), "Resume", "go on with a paused, stopped, failed or lost run", "dashboard"),
    Action("kill", ("K",), "Kill", "end the run at once, if stopping does not help", "dashboard", footer=False),
    Action("restart", ("R",), "Restart", "the same again from the beginning, as a new run", "dashboard", footer=False),
    Action("tag", ("t",), "Tag", "the run's tags, with blanks between", "dashboard", footer=False),
    Action("note", ("e",), "Note", "write or edit the run's note", "dashboard", footer=False),
    Action("rename", ("m",), "Rename", "give the run another name", "dashboard", footer=False),
    Action("delete", ("D",), "Delete", "move the run to the trash", "dashboard", footer=False),
    Action("restore", ("u",), "Restore", "bring a run back from the trash", "dashboard", footer=False),
    Action("filter", ("slash",), "Filter", "list only runs that fit: score>80 and tag=baseline", "dashboard"),
    Action("sort", ("S",), "Sort", "order by a field, setting or metric; -score the other way", "dashboard"),
    Action("log", ("o",), "Log", "what the run says, as it comes", "dashboard", footer=False),
    Action("queue", ("Q",), "Queue", "what waits, in which order, and the slots", "dashboard", footer=False),
    Action("play", ("W",), "Watch", "watch the run's policy at work", "dashboard", footer=False),
    Action("data", ("d",), "Data", "datasets: what is here, build, fetch, check, remove", "dashboard", footer=False),
    Action("panel(1)", ("1",), "Loss", "the ensemble's validation loss", "dashboard", footer=False),
    Action("panel(2)", ("2",), "Uncertainty", "u on rollouts and data, and over time", "dashboard", footer=False),
    Action("panel(3)", ("3",), "Score", "the score in the real environment", "dashboard", footer=False),
    Action("panel(4)", ("4",), "Reality", "the model against reality", "dashboard", footer=False),
    Action("panel(5)", ("5",), "Optimisation", "Q, losses, entropy, speed, the gate", "dashboard", footer=False),
    Action("panel(6)", ("6",), "Now", "stages, time left, alerts, last lines of the log", "dashboard", footer=False),
    Action("zoom_x(1)", ("right_square_bracket", "ctrl+up"), "Zoom in", "less of the x axis", "chart", footer=False),
    Action("zoom_x(-1)", ("left_square_bracket", "ctrl+down"), "Zoom out", "more of the x axis", "chart", footer=False),
    Action("pan(-1)", ("h", "left"), "Pan left", "to the left, where it is zoomed in", "chart", footer=False),
    Action("pan(1)", ("l", "right"), "Pan right", "to the right", "chart", footer=False),
    Action("step(-1)", ("comma",), "Crosshair left", "read every series one point to the left", "chart", footer=False),
    Action("step(1)", ("full_stop",), "Crosshair right", "one point to the right", "chart", footer=False),
    Action("whole", ("0",), "Show all", "the whole x axis again, without the crosshair", "chart", footer=False),
    Action("show('columns')", ("s",), "Side by side", "a column for each, on the same axes", "compare"),
    Action("show('overlay')", ("o",), "Overlay", "one chart for all, with bands over seeds", "compare"),
    Action("show('table')", ("t",), "Table", "scores, intervals and probabilities, as `mopo compare`", "compare"),
    Action("next_panel", ("tab",), "Panel", "the next kind of panel", "compare"),
    Action("zoom", ("z",), "Zoom", "one kind of panel on the whole area, or all of them", "compare"),
    Action("copy('markdown')", ("y",), "Copy", "the tables as Markdown: clipboard, tmux, file", "compare"),
    Action(
        "copy('latex')", ("Y",), "Copy LaTeX", "the tables as LaTeX: clipboard, tmux, file", "compare", footer=False
    ),
    Action("export", ("e",), "Export", "the runs into a page, a table or a picture", "compare"),
    Action("view", ("v",), "View", "uncertainty over time, or its newest histogram", "compare", footer=False),
    Action("axis", ("x",), "X axis", "against updates, epochs, steps or time", "compare", footer=False),
    Action("smooth(1)", ("plus",), "Smoother", "smooth curves over the raw ones", "compare", footer=False),
    Action("smooth(-1)", ("minus",), "Rougher", "less smoothing", "compare", footer=False),
    Action("log_scale", ("L",), "Log", "validation loss on a logarithmic or linear axis", "compare", footer=False),
    Action("scroll_table(1)", ("j",), "Down", "the table one line down", "compare", footer=False),
    Action("scroll_table(-1)", ("k",), "Up", "the table one line up", "compare", footer=False),
    Action("close", ("escape",), "Back", "back to the dashboard", "compare"),
    Action(
        "turn(-1)",
        ("left",),
        "Change",
        "the value before; typing finds one",
        "choice",
        priority=True,
        word="before",
    ),
    Action("turn(1)", ("right",), "Change", "the next value", "choice", priority=True, word="next"),
    Action("take", ("enter",), "Take", "take the setting that is found, or its value", "settings", priority=True),
    Action(
        "pick(-1)", ("up",), "Found", "the setting above, of those that are found", "settings", priority=True, word="up"
    ),
    Action("pick(1)", ("down",), "Found", "the setting below", "settings", priority=True, word="down"),
    Action("remove", ("ctrl+x",), "Remove", "take this setting out again", "settings", priority=True),
    Action("clear", ("escape",), "Leave", "leave the search for a setting", "settings"),
    Action("start", ("enter",), "Start", "start the runs", "form", priority=True),
    Action("previous_field", ("up",), "Field", "the field before", "form", priority=True),
    Action("next_field", ("down",), "Field", "the next field", "form", priority=True),
    Action("close", ("escape",), "Cancel", "leave without starting anything", "form"),
    Action("answer(True)", ("y",), "Yes", "do it", "confirm"),
    Action("answer(False)", ("n", "escape", "q"), "No", "leave everything as it is", "confirm"),
    Action(
        "other", ("left", "right", "h", "l"), "Other", "go to the other answer; Enter takes it", "confirm", footer=False
    ),
    Action("select", ("enter",), "Report", "the report of the dataset", "datasets"),
    Action("cursor_up", ("up", "k"), "Up", "one dataset up", "datasets", footer=False),
    Action("cursor_down", ("down", "j"), "Down", "one dataset down", "datasets", footer=False),
    Action("first", ("g", "home"), "First", "the first dataset", "datasets", footer=False),
    Action("last", ("G", "end"), "Last", "the last one", "datasets", footer=False),
    Action("build", ("b",), "Build", "collect a task's own dataset", "data"),
    Action("fetch", ("f",), "Fetch", "download a published dataset: d4rl:NAME or minari:ID", "data"),
    Action("check", ("c",), "Check", "look for faults in the dataset", "data"),
    Action("remove", ("D",), "Remove", "remove the dataset from the disk", "data"),
    Action("stop", ("s",), "Stop", "stop the run that makes the dataset", "data"),
    Action("again", ("r",), "Again", "let the run that failed to make it try again", "data"),
    Action("log", ("o",), "Log", "what the run says that makes the dataset", "data"),
    Action("close", ("escape",), "Back", "back to the list, or to the dashboard", "data"),
    Action("scroll_up", ("up", "k"), "Up", "one line up", "report", footer=False),
    Action("scroll_down", ("down", "j"), "Down", "one line down", "report", footer=False),
    Action("scroll_home", ("g", "home"), "First", "the first line", "report", footer=False),
    Action("scroll_end", ("G", "end"), "Last", "the last line", "report", footer=False),
    Action("pause", ("space", "p"), "Pause", "stand still, or go on", "play"),
    Action("restart", ("r",), "Again", "the same episode from its start", "play"),
    Action("next", ("n",), "Next", "the next episode", "play", footer=False),
    Action("which", ("b",), "Policy", "the policy of the best evaluation, or the last one", "play", word="policy"),
    Action("faster(1)", ("plus", "right"), "Faster", "twice as fast", "play"),
    Action("faster(-1)", ("minus", "left"), "Slower", "half as fast", "play", footer=False),
    Action("charts", ("v",), "Charts", "charts of return, height and velocity alone, or pictures", "play"),
    Action("close", ("escape",), "Back", "back to the dashboard; the policy's process ends", "play"),
    Action("start", ("enter",), "Build", "build the dataset", "build", priority=True),
    Action("next_field", ("down",), "Next", "the next field", "build", footer=False, priority=True),
    Action("previous_field", ("up",), "Previous", "the field before", "build", footer=False, priority=True),
    Action("close", ("escape",), "Cancel", "leave without building anything", "build"),
    Action("restore", ("enter",), "Restore", "bring this run back", "trash"),
    Action("close", ("escape", "q"), "Back", "leave the trash as it is", "trash"),
    Action("cursor(-1)", ("up", "k"), "Up", "one run up", "queue", footer=False),
    Action("cursor(1)", ("down", "j"), "Down", "one run down", "queue", footer=False),
    Action("place(-1)", ("K", "shift+up"), "Sooner", "the run starts one place sooner", "queue"),
    Action("place(1)", ("J", "shift+down"), "Later", "the run starts one place later", "queue"),
    Action("slots(1)", ("plus",), "More slots", "one slot more for this host", "queue"),
    Action("slots(-1)", ("minus",), "Fewer slots", "one slot less; what runs goes on", "queue"),
    Action("close", ("escape",), "Back", "back from the queue", "queue"),
    Action("search", ("slash",), "Search", "find a regular expression in the log", "log"),
    Action("match(1)", ("n",), "Next", "the next match", "log"),
    Action("match(-1)", ("N",), "Previous", "the match before", "log"),
    Action("wrap", ("w",), "Wrap", "wrap long lines, or not", "log"),
    Action("follow", ("f",), "Follow", "stay at the end of the log, or not", "log"),
    Action("close", ("escape",), "Back", "back from the log", "log"),
    Action("scroll(-1)", ("up", "k"), "Up", "one row up", "log_text", footer=False),
    Action("scroll(1)", ("down", "j"), "Down", "one row down", "log_text", footer=False),
    Action("page(-1)", ("pageup",), "Page up", "one screen up", "log_text", footer=False),
    Action("page(1)", ("pagedown",), "Page down", "one screen down", "log_text", footer=False),
    Action("first", ("g", "home"), "First", "the first line", "log_text", footer=False),
    Action("last", ("G", "end"), "Last", "the last line, and follow", "log_text", footer=False),
    Action("sideways(-8)", ("left", "h"), "Left", "to the left, where lines are not wrapped", "log_text", footer=False),
    Action("sideways(8)", ("right", "l"), "Right", "to the right", "log_text", footer=False),
    Action("leave", ("escape",), "Leave", "leave without an answer", "prompt", footer=False),
    Action("close", ("escape", "question_mark", "q", "enter"), "Close", "close the help", "help"),
    Action("scroll(-1)", ("up", "k"), "Up", "one line up", "help", footer=False),
    Action("scroll(1)", ("down", "j"), "Down", "one line down", "help", footer=False),
    Action("help", ("question_mark",), "Help", "what each key does", "everywhere"),
    Action("quit", ("q",), "Quit", "leave the app; runs go on", "everywhere"),
    Action("command_palette", ("ctrl+p",), "Palette", "find an action by its name", "everywhere", footer=False),
)


def bindings(where: str) -> list[BindingType]:
    """The bindings of one screen or widget, as the table has them; `App.set_keymap` knows them by their ids."""
    from textual.binding import Binding  # for the app alone: `mopo config` reads the table, too

    return [
        Binding(",".join(a.keys), a.name, a.label, show=a.footer, priority=a.priority, tooltip=a.help, id=a.id)
        for a in ACTIONS
        if a.where == where
    ]
