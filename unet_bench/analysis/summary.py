"""A run's Dice over all its data sets: one row per variant and way of training, with its difference
to the baseline.

cells ─▶ accuracy cells by variant and setting ─▶ pairs of equal (data set, fold, seed)
      ─▶ DataFrame
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

import pandas as pd

from unet_bench.stats.paired import Pairs, coarsest
from unet_bench.store.columns import Column
from unet_bench.store.schema import BY_NAME, CONDITIONS, INTERVALS, worst_of
from unet_bench.store.tables import difference_columns, mean_columns, pooled, records, typed_frame

_OF_DATA: Final = ("task", "dataset_hash")
# What a row's cells have in common.
SETTING: Final = tuple(name for name in CONDITIONS if name not in _OF_DATA)
_ROW: Final = ("run_id", *SETTING, "variant")
_PAIR: Final = (*_OF_DATA, "fold", "seed")  # what a cell and the baseline's must share to be a pair
_FIGURES: Final[Mapping[str, str]] = {
    "tasks": "Int64",  # data sets with a figure
    "cells": "Int64",  # figures that the mean comes from
    "failed": "Int64",  # accuracy cells without a figure
    "status": "string",  # the worst of all accuracy cells
    **{
        name: BY_NAME[name].dtype
        for name in (
            "dice",
            *INTERVALS["dice"],
            "dice_sd",
            "dice_pairs",
            "dice_difference",
            *INTERVALS["dice_difference"],
            "dice_verdict",
            "dice_pairs_needed",
        )
    },
}
COLUMNS: Final[Mapping[str, str]] = {
    **{
        name: BY_NAME[name].dtype for name in ("run_id", "variant", "baseline", "trivial", *SETTING)
    },
    **_FIGURES,
}


Row = dict[str, Any]
Pair = tuple[Hashable, ...]  # the values of _PAIR
Scores = Mapping[Pair, float]  # Dice


def summary(
    cells: pd.DataFrame,
    plugins: Mapping[str, Column] = MappingProxyType({}),
    *,
    corrected: bool = True,
) -> pd.DataFrame:
    """Return one row per variant × setting over all data sets of `read_results(run, "cells")`.

    Columns are `COLUMNS`, in this order, then for each of `plugins`, the columns that plugins
    measured, its figure over all cells, and for each of their probes the worst status. Where a cell
    of the probe failed there is no figure: a mean over the others would flatter. Within a setting
    rows are sorted by the difference to the baseline, the best first; the baseline stands at 0, and
    variants that share no pair with it come last. An accuracy cell that failed is counted in
    `failed`, and its pair is left out. Verdicts are `corrected` for the number of variants that are
    compared with a baseline.
    """
    probes = dict.fromkeys(column.probes[0] for column in plugins.values())
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in records(cells[cells.probe.isin(["accuracy", *probes])]):
        groups[tuple(row[name] for name in _ROW)].append(row)
    scores = {key: _scores(rows) for key, rows in groups.items()}
    settings: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    pairs: dict[tuple[Any, ...], dict[tuple[Any, ...], Pairs]] = defaultdict(dict)
    figures: dict[tuple[Any, ...], Row] = {}
    for key, rows in groups.items():
        baseline = next((row["baseline"] for row in rows if row["baseline"]), None)
        if baseline != key[-1]:
            of_baseline = (*key[:-1], baseline)
            pairs[of_baseline][key] = _pairs(scores[key], scores.get(of_baseline, {}))
        named = dict(zip(_ROW, key, strict=True))
        named |= {"baseline": baseline, "trivial": rows[0]["trivial"]}
        figures[key] = named | _accuracy(rows, scores[key]) | _measured(rows, plugins.values())
        settings[key[:-1]].append(figures[key])
    trivial = {key for key, row in figures.items() if row["trivial"]}
    for compared in pairs.values():
        for key, found in difference_columns(compared, trivial, corrected=corrected).items():
            figures[key] |= found
    ordered = [row for setting in settings.values() for row in sorted(setting, key=_rank)]
    dtypes = {column.name: column.dtype for column in plugins.values()}
    statuses = {f"{probe}_status": "string" for probe in probes}
    return typed_frame(ordered, {**COLUMNS, **dtypes, **statuses})


# ---- from cells to figures


def _scores(cells: list[Row]) -> Scores:
    scored = (row for row in cells if row["dice"] is not None)
    return {tuple(row[name] for name in _PAIR): row["dice"] for row in scored}


def _accuracy(rows: list[Row], scores: Scores) -> Row:
    statuses = [row["status"] for row in rows if row["probe"] == "accuracy"]
    figures: Row = {
        "tasks": len({pair[:2] for pair in scores}),
        "cells": len(scores),
        "failed": len(statuses) - len(scores),
        "status": worst_of(statuses),
    }
    return figures | mean_columns(_clustered(scores)) if scores else figures


def _pairs(scores: Scores, baseline: Scores) -> Pairs:
    shared = {pair: dice - baseline[pair] for pair, dice in scores.items() if pair in baseline}
    return _clustered(shared)


def _clustered(scores: Scores) -> list[tuple[Hashable, float]]:
    """Return figures by what varies independently: the data, of a single data set fold or seed."""
    units = coarsest([(pair[:2], *pair[2:]) for pair in scores])
    return list(zip(units, scores.values(), strict=True))


def _measured(rows: list[Row], columns: Iterable[Column]) -> Row:
    """Return plugins' figures and the worst status of each of their probes."""
    figures: Row = {}
    for column in columns:
        [probe] = column.probes
        cells = [row for row in rows if row["probe"] == probe]
        status = worst_of(row["status"] for row in cells)
        values = [row[column.name] for row in cells if row[column.name] is not None]
        figure = pooled(column, values) if status == "ok" else None
        figures |= {column.name: figure, f"{probe}_status": status}
    return figures


def _rank(row: Row) -> tuple[bool, float]:
    is_baseline = row["variant"] == row["baseline"]
    difference = 0.0 if is_baseline else row.get("dice_difference")
    return difference is None, -(difference or 0.0)
