"""Recommendations: sentences, a table, what to measure to be sure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan
from typing import Any, Final

import pandas as pd

from unet_bench.analysis.candidates import Gap, Option
from unet_bench.analysis.recommend import Recommendation
from unet_bench.present.blocks import Block, Command, Heading, Notes, Table, Text
from unet_bench.present.document import Document, derived, table_of
from unet_bench.present.explanation import SHOWN, notes, over, steps, verdicts
from unet_bench.present.findings import sentences
from unet_bench.store.columns import Column
from unet_bench.store.figures import PEERS, Row
from unet_bench.store.schema import BY_NAME, CONDITIONS, INTERVALS
from unet_bench.store.tables import records, typed_frame
from unet_bench.text_format import digits, one_line, times, title

_LATENCY: Final = ("latency_ms", *INTERVALS["latency_ms"])
_DIFFERENCE: Final = ("difference", "difference_ci_low", "difference_ci_high")
_FIGURES: Final = (
    *("dice", *INTERVALS["dice"], "latency_ratio", *INTERVALS["latency_ratio"]),
    *("peak_memory_mib", "train_peak_memory_mib", "params", "macs"),
)
COLUMNS: Final[Mapping[str, str]] = {
    **{name: BY_NAME[name].dtype for name in PEERS},
    **dict.fromkeys(("role", "variant", "baseline", "goal"), "string"),
    # To the best: of Dice, or of the logarithm of what the goal is.
    **dict.fromkeys(_DIFFERENCE, "Float64"),
    "verdict": "string",
    "pairs": "Int64",
    "pairs_needed": "Int64",
    **dict.fromkeys(_LATENCY, "Float64"),
    "latency_estimated": "boolean",
    "latency_over_best": "Float64",
    **{name: BY_NAME[name].dtype for name in _FIGURES},
    "over_budget": "string",
    "may_exceed": "string",
}
"""The columns of `table`, each with its type."""
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
_IN_SHORT: Final = ("race", "runtime", "runtime and Dice")  # findings that a run ends with
_MOST: Final[Mapping[str, int]] = {"as good": SHOWN, "unclear": SHOWN // 2}
_NONE: Final = "There is no network in these runs, only what needs no training, or nothing at all."


def recommend_document(recommendations: Sequence[Recommendation]) -> Document:
    """Return recommendations as a document; the sentences are first, since they are the answer."""
    blocks = [block for advice in recommendations for block in _blocks(advice)] or [Text(_NONE)]
    content = [_content(advice) for advice in recommendations]
    return Document("recommend", tuple(blocks), table(recommendations), content)


def answers(recommendations: Sequence[Recommendation]) -> Iterator[str]:
    """Yield what to use by Dice, in a few sentences for each group; none where there is no choice.

    That is what a run ends with.
    """
    chosen = [a for a in recommendations if a.goal == "dice" and len(a.candidates.networks) > 1]
    for advice in chosen:
        where = f"{advice.conditions['task']}: " if len(chosen) > 1 else ""
        said = [finding for finding in advice.findings if finding.kind in _IN_SHORT]
        yield from (f"{where}{text}" for text in (*verdicts(advice), *sentences(said)))


def table(recommendations: Iterable[Recommendation]) -> pd.DataFrame:
    """Return the networks that are named: `COLUMNS`, the best first within each group."""
    rows = [_row(advice, option) for advice in recommendations for option in advice.options]
    return typed_frame(rows, COLUMNS)


def _row(advice: Recommendation, option: Option) -> dict[str, Any]:
    gap, latency = option.gap, option.latency
    difference = gap.difference if gap else ()
    return {
        **advice.conditions,
        **{name: option.network.number(name) for name in _FIGURES},
        "role": option.role,
        "variant": one_line(option.variant),
        "baseline": option.network.baseline,
        "goal": advice.goal,
        "latency_over_best": option.speed,
        "over_budget": over(option.fit) or None,
        "may_exceed": _unsure(option) or None,
        **{name: getattr(gap, name, None) for name in ("verdict", "pairs", "pairs_needed")},
        **dict(zip(_DIFFERENCE, difference, strict=False)),
        **dict(zip(_LATENCY, latency or (), strict=False)),
        "latency_estimated": option.is_estimated if latency else None,
    }


def _content(advice: Recommendation) -> dict[str, Any]:
    return {
        "conditions": dict(advice.conditions),
        "goal": advice.goal,
        "networks": len(advice.candidates.networks),
        "fitting": len(advice.candidates.within),
        "best": one_line(advice.best.variant) if advice.best else None,
        "said": list(verdicts(advice)),
        "next": [{"why": why, "command": command or None} for why, command in steps(advice)],
        "notes": list(notes(advice)),
        "options": records(table([advice])),
    }


def _blocks(advice: Recommendation) -> Iterator[Block]:
    run = ("run_id",) if advice.of_several else ()
    yield Heading(title(advice.conditions, (*run, *CONDITIONS, "batch_effective")))
    yield Notes(tuple(verdicts(advice)), "", is_lead=True)
    if advice.options:
        yield _shown(advice)
        if legend := _legend(advice):
            yield Text(legend, "quiet")
    commands = [Command(why, command) for why, command in steps(advice)]
    if commands:
        yield Text("To be sure:", "strong")
        yield from commands
    if remarks := tuple(notes(advice)):
        yield Notes(remarks)


def _shown(advice: Recommendation) -> Table:
    """Return the options that are shown, those of a role together."""
    kept: list[Option] = []
    for role in dict.fromkeys(option.role for option in advice.options):
        kept += advice.named(role)[: _MOST.get(role)]
    asked = {limit.column for limit, _ in advice.candidates.budget.limits()}
    columns = [column for column in _COLUMNS if column.name not in {*_IF_ASKED} - asked]
    rows = [{**option.network.row, **_in_words(advice, option)} for option in kept]
    return table_of(rows, columns, is_best=_is_best)


def _is_best(row: Row, column: Column) -> bool:
    return bool(row["role"] == "best")


def _in_words(advice: Recommendation, option: Option) -> dict[str, str | None]:
    """Return the fields of the table that are more than a figure."""
    gap, unsure = option.gap if advice.goal == "dice" else None, _unsure(option)
    return {
        "role": option.role,
        "to_best": None if gap is None else _gap_text(gap),
        "latency": _latency_text(option),
        "speed": None if option.speed is None else times(option.speed),
        "budget": over(option.fit) or (f"may exceed: {unsure}" if unsure else None),
    }


def _unsure(option: Option) -> str:
    return ", ".join(limit.label for limit in option.fit.unsure)


def _gap_text(gap: Gap) -> str:
    half = "" if isnan(gap.difference.half) else f" ±{gap.difference.half:.3f}"
    unsure = " ≈" if gap.verdict == "not separable" else ""
    return f"{gap.difference.value:+.3f}{half}{unsure}"


def _latency_text(option: Option) -> str | None:
    if option.latency is None:
        return None
    half = max(option.latency.reach(unknown=0.0))
    text = digits(option.latency.value) + (f" ±{half:.2g}" if half else "")
    return f"~{text}" if option.is_estimated else text


def _legend(advice: Recommendation) -> str:
    if advice.best is None:
        return "The nearest to the budget, and how many times over it they are."
    has_worse = any(option.role == "worse" for option in advice.options)
    worse = "Worse: the next two that fit." if has_worse else ""
    if advice.goal != "dice" or len(advice.options) == 1:
        return worse
    gaps = (
        "Δ to best: over equal (fold, seed), ± the longer side of its 95 % interval where there "
        "are several; ≈: cannot be told apart from it, all networks taken together."
    )
    return f"{gaps} {worse}".strip()
