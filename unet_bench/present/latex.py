"""A document's tables as LaTeX: booktabs, the best figure in bold, intervals as ±."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import pandas as pd

from unet_bench.present.blocks import Block, Heading, Table

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


def as_latex(blocks: Sequence[Block]) -> str:
    """Return each table, captioned by the heading before it."""
    caption, tables = "", []
    for block in blocks:
        if isinstance(block, Heading):
            caption = block.text
        elif isinstance(block, Table):
            tables.append(_table(block, caption))
    return _HEAD + "\n".join(tables)


def plain(text: str) -> str:
    """Return text as LaTeX prints it: nothing in it is a command.

    What pdfLaTeX has no glyph for becomes a question mark.
    """
    return re.sub(r"(-(?=-))|.", _character, " ".join(text.split()))


def _character(match: re.Match[str]) -> str:
    if match[1]:
        return "-{}"  # two together would be a dash
    character = match[0]
    is_known = " " <= character <= "~" or character in _LETTERS
    return _PLAIN.get(character, character if is_known else "?")


def _table(table: Table, caption: str) -> str:
    rows = [list(line.texts(plain, r"\textbf{{{}}}")) for line in table.lines]
    is_long = len(rows) > _ROWS
    frame = pd.DataFrame(rows, columns=[plain(label) for label in table.labels])
    text = frame.style.hide(axis="index").to_latex(
        hrules=True,
        column_format="l" + "r" * (len(table.labels) - 1),
        caption=plain(caption),
        position=None if is_long else "htbp",
        environment="longtable" if is_long else None,
    )
    if is_long:
        return f"{{{_SMALL}{text}}}\n"
    head, tabular, rest = str(text).partition(r"\begin{tabular}")
    return head + _WIDE + tabular + rest.replace(r"\end{tabular}", r"\end{tabular}}", 1)
