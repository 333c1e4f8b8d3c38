"""A group of commands that are imported and built when they are called: building all of them would take longer than `mopo ls`."""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from typer._click import Command, Context, HelpFormatter

# In the order of --help: what a command is called, and the function, or the group of further commands, below mopo_tui.cli.
COMMANDS = {
    "run": "run:run",
    "resume": "control:resume",
    "stop": "control:stop",
    "pause": "control:pause",
    "kill": "control:kill",
    "restart": "control:restart",
    "wait": "control:wait",
    "queue": "control:queue_app",
    "logs": "logs:logs",
    "ls": "runs:ls",
    "show": "show:show",
    "watch": "watch:watch",
    "tag": "annotate:tag",
    "note": "annotate:note",
    "rename": "annotate:rename",
    "rm": "annotate:rm",
    "restore": "annotate:restore",
    "compare": "compare:compare",
    "diff": "compare:diff",
    "export": "export:export",
    "reproduce": "reproduce:reproduce",
    "evaluate": "use:evaluate",
    "play": "use:play",
    "tasks": "tasks:tasks",
    "data": "data:app",
    "models": "models:app",
    "demo": "demo:demo",
    "config": "config:app",
    "completion": "completion:completion",
    "doctor": "doctor:doctor",
}
_SETTINGS: Mapping[str, dict[str, Any]] = {
    # `mopo tag RUN -old` takes a tag away, so only --help is help there.
    "tag": {"ignore_unknown_options": True, "help_option_names": ["--help"]},
}


class CommandTable(TyperGroup):
    """`mopo` with the commands of the table."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()

    def list_commands(self, ctx: Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def format_commands(self, ctx: Context, formatter: HelpFormatter) -> None:
        """The list below --help, out of the functions' own words."""
        del ctx
        room = formatter.width - 6 - max(map(len, COMMANDS))
        with formatter.section("Commands"):
            formatter.write_dl([(name, textwrap.shorten(_about(name), room, placeholder="...")) for name in COMMANDS])


class _Commands(dict[str, "Command"]):
    """Has every name of the table, and builds a command when somebody takes it."""

    def keys(self) -> Any:
        return COMMANDS.keys()

    def get(self, name: str, default: Any = None) -> Any:
        if name in COMMANDS and name not in self:
            self[name] = _built(name)
        return super().get(name, default)


def _found(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    return getattr(importlib.import_module(f"mopo_tui.cli.{module}"), attribute)


def _built(name: str) -> Command:
    found = _found(name)
    if isinstance(found, typer.Typer):
        found.rich_markup_mode = None
        group = typer.main.get_group(found)
        group.name = name
        return group
    alone = typer.Typer(rich_markup_mode=None, add_completion=False)
    alone.command(name, context_settings=_SETTINGS.get(name))(found)
    return typer.main.get_command(alone)


def _about(name: str) -> str:
    """The first sentence of what a command says of itself."""
    found = _found(name)
    words = found.info.help if isinstance(found, typer.Typer) else inspect.getdoc(found)
    return " ".join(str(words or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")
