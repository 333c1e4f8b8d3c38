"""Charts as text: lines, gaps, histograms, reference lines, labels, empty charts."""

from __future__ import annotations

import numpy as np
import pytest

from mopo_tui.widgets import braille
from mopo_tui.widgets.drawing import Grid, draw, reading
from mopo_tui.widgets.glyphs import FINEST, Kind, Look, look_of
from mopo_tui.widgets.palette import HEAT_STEPS
from mopo_tui.widgets.plot import Band, Heat, Histogram, Line, Mark, Plot, Reference, RightAxis, Vertical, share_axes


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


# --- areas, verticals, dashes, windows, the second axis ---------------------------------------------------------------------------


def dots_of(grid: Grid, rows: range, columns: range) -> int:
    """How many braille dots stand in a part of a grid."""
    codes = grid.codes[rows.start : rows.stop, columns.start : columns.stop].astype(int) - 0x2800
    return sum(bin(c).count("1") for c in codes.ravel() if 0 < c < 256)


def test_a_band_is_light_and_has_gaps_where_it_is_unknown() -> None:
    x = np.linspace(0, 1, 5)
    low, high = np.zeros(5), np.ones(5)
    dots = braille.empty(5, 20)
    braille.draw_band(dots, x, low, high)
    assert 0.2 < dots.mean() < 0.3
    gone = braille.empty(5, 20)
    braille.draw_band(gone, np.linspace(0, 1, 6), np.zeros(6), np.r_[1.0, 1, np.nan, np.nan, 1, 1])
    assert gone[:, :6].any()
    assert not gone[:, 12:28].any()
    assert gone[:, -6:].any()


def test_what_lies_on_top_takes_its_cell_and_keeps_its_ink() -> None:
    x = np.linspace(0, 10, 11)
    band = Band("range", x, np.full(11, 0.0), np.full(11, 10.0), "green faint")
    seed, mean = Line("seed", x, np.full(11, 5.2), "sky dim", behind=True), Line("mean", x, np.full(11, 5.0), bold=True)
    grid = draw(Plot([mean, seed], bands=[band]), 12, 50)
    inks = {ink.name for row in range(10) for text, ink in grid.runs(row) if any("⠀" < c <= "⣿" for c in text)}
    assert inks == {"green faint", "sky"}  # the seed lies below the mean, wherever it stands in the list


def test_a_bold_line_is_thicker() -> None:
    x = np.linspace(0, 10, 11)
    thin, thick = (draw(Plot([Line("m", x, x, bold=bold)]), 12, 50) for bold in (False, True))
    assert dots_of(thick, range(10), range(4, 50)) > 1.4 * dots_of(thin, range(10), range(4, 50))


@pytest.mark.parametrize("dash", ["dashed", "dotted", "dashdot"])
def test_dashes_differ_without_colour(dash: str) -> None:
    x = np.linspace(0, 10, 11)
    full, other = (chart(Plot([Line("m", x, np.full(11, 5.0), dash=kind)])) for kind in ("", dash))
    assert full != other
    assert full.replace(" ", "") != other.replace(" ", "")


def test_a_vertical_line_stands_at_its_value_with_its_label() -> None:
    rows = chart(Plot([SCORE], verticals=[Vertical(50_000, "stage 2")], x_span=(0, 0), x_title="updates")).splitlines()
    tick = rows[-1].index("50k") + 1 if "50k" in rows[-1] else None
    columns = {row.index("┊") for row in rows if "┊" in row}
    assert len(columns) == 1
    assert "┊ stage 2" in rows[0]
    assert tick is None or abs(columns.pop() - tick) <= 1


def test_a_label_without_room_at_the_right_stands_at_the_left() -> None:
    first = chart(Plot([SCORE], verticals=[Vertical(99_000, "stage 2")], x_span=(0, 0))).splitlines()[0]
    assert "stage 2 ┊" in first


def test_the_right_axis_reads_the_same_height_on_the_other_scale() -> None:
    plot = Plot([SCORE], y_span=(0, 100), right=RightAxis(120.0, -200.0, "return"), y_title="score %")
    rows = chart(plot, rows=17, columns=80).splitlines()
    assert rows[0].rstrip().endswith("score % · right: return")
    left = {row.split("┤")[0].strip(): i for i, row in enumerate(rows) if "┤" in row}
    right = {row.split("├")[1].strip(): i for i, row in enumerate(rows) if "├" in row}
    assert {"0", "5000", "10000"} & set(right) or {"0", "5k", "10k"} & set(right)
    zero = right["0"]  # 0 is 1.67 on the left: the lowest row or the one above it
    assert left["0"] - 1 <= zero <= left["0"]
    assert "├" not in chart(plot, rows=17, columns=60)


