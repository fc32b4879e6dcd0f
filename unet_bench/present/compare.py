"""A comparison of two runs, a table for each kind of figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from operator import attrgetter
from typing import Final

import pandas as pd

from unet_bench.analysis.compare import Comparison, Report
from unet_bench.present.blocks import Block, Cell, Heading, Line, Notes, Table, Text, Tone
from unet_bench.present.document import Document
from unet_bench.present.findings import sentences
from unet_bench.store.figures import grouped
from unet_bench.store.schema import BY_NAME
from unet_bench.text_format import EMPTY, first_line

_TONES: Final[Mapping[str, Tone]] = {
    "FASTER": "good",
    "LESS": "good",
    "BETTER": "good",
    "SAME": "quiet",
    "AMBIGUOUS": "unsure",
}
_LEGEND: Final = "A before, B after · ±: half of the change's 95 % interval"


def compare_document(report: Report) -> Document:
    """Return the report as a document."""
    blocks: list[Block] = []
    for kind, group in grouped(report.comparisons, attrgetter("kind")).items():
        blocks += [Heading(f"{kind}: {group[0].column}"), _table(group)]
    blocks.append(Text(summary(report)))
    notes = sentences(report.findings)
    blocks += [Notes(notes, "")] if notes else []
    blocks.append(Text(_LEGEND, "quiet"))
    rows = [asdict(found) for found in report.comparisons]
    frame = pd.DataFrame(rows, columns=[field.name for field in fields(Comparison)])
    content = {"comparisons": rows, "notes": notes}
    return Document("compare", tuple(blocks), frame, content)


def summary(report: Report) -> str:
    """Return how often each verdict fell, of each kind."""
    counts = []
    for kind, group in grouped(report.comparisons, attrgetter("kind")).items():
        verdicts = Counter(found.verdict for found in group).most_common()
        counts.append(f"{kind}: " + ", ".join(f"{count} {name}" for name, count in verdicts))
    return " · ".join(counts) or "nothing to compare: no figure is in either"


def _table(group: Sequence[Comparison]) -> Table:
    workload = ("workload",) if any(found.workload for found in group) else ()
    labels = ("variant", *workload, "A", "B", "change", "verdict")
    lines = tuple(_line(found, bool(workload)) for found in group)
    return Table(labels, lines, left=(*workload, "verdict"))


def _line(found: Comparison, with_workload: bool) -> Line:
    figures = (EMPTY if value is None else f"{value:.4g}" for value in (found.a, found.b))
    verdict = f"{found.verdict} ({found.reason})" if found.reason else found.verdict
    texts = (*((found.workload,) if with_workload else ()), *figures, _change(found))
    told = Cell(verdict, tone=_TONES.get(found.verdict, "bad"))
    return Line(first_line(found.variant), (*map(Cell, texts), told))


def _change(found: Comparison) -> str:
    if found.change is None:
        return EMPTY
    if BY_NAME[found.column].by_difference:
        half = "" if found.half_width is None else f" ±{found.half_width:.3f}"
        return f"{found.change:+.3f}{half}"
    half = f" ±{100 * found.half_width:.1f}" if found.half_width else ""
    return f"{100 * found.change:+.1f}{half} %"
