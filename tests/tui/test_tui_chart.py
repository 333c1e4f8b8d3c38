"""The chart widget: keys, mouse, messages, and what it writes to a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from screen_text import text_of
from textual import events
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.pilot import Pilot

from mopo_tui.widgets.chart import Chart, side_by_side
from mopo_tui.widgets.glyphs import Look
from mopo_tui.widgets.plot import Line, Plot

X = np.arange(0.0, 101.0)
PLOT = Plot([Line("loss", X, np.exp(-X / 20)), Line("other", X, X / 100, "orange")], x_title="updates")


class Charts(App[None]):
    """Two charts side by side, as a screen joins them."""

    CSS = "Chart { width: 1fr; border: round gray; }"

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[Chart.Pointed | Chart.Zoomed] = []
        self.pressed: list[str] = []

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Chart(id="one")
            yield Chart(id="two")

    def on_mount(self) -> None:
        for chart in self.query(Chart):
            chart.show(PLOT, "a title", ["last 1.0"])
        self.query_one("#one").focus()

    def on_chart_pointed(self, event: Chart.Pointed) -> None:
        self.messages.append(event)
        side_by_side(list(self.query(Chart)), event)

    def on_chart_zoomed(self, event: Chart.Zoomed) -> None:
        self.messages.append(event)
        side_by_side(list(self.query(Chart)), event)

    def on_key(self, event: object) -> None:
        self.pressed.append(getattr(event, "key", ""))

    @property
    def one(self) -> Chart:
        return self.query_one("#one", Chart)

    @property
    def two(self) -> Chart:
        return self.query_one("#two", Chart)


SIZE = (120, 24)


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


async def test_keys_zoom_pan_and_show_all_again() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "right_square_bracket")
        assert app.one.window == (25, 75)  # half of the axis, about its middle
        await press(pilot, "l")
        assert app.one.window == pytest.approx((35, 85))
        await press(pilot, "l", "l", "l")
        assert app.one.window == pytest.approx((50, 100))  # not beyond the axis
        await press(pilot, "left")
        assert app.one.window == pytest.approx((40, 90))
        await press(pilot, "left_square_bracket")
        assert app.one.window is None
        await press(pilot, "right_square_bracket", "right_square_bracket", "0")
        assert app.one.window is None


async def test_y_fits_what_is_seen() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        app.one.show(Plot([Line("loss", X, np.exp(-X / 10))]))
        await press(pilot, "right_square_bracket", "right_square_bracket")
        assert app.one._grid.y.high < 0.05


async def test_charts_side_by_side_share_window_and_crosshair() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "right_square_bracket")
        assert app.two.window == app.one.window is not None
        await press(pilot, "full_stop")
        assert app.two.cursor == app.one.cursor is not None
        assert {type(message).__name__ for message in app.messages} == {"Pointed", "Zoomed"}
        assert all(message.control is app.one for message in app.messages)  # who follows tells nobody


async def test_the_crosshair_goes_from_point_to_point() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        app.one.show(
            Plot([Line("m", np.array([0.0, 10, 50, 100]), np.array([1.0, 2, np.nan, 4]), "sky")], x_title="updates")
        )
        await press(pilot, "full_stop")
        assert app.one.cursor == 100
        await press(pilot, "comma")
        assert app.one.cursor == 10  # 50 has no value
        await press(pilot, "comma", "comma")
        assert app.one.cursor == 0
        await press(pilot, "0")
        assert app.one.cursor is None


async def test_the_values_at_the_crosshair_are_read_in_the_plot_or_below_it() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "full_stop")
        assert "1.00" in "".join(app.one._grid.lines())
        await pilot.resize_terminal(70, 9)
        await pilot.pause()
        assert not app.one._grid.told
        assert "loss 0.0067" in str(app.one.border_subtitle)
        await press(pilot, "0")
        assert str(app.one.border_subtitle) == "last 1.0"


async def test_zooming_in_keeps_the_crosshair_where_it_is() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        app.one.point_at(30.0)
        await press(pilot, "right_square_bracket")
        assert app.one.window == pytest.approx((15, 65))


async def test_keys_that_would_do_nothing_are_the_screens() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "h", "0")
        assert app.pressed == ["h", "0"]
        app.one.show(Plot(empty="why"))
        await press(pilot, "right_square_bracket", "full_stop")
        assert app.pressed[2:] == ["right_square_bracket", "full_stop"]


async def test_the_wheel_zooms_at_the_pointer_dragging_pans_and_leaving_ends_the_crosshair() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.hover("#one", offset=(40, 8))
        await pilot.pause()
        area = app.one._grid.area
        assert area is not None
        pointed = app.one._grid.x.value((40 - 1 - area[1]) / (area[3] - 1))
        assert app.one.cursor == round(pointed)
        await pilot._post_mouse_events([events.MouseScrollUp], "#one", offset=(40, 8))
        await pilot.pause()
        window = app.one.window
        assert window is not None
        assert app.one._grid.x.value((40 - 1 - area[1]) / (area[3] - 1)) == pytest.approx(pointed, abs=1.0)
        await pilot.mouse_down("#one", offset=(40, 8))
        await pilot.hover("#one", offset=(30, 8))
        await pilot.mouse_up("#one", offset=(30, 8))
        await pilot.pause()
        assert app.one.window is not None
        assert app.one.window[0] > window[0]  # the curve went left with the pointer
        assert app.one.window[1] - app.one.window[0] == pytest.approx(window[1] - window[0])
        await pilot.hover("#two", offset=(20, 8))
        await pilot.pause()
        assert app.messages[-1].control is app.two


async def test_a_window_at_the_end_follows_what_comes() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        app.one.look_at((40.0, 100.0))
        more = np.arange(0.0, 301.0)
        app.one.show(Plot([Line("loss", more, more)], x_title="updates"))
        assert app.one.window == (240, 300)
        app.one.look_at((40.0, 100.0))
        app.one.show(Plot([Line("loss", more, more)], x_title="updates"))
        assert app.one.window == (40, 100)
        app.one.show(Plot([Line("loss", more, more)], x_title="epoch"))
        assert app.one.window is None  # another axis
        app.one.look_at((200.0, 250.0))
        app.one.show(Plot([Line("loss", X, X)], x_title="epoch"))
        assert app.one.window is None  # another run, which is not that long
        await pilot.pause()


async def test_only_what_changed_is_repainted() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        chart = app.one
        chart.show(PLOT, "a title", ["last 1.0"])
        assert not chart._repaint_regions
        longer = np.r_[PLOT.lines[0].y[:-1], 0.5]
        chart.show(Plot([Line("loss", X, longer), PLOT.lines[1]], x_title="updates"), "a title", ["last 1.0"])
        assert 0 < sum(region.area for region in chart._repaint_regions) < 40
        await pilot.pause()
        chart.show(chart.plot, "a title", ["last 0.5"])
        assert [(region.y, region.height) for region in chart._repaint_regions] == [(chart.outer_size.height - 1, 1)]


async def test_a_plot_that_cannot_be_drawn_says_so() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        app.one.show(Plot([Line("m", X, X[:-5])], x_title="updates"))
        await pilot.pause()
        assert "cannot be drawn" in "".join(app.one._grid.lines())
        app.one.show(PLOT)
        await pilot.pause()
        assert "cannot" not in "".join(app.one._grid.lines())


async def test_a_terminal_without_unicode_gets_ascii_titles_too() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        app.one.look = Look("ascii", False)
        app.one.show(PLOT, "penalty λu…", ["± 3"])
        await pilot.pause()
        assert str(app.one.border_title) == "penalty lambda u~"
        assert "".join(app.one._grid.lines()).isascii()


async def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Charts()
    async with app.run_test(size=SIZE):
        assert not app.one.look.colours
    monkeypatch.delenv("NO_COLOR", raising=False)
    app = Charts()
    async with app.run_test(size=SIZE):
        assert app.one.look.colours


async def test_the_theme_decides_the_colours() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()

        def inks() -> set[str]:
            strips = [app.one.render_line(y) for y in range(app.one.size.height)]
            return {
                str(segment.style.color.name)
                for strip in strips
                for segment in strip
                if segment.style and segment.style.color
            }

        dark = inks()
        app.theme = "textual-light"
        await pilot.pause()
        assert dark.isdisjoint(inks())


async def test_rows_are_written_whole_after_the_screen_was_laid_out_anew() -> None:
    """A toast that goes away leaves its place to be repainted, which may be joined with what a chart repaints."""
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        compositor, values = app.screen._compositor, PLOT.lines[0].y
        written = []
        for change, laid_out in ((0.2, False), (0.4, False), (0.6, True)):
            if laid_out:
                app.screen.screen_layout_refresh_signal.publish(app.screen)
                await pilot.pause()
            app.one.show(
                Plot([Line("loss", X, np.r_[values[:-1], change]), PLOT.lines[1]], x_title="updates"), "a title"
            )
            compositor.update_widgets({app.one})
            update = compositor.render_partial_update()
            assert update is not None
            written.append(bool(re.search(r"\x1b\[\d+C", update.render_segments(app.console))))
        assert written == [False, True, False]  # the first time nothing is there yet


async def test_what_a_hidden_chart_was_given_is_seen_when_it_comes_back() -> None:
    app = Charts()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        app.one.show(Plot(empty="nothing at all"))
        await pilot.pause()
        assert "nothing at all" in text_of(app)
        app.one.display = False
        await pilot.pause()
        app.one.show(PLOT)
        app.one.display = True
        await pilot.pause()
        assert "nothing at all" not in text_of(app)


# --- in a real terminal -----------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, json, os, sys
import numpy as np
from textual.app import App
from textual.containers import Grid
from mopo_tui.widgets.chart import Chart
from mopo_tui.widgets.plot import Line, Plot

x = np.arange(3000.0)
rng = np.random.default_rng(0)
y = [np.sin(x / 300) + 0.2 * rng.normal(size=3000) + s for s in range(3)]

class Live(App):
    CSS = "Grid { grid-size: 2 2; } Chart { border: round gray; }"

    def compose(self):
        with Grid():
            for i in range(4):
                yield Chart(id=f"c{i}")

    def on_mount(self):
        self.run_worker(self.go())

    async def go(self):
        for count in range(2500, 2560):
            for i in range(4):
                lines = [Line(str(s), x[:count], y[s][:count] * (i + 1), "sky", end_label=str(s)) for s in range(3)]
                self.query_one(f"#c{i}", Chart).show(Plot(lines, x_title="updates"), "chart", [f"last {count}"])
            if count == 2520:
                self.notify("a toast over the charts", timeout=0.6)
            if count == 2550:
                self.query_one("#c1", Chart).point_at(1200.0)
            await asyncio.sleep(0.03)
        await asyncio.sleep(0.8)
        os.write(int(sys.argv[1]), json.dumps(["".join(s.text) for s in self.screen._compositor.render_strips()]).encode())
        await asyncio.sleep(0.3)
        os._exit(0)

Live().run()
"""


