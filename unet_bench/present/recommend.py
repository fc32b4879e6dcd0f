"""Recommendations as text: sentences and a table, markdown, csv, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isnan
from typing import Any, Final

import pandas as pd
from rich.console import Group as Lines
from rich.console import RenderableType
from rich.text import Text

from unet_bench.analysis.candidates import Gap, Option
from unet_bench.analysis.recommend import Recommendation
from unet_bench.errors import unknown
from unet_bench.present.explanation import SHOWN, notes, over, steps, verdicts
from unet_bench.present.table import FORMATS, Heading, Line, Section, as_markdown, as_table, figure
from unet_bench.store.figures import PEERS, Row
from unet_bench.store.schema import BY_NAME, CONDITIONS, INTERVALS
from unet_bench.store.tables import csv_text, records, typed_frame
from unet_bench.text_format import digits, escaped, one_line, times, title

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


HEADINGS: Final = (
    Heading("role", ""),
    Heading("dice", "Dice", decimals=3),
    Heading("to_best", "Δ to best"),
    Heading("latency", "latency ms"),
    Heading("speed", "× best's"),
    Heading("peak_memory_mib", "MiB"),
    Heading("train_peak_memory_mib", "train MiB"),
    Heading("params", "params M", 1e-6),
    Heading("macs", "GMACs", 1e-9),
    Heading("budget", "budget"),
)


_IF_ASKED: Final = ("train_peak_memory_mib", "macs")  # columns only for a budget that limits them


def render_recommendations(
    found: Sequence[Recommendation], *, format: str = "table"
) -> RenderableType:
    """Words and a table for each group: a rich renderable for `table`, text for `csv` (the table
    alone), `md` and `json`. Raises UnknownName.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "unet-bench recommend --help")
    if format == "csv":
        return csv_text(table(found))
    if format == "json":
        return (
            json.dumps(
                [_plain_data(one) for one in found], indent=2, ensure_ascii=False, allow_nan=False
            )
            + "\n"
        )
    if not found:
        return (
            "There is no network in these runs, only what needs no training, or nothing at all.\n"
        )
    if format == "md":
        return "\n".join(_markdown(one) for one in found)
    return Lines(*(part for one in found for part in _terminal(one)))


def table(recommendations: Iterable[Recommendation]) -> pd.DataFrame:
    """Return the networks that are named: `COLUMNS`, the best first within each group."""
    rows = [_row(found, option) for found in recommendations for option in found.options]
    return typed_frame(rows, COLUMNS)


def _row(found: Recommendation, option: Option) -> dict[str, Any]:
    row = {
        **found.conditions,
        **{name: option.network.number(name) for name in _FIGURES},
        "role": option.role,
        "variant": one_line(option.variant),
        "baseline": option.network.baseline,
        "goal": found.goal,
        "latency_over_best": option.speed,
        "over_budget": over(option.fit) or None,
        "may_exceed": _unsure(option) or None,
    }
    if option.gap is not None:
        row |= {name: getattr(option.gap, name) for name in ("verdict", "pairs", "pairs_needed")}
        row |= dict(zip(_DIFFERENCE, option.gap.difference, strict=True))
    if option.latency is not None:
        row |= dict(zip(_LATENCY, option.latency, strict=True))
        row["latency_estimated"] = option.is_estimated
    return row


def _unsure(option: Option) -> str:
    return ", ".join(limit.label for limit in option.fit.unsure)


def _plain_data(found: Recommendation) -> dict[str, Any]:
    return {
        "conditions": dict(found.conditions),
        "goal": found.goal,
        "networks": len(found.candidates.networks),
        "fitting": len(found.candidates.within),
        "best": one_line(found.best.variant) if found.best else None,
        "said": list(verdicts(found)),
        "next": [{"why": why, "command": command or None} for why, command in steps(found)],
        "notes": list(notes(found)),
        "options": records(table([found])),
    }


