"""Pareto fronts and average ranks over data sets."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from typing import Final

import pandas as pd

from unet_bench.analysis.rank import Ranking
from unet_bench.analysis.summary import SETTING
from unet_bench.present.blocks import Block, Heading, Notes, Text
from unet_bench.present.document import Document, derived, table_of
from unet_bench.present.findings import sentences
from unet_bench.present.table import PREDICTED_MEMORY, memory_is_predicted
from unet_bench.store.columns import Column
from unet_bench.store.figures import Row, grouped, peer_groups
from unet_bench.store.schema import BY_NAME, CONDITIONS
from unet_bench.store.tables import records
from unet_bench.text_format import title

_FRONT: Final = (
    *(BY_NAME[name] for name in ("dice", "latency_ms", "latency_ratio", "peak_memory_mib")),
    derived("on_front", "front"),
    derived("probability", "P(front)"),
    derived("u_score", "U-Score", decimals=1),
)
_RANKS: Final = (
    derived("mean_rank", "mean rank", decimals=2),
    derived("rank_group", "group"),
    derived("score", "mean score", decimals=3),
)
_FRONT_LEGEND: Final = (
    "front: no other network is at least as good in all figures and better in one. "
    "P(front): how often it is on the front when every figure is drawn at random within its error "
    "(2000 draws; of more than 250 networks fewer)."
)
_RANK_LEGEND: Final = "group: networks that share a letter cannot be told apart (Nemenyi, 5 %)."


def rank_document(ranking: Ranking) -> Document:
    """Return a ranking as a document: a table of each front, and one of average ranks."""
    table = ranking.table
    blocks: list[Block] = list(_fronts(table))
    for test, ranked in averages(ranking):
        setting = title(test, (*_run_id(table), *SETTING))
        blocks += [Heading(" · ".join(filter(None, ("average ranks", setting))))]
        blocks += [table_of(ranked, _RANKS)]
    legend = _FRONT_LEGEND if table["pareto"].notna().any() else ""
    if ranking.ranks:
        legend = f"{legend} {_RANK_LEGEND}".strip()
    if memory_is_predicted(table):
        legend = f"{legend} {PREDICTED_MEMORY}.".strip()
    blocks += [Text(legend, "quiet")] if legend else []
    notes = sentences(ranking.findings)
    blocks += [Notes(notes)] if notes else []
    content = {"table": records(table), "tests": records(ranking.tests), "notes": notes}
    return Document("rank", tuple(blocks), table, content)


def _fronts(table: pd.DataFrame) -> Iterator[Block]:
    names = (*_run_id(table), *CONDITIONS, "batch_effective")
    for group in peer_groups(records(table)).values():
        if any(row["pareto"] is not None for row in group):
            rows = [{**row, **_in_words(row)} for row in group]
            yield Heading(title(group[0], names))
            yield table_of(rows, _FRONT, is_best=_is_on_front)


def _run_id(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the column that tells runs apart, where there are several."""
    return ("run_id",) if table["run_id"].nunique() > 1 else ()


def _is_on_front(row: Row, column: Column) -> bool:
    return bool(row["on_front"] == "yes")


def _in_words(row: Row) -> dict[str, str | None]:
    chance, is_on_front = row["front_probability"], row["pareto"]
    words = {None: None, True: "yes", False: "no"}
    return {
        "on_front": words[is_on_front],
        "probability": None if chance is None else _probability(chance),
    }


def _probability(chance: float) -> str:
    """Return a probability with two digits; 2000 draws cannot say 0 or 1."""
    return "> 0.99" if chance > 0.995 else "< 0.01" if chance < 0.005 else f"{chance:.2f}"


def averages(ranking: Ranking) -> Iterator[tuple[Row, list[Row]]]:
    """Yield each test, and a row for each variant that it ranks, the best first."""
    setting = itemgetter("run_id", *SETTING)
    ranked = (row for row in records(ranking.table) if row["mean_rank"] is not None)
    settings = grouped(ranked, setting)
    for test in records(ranking.tests):
        of_variant = {row["variant"]: row for row in settings.get(setting(test), ())}
        yield test, sorted(of_variant.values(), key=itemgetter("mean_rank"))
