"""The results as LaTeX tables, for a paper: booktabs, the best figure in bold, intervals as ±."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import pandas as pd

from unet_bench.results.runs import Runs
from unet_bench.results.show import Section, sections

_PLAIN: Final[Mapping[str, str]] = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
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
_HEAD: Final = "% needs \\usepackage{booktabs}\n"


def latex(runs: Runs) -> str:
    """A table for each group of rows that may be compared."""
    return _HEAD + "\n".join(_table(section) for section in sections(runs.results))


def plain(text: str) -> str:
    """Text as LaTeX prints it: nothing in it is a command. What pdfLaTeX has no glyph for becomes a question mark."""
    return re.sub(r"-(?=-)|.", _printable, " ".join(text.split()))


def _printable(found: re.Match[str]) -> str:
    character = found[0]
    if character == "-":  # before another, which together would be a dash
        return "-" if found.end() == len(found.string) or found.string[found.end()] != "-" else "-{}"
    return _PLAIN.get(character, character if " " <= character <= "~" or character in _LETTERS else "?")


def _table(section: Section) -> str:
    names = [plain(line.variant) + " (baseline)" * line.is_baseline for line in section.lines]
    frame = pd.DataFrame(
        [
            [
                rf"\textbf{{{plain(text)}}}" if best else plain(text)
                for text, best in zip(line.figures, line.best, strict=True)
            ]
            for line in section.lines
        ],
        columns=[plain(label) for label in section.labels],
    )
    frame.insert(0, "variant", names)
    return str(
        frame.style.hide(axis="index").to_latex(
            hrules=True, column_format="l" + "r" * len(section.labels), caption=plain(section.title), position="htbp"
        )
    )