def _section(found: Recommendation) -> Section:
    shown = {"as good": SHOWN, "unclear": SHOWN // 2}
    roles = dict.fromkeys(option.role for option in found.options)
    kept = [option for role in roles for option in found.named(role)[: shown.get(role)]]
    rows = [{**option.network.row, **_words(found, option)} for option in kept]
    wanted = {limit.column for limit, _ in found.candidates.budget.limits()}
    asked = [
        heading
        for heading in HEADINGS
        if any(row.get(heading.column) is not None for row in rows)
        and (heading.column not in _IF_ASKED or heading.column in wanted)
    ]
    return Section(
        _title(found),
        tuple(heading.label for heading in asked),
        tuple(_line(row, asked) for row in rows),
    )


def _words(found: Recommendation, option: Option) -> dict[str, str | None]:
    """The cells of the table that are more than a figure."""
    return {
        "role": option.role,
        "to_best": _gap_words(option.gap) if option.gap and found.goal == "dice" else None,
        "latency": None if option.latency is None else _latency_words(option),
        "speed": None if option.speed is None else times(option.speed),
        "budget": over(option.fit)
        or (f"may exceed: {_unsure(option)}" if option.fit.unsure else None),
    }


def _gap_words(found: Gap) -> str:
    half = "" if isnan(found.difference.half) else f" ±{found.difference.half:.3f}"
    mark = " ≈" if found.verdict == "not separable" else ""
    return f"{found.difference.value:+.3f}{half}{mark}"


def _latency_words(option: Option) -> str:
    assert option.latency is not None
    half = max(option.latency.reach(unknown=0.0))
    text = digits(option.latency.value) + (f" ±{half:.2g}" if half else "")
    return f"~{text}" if option.is_estimated else text


def _line(row: Row, headings: Sequence[Heading]) -> Line:
    return Line(
        variant=one_line(row["variant"]),
        is_baseline=row["variant"] == row.get("baseline"),
        figures=tuple(figure(row, heading) for heading in headings),
        best=(row["role"] == "best",) * len(headings),
        problem="",
    )


def _title(found: Recommendation) -> str:
    return title(found.conditions, (*["run_id"] * found.of_several, *CONDITIONS, "batch_effective"))


def _caption(found: Recommendation) -> str:
    if found.best is None:
        return "The nearest to the budget, and how many times over it they are."
    worse = " Worse: the next two that fit." * any(
        option.role == "worse" for option in found.options
    )
    if found.goal != "dice" or len(found.options) == 1:
        return worse.strip()
    return (
        "Δ to best: over equal (fold, seed), ± the longer side of its 95 % interval where there are several; "
        f"≈: cannot be told from it. *: baseline.{worse}"
    )


def _terminal(found: Recommendation) -> Iterator[RenderableType]:
    """The words before the table, since they are the answer; commands on lines of their own, to be
    copied.
    """
    yield Text(_title(found), style="bold")
    for n, said in enumerate(verdicts(found)):
        yield Text(f"  {said}", style="" if n else "bold")
    if found.options:
        bare = replace(_section(found), title="")
        yield as_table([bare], _caption(found))
    next_steps = list(steps(found))
    if next_steps:
        yield Text("To be sure", style="bold")
    for why, command in next_steps:
        yield Text(f"  {why}{':' if command else ''}")
        if command:
            yield Text(f"    {one_line(command)}", style="cyan", overflow="fold")
    for note in notes(found):
        yield Text(f"· {note}", style="dim")
    yield Text()


def _markdown(found: Recommendation) -> str:
    lines = [f"- {escaped(said)}" for said in verdicts(found)]
    next_steps = list(steps(found))
    lines += ["", "To be sure:", ""] if next_steps else []
    for why, command in next_steps:
        lines.append(f"- {escaped(why)}" + (f":\n\n{_fenced(command)}" if command else ""))
    lines += [f"- {escaped(note)}" for note in notes(found)]
    return as_markdown([_section(found)], "\n".join(lines))


def _fenced(command: str) -> str:
    """A block of code in a list, on one line, in a fence that nothing in it ends."""
    text = one_line(command)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"  {fence}\n  {text}\n  {fence}"