def test_a_window_shows_its_part_and_y_fits_it() -> None:
    x = np.arange(0.0, 101.0)
    loss = Line("loss", x, 1000 * np.exp(-x / 5) + 1)
    grid = draw(Plot([loss], window=(60.0, 90.0)), 12, 60)
    assert (grid.x.low, grid.x.high) == (60, 90)
    assert grid.y.high < 1.1
    assert draw(Plot([loss]), 12, 60).y.high == 1200


def test_what_crosses_the_window_s_edges_reaches_them() -> None:
    plot = Plot([Line("m", np.array([0.0, 100.0]), np.array([0.0, 1.0]))], window=(40.0, 60.0))
    drawn = [row for row in chart(plot).splitlines()[:-2] if any("⠀" < c <= "⣿" for c in row)]
    area = draw(plot, 10, 60).area
    assert area is not None
    columns = {i for row in drawn for i, c in enumerate(row) if "⠀" < c <= "⣿"}
    assert columns == set(range(area[1], area[1] + area[3]))


# --- the heat map -----------------------------------------------------------------------------------------------------------------

HEAT = Heat(
    np.array([0.0, 10, 20, 30]), np.array([0.1, 1.0, 10.0, 100.0]), np.array([[4.0, 0, 0], [0, 4, 0], [0, 0, 1]])
)


def heat_steps(grid: Grid, look: Look = FINEST) -> np.ndarray:
    """The steps of colour of a grid's area, two a row, from the top; 0 where nothing is."""
    assert grid.area is not None
    top, left, rows, columns = grid.area
    found = np.zeros((2 * rows, columns), dtype=int)
    for row in range(rows):
        column = 0
        for text, ink in grid.runs(top + row):
            for c in text:
                if c == "▀" and left <= column < left + columns:
                    found[2 * row, column - left] = int(ink.name.split()[1])
                    found[2 * row + 1, column - left] = int(ink.back.split()[1])
                column += 1
    assert look.kind == "braille"
    return found


def test_a_heat_map_has_each_value_in_its_place_and_colour() -> None:
    steps = heat_steps(draw(Plot(heat=HEAT, y_log=True), 12, 40))
    height, width = steps.shape
    brightest = HEAT_STEPS - 1
    for row, column, expected in ((0, 0, brightest), (1, 1, brightest), (2, 2, brightest / 2), (0, 2, 0)):
        y, x = height - 1 - int((row + 0.5) / 3 * height), int((column + 0.5) / 3 * width)
        assert steps[y, x] == pytest.approx(expected, abs=0.6)


def test_many_columns_are_averaged_not_sampled() -> None:
    values = np.zeros((1, 400))
    values[0, ::2] = 1.0
    heat = Heat(np.arange(401.0), np.array([1.0, 2.0]), values)
    steps = heat_steps(draw(Plot(heat=heat), 8, 50))
    assert np.abs(steps - np.sqrt(0.5) * (HEAT_STEPS - 1)).max() < 2


def test_lines_over_a_heat_map_keep_its_colours_behind_them() -> None:
    line = Line("p95", np.array([0.0, 30.0]), np.array([50.0, 50.0]), "text")
    grid = draw(Plot([line], heat=HEAT, y_log=True), 12, 40)
    backs = {ink.back for row in range(10) for text, ink in grid.runs(row) if any("⠀" < c <= "⣿" for c in text)}
    assert "heat 0" in backs
    assert len(backs) > 1


def test_a_heat_map_without_colours_is_shaded() -> None:
    shaded = "".join(draw(Plot(heat=HEAT, y_log=True), 12, 40, Look("braille", False)).lines())
    assert "█" in shaded
    assert "▒" in shaded
    assert "▀" not in shaded
    ascii_only = "".join(draw(Plot(heat=HEAT, y_log=True), 12, 40, Look("ascii", False)).lines())
    assert "@" in ascii_only
    assert ascii_only.isascii()


# --- terminals that can show less -------------------------------------------------------------------------------------------------

EVERYTHING = Plot(
    [SCORE, Line("other", UPDATES, SCORE.y / 2, "orange", end_label="b", dash="dashed", bold=True)],
    [Reference(30, "batch mean 30")],
    [],
    [Band("range", UPDATES, SCORE.y - 5, SCORE.y + 5, "sky faint")],
    [Mark(50_000, 20)],
    [Vertical(40_000, "stage 2")],
    x_title="updates",
    y_title="λu",
    right=RightAxis(10, 0, "±"),
    legend=(("━", "sky", "score"), ("░", "sky", "range"), ("◆", "text", "best")),
)


@pytest.mark.parametrize("size", [(8, 40), (12, 60), (25, 100)])
def test_ascii_is_ascii(size: tuple[int, int]) -> None:
    text = "\n".join(draw(EVERYTHING, *size, Look("ascii"), cursor=50_000).lines())
    assert text.isascii()
    assert "?" not in text
    assert "o" in text


