"""The log screen: follows what the run writes, finds regular expressions, wraps; nothing in a log steers the terminal."""

from __future__ import annotations

from pathlib import Path

import pytest
from realistic import make_run
from screen_text import check_screen, fixed, settled, text_of, until

from mopo_tui.app import MopoApp
from mopo_tui.log_view import MOST_LINES, LogTail
from mopo_tui.manager import Store
from mopo_tui.screens.dashboard import Dashboard
from mopo_tui.screens.log import LogScreen
from mopo_tui.widgets.log_text import LogText, wrapped
from mopo_tui.widgets.prompt import Prompt

SMALL = (80, 24)


@pytest.fixture
def logged(tmp_path: Path) -> Path:
    """A run with 200 lines in its log, one of them long, one with control characters."""
    folder = make_run(tmp_path / "runs", "20260921-141500-ant-angle-mopo-s1-k3v9", until=0.1, ending="running")
    lines = [f"line {i:03}" for i in range(200)]
    lines[50] = "Loss is NaN here"
    lines[120] = "loss is fine" + " and so on" * 20 + " until the end"
    lines[198] = "\x1b[2Jevil\ttab"
    (folder / "console.log").write_text("\n".join(lines) + "\nhalf a li")
    return folder


async def test_the_log_is_followed(logged: Path) -> None:
    app = fixed(MopoApp(Store.open(logged.parent)))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("o")
        await until(pilot, lambda: "line 199" in text_of(app))
        text = text_of(app)
        assert isinstance(app.screen, LogScreen)
        assert "Log of ant-angle mopo s0 (k3v9)" in text
        assert "half a li" not in text  # its end is still to come
        assert " [2Jevil    tab" in text
        with open(logged / "console.log", "a") as file:
            file.write("ne\nline 201\n")
        await until(pilot, lambda: "half a line" in text_of(app) and "line 201" in text_of(app), seconds=5)
        await pilot.press("pageup")
        assert not app.screen.query_one(LogText).follow
        await until(pilot, lambda: "not following" in text_of(app))
        with open(logged / "console.log", "a") as file:
            file.write("line 202\n")
        await until(pilot, lambda: "203 lines" in text_of(app), seconds=5)
        assert "line 202" not in text_of(app)
        await pilot.press("G")
        await until(pilot, lambda: "line 202" in text_of(app))
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)
        await until(pilot, lambda: app.poller._log is None, seconds=3)  # no longer read


async def test_search_finds_and_n_goes_on(logged: Path) -> None:
    app = fixed(MopoApp(Store.open(logged.parent)))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("o")
        await until(pilot, lambda: "line 199" in text_of(app))
        assert "n Next" not in text_of(app).splitlines()[-1]
        await pilot.press("slash", *"loss (is", "enter")
        await until(pilot, lambda: "no regular expression" in text_of(app))
        assert app.screen.query_one(Prompt).is_open
        await pilot.press(*")", "enter")
        await until(pilot, lambda: "loss (is): 2 of 2" in text_of(app))
        assert "loss is fine" in text_of(app)
        assert "n Next" in text_of(app).splitlines()[-1]
        await pilot.press("n")  # after the last match comes the first
        await until(pilot, lambda: "loss (is): 1 of 2" in text_of(app))
        assert "Loss is NaN here" in text_of(app)
        await pilot.press("N")
        await until(pilot, lambda: "loss is fine" in text_of(app))
        await pilot.press("slash", *["backspace"] * 9, *"Loss", "enter")  # a capital asks for this case
        await until(pilot, lambda: "Loss: 1 of 1" in text_of(app))


async def test_long_lines_are_wrapped_or_not(logged: Path) -> None:
    app = fixed(MopoApp(Store.open(logged.parent)))
    async with app.run_test(size=SMALL) as pilot:
        await settled(pilot, app)
        await pilot.press("o")
        await until(pilot, lambda: "line 199" in text_of(app))
        await pilot.press("slash", *"is fine", "enter")
        await until(pilot, lambda: "until the end" in text_of(app))
        await pilot.press("w")
        await pilot.pause()
        assert "until the end" not in text_of(app)
        for _ in range(30):
            await pilot.press("l")
        await until(pilot, lambda: "until the end" in text_of(app))


def test_a_log_that_is_begun_again_or_gone_is_read_anew(tmp_path: Path) -> None:
    tail = LogTail(tmp_path)
    assert not tail.look()
    path = tmp_path / "console.log"
    path.write_text("10 %\r20 %\r30 %\na\n")
    assert tail.look()
    assert tail.lines == ["30 %", "a"]
    assert not tail.look()
    path.write_text("b\n")
    assert tail.look()
    assert tail.lines == ["b"]
    path.unlink()
    assert tail.look()
    assert tail.lines == []
    path.write_text("x\n" * (MOST_LINES + 5))
    assert tail.look()
    assert len(tail.lines) == MOST_LINES


def test_lines_are_broken_at_blanks() -> None:
    def parts(line: str, width: int) -> list[str]:
        return [line[begin:end] for begin, end in wrapped(line, width)]

    assert parts("", 8) == [""]
    assert parts("12345678", 8) == ["12345678"]
    assert parts("one two three", 8) == ["one two", "three"]
    assert parts("one two3 four", 8) == ["one two3", "four"]
    assert parts("a 2345678901234567 b", 8) == ["a 234567", "89012345", "67 b"]  # a blank near the start helps nobody


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_screen(logged: Path, size: tuple[int, int]) -> None:
    (logged / "console.log").write_text(
        "[start] mopo/ant-angle/100k-v0: 100000 transitions, fingerprint e8ee53ee277c\n"
        "[policy] epoch 5: return 1512.3 (std over episodes 40.0), normalized score 54.0 (10 episodes)\n"
        "a warning of a library\n"
    )
    app = fixed(MopoApp(Store.open(logged.parent)))
    async with app.run_test(size=size) as pilot:
        await settled(pilot, app)
        await pilot.press("o")
        await until(pilot, lambda: "a warning of a library" in text_of(app))
        check_screen(app, f"log-{size[0]}x{size[1]}")
