"""A run's policy at work: in half blocks where something here can draw, and as charts of return, height and velocity."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Static

from mopo_tui.actions import bindings
from mopo_tui.deeds import called
from mopo_tui.keys import keys_of
from mopo_tui.manager import Run
from mopo_tui.player import Frame, News, Opened, Player, Refused
from mopo_tui.screens.base import RunsScreen
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.keys_line import KeysLine
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.picture import Picture
from mopo_tui.widgets.plot import Line, Plot
from mopo_tui.widgets.words import cut, fitting

WIDE = 110  # columns from which the charts stand beside the picture
CHART_SECONDS = 0.5  # between two drawings of the charts
LEAST_STEPS = 50.0  # that the charts' axis holds
_EARLIER = 5  # episodes whose returns stay


@dataclass
class Course:
    """What is known of an episode so far, moment by moment; NaN where something is not told."""

    steps: list[float] = field(default_factory=list)
    returns: list[float] = field(default_factory=list)
    heights: list[float] = field(default_factory=list)
    velocities: list[float] = field(default_factory=list)

    def add(self, frame: Frame) -> None:
        """One moment more."""
        self.steps.append(frame.step)
        self.returns.append(frame.total)
        self.heights.append(np.nan if frame.height is None else frame.height)
        self.velocities.append(np.nan if frame.velocity is None else frame.velocity)


class PlayScreen(RunsScreen):
    """Plays from when it is opened until it is left; then the engine's process is gone at once."""

    BINDINGS = bindings("play")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (WIDE, "-wide")]  # noqa: RUF012

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run
        self.player = Player(run.folder, self._tell)
        self._opened: Opened | None = None
        self._refused: Refused | None = None
        self._frame: Frame | None = None
        self._course = Course()
        self._earlier: list[Course] = []
        self._charts_due = 0.0

    def compose(self) -> ComposeResult:
        yield Static(id="play-top")
        yield Static(id="play-why", markup=False)
        with Horizontal(id="play-body"):
            yield Static(id="play-words", markup=False)
            yield Picture(id="play-picture")
            with Vertical(id="play-charts"):
                for name in ("return", "height", "velocity"):
                    yield Chart(id=f"play-{name}", classes="panel", focusable=False)
        yield KeysLine()

    def on_mount(self) -> None:
        self.query_one("#play-why").display = False
        self._say("getting ready …")
        self._show_top()
        self.call_after_refresh(self._fit)
        self._play()

    def on_unmount(self) -> None:
        self.player.end()

    @property
    def picture(self) -> Picture:
        """The picture."""
        return self.query_one(Picture)

    @work(thread=True, group="player")
    def _play(self) -> None:
        self.player.run()

    def _tell(self, news: News) -> int:
        """From the player's thread: show it; answered once it is shown."""
        try:
            return self.app.call_from_thread(self._take, news)
        except RuntimeError:  # the app is over
            self.player.end()
            return 0

    # --- what comes -------------------------------------------------------------------------------

    def _take(self, news: News) -> int:
        if not self.is_mounted:
            return 0
        written = 0
        match news:
            case Opened():
                self._opened, self._refused, self._frame = news, None, None
                self._course, self._earlier = Course(), []
                self._tell_undrawn(news)
            case Refused():
                self._refused = news
                self._say(self._reason(news))
            case Frame():
                written = self._take_frame(news)
        self._show_top()
        if not isinstance(news, Frame):
            self.refresh_bindings()
        return written

    def _take_frame(self, frame: Frame) -> int:
        before = self._frame
        if before is None or frame.episode != before.episode or frame.step < before.step:
            if before is None:
                self._say("")
                self.call_after_refresh(self._fit)
            elif before.over:
                self._earlier = [*self._earlier, self._course][-_EARLIER:]
            self._course = Course()
            self._charts_due = 0.0
        if before is None or frame.step != before.step or frame.episode != before.episode:
            self._course.add(frame)
        self._frame = frame
        if frame.over or time.monotonic() >= self._charts_due:
            self._charts_due = time.monotonic() + CHART_SECONDS
            self._show_charts()
        return 0 if frame.pixels is None else self.picture.show(frame.pixels)

    def _tell_undrawn(self, opened: Opened) -> None:
        why = self.query_one("#play-why", Static)
        why.display = bool(opened.undrawn)
        why.update(f"No pictures: {opened.undrawn}.")
        if opened.undrawn:
            self.add_class("-numbers")

    def _reason(self, refused: Refused) -> str:
        """Why nothing is to be seen, and what to do."""
        line = refused.reason.removeprefix(f"{self._run.folder}: ")
        again = keys_of(self.app).shown("play.restart")
        if line == "no policy yet" and self.mopo.store.read_only:
            return f"{called(self._run)} has no policy in its folder."
        if line == "no policy yet":
            return f"{called(self._run)} has no policy yet: it keeps one from its first evaluation on.\n{again} looks again."
        other = keys_of(self.app).shown("play.policy")
        return f"{line}\n{again} tries again, {other} takes the other policy."

    def _say(self, words: str) -> None:
        """Words in place of everything; none: what is played."""
        said = self.query_one("#play-words", Static)
        said.display = bool(words)
        said.update(words)
        self.set_class(bool(words), "-nothing")

    def _fit(self) -> None:
        """Tell the player how large pictures are."""
        if self.is_mounted:
            self.player.draw(self.picture.pixels)

    def on_resize(self) -> None:
        self._show_top()
        self.call_after_refresh(self._fit)

    # --- showing ----------------------------------------------------------------------------------

    def _show_top(self) -> None:
        """Whose policy it is, and how the episode stands."""
        dark, width = self.app.current_theme.dark, self.size.width
        which = self._opened.which if self._opened and not self._refused else ""
        said = [f"{which} policy" if width >= WIDE else which] if which else []
        if self._frame is not None and self._refused is None:
            frame, limit = self._frame, self._opened.limit if self._opened else None
            said += [
                f"return {frame.total:.1f}",
                f"step {frame.step}{f'/{limit}' if limit else ''}",
                f"episode {frame.episode}",
                "paused" if self.player.paused else f"{self.player.speed:g}×",
            ]
        right = f"{fitting(said, width - 16)} "
        room = width - len(right) - 3
        text = Text(" ", no_wrap=True)
        text.append(cut(called(self._run), room), f"bold {colour('text', dark)}")
        where = f"  {self._opened.environment}" if self._opened else ""
        if len(text) + len(where) <= room:
            text.append(where, colour("muted", dark))
        text.append(" " * max(width - len(text) - len(right), 0))
        text.append(right, colour("text", dark))
        self.query_one("#play-top", Static).update(text, layout=False)

    def _show_charts(self) -> None:
        course = self._course
        steps = np.array(course.steps)
        earlier = [
            Line("earlier", np.array(e.steps), np.array(e.returns), "sky dim", behind=True) for e in self._earlier
        ]
        now = Line("return", steps, np.array(course.returns), "sky", bold=True)
        last = [f"earlier {' '.join(f'{e.returns[-1]:.0f}' for e in reversed(self._earlier))}"] if earlier else []
        last_step = max((e.steps[-1] for e in (course, *self._earlier)), default=0.0)
        span = (0.0, max(last_step, LEAST_STEPS))
        plot = Plot(lines=[*earlier, now], x_title="step", y_title="return", x_span=span)
        self.query_one("#play-return", Chart).show(plot, "Return so far", last)
        for name, ink, values, unit in (
            ("height", "green", course.heights, "m"),
            ("velocity", "orange", course.velocities, "m/s"),
        ):
            empty = f"this environment tells no {name}" if len(steps) > 1 else "not known before the first step"
            line = Line(name, steps, np.array(values), ink)
            plot = Plot(lines=[line], x_title="step", y_title=unit, x_span=span, empty=empty)
            self.query_one(f"#play-{name}", Chart).show(plot, name.capitalize())

    # --- actions ----------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """What can be asked for while something is played, and while nothing is."""
        if not self.is_mounted:
            return True
        playing = self._opened is not None and self._refused is None
        match action:
            case "pause" | "next":
                return playing
            case "faster":
                return playing
            case "charts":
                return playing and self._opened is not None and not self._opened.undrawn
        return True

    def action_pause(self) -> None:
        """Stand still, or go on."""
        self.player.pause()
        self._show_top()

    def action_restart(self) -> None:
        """The same episode again; or try again what was refused."""
        if self._refused is not None:
            self._say("getting ready …")
            self.player.play("")
        else:
            self.player.begin(self._frame.episode if self._frame else 1)

    def action_next(self) -> None:
        """The next episode."""
        self.player.begin(self._frame.episode + 1 if self._frame else 1)

    def action_which(self) -> None:
        """The other policy."""
        now = self._refused.which if self._refused else self._opened.which if self._opened else "final"
        self._say("getting ready …")
        self.player.play("best" if now == "final" else "final")

    def action_faster(self, steps: int) -> None:
        """Twice or half as fast."""
        self.player.faster(steps)
        self._show_top()

    def action_charts(self) -> None:
        """Charts alone, or pictures again."""
        self.toggle_class("-numbers")
        self.picture.clear()
        self.call_after_refresh(self._fit)

    def action_close(self) -> None:
        """Back to the dashboard."""
        self.player.end()
        self.dismiss()
