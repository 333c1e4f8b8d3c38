"""Tables with a title and notes, as data, as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mopo_tui.manager.state import clean

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "–": "--", "−": "$-$", "…": r"\ldots{}", "λ": r"$\lambda$", "ρ": r"$\rho$", "·": r"$\cdot$",
}  # fmt: skip


@dataclass(frozen=True)
class Section:
    """A heading, lines that come before the table, the table, and notes after it; each may be empty. Control characters become
    blanks: what comes from a run folder must not steer the terminal.

    Attributes:
        left: columns of text; the others hold numbers.
        wrap: long cells go on in the next line instead of being cut.
    """

    title: str = ""
    lines: Sequence[str] = ()
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    left: frozenset[str] = frozenset()
    notes: Sequence[str] = ()
    wrap: bool = False

    def __post_init__(self) -> None:
        for name in ("lines", "columns", "notes"):
            object.__setattr__(self, name, [clean(text) for text in getattr(self, name)])
        object.__setattr__(self, "title", clean(self.title))
        object.__setattr__(self, "rows", [[clean(cell) for cell in row] for row in self.rows])


def markdown(sections: Sequence[Section]) -> str:
    """Headings, lists and tables of GitHub's Markdown."""
    blocks = []
    for section in sections:
        blocks += [f"### {_markdown(section.title)}"] if section.title else []
        blocks += ["\n".join(f"- {_markdown(line)}" for line in section.lines)] if section.lines else []
        if section.rows:
            marks = ["---" if name in section.left else "---:" for name in section.columns]
            table = [section.columns, marks, *section.rows]
            rows = [[_markdown(cell) if i != 1 else cell for cell in row] for i, row in enumerate(table)]
            blocks.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
        blocks += ["\n".join(f"- {_markdown(note)}" for note in section.notes)] if section.notes else []
    return "\n\n".join(blocks) + "\n"


def _markdown(text: str) -> str:
    return "".join("\\" + c if c in "\\`*_[]<>|" else c for c in text)


def latex(sections: Sequence[Section]) -> str:
    """A booktabs table for each section; its notes stand below it."""
    blocks = []
    for section in sections:
        lines = [f"\\paragraph{{{_latex(section.title)}}}"] if section.title else []
        lines += [f"{_latex(line)}\\par" for line in section.lines]
        if section.rows:
            align = "".join("l" if name in section.left else "r" for name in section.columns)
            rows = [" & ".join(map(_latex, row)) + r" \\" for row in (section.columns, *section.rows)]
            lines += [f"\\begin{{tabular}}{{{align}}}", r"\toprule", rows[0], r"\midrule", *rows[1:]]
            lines += [r"\bottomrule", r"\end{tabular}\par"]
        lines += [f"{_latex(note)}\\par" for note in section.notes]
        blocks.append("\n".join(lines))
    return "% needs \\usepackage{booktabs}\n" + "\n\n".join(blocks) + "\n"


def _latex(text: str) -> str:
    # After the \\ of the row before, a bracket or a star would be its argument.
    return ("{}" if text.startswith(("[", "*")) else "") + "".join(_LATEX.get(c, c) for c in text)
