"""A document as GitHub markdown; whatever comes from files is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import assert_never

from unet_bench.present.blocks import Block, Command, Heading, Notes, Table, Text
from unet_bench.text_format import escaped, one_line


def as_markdown(blocks: Sequence[Block]) -> str:
    """Return the blocks with a blank line between any two."""
    several = any(isinstance(block, Heading) and block.level == 1 for block in blocks)
    return "\n".join(_block(block, several) for block in blocks)


def fenced(text: str, indent: str = "") -> str:
    """Return a block of code on one line, in a fence that nothing in it ends."""
    code = one_line(text)
    longest = max(map(len, re.findall("`+", code)), default=0)
    fence = "`" * max(3, 1 + longest)
    return "\n".join(indent + line for line in (fence, code, fence))


def _block(block: Block, several: bool) -> str:
    match block:
        case Heading():
            mark = "####" if several and block.level == 2 else "###"
            return f"{mark} {escaped(block.text)}\n"
        case Text():
            return f"{escaped(block.text)}\n"
        case Notes():
            return "".join(f"- {escaped(item)}\n" for item in block.items)
        case Command():
            code = f":\n\n{fenced(block.command, '  ')}" if block.command else ""
            return f"- {escaped(block.why)}{code}\n"
        case Table():
            return "".join(f"| {' | '.join(fields)} |\n" for fields in _rows(block))
        case _:
            assert_never(block)


def _rows(table: Table) -> Iterator[tuple[str, ...]]:
    more = ("not ok",) if table.tells_problems else ()
    numbers = ("---" if label in table.left else "---:" for label in table.labels[1:])
    yield (*map(escaped, table.labels), *more)
    yield ("---", *numbers, *("---" for _ in more))
    for line in table.lines:
        problem = (escaped(line.problem),) if table.tells_problems else ()
        yield (*line.texts(escaped, "**{}**"), *problem)
