"""A comparison of two runs as text."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from unet_bench.analysis.compare import _EMPTY, Comparison, Report
from unet_bench.errors import unknown
from unet_bench.present.findings import sentences
from unet_bench.store.tables import csv_text
from unet_bench.text_format import escaped

FORMATS: Final = ("table", "csv", "md", "json")


_COLOURS: Final = {
    "FASTER": "green",
    "LESS": "green",
    "BETTER": "green",
    "SAME": "dim",
    "AMBIGUOUS": "yellow",
}


def render(report: Report, *, format: str = "table") -> RenderableType:
    """The report: a rich renderable for `table`, text for `csv`, `md` and `json`. Raises
    UnknownName.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "unet-bench compare --help")
    records = [asdict(found) for found in report.comparisons]
    match format:
        case "csv":
            return csv_text(pd.DataFrame(records, columns=list(Comparison.__dataclass_fields__)))
        case "json":
            content = {"comparisons": records, "notes": sentences(report.findings)}
            return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        case "md":
            return _markdown(report)
    return _rich(report)


def summary(report: Report) -> str:
    """How often each verdict fell, of each kind."""
    counts = (
        f"{kind}: "
        + ", ".join(
            f"{n} {name}" for name, n in Counter(found.verdict for found in group).most_common()
        )
        for kind, group in _sections(report)
    )
    return " · ".join(counts) or "nothing to compare: no figure is in either"


def _sections(report: Report) -> list[tuple[str, list[Comparison]]]:
    kinds = dict.fromkeys(found.kind for found in report.comparisons)
    return [(kind, [found for found in report.comparisons if found.kind == kind]) for kind in kinds]


def _headings(group: Sequence[Comparison]) -> tuple[str, ...]:
    workload = ("workload",) if any(found.workload for found in group) else ()
    return ("variant", *workload, "A", "B", "change", "verdict")


def _cells(found: Comparison, with_workload: bool) -> tuple[str, ...]:
    name = next(iter(found.variant.splitlines()), "")
    figures = (_EMPTY if value is None else f"{value:.4g}" for value in (found.a, found.b))
    told = f"{found.verdict} ({found.reason})" if found.reason else found.verdict
    return (name, *[found.workload] * with_workload, *figures, _change(found), told)


def _change(found: Comparison) -> str:
    if found.change is None:
        return _EMPTY
    if found.kind == "accuracy":
        half = "" if found.half_width is None else f" ±{found.half_width:.3f}"
        return f"{found.change:+.3f}{half}"
    half = f" ±{100 * found.half_width:.1f}" if found.half_width else ""
    return f"{100 * found.change:+.1f}{half} %"


def _rich(report: Report) -> Group:
    """`Text` throughout, since a name in square brackets would be taken for markup."""
    parts: list[RenderableType] = []
    for kind, group in _sections(report):
        headings = _headings(group)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        for heading in headings:
            table.add_column(
                heading,
                justify="right" if heading in ("A", "B", "change") else "left",
                overflow="fold",
            )
        for found in group:
            *cells, told = _cells(found, "workload" in headings)
            table.add_row(*map(Text, cells), Text(told, style=_COLOURS.get(found.verdict, "red")))
        parts += [Text(f"{kind}: {group[0].column}", style="bold"), table, Text()]
    legend = Text("A before, B after · ±: half of the change's 95 % interval", style="dim")
    return Group(*parts, Text(summary(report)), *map(Text, sentences(report.findings)), legend)


def _markdown(report: Report) -> str:
    parts = []
    for kind, group in _sections(report):
        headings = _headings(group)
        rows = [headings, ("---",) * len(headings)]
        rows += [tuple(map(escaped, _cells(found, "workload" in headings))) for found in group]
        parts.append(
            f"### {kind}: {group[0].column}\n\n"
            + "".join(f"| {' | '.join(row)} |\n" for row in rows)
        )
    return "\n".join(
        (*parts, "\n\n".join(map(escaped, (summary(report), *sentences(report.findings)))) + "\n")
    )
