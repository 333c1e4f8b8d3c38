"""A run's log: followed, searched, wrapped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical

from mopo_tui.actions import bindings
from mopo_tui.deeds import called
from mopo_tui.manager import Run
from mopo_tui.screens.base import RunsScreen
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.log_text import LogText
from mopo_tui.widgets.prompt import Prompt


class LogScreen(RunsScreen):
    """The console.log of one run."""

    BINDINGS = bindings("log")

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self._pattern = ""
        self._lines: Sequence[str] | None = None

    def compose(self) -> ComposeResult:
        with Vertical(id="log-box"):
            yield LogText(id="log")
        yield Prompt(id="prompt")
        yield KeysLine()

    def on_mount(self) -> None:
        self.log_text.focus()
        self.call_after_refresh(self.mopo.watch_shown)
        self._tell()

    @property
    def log_text(self) -> LogText:
        """The lines."""
        return self.query_one(LogText)

    def watched_log(self) -> Run | None:
        return self._run

    def show_log(self, run_id: str, lines: Sequence[str]) -> None:
        if run_id == self._run.id:
            self._lines = lines
            self.log_text.show(lines)
            self._tell()

    @on(LogText.FollowChanged)
    def _tell(self) -> None:
        """What is shown stands above, and how below."""
        box, text = self.query_one("#log-box"), self.log_text
        box.border_title = Text(f"Log of {called(self._run)}")
        said = ["following" if text.follow else "not following", "wrapped" if text.wrap else "not wrapped"]
        if self._lines is not None:
            said.insert(0, f"{len(self._lines)} lines" if self._lines else "nothing logged yet")
        if self._pattern:
            at, count = text.found
            said.insert(0, f"{self._pattern}: {at} of {count}" if count else f"{self._pattern}: not found")
        box.border_subtitle = Text("  ".join(said))

    def action_search(self) -> None:
        """Ask for a regular expression."""
        self.add_class("-asking")
        self.query_one(Prompt).ask("search", "search ", self._pattern, "a regular expression: nan|error; empty: none")

    @on(Prompt.Answered)
    def _search(self, message: Prompt.Answered) -> None:
        try:
            self.log_text.search(message.text)
        except re.error as error:
            self.query_one(Prompt).refuse(f"no regular expression: {error}")
            return
        self._pattern = message.text
        self.query_one(Prompt).close()
        self._tell()
        self.refresh_bindings()

    @on(Prompt.Left)
    def _leave_prompt(self) -> None:
        self.remove_class("-asking")
        self.log_text.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """The next match is asked for only while something is searched for."""
        return not action.startswith("match") or bool(self._pattern)

    def action_match(self, direction: int) -> None:
        """The next match, or the one before."""
        self.log_text.step(direction)
        self._tell()

    def action_wrap(self) -> None:
        self.log_text.toggle_wrap()
        self._tell()

    def action_follow(self) -> None:
        self.log_text.toggle_follow()
        self._tell()

    def action_close(self) -> None:
        """Back to where it was opened."""
        self.dismiss()
