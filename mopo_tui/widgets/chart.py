"""The chart widget: draws a plot, repaints only what changed, zooms and pans in x, and reads all series at a crosshair."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import numpy as np
from rich.markup import escape
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip

from mopo_tui.actions import bindings
from mopo_tui.widgets.drawing import Grid, Ink, draw, reading
from mopo_tui.widgets.glyphs import Look, look_of
from mopo_tui.widgets.palette import colour
from mopo_tui.widgets.partial_rows import PartialRows
from mopo_tui.widgets.plot import Plot
from mopo_tui.widgets.scale import Scale
from mopo_tui.widgets.thinning import Curves, nearest_x
from mopo_tui.widgets.words import cut, fitting

Window = tuple[float, float]
_IN, _PAN = (
    0.5,
    0.2,
)  # of the window: what is left of it by one step of zooming in, and how far one step of panning goes
_LEAST = 1e-6  # of the whole axis: no window is smaller


class Chart(PartialRows, can_focus=True):
    """Shows one plot; `show` gives it another.

    A chart with the focus answers to keys: + and − belong to the screen (smoothing), so `]` and `[` zoom, `h` and `l` pan where it
    is zoomed in, `,` and `.` move the crosshair from point to point, `0` shows all again. The wheel zooms at the pointer, dragging
    pans, and the crosshair follows the pointer.
    """

    BINDINGS = bindings("chart")

    class Pointed(Message):
        """The crosshair moved to the x `place`, or is gone (None). Charts side by side follow with `point_at`."""

        def __init__(self, chart: Chart, place: float | None) -> None:
            super().__init__()
            self.chart, self.place = chart, place

        @property
        def control(self) -> Chart:
            """The chart in which somebody moved it."""
            return self.chart

    class Zoomed(Message):
        """Somebody looks at the part `window` of x, or at all of it again (None). Charts side by side follow with `look_at`."""

        def __init__(self, chart: Chart, window: Window | None) -> None:
            super().__init__()
            self.chart, self.window = chart, window

        @property
        def control(self) -> Chart:
            """The chart that was zoomed."""
            return self.chart

    def __init__(self, id: str | None = None, classes: str | None = None, focusable: bool = True) -> None:
        self._border_row: int | None = None  # set while a title changes, for `refresh`
        super().__init__(id=id, classes=classes)
        self._border = ("", "")
        self.can_focus = focusable
        self._plot = Plot()
        self._title = self._short = ""
        self._numbers: tuple[str, ...] = ()
        self._curves = Curves()
        self._grid = Grid(0, 0)
        self._window: Window | None = None
        self._follows = False  # whether the window's right end goes on with the data
        self._cursor: float | None = None
        self._dragged: tuple[int, Window] | None = None
        self._look: Look | None = None
        self._styles: dict[tuple[Ink, bool, Style], Style] = {}

    # --- what is shown ----------------------------------------------------------------------------

    @property
    def plot(self) -> Plot:
        """What is shown, at the window that is looked at."""
        return self._plot if self._window is None else replace(self._plot, window=self._window)

    @property
    def look(self) -> Look:
        """What the terminal can show; told once, from the app's own environment."""
        if self._look is None:
            self._look = look_of(os.environ, colours=not self.app.no_color)
        return self._look

    @look.setter
    def look(self, look: Look) -> None:
        self._look = look
        self._draw_anew()

    @property
    def window(self) -> Window | None:
        """The part of x that is looked at; None for all of it."""
        return self._window

    @property
    def cursor(self) -> float | None:
        """The crosshair's x."""
        return self._cursor

    def show(self, plot: Plot, title: str = "", numbers: Sequence[str] = (), short: str = "") -> None:
        """Show `plot` under a title, or a short one where that does not fit, and over its most important numbers, as many as fit,
        the first ones first."""
        other_axis = (plot.x_title, plot.x_log) != (self._plot.x_title, self._plot.x_log)
        self._title, self._short, self._numbers, self._plot = title, short or title, tuple(numbers), plot
        if other_axis:
            self._window = self._cursor = None
        elif self._window is not None and self._follows:
            end = self._whole().high
            self._window = (self._window[0] + end - self._window[1], end)
        elif self._window is not None and not _overlap(self._window, self._whole()):
            self._window = None  # another run, which has nothing there
        self._update()

    def point_at(self, place: float | None) -> None:
        """Put the crosshair at an x, or take it away, without telling anybody."""
        if place != self._cursor:
            self._cursor = place
            self._update()

    def look_at(self, window: Window | None) -> None:
        """Look at a part of x, or at all of it, without telling anybody."""
        if window != self._window:
            self._window = window
            self._follows = window is not None and window[1] >= self._whole().high
            self._update()

    def _update(self) -> None:
        """Draw, and repaint what differs."""
        size = self.size
        if not size.area or (self._grid.rows, self._grid.columns) != (size.height, size.width):
            self._grid = Grid(0, 0)  # a hidden chart, which has no size, may come back with the one it had
            self._write_border()
            self.refresh()
            return
        before, self._grid = self._grid, self._drawn()
        self._write_border()
        changed = self._grid.changed(before)
        if changed:
            self.refresh(*(Region(first, row, end - first, 1) for row, first, end in changed))

    def _draw_anew(self) -> None:
        self._grid = Grid(0, 0)
        self.refresh()

    def _drawn(self) -> Grid:
        """The plot on the widget's area; where drawing fails, the reason in its place: the app goes on."""
        size = self.size
        try:
            return draw(self.plot, size.height, size.width, self.look, self._curves, self._cursor)
        except Exception as error:  # whatever a run recorded, one chart is all that it may cost
            self._curves = Curves()
            return draw(
                Plot(empty=f"cannot be drawn: {type(error).__name__}: {error}"), size.height, size.width, self.look
            )

    # --- the border -------------------------------------------------------------------------------

    def _write_border(self) -> None:
        room = max(self.outer_size.width - 6, 0)
        title = self.look.text(self._title if len(self._title) <= room else self._short)
        border = escape(cut(title, room)), self._below(room)
        for i, row in ((0, -1), (1, self.size.height)):
            if border[i] != self._border[i]:
                self._border_row = row
                if i == 0:
                    self.border_title = border[0]
                else:
                    self.border_subtitle = border[1]
                self._border_row = None
        self._border = border

    def _below(self, room: int) -> str:
        """The values at the crosshair where the plot has no room for them, else the most important numbers; as markup."""
        if self._cursor is None or self._grid.told or self._plot.is_empty or self._grid.area is None:
            return escape(fitting([self.look.text(number) for number in self._numbers], room))
        dark, parts, length = self.app.current_theme.dark, [], 0
        for ink, label, value in reading(self._plot, self._cursor):
            text = self.look.text(f"{label} {value}")
            if length + len(text) > room:
                break
            parts.append(f"[{colour(ink, dark)}]{escape(text)}[/]")
            length += len(text) + 2
        return "  ".join(parts)

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Repaint; where only a title changed, its row alone (Textual would repaint the whole widget)."""
        if self._border_row is not None and not regions:
            regions = (Region(-1, self._border_row, self.outer_size.width, 1),)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def on_resize(self) -> None:
        self._write_border()

    def render_line(self, y: int) -> Strip:
        """One row of the content area."""
        size = self.size
        if (self._grid.rows, self._grid.columns) != (size.height, size.width):
            told, self._grid = self._grid.told, self._drawn()
            if self._grid.told != told:
                self.call_after_refresh(self._write_border)
        base = self.rich_style
        if y >= self._grid.rows:
            return Strip.blank(size.width, base)
        return Strip([Segment(text, self._style(ink, base)) for text, ink in self._grid.runs(y)], size.width)

    def _style(self, ink: Ink, base: Style) -> Style:
        key = (ink, self.app.current_theme.dark, base)
        if key not in self._styles:
            dark = key[1]
            back = colour(ink.back, dark) if ink.back else None
            self._styles[key] = base + Style(color=colour(ink.name, dark), bgcolor=back, bold=ink.bold or None)
        return self._styles[key]

    # --- zooming and panning ----------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        """Keys that would do nothing here are left to the screen."""
        if action in ("zoom_x", "step"):
            return self._grid.area is not None
        if action == "pan":
            return self._window is not None
        if action == "whole":
            return self._window is not None or self._cursor is not None
        return True

    def action_zoom_x(self, direction: int) -> None:
        """Closer (1) or further away (−1), about the crosshair or the middle."""
        middle = None if self._cursor is None else float(self._grid.x.fraction([self._cursor])[0])
        self._zoom(_IN if direction > 0 else 1 / _IN, 0.5 if middle is None or not 0 <= middle <= 1 else middle)

    def action_pan(self, direction: int) -> None:
        """To the left (−1) or right (1)."""
        self._move(direction * _PAN)

    def action_whole(self) -> None:
        """All of x again, without a crosshair."""
        self._set_window(None)
        self._set_cursor(None)

    def action_step(self, direction: int) -> None:
        """The crosshair to the next column that has a point, or to the last one where there is no crosshair yet."""
        grid = self._grid
        if grid.area is None:
            return
        width = grid.area[3]
        start = float(grid.x.fraction([self._cursor])[0]) if self._cursor is not None else float("nan")
        if not 0 <= start <= 1:
            self._set_cursor(self._nearest(1.0))
            return
        places = self._places()
        column = np.rint(places * (width - 1))
        here = round(start * (width - 1))
        ahead = places[column > here] if direction > 0 else places[column < here]
        if ahead.size:
            self._set_cursor(self._nearest(float(ahead.min() if direction > 0 else ahead.max())))

    def _places(self) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Where points are, as fractions of the axis."""
        plot = self._curves.thinned(self.plot, max(self.size.width, 1) * 2)
        parts = [line.x[np.isfinite(line.y)] for line in plot.lines] + [h.edges for h in plot.histograms]
        if plot.heat is not None:
            parts.append(plot.heat.x_edges)
        if not parts:
            return np.empty(0)
        fractions = self._grid.x.fraction(np.concatenate(parts))
        return fractions[(fractions >= 0) & (fractions <= 1)]

    def _zoom(self, factor: float, about: float) -> None:
        axis = self._grid.x
        first = about - about * factor
        self._set_window((axis.value(first), axis.value(first + factor)))

    def _move(self, share: float) -> None:
        axis = self._grid.x
        self._set_window((axis.value(share), axis.value(1.0 + share)))

    def _whole(self) -> Scale:
        """The axis without a window."""
        columns = self._grid.area[3] if self._grid.area else max(self.size.width, 12)
        return replace(self._plot, window=None).x_scale(max(min(columns // 8, 12), 4))

    def _set_window(self, window: Window | None) -> None:
        """Look there, held inside the whole axis, and say so where it is another part."""
        whole = self._whole()
        if window is not None:
            low, high = (float(place) for place in whole.fraction(np.array(window)))
            shift = max(-low, 0.0) - max(high - 1.0, 0.0)  # at an end of the axis it keeps its size
            low, high = max(low + shift, 0.0), min(high + shift, 1.0)
            if high - low < _LEAST:
                return
            window = None if low <= 1e-9 and high >= 1 - 1e-9 else (whole.value(low), whole.value(high))
        if window != self._window:
            self.look_at(window)
            self.post_message(self.Zoomed(self, window))

    # --- the crosshair ----------------------------------------------------------------------------

    def _set_cursor(self, place: float | None) -> None:
        if place != self._cursor:
            self.point_at(place)
            self.post_message(self.Pointed(self, place))

    def _nearest(self, fraction: float) -> float | None:
        """The x of the point nearest to a place on the axis; the place itself where there are no lines."""
        wanted = self._grid.x.value(fraction)
        if not self._plot.lines:
            return wanted
        return nearest_x(self._curves.thinned(self.plot, max(self.size.width, 1) * 2).lines, wanted)

    def _fraction(self, event: events.MouseEvent) -> float | None:
        """Where on the axis the pointer is; None outside the plot."""
        offset = event.get_content_offset(self)
        if offset is None or self._grid.area is None:
            return None
        _, left, _, columns = self._grid.area
        place = (offset.x - left) / max(columns - 1, 1)
        return place if -0.01 <= place <= 1.01 else None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """The crosshair follows the pointer; with the button held, the window does."""
        if self._dragged is not None and self._grid.area is not None:
            begun, window = self._dragged
            axis = Scale(*window, self._plot.x_log, self._plot.x_unit)
            share = (begun - event.screen_x) / max(self._grid.area[3] - 1, 1)
            self._set_window((axis.value(share), axis.value(1.0 + share)))
            return
        place = self._fraction(event)
        self._set_cursor(None if place is None else self._nearest(place))

    def on_leave(self) -> None:
        if self._dragged is None:
            self._set_cursor(None)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        if event.button == 1 and self._window is not None:
            self._dragged = (event.screen_x, self._window)
            self.capture_mouse()

    def on_mouse_up(self) -> None:
        if self._dragged is not None:
            self._dragged = None
            self.release_mouse()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, _IN)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, 1 / _IN)

    def _wheel(self, event: events.MouseEvent, factor: float) -> None:
        place = self._fraction(event)
        if place is not None:
            event.stop()
            self._zoom(factor**0.5, min(max(place, 0.0), 1.0))


def _overlap(window: Window, axis: Scale) -> bool:
    return window[0] < axis.high and window[1] > axis.low


def side_by_side(charts: Sequence[Chart], moved: Chart.Pointed | Chart.Zoomed) -> None:
    """Let the other charts of a row follow the crosshair or the window of one."""
    for chart in charts:
        if chart is not moved.chart:
            if isinstance(moved, Chart.Pointed):
                chart.point_at(moved.place)
            else:
                chart.look_at(moved.window)
