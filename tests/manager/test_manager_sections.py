"""Tables for papers."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mopo_tui.manager.sections import Section, latex


def test_a_row_that_begins_with_a_bracket_is_no_argument_of_the_row_before() -> None:
    written = latex([Section(columns=("sac.hidden", "n"), rows=(("[64 64]", "3"), ("[32 32]", "2"), ("*", "1")))])
    assert "{}[64 64] & 3 \\\\\n{}[32 32] & 2 \\\\\n{}* & 1 \\\\\n" in written


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_a_table_of_many_columns_and_greek_letters_compiles_and_fits_the_page(tmp_path: Path) -> None:
    columns = tuple(f"column_{number}" for number in range(14))
    row = tuple("±λΣ×é—ż ‖x‖² → 95 %"[: 12 + number] for number in range(14))
    table = Section("Größe & [more]", ("first ≤ second",), columns, (row, row), notes=("“so”",))
    (tmp_path / "table.tex").write_text(
        "\\documentclass{article}\\usepackage{booktabs}\\usepackage{graphicx}\\begin{document}"
        + latex([table])
        + "\\end{document}"
    )
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-2000:]
    assert not re.search(r"Overfull \\hbox", run.stdout), run.stdout


def test_letters_that_pdflatex_does_not_know_are_named_at_the_top() -> None:
    head = latex([Section("名前 λ é")]).splitlines()[:2]
    assert head[1] == "% needs XeLaTeX or LuaLaTeX and a font that has 前 名"
    assert "XeLaTeX" not in latex([Section("λ sweep é ‖u‖")])
