"""What the dashboard's keys do with the runs that are chosen in its list: stop to delete, tag to rename, and bring back."""

from __future__ import annotations

from mopo_tui.deeds import DEEDS, all_called, fitting_runs, rename, renote, retag
from mopo_tui.manager import Run, trash
from mopo_tui.manager.rows import title
from mopo_tui.screens.base import RunsScreen
from mopo_tui.widgets.prompt import Prompt
from mopo_tui.widgets.run_list import RunList


class DeedsScreen(RunsScreen):
    """A screen with a list of runs and a prompt, and the actions on what is chosen there."""

    def __init__(self) -> None:
        super().__init__()
        self._asked_about: tuple[Run, ...] = ()  # the runs whose name, tags or note the prompt asks for
        self._asked_tags: list[str] = []

    @property
    def runs(self) -> RunList:
        """The list."""
        return self.query_one(RunList)

    def action_stop(self) -> None:
        self._do("stop")

    def action_pause(self) -> None:
        self._do("pause")

    def action_resume(self) -> None:
        self._do("resume")

    def action_kill(self) -> None:
        self._do("kill")

    def action_restart(self) -> None:
        self._do("restart")

    def action_delete(self) -> None:
        self._do("delete")

    def _do(self, name: str) -> None:
        """Do it with those of the chosen runs with which it can be done, after asking where it takes something away."""
        from mopo_tui.screens.confirm import ConfirmScreen

        deed, runs = DEEDS[name], fitting_runs(name, self.mopo.store, self.runs.selected)
        if not runs:
            return
        if not deed.verb:
            self.mopo.carry_out(runs, deed.do, deed.title, deed.fits)
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self.mopo.carry_out(runs, deed.do, deed.title, deed.fits)

        who, it = all_called(runs), "it" if len(runs) == 1 else "them"
        about = deed.about if len(runs) == 1 else f"Each of them: {deed.about[0].lower()}{deed.about[1:]}"
        self.app.push_screen(ConfirmScreen(f"{deed.verb} {who}?", about, f"{deed.verb} {it}"), answered)

    def action_restore(self) -> None:
        """Choose a run of the trash to bring back."""
        from mopo_tui.screens.trash import TrashScreen

        store = self.mopo.store

        def chosen(run: Run | None) -> None:
            if run is not None:
                self.mopo.bring_back(run)

        self.app.push_screen(TrashScreen(trash.trash_of(store).runs), chosen)

    def own_runs(self) -> tuple[Run, ...]:
        """The chosen runs that may be given names, tags and notes."""
        return tuple(r for r in self.runs.selected if not r.problem and self.mopo.store.owns(r))

    def action_tag(self) -> None:
        """Ask for the tags of the chosen runs; those that all of them have stand there."""
        self._ask_of_runs("tag", "tags ", " ".join(self._shared_tags()), "words with blanks between; empty: no tags")

    def _shared_tags(self) -> list[str]:
        runs = self.own_runs()
        return [tag for tag in runs[0].tags if all(tag in run.tags for run in runs)] if runs else []

    def action_note(self) -> None:
        """Ask for the note of the chosen runs."""
        notes = {run.note for run in self.own_runs()}
        self._ask_of_runs("note", "note ", notes.pop() if len(notes) == 1 else "", "one line; empty: no note")

    def action_rename(self) -> None:
        """Ask for the name of the chosen runs."""
        entry = self.runs.entry
        if entry is not None:
            self._ask_of_runs("rename", "name ", title(entry.row).rstrip("…"), "empty: the name it was made with")

    def _ask_of_runs(self, about: str, label: str, value: str, hint: str) -> None:
        self._asked_about, self._asked_tags = self.own_runs(), self._shared_tags()
        if self._asked_about:
            self.ask(about, label, value, hint)

    def annotate(self, about: str, text: str) -> None:
        """Give the runs that were asked about what was answered."""
        runs = self._asked_about
        what = {
            "tag": (retag(self._asked_tags, text), "Tags"),
            "note": (renote(text), "Note"),
            "rename": (rename(text, several=len(runs) > 1), "Name"),
        }
        do, over = what[about]
        self.mopo.carry_out(runs, do, over)
        self.query_one(Prompt).close()

    def ask(self, about: str, label: str, value: str, hint: str) -> None:
        """Ask for a line of text about something."""
        self.add_class("-asking")
        self.query_one(Prompt).ask(about, label, value, hint)
