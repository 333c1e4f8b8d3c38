"""Tables for papers."""

from __future__ import annotations

from mopo_tui.manager.sections import Section, latex


def test_a_row_that_begins_with_a_bracket_is_no_argument_of_the_row_before() -> None:
    written = latex([Section(columns=("sac.hidden", "n"), rows=(("[64 64]", "3"), ("[32 32]", "2"), ("*", "1")))])
    assert "{}[64 64] & 3 \\\\\n{}[32 32] & 2 \\\\\n{}* & 1 \\\\\n" in written
