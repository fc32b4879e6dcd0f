"""A comparison of two runs, a table for each kind of figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Final

import pandas as pd

from unet_bench.analysis.compare import Comparison, Report, grouped
from unet_bench.present.blocks import Block, Cell, Heading, Line, Notes, Table, Text, Tone
from unet_bench.present.document import Document
from unet_bench.present.findings import sentences
from unet_bench.store.schema import BY_NAME
from unet_bench.text_format import EMPTY, first_line

_TONES: Final[Mapping[str, Tone]] = {
    "FASTER": "good",
    "LESS": "good",
    "BETTER": "good",
    "SAME": "quiet",
    "CHANGED": "unsure",
    "AMBIGUOUS": "unsure",
}
_LEGEND: Final = "A before, B after · ±: half of the change's 95 % interval"


def compare_document(report: Report) -> Document:
    """Return the report as a document."""
    blocks: list[Block] = []
    for (kind, name), group in grouped(report.comparisons).items():
        unit = "" if name in BY_NAME else report.columns[name].unit
        title = f"{kind}: {name}" + (f" ({unit})" if unit else "")
        blocks += [Heading(title), _table(group)]
    blocks.append(Text(summary(report)))
    notes = sentences(report.findings)
    blocks += [Notes(notes, "")] if notes else []
    blocks.append(Text(_LEGEND, "quiet"))
    rows = [asdict(comparison) for comparison in report.comparisons]
    frame = pd.DataFrame(rows, columns=[field.name for field in fields(Comparison)])
    content = {"comparisons": rows, "notes": notes}
    return Document("compare", tuple(blocks), frame, content)


def summary(report: Report) -> str:
    """Return how often each verdict fell, of each kind."""
    counts = []
    for (kind, _), group in grouped(report.comparisons).items():
        verdicts = Counter(comparison.verdict for comparison in group).most_common()
        counts.append(f"{kind}: " + ", ".join(f"{count} {name}" for name, count in verdicts))
    return " · ".join(counts)


def _table(group: Sequence[Comparison]) -> Table:
    workload = ("workload",) if any(comparison.workload for comparison in group) else ()
    labels = ("variant", *workload, "A", "B", "change", "verdict")
    lines = tuple(_line(comparison, bool(workload)) for comparison in group)
    return Table(labels, lines, left=(*workload, "verdict"))


def _line(comparison: Comparison, with_workload: bool) -> Line:
    texts = [comparison.workload] if with_workload else []
    for value in (comparison.a, comparison.b):
        texts.append(EMPTY if value is None else f"{value:.4g}")
    reason = f" ({comparison.reason})" if comparison.reason else ""
    tone = _TONES.get(comparison.verdict, "bad")
    verdict = Cell(comparison.verdict + reason, tone=tone)
    cells = (*map(Cell, texts), Cell(_change(comparison)), verdict)
    return Line(first_line(comparison.variant), cells)


def _change(comparison: Comparison) -> str:
    if comparison.change is None:
        return EMPTY
    column = BY_NAME.get(comparison.column)
    if column and column.by_difference:
        half = "" if comparison.half_width is None else f" ±{comparison.half_width:.3f}"
        return f"{comparison.change:+.3f}{half}"
    half = f" ±{100 * comparison.half_width:.1f}" if comparison.half_width else ""
    return f"{100 * comparison.change:+.1f}{half} %"
