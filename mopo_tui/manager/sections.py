"""Tables with a title and notes, as data, as Markdown and as LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mopo_tui.manager.state import clean

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "±": r"$\pm$", "–": "--", "−": "$-$", "…": r"\ldots{}", "·": r"$\cdot$", "×": r"$\times$", "→": r"$\to$", "≥": r"$\geq$",
    "≤": r"$\leq$", "‖": r"$\|$", "∞": r"$\infty$", "²": r"$^2$", "“": "``", "”": "''", "‘": "`", "’": "'",
}  # fmt: skip
_GREEK = {
    "αβγδεζηθικλμνξπρστυφχψω": "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon"
    " phi chi psi omega",
    "ΓΔΘΛΞΠΣΥΦΨΩ": "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega",
}
for _letters, _names in _GREEK.items():
    _LATEX |= {letter: f"$\\{name}$" for letter, name in zip(_letters, _names.split(), strict=True)}
_LAST_OF_PDFLATEX = "\u017f"  # of the letters that it knows without a package


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
    """A booktabs table for each section, no wider than the page; its notes stand below it."""
    blocks = []
    for section in sections:
        lines = [f"\\paragraph{{{_latex(section.title)}}}"] if section.title else []
        lines += [f"{_latex(line)}\\par" for line in section.lines]
        if section.rows:
            align = "".join("l" if name in section.left else "r" for name in section.columns)
            rows = [" & ".join(map(_latex, row)) + r" \\" for row in (section.columns, *section.rows)]
            lines += ([r"\mbox{}\par"] if section.title and not section.lines else []) + [r"\noindent"]
            lines += [r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"]
            lines += [f"\\begin{{tabular}}{{{align}}}", r"\toprule", rows[0], r"\midrule", *rows[1:]]
            lines += [r"\bottomrule", r"\end{tabular}}\par"]
        lines += [f"{_latex(note)}\\par" for note in section.notes]
        blocks.append("\n".join(lines))
    text = "\n\n".join(blocks)
    unknown = sorted({c for c in text if c > _LAST_OF_PDFLATEX})
    more = f"% needs XeLaTeX or LuaLaTeX and a font that has {' '.join(unknown)}\n" if unknown else ""
    return f"% needs \\usepackage{{booktabs}} and \\usepackage{{graphicx}}\n{more}{text}\n"


def _latex(text: str) -> str:
    # After the \\ of the row before, a bracket or a star would be its argument.
    return ("{}" if text.startswith(("[", "*")) else "") + "".join(_LATEX.get(c, c) for c in text)
