"""Tables with a title and notes, as a terminal, Markdown or LaTeX shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mopo_tui.manager.state import clean

if TYPE_CHECKING:
    from rich.console import Console

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


def show(sections: Sequence[Section], console: Console) -> None:
    """On a terminal, or as plain lines. A table that is too wide stands closer, or has a line for each cell: nothing is cut."""
    from rich.text import Text

    for i, section in enumerate(sections):
        if i:
            console.print()
        if section.title:
            console.print(Text(section.title, "bold"), soft_wrap=not console.is_terminal)
        for line in section.lines:
            console.print(Text(line), soft_wrap=not console.is_terminal)
        if section.rows:
            _table(section, console)
        for note in section.notes:
            console.print(Text(note), soft_wrap=not console.is_terminal)


def _table(section: Section, console: Console) -> None:
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    cells = [section.columns, *section.rows]
    width = sum(max(cell_len(row[i]) for row in cells) for i in range(len(section.columns)))
    gap = 2 if width + 2 * len(section.columns) <= console.width + 2 or section.wrap else 1
    if width + gap * (len(section.columns) - 1) > console.width and not section.wrap:
        for first, *others in section.rows:
            console.print(Text(first, "bold"), soft_wrap=not console.is_terminal)
            for name, cell in zip(section.columns[1:], others, strict=True):
                console.print(Text(f"  {name}: {cell}"), soft_wrap=not console.is_terminal)
        return
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold", show_edge=False)
    for name in section.columns:
        justify: Literal["left", "right"] = "left" if name in section.left else "right"
        cut: Literal["fold", "ellipsis"] = "fold" if section.wrap else "ellipsis"
        table.add_column(Text(name), justify=justify, no_wrap=not section.wrap, overflow=cut)
    for row in section.rows:
        table.add_row(*map(Text, row))
    console.print(table)


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
    return "".join(_LATEX.get(c, c) for c in text)