def test_half_blocks_use_no_braille() -> None:
    text = "".join(draw(EVERYTHING, 25, 100, Look("blocks")).lines())
    assert not any("⠀" <= c <= "⣿" for c in text)
    assert {"▀", "▄", "░"} <= set(text)


@pytest.mark.parametrize("kind", ["braille", "blocks", "ascii"])
def test_every_kind_draws_a_rising_line_upwards(kind: Kind) -> None:
    grid = draw(Plot([Line("m", np.array([0.0, 1.0]), np.array([0.0, 1.0]))]), 12, 40, Look(kind))
    assert grid.area is not None
    top, left, rows, columns = grid.area
    area = np.array([list(line[left : left + columns]) for line in grid.lines()[top : top + rows]])
    heights = [int(np.flatnonzero(area[:, c] != " ")[0]) for c in range(columns)]
    assert heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (rows - 1, 0)


@pytest.mark.parametrize(
    ("environment", "encoding", "expected"),
    [
        ({}, "utf-8", Look()),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "UTF-8", Look("braille", False)),
        ({"TERM": "linux"}, "utf-8", Look("blocks")),
        ({"LANG": "C"}, "ascii", Look("ascii")),
        ({"LANG": "C", "LC_CTYPE": "C.UTF-8"}, "utf-8", Look("ascii")),  # what Python makes of LANG=C
        ({"LC_ALL": "POSIX", "LANG": "C.UTF-8"}, "utf-8", Look("ascii")),
        ({"LANG": "de_DE.ISO-8859-1@euro"}, "utf-8", Look("ascii")),
        ({"LC_CTYPE": "C.UTF-8"}, "utf-8", Look()),  # and of no locale at all
        ({"LANG": "C", "LC_ALL": "de_DE.UTF-8"}, "utf-8", Look()),
        ({}, "ANSI_X3.4-1968", Look("ascii")),
        ({"TERM": "dumb"}, "utf-8", Look("ascii", False)),
        ({"MOPO_GLYPHS": "ascii"}, "utf-8", Look("ascii")),
        ({"MOPO_GLYPHS": "braille", "TERM": "linux"}, "utf-8", Look()),
        ({"MOPO_GLYPHS": "nonsense"}, "utf-8", Look()),
    ],
)
def test_what_a_terminal_can_show(environment: dict[str, str], encoding: str, expected: Look) -> None:
    assert look_of(environment, encoding) == expected


# --- the crosshair ----------------------------------------------------------------------------------------------------------------


def test_the_crosshair_reads_every_series() -> None:
    lines = [Line("a", UPDATES, UPDATES / 1000), Line("b", UPDATES[:5], UPDATES[:5] * 2, "orange")]
    assert reading(Plot(lines, x_title="updates"), 50_300.0) == [
        ("text", "updates", "50 300"),
        ("sky", "a", "50.0"),
        ("orange", "b", "50 000"),
    ]
    grid = draw(Plot(lines, x_title="updates"), 20, 80, cursor=50_000.0)
    assert grid.told
    text = "\n".join(grid.lines())
    assert "50 000" in text
    assert "│" in text


def test_the_crosshair_reads_the_mean_before_the_seeds() -> None:
    lines = [Line("seed 0", UPDATES, UPDATES, behind=True), Line("mean", UPDATES, UPDATES)]
    assert [label for _, label, _ in reading(Plot(lines), 50_000.0)] == ["x", "mean", "seed 0"]


def test_a_small_chart_has_no_box_over_its_lines() -> None:
    grid = draw(Plot([SCORE]), 8, 40, cursor=50_000.0)
    assert not grid.told
    assert "50.0" not in "\n".join(grid.lines())


def test_the_box_hides_as_little_as_it_can() -> None:
    falling = Line("m", UPDATES, np.linspace(100, 0, 20))
    grid = draw(Plot([falling]), 25, 100, cursor=50_000.0)
    plain = draw(Plot([falling]), 25, 100)
    hidden = [(a, b) for a, b in zip("".join(plain.lines()), "".join(grid.lines()), strict=True) if a != b]
    assert not any("⠀" < a <= "⣿" and b not in "●│" for a, b in hidden)


def test_time_and_percent_stand_on_the_axes() -> None:
    plot = Plot([Line("m", np.linspace(0, 7200, 20), np.linspace(0, 90, 20))], x_unit="s", y_unit="%", x_title="time")
    rows = chart(plot, columns=80).splitlines()
    assert rows[-1].split() == ["0", "30m", "1h", "1h30", "2h", "time"]
    assert rows[0].startswith("100%")


def test_only_what_changed_is_told() -> None:
    before, after = draw(Plot([SCORE]), 12, 60), draw(Plot([SCORE], marks=[Mark(50_000, 20)]), 12, 60)
    assert before.changed(draw(Plot([SCORE]), 12, 60)) == []
    assert len(after.changed(before)) == 1
    _row, first, end = after.changed(before)[0]
    assert end - first == 1
