"""Recommendations: sentences, a table, what to measure to be sure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import RenderableType

from unet_bench.analysis.budget import Figure
from unet_bench.analysis.candidates import Gap, Option
from unet_bench.analysis.explanation import SHOWN, over
from unet_bench.analysis.recommend import Recommendation, table
from unet_bench.present.document import (
    Block,
    Command,
    Document,
    Heading,
    Notes,
    Row,
    Table,
    Text,
    derived,
    table_of,
)
from unet_bench.store.columns import Column
from unet_bench.store.schema import BY_NAME, CONDITIONS
from unet_bench.store.tables import records
from unet_bench.text_format import digits, times, title

_COLUMNS: Final = (
    derived("role", " "),
    BY_NAME["dice"],
    derived("to_best", "Δ to best"),
    derived("latency", BY_NAME["latency_ms"].heading),
    derived("speed", "× best's"),
    *(BY_NAME[name] for name in ("peak_memory_mib", "train_peak_memory_mib", "params", "macs")),
    derived("budget"),
)
_IF_ASKED: Final = ("train_peak_memory_mib", "macs")
"""Columns only for a budget that limits them."""
_MOST: Final = {"as good": SHOWN, "unclear": SHOWN // 2}
_NONE: Final = "There is no network in these runs, only what needs no training, or nothing at all."


def render_recommendations(
    found: Sequence[Recommendation], *, format: str = "table"
) -> RenderableType:
    """Return words and a table for each group in a format. Raises UnknownName."""
    return recommend_document(found).rendered(format)


def recommend_document(found: Sequence[Recommendation]) -> Document:
    """Return recommendations as a document; the sentences are first, since they are the answer."""
    blocks = [block for one in found for block in _blocks(one)] or [Text(_NONE)]
    return Document("recommend", tuple(blocks), table(found), [_content(one) for one in found])


def _content(found: Recommendation) -> dict[str, Any]:
    return {
        "conditions": dict(found.conditions),
        "goal": found.goal,
        "networks": found.networks,
        "fitting": found.fitting,
        "best": found.best.variant if found.best else None,
        "said": list(found.said),
        "next": [{"why": why, "command": command or None} for why, command in found.next],
        "notes": list(found.notes),
        "options": records(table([found])),
    }


def _blocks(found: Recommendation) -> Iterator[Block]:
    run = ("run_id",) if found.of_several else ()
    yield Heading(title(found.conditions, (*run, *CONDITIONS, "batch_effective")))
    yield Notes(tuple(found.said), "", is_lead=True)
    if found.options:
        yield _table(found)
        if legend := _legend(found):
            yield Text(legend, "quiet")
    if found.next:
        yield Text("To be sure:", "strong")
        yield from (Command(why, command) for why, command in found.next)
    if found.notes:
        yield Notes(tuple(found.notes))


def _table(found: Recommendation) -> Table:
    kept: list[Option] = []
    for option in found.options:
        alike = sum(other.role == option.role for other in kept)
        if alike < _MOST.get(option.role, len(found.options)):
            kept.append(option)
    kept.sort(key=lambda option: _roles(found).index(option.role))
    asked = {limit.column for limit, _ in found.budget.asked()}
    columns = [column for column in _COLUMNS if column.name not in {*_IF_ASKED} - asked]
    rows = [{**option.row, **_in_words(found, option)} for option in kept]
    return table_of(rows, columns, is_best=_is_best)


def _roles(found: Recommendation) -> list[str]:
    return list(dict.fromkeys(option.role for option in found.options))


def _is_best(row: Row, column: Column) -> bool:
    return bool(row["role"] == "best")


def _in_words(found: Recommendation, option: Option) -> dict[str, str | None]:
    """Return the fields of the table that are more than a figure."""
    unsure = ", ".join(option.fit.unsure)
    gap = option.gap if found.goal == "dice" else None
    return {
        "role": option.role,
        "to_best": None if gap is None else _gap_text(gap),
        "latency": None if option.latency is None else _latency_text(option.latency),
        "speed": None if option.speed is None else times(option.speed),
        "budget": over(option) or (f"may exceed: {unsure}" if unsure else None),
    }


def _gap_text(found: Gap) -> str:
    ends = [abs(end - found.difference) for end in (found.low, found.high) if end is not None]
    half = f" ±{max(ends):.3f}" if ends else ""
    unsure = " ≈" if found.verdict == "not separable" else ""
    return f"{found.difference:+.3f}{half}{unsure}"


def _latency_text(found: Figure) -> str:
    half = max(found.high - found.value, found.value - found.low)
    text = digits(found.value) + (f" ±{half:.2g}" if half else "")
    return f"~{text}" if found.estimated else text


def _legend(found: Recommendation) -> str:
    if found.best is None:
        return "The nearest to the budget, and how many times over it they are."
    has_worse = any(option.role == "worse" for option in found.options)
    worse = "Worse: the next two that fit." if has_worse else ""
    if found.goal != "dice" or len(found.options) == 1:
        return worse
    gaps = (
        "Δ to best: over equal (fold, seed), ± the longer side of its 95 % interval where there "
        "are several; ≈: cannot be told apart from it."
    )
    return f"{gaps} {worse}".strip()