def terminal(data: str, rows: int, columns: int) -> list[str]:
    """What a terminal shows after it got `data`: cursor moves, colours and text are all that the app writes."""
    screen = [[" "] * columns for _ in range(rows)]
    row = column = 0
    for escape, parameters, final, text in re.findall(
        r"(\x1b)(?:\[([?<>=]?[\d;:]*)([A-Za-z@`])|[^\[]|\][^\x07]*\x07)|([^\x1b])", data
    ):
        if escape:
            numbers = [int(n) for n in re.findall(r"\d+", parameters)]
            if final == "H":
                row, column = (numbers[0] - 1, numbers[1] - 1) if len(numbers) == 2 else (0, 0)
            elif final == "C":
                column += numbers[0]
            elif final == "J" and numbers == [2]:
                screen = [[" "] * columns for _ in range(rows)]
        elif text == "\n":
            row += 1
        elif text == "\r":
            column = 0
        elif text >= " ":
            if row < rows and column < columns:
                screen[row][column] = text
            column += 1
    return ["".join(line) for line in screen]


def test_rows_written_in_part_leave_the_terminal_as_the_app_means_it(tmp_path: Path) -> None:
    program = tmp_path / "live.py"
    program.write_text(PROGRAM)
    rows, columns = 30, 100
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    told, report = os.pipe()
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONUTF8": "1"}
    process = subprocess.Popen(
        [sys.executable, str(program), str(report)], stdin=slave, stdout=slave, stderr=slave, pass_fds=(report,),
        env=environment, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.close(report)
    written, meant = b"", b""
    while True:
        ready, _, _ = select.select([master, told], [], [], 60)
        assert ready, "the app has not answered for a minute"
        if master in ready:
            try:
                written += os.read(master, 65536)
            except OSError:
                break
        elif told in ready:
            meant += (data := os.read(told, 65536))
            if not data:
                break
    process.wait()
    text = written.decode("utf-8", "replace")
    assert meant, text[-2000:]
    assert re.search(r"\x1b\[\d+C", text)  # some rows were written in part
    shown = terminal(text, rows, columns)
    assert [line.rstrip() for line in shown] == [line.rstrip() for line in json.loads(meant)]
