"""What the shell offers for a half-typed word, and `mopo completion`, which prints the script that makes it ask.

The shell takes what it is offered for part of the command line, and zsh even runs it through `eval`: so only words of harmless
characters are offered (= and ~ mean something at a word's beginning). A run with another name is offered by its id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@%+=-]*")
SHELLS = ("bash", "zsh", "fish")
_ZSH_END = "compdef _mopo_completion mopo"


def complete_run(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names and latest; of a word that is begun, ids too, and their last four characters."""
    words = ["latest"]
    for run_id, name, _ in _names(ctx):
        words += [name, run_id, run_id[-4:]] if incomplete else [name if _HARMLESS.fullmatch(name) else run_id]
    return _offered(words, incomplete)


def complete_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """As `complete_run`, and groups."""
    return [*complete_run(ctx, incomplete), *complete_group(ctx, incomplete)]


def complete_group(ctx: typer.Context, incomplete: str) -> list[str]:
    return _offered((group for _, _, group in _names(ctx)), incomplete)


def complete_task(incomplete: str) -> list[str]:
    from engine.tasks import TASKS

    return _offered(TASKS, incomplete)


def complete_key(incomplete: str) -> list[str]:
    """Configuration keys of a training run."""
    from engine.config import TrainConfig, fields_of

    return _offered(fields_of(TrainConfig), incomplete)


def complete_setting(incomplete: str) -> list[str]:
    """What stands in a configuration file: keys of a training run, places, and keys of the app."""
    from mopo_tui.keys import BY_ID, TABLE
    from mopo_tui.manager.person_file import PATHS

    actions = [f"{TABLE}.{name}" for name in BY_ID] if incomplete else []
    return [*complete_key(incomplete), *_offered([*PATHS, *actions], incomplete)]


def complete_field(incomplete: str) -> list[str]:
    """What `mopo ls` can be sorted by."""
    from engine import record
    from mopo_tui.manager.filters import FIELDS

    metrics = [metric.name for metric in record.METRIC_TABLE if not metric.name.endswith("/*")]
    return [*_offered([*FIELDS, *metrics], incomplete), *complete_key(incomplete)]


def complete_state(incomplete: str) -> list[str]:
    from mopo_tui.manager.state import RunState

    return _offered((state.value for state in RunState), incomplete)


def complete_shell(incomplete: str) -> list[str]:
    return _offered(SHELLS, incomplete)


def _names(ctx: typer.Context) -> list[tuple[str, str, str]]:
    """Id, name and group of the runs in the store that the command line names; nothing is made, and nothing said of an error."""
    from mopo_tui.manager import index, locations
    from mopo_tui.manager.store import Store

    given = ctx.params.get("store") or (ctx.parent.params.get("store") if ctx.parent is not None else None)
    try:
        return index.names(Store(locations.store_root(Path(given) if given else None)))
    except (OSError, ValueError):
        return []


def _offered(words: Iterable[str], incomplete: str) -> list[str]:
    """Those that go on as the word began, each once, in their order."""
    return [word for word in dict.fromkeys(words) if word.startswith(incomplete) and _HARMLESS.fullmatch(word)]


def completion(
    shell: Annotated[str, typer.Argument(metavar="SHELL", help="bash, zsh or fish.", autocompletion=complete_shell)],
) -> None:
    """Print the script that teaches a shell to complete commands, options, runs, groups, tasks and keys.

    bash: mopo completion bash > ~/.local/share/bash-completion/completions/mopo; zsh: into a file _mopo in a folder of $fpath;
    fish: into ~/.config/fish/completions/mopo.fish.
    """
    from typer._completion_shared import get_completion_script

    from mopo_tui.manager.store import StoreError

    if shell not in SHELLS:
        raise StoreError(f"no completion for {shell!r}: one of {', '.join(SHELLS)}")
    script = get_completion_script(prog_name="mopo", complete_var="_MOPO_COMPLETE", shell=shell)
    # zsh reads a file _mopo of $fpath when the first completion is asked for: that one must be answered, too.
    begun = f'if [[ $funcstack[1] == _mopo ]]; then _mopo_completion "$@"; else {_ZSH_END}; fi'
    print(script.replace(_ZSH_END, begun))
