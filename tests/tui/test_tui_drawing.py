"""Charts as text: lines, gaps, histograms, reference lines, labels, empty charts."""

from __future__ import annotations

import numpy as np
import pytest

from mopo_tui.widgets import braille
from mopo_tui.widgets.drawing import draw
from mopo_tui.widgets.plot import Histogram, Line, Plot, Reference, share_axes


def lines_of(x: list[float], y: list[float], rows: int = 1, columns: int = 4) -> list[str]:
    dots = braille.empty(rows, columns)
    braille.draw_line(dots, np.array(x, dtype=float), np.array(y, dtype=float))
    return braille.text(dots)


def test_each_dot_has_its_unicode_place() -> None:
    for row in range(4):
        for column in range(2):
            dots = braille.empty(1, 1)
            dots[row, column] = True
            bit = [[1, 8], [2, 16], [4, 32], [64, 128]][row][column]
            assert braille.text(dots) == [chr(0x2800 + bit)]


def test_lines() -> None:
    assert lines_of([0, 1], [0, 0]) == ["⣀⣀⣀⣀"]
    assert lines_of([0, 1], [1, 1]) == ["⠉⠉⠉⠉"]
    assert lines_of([0, 1], [0, 1]) == ["⣀⠤⠒⠉"]
    assert lines_of([0, 0], [0, 1]) == ["⡇   "]


def test_nan_is_a_gap() -> None:
    x = np.linspace(0, 1, 8).tolist()
    assert lines_of(x, [0, 0, 0, np.nan, np.nan, 0, 0, 0]) == ["⣀⡀⢀⣀"]
    assert lines_of([0, 1], [np.nan, np.nan]) == ["    "]


def test_what_is_outside_is_cut_off() -> None:
    assert lines_of([0, 1], [5, 5]) == ["    "]
    assert lines_of([0, 0.5, 1], [0, 1e12, 0])[0] != "    "


def test_many_points_draw_the_same_picture_as_their_envelope() -> None:
    x = np.linspace(0, 1, 50_000)
    rough = lines_of(x.tolist(), (0.5 + 0.5 * np.sin(x * 9000)).tolist(), rows=2, columns=6)
    assert rough == ["⣿" * 6] * 2


def test_histogram_filled_is_stippled_and_outlined_is_hollow() -> None:
    left, right, heights = np.array([0.0, 0.5]), np.array([0.5, 1.0]), np.array([1.0, 0.5])
    filled, outlined = braille.empty(2, 4), braille.empty(2, 4)
    braille.draw_filled(filled, left, right, heights)
    braille.draw_outline(outlined, left, right, heights)
    assert braille.text(filled) == ["⢕⢕  ", "⢕⢕⢕⢕"]
    assert braille.text(outlined) == ["⡏⠉⡇ ", "⡇ ⠈⢹"]
    assert filled[:, 4:][:4].sum() == 0


def test_a_small_bar_is_still_seen() -> None:
    dots = braille.empty(4, 4)
    braille.draw_filled(dots, np.array([0.0]), np.array([1.0]), np.array([1e-6]))
    assert dots.any()


def chart(plot: Plot, rows: int = 10, columns: int = 60) -> str:
    return "\n".join(draw(plot, rows, columns).lines())


UPDATES = np.arange(5_000.0, 100_001.0, 5_000.0)
SCORE = Line("score", UPDATES, np.linspace(5, 52, 20), marker="●")


def test_axes_have_round_ticks_and_the_unit() -> None:
    text = chart(Plot([SCORE], [Reference(50, "a label")], x_title="updates", x_span=(0, 0)), columns=70)
    assert text.splitlines()[-1].split() == ["0", "20k", "40k", "60k", "80k", "100k", "updates"]
    assert [line.split("┤")[0].strip() for line in text.splitlines() if "┤" in line] == ["60", "40", "20", "0"]


def test_reference_lines_widen_the_axis_and_carry_their_label() -> None:
    text = chart(Plot([SCORE], [Reference(100, "100"), Reference(0, "random")]))
    rows = text.splitlines()
    assert rows[0].startswith("100┤┈┈┈")
    assert rows[0].rstrip().endswith(" 100")
    assert any(row.rstrip().endswith("random") for row in rows)


def test_close_reference_labels_keep_their_order_and_do_not_overlap() -> None:
    names = [
        Reference(1000, "do-nothing"),
        Reference(990, "batch mean"),
        Reference(980, "other"),
        Reference(-50, "random"),
    ]
    rows = chart(Plot([Line("r", UPDATES, np.linspace(0, 2000, 20))], names)).splitlines()
    order = [i for name in ("do-nothing", "batch mean", "other", "random") for i, row in enumerate(rows) if name in row]
    assert len(order) == 4
    assert order == sorted(set(order))


def test_narrow_charts_take_short_labels() -> None:
    plot = Plot([SCORE], [Reference(30, "batch mean 30", "mean")])
    assert "batch mean 30" in chart(plot, columns=60)
    assert "batch" not in chart(plot, columns=40)
    assert "mean" in chart(plot, columns=40)


def test_ends_of_lines_are_labelled() -> None:
    members = [Line(f"member {m}", UPDATES, np.full(20, 10.0**-m), end_label=str(m)) for m in range(3)]
    rows = chart(Plot(members, y_log=True)).splitlines()
    ends = [
        row.rstrip()[-1]
        for row in rows
        if (row.rstrip()[-1:] in ("0", "1", "2") and "⠤" in row) or "⠉" in row or "⣀" in row
    ]
    assert ends == ["0", "1", "2"]


def test_an_empty_chart_says_why() -> None:
    assert "waits for the first policy epoch" in chart(Plot(empty="waits for the first policy epoch"))
    nothing = Line("x", np.array([1.0, 2.0]), np.array([np.nan, np.nan]))
    assert "why" in chart(Plot([nothing], empty="why"))
    below = Line("x", np.array([1.0]), np.array([0.0]))
    assert "why" in chart(Plot([below], y_log=True, empty="why"))


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 11, 40])
@pytest.mark.parametrize("columns", [1, 8, 12, 20, 38, 200])
def test_every_size_is_filled_exactly(rows: int, columns: int) -> None:
    hist = Histogram("u", np.array([0.1, 1.0, 10.0]), np.array([3.0, 5.0]), filled=True)
    for plot in (
        Plot([SCORE], [Reference(100, "100")], x_title="updates"),
        Plot(histograms=[hist], x_log=True),
        Plot(),
    ):
        drawn = draw(plot, rows, columns).lines()
        assert len(drawn) == rows
        assert {len(line) for line in drawn} == {columns}


def test_shared_axes_hold_both() -> None:
    one, other = share_axes([Plot([SCORE]), Plot([Line("s", UPDATES * 2, SCORE.y * 10)]), Plot()])[:2]
    assert one.x_scale(5) == other.x_scale(5)
    assert one.y_scale(5) == other.y_scale(5)
    assert one.y_scale(5).high >= 520


def test_one_point_can_be_drawn() -> None:
    assert "●" in chart(Plot([Line("s", np.array([50.0]), np.array([2.26]), marker="●")], x_span=(0, 0)))
