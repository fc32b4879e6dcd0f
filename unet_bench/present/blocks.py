"""What documents consist of: headings, paragraphs, notes, commands and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Tone = Literal["", "strong", "quiet", "good", "bad", "unsure"]


@dataclass(frozen=True)
class Heading:
    """The title of what follows; of level 1 what holds for several tables, of level 2 a table's."""

    text: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True)
class Notes:
    """A list of sentences."""

    items: tuple[str, ...]
    tone: Tone = "quiet"
    is_lead: bool = False  # the first sentence is the answer


@dataclass(frozen=True)
class Command:
    """Why to run a command, and the command itself, to be copied; there may be none."""

    why: str
    command: str = ""


OWN_WIDTH: Final = (
    "as wide as published, while the others are narrowed: its size and time are of a larger one"
)
"""What is said of a network whose line `is_unscaled`."""


@dataclass(frozen=True)
class Cell:
    """A field of a table."""

    text: str
    is_best: bool = False
    tone: Tone = ""


@dataclass(frozen=True)
class Line:
    """A row: a name, its fields, and what is not ok with it."""

    name: str
    cells: tuple[Cell, ...]
    is_baseline: bool = False
    is_trivial: bool = False
    problem: str = ""
    is_unscaled: bool = False  # as wide as it is, beside a baseline that was narrowed

    @property
    def tag(self) -> str:
        """What is said of the network in a word."""
        return "baseline" if self.is_baseline else "own width" if self.is_unscaled else ""

    def texts(self, escape: Callable[[str], str], bold: str) -> Iterator[str]:
        """Yield name and fields as a format escapes them; `bold` is how the best are written."""
        name = escape(self.name)
        yield f"{name} ({self.tag})" if self.tag else name
        for cell in self.cells:
            text = escape(cell.text)
            yield bold.format(text) if cell.is_best else text


@dataclass(frozen=True)
class Table:
    """Rows under labels, the first of which is of the names.

    `left` are the labels of fields with words, which begin at the left; numbers end at the right.
    """

    labels: tuple[str, ...]
    lines: tuple[Line, ...]
    left: tuple[str, ...] = ()
    tells_problems: bool = False
    is_wide: bool = False  # split on a narrow screen, its figures never folded


Block = Heading | Text | Notes | Command | Table
