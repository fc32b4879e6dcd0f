"""The results as LaTeX tables, for a paper: booktabs, the best figure in bold, intervals as ±."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import pandas as pd

from unet_bench.present.table import Line, Section, sections
from unet_bench.store.runs import Runs

_PLAIN: Final[Mapping[str, str]] = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "[": "{[}",  # which a command before it, such as the end of a row, would take as its own
    "]": "{]}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "≈": r"$\approx$",
    "²": r"$^2$",
    "–": "--",
    "…": r"\ldots{}",
    "·": r"$\cdot$",
}
_LETTERS: Final = "äöüÄÖÜßáàâéèêíñóôúç"
_HEAD: Final = (
    "% needs \\usepackage{booktabs,graphicx}, and longtable for more rows than a page has\n"
)
_SMALL: Final = "\\tiny\\setlength{\\tabcolsep}{1.5pt}\n"
_WIDE: Final = "\\resizebox{\\linewidth}{!}{%\n"
_ROWS: Final = 45  # of a page
_SAID_TWICE: Final = "img/s"  # by the latency: without it the usual columns fit a page


def latex(runs: Runs) -> str:
    """A table for each group of rows that may be compared."""
    return _HEAD + "\n".join(_table(section) for section in sections(runs.results))


def plain(text: str) -> str:
    """Text as LaTeX prints it: nothing in it is a command. What pdfLaTeX has no glyph for becomes a
    question mark.
    """
    return re.sub(r"-(?=-)|.", _printable, " ".join(text.split()))


def _printable(found: re.Match[str]) -> str:
    character = found[0]
    if character == "-":  # before another, which together would be a dash
        return (
            "-" if found.end() == len(found.string) or found.string[found.end()] != "-" else "-{}"
        )
    return _PLAIN.get(
        character, character if " " <= character <= "~" or character in _LETTERS else "?"
    )


def _table(section: Section) -> str:
    shown = [i for i, label in enumerate(section.labels) if label != _SAID_TWICE]
    frame = pd.DataFrame(
        [
            [plain(line.variant) + " (baseline)" * line.is_baseline, *_cells(line, shown)]
            for line in section.lines
        ],
        columns=["variant", *(plain(section.labels[i]) for i in shown)],
    )
    long = len(frame) > _ROWS
    text = frame.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="l" + "r" * len(shown),
        caption=plain(section.title),
        position=None if long else "htbp",
        environment="longtable" if long else None,
    )
    if long:
        return f"{{{_SMALL}{text}}}\n"
    head, tabular, rest = str(text).partition(r"\begin{tabular}")
    return head + _WIDE + tabular + rest.replace(r"\end{tabular}", r"\end{tabular}}", 1)


def _cells(line: Line, shown: Iterable[int]) -> Iterator[str]:
    for i in shown:
        text = plain(line.figures[i])
        yield rf"\textbf{{{text}}}" if line.best[i] else text
