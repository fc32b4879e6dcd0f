"""A document for the terminal, by rich.

`Text` throughout, since rich would take a name in square brackets for markup.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from rich import box, table
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text as RichText

from unet_bench.present.blocks import OWN_WIDTH, Block, Command, Heading, Line, Notes, Table, Text
from unet_bench.text_format import one_line, printable

_STYLES: Final[Mapping[str, str]] = {
    "": "",
    "strong": "bold",
    "quiet": "dim",
    "good": "green",
    "bad": "red",
    "unsure": "yellow",
}
# What a terminal obeys, such as the escape that begins a colour or moves the cursor.
_CONTROLS: Final = {code: None for code in (*range(32), *range(127, 160)) if code != ord("\n")}
_BETWEEN: Final = 1  # cells between two columns
_LEAST: Final = 12  # to which names are folded before a table is split


class Styled(RichText):
    """A text of which a terminal obeys nothing: names and errors come from files."""

    def __init__(self, text: str = "", *args: Any, **more: Any) -> None:
        super().__init__(text.translate(_CONTROLS), *args, **more)


def as_terminal(blocks: Sequence[Block]) -> Group:
    """Return the blocks one below another; blank lines are behind tables and before headings."""
    parts: list[RenderableType] = []
    for number, block in enumerate(blocks):
        follows = blocks[number - 1] if number else None
        if isinstance(block, Heading) and isinstance(follows, Text | Notes | Command):
            parts.append(Styled())
        parts += _parts(block)
    lines = [line for block in blocks if isinstance(block, Table) for line in block.lines]
    if any(line.is_baseline for line in lines):
        parts.append(Styled("*: baseline", style="dim"))
    if any(line.is_unscaled for line in lines):
        parts.append(Styled(f"†: {OWN_WIDTH}", style="dim"))
    return Group(*parts)


def _parts(block: Block) -> Iterator[RenderableType]:
    match block:
        case Heading():
            yield Styled(printable(block.text), style="bold")
            if block.level == 1:
                yield Styled()
        case Text():
            yield Styled(block.text, style=_STYLES[block.tone])
        case Notes():
            for number, item in enumerate(block.items):
                mark = "  " if block.is_lead else "· "
                is_answer = block.is_lead and number == 0
                yield Styled(mark + item, style="bold" if is_answer else _STYLES[block.tone])
        case Command():
            yield Styled(f"  {block.why}:" if block.command else f"  {block.why}")
            if block.command:
                # Never broken: what is pasted must be one line. The terminal folds it by itself.
                text = f"    {one_line(block.command)}"
                yield Styled(text, style="cyan", no_wrap=True, overflow="ignore")
        case Table():
            yield _Fitting(block) if block.is_wide else _table(block, range(len(block.labels)))
            yield from _problems(block.lines)
            yield Styled()
        case _:
            assert_never(block)


def _table(of: Table, columns: Iterable[int], names: int | None = None) -> table.Table:
    """Return the columns of these numbers, 0 of which holds the names, folded to a width."""
    grid = table.Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for n in columns:
        label = of.labels[n]
        is_name = n == 0
        grid.add_column(
            Styled(label),
            justify="left" if is_name or label in of.left else "right",
            overflow="fold",
            no_wrap=of.is_wide and not is_name,
            width=names if is_name else None,
        )
    for line in of.lines:
        cells = [_name(line)]
        for cell in line.cells:
            cells.append(Styled(cell.text, style="bold" if cell.is_best else _STYLES[cell.tone]))
        style = "dim italic" if line.is_trivial else None
        grid.add_row(*(cells[n] for n in columns), style=style)
    return grid


def _name(line: Line) -> Styled:
    if line.is_baseline:
        return Styled(f"{line.name} *", style="cyan")
    mark = " †" if line.is_unscaled else ""
    return Styled(line.name + mark, style="red" if line.problem else "")


def _problems(lines: Iterable[Line]) -> Iterator[Styled]:
    told = dict.fromkeys(f"{line.name}: {line.problem}" for line in lines if line.problem)
    for text in told:
        yield Styled(text, style="red", no_wrap=True, overflow="ellipsis")


@dataclass(frozen=True)
class _Fitting:
    """A table in one part, or in several below one another where it is wider than the screen.

    The first two columns lead each part. Names are folded, figures never.
    """

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = [(line.name, *(cell.text for cell in line.cells)) for line in self.table.lines]
        columns = zip(self.table.labels, *lines, strict=True)
        widths = [max(map(cell_len, column)) for column in columns]
        for number, part in enumerate(_split(widths, options.max_width)):
            if number:
                yield Styled()
            others = sum(widths[n] + _BETWEEN for n in part)
            room = max(options.max_width - others - 1, _LEAST)
            yield _table(self.table, (0, *part), min(widths[0], room))


def _split(widths: Sequence[int], width: int) -> list[list[int]]:
    """Return the columns after the first in parts that fit, each led by the second."""
    least = min(widths[0], _LEAST)
    parts = [[1]]
    for n in range(2, len(widths)):
        others = sum(widths[m] + _BETWEEN for m in (*parts[-1], n))
        if len(parts[-1]) > 1 and least + 1 + others > width:
            parts.append([1])
        parts[-1].append(n)
    return parts
