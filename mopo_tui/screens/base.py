"""What the poller's news means for a screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from textual.screen import Screen

from mopo_tui.manager import Run
from mopo_tui.run_view import RunView

if TYPE_CHECKING:
    from mopo_tui.app import MopoApp
    from mopo_tui.poller import QueueView


class RunsScreen(Screen[None]):
    """A screen that shows runs; the app hands on what the poller posts."""

    @property
    def mopo(self) -> MopoApp:
        """The app, with its store and what is read so far."""
        return cast("MopoApp", self.app)

    def show_runs(self, runs: Sequence[Run]) -> None:
        """The list of runs changed."""

    def show_load(self) -> None:
        """The host is more or less busy than it was."""

    def show_wrong_arrangement(self, reason: str) -> None:
        """The filter or order that was asked for means nothing."""

    def show_view(self, view: RunView) -> None:
        """A watched run has new rows."""

    def watched(self) -> tuple[str, ...]:
        """The runs whose rows this screen shows."""
        return ()

    log_is_brief = False  # whether the last lines of that log are enough

    def watched_log(self) -> Run | None:
        """The run whose log this screen shows."""
        return None

    def show_log(self, run_id: str, lines: Sequence[str]) -> None:
        """The log that this screen shows has new lines."""

    def watches_queue(self) -> bool:
        """Whether this screen shows the queue."""
        return False

    def show_queue(self, view: QueueView) -> None:
        """The queue has changed."""
