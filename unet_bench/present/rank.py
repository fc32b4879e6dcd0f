"""Ranks and fronts as text: tables for a terminal, markdown, csv, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final

import pandas as pd
from rich.console import RenderableType

from unet_bench.analysis.rank import Ranking
from unet_bench.analysis.summary import SETTING
from unet_bench.errors import unknown
from unet_bench.present.findings import sentences
from unet_bench.present.table import FORMATS, Heading, Line, Section, as_markdown, as_table, figure
from unet_bench.store.figures import Row, peer_groups
from unet_bench.store.schema import CONDITIONS
from unet_bench.store.tables import csv_text, records
from unet_bench.text_format import escaped, one_line, title

FRONT_HEADINGS: Final = (
    Heading("dice", "Dice", decimals=3),
    Heading("latency_ms", "latency ms"),
    Heading("latency_ratio", "ratio"),
    Heading("peak_memory_mib", "MiB"),
    Heading("on_front", "front"),
    Heading("probability", "P(front)"),
    Heading("u_score", "U-Score", decimals=1),
)


RANK_HEADINGS: Final = (
    Heading("mean_rank", "mean rank", decimals=2),
    Heading("rank_group", "group"),
    Heading("score", "mean score", decimals=3),
)


_FRONT_CAPTION: Final = (
    "front: no other is at least as good in all and better in one. P(front): how often, when every figure is drawn "
    "anew within its error (2000 draws). *: baseline."
)


_RANK_CAPTION: Final = "group: networks that share a letter cannot be told apart (Nemenyi, 5 %)."


def render_rank(ranking: Ranking, *, format: str = "table") -> RenderableType:
    """A ranking: a rich renderable for `table`, text for `csv` (the table alone), `md` and `json`.

    Raises UnknownName.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "unet-bench rank --help")
    notes = sentences(ranking.findings)
    if format == "csv":
        return csv_text(ranking.table)
    if format == "json":
        tables = {
            "table": records(ranking.table),
            "tests": records(ranking.tests),
            "notes": notes,
        }
        return json.dumps(tables, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    sections = [*_fronts(ranking.table), *_rank_sections(ranking)]
    captions = [_FRONT_CAPTION] * bool(ranking.table["pareto"].notna().any()) + [
        _RANK_CAPTION
    ] * bool(ranking.ranks)
    if format == "md":
        listed = "".join(f"\n- {escaped(note)}" for note in notes)
        gap = "\n" if notes else ""
        return as_markdown(sections, f"{' '.join(captions)}{gap}{listed}")
    return as_table(sections, "\n".join((*captions, *(f"· {note}" for note in notes))))


def _fronts(table: pd.DataFrame) -> Iterator[Section]:
    several = table["run_id"].nunique() > 1
    for group in peer_groups(records(table)).values():
        if all(row["pareto"] is None for row in group):
            continue
        shown = [{**row, **_front_words(row)} for row in group]
        yield _section(
            title(group[0], (*["run_id"] * several, *CONDITIONS, "batch_effective")),
            shown,
            FRONT_HEADINGS,
        )


def _front_words(row: Row) -> dict[str, str | None]:
    chance = row["front_probability"]
    return {
        "on_front": None if row["pareto"] is None else "yes" if row["pareto"] else "no",
        "probability": None if chance is None else _probability(chance),
    }


def _probability(chance: float) -> str:
    """Two digits; 2000 draws cannot say 0 or 1."""
    return "> 0.99" if chance > 0.995 else "< 0.01" if chance < 0.005 else f"{chance:.2f}"


def _rank_sections(ranking: Ranking) -> Iterator[Section]:
    ranked = [row for row in records(ranking.table) if row["mean_rank"] is not None]
    several = ranking.table["run_id"].nunique() > 1
    for test in records(ranking.tests):
        own = {
            row["variant"]: row
            for row in ranked
            if all(row[n] == test[n] for n in ("run_id", *SETTING))
        }
        setting = title(test, (*["run_id"] * several, *SETTING))
        rows = sorted(own.values(), key=lambda row: row["mean_rank"])
        yield _section(" · ".join(filter(None, ("average ranks", setting))), rows, RANK_HEADINGS)


def _section(title: str, rows: Sequence[Row], headings: Sequence[Heading]) -> Section:
    shown = [
        heading for heading in headings if any(row[heading.column] is not None for row in rows)
    ]
    return Section(
        title, tuple(heading.label for heading in shown), tuple(_line(row, shown) for row in rows)
    )


def _line(row: Row, headings: Sequence[Heading]) -> Line:
    return Line(
        variant=one_line(row["variant"]),
        is_baseline=row["variant"] == row["baseline"],
        figures=tuple(figure(row, heading) for heading in headings),
        best=(row.get("on_front") == "yes",) * len(headings),
        problem="",
        is_trivial=row["trivial"],
    )
