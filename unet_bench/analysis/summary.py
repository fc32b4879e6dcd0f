"""A run's Dice over all its data sets: one row per variant and way of training, with its difference
to the baseline.

cells ─▶ accuracy cells by variant and setting ─▶ pairs of equal (data set, fold, seed)
      ─▶ DataFrame
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Any, Final

import pandas as pd

from unet_bench.stats.paired import coarsest
from unet_bench.store.schema import BY_NAME, CONDITIONS, INTERVALS, worst_of
from unet_bench.store.tables import difference_columns, mean_columns, records, typed_frame

_OF_DATA: Final = ("task", "dataset_hash")
# What a row's cells have in common.
SETTING: Final = tuple(name for name in CONDITIONS if name not in _OF_DATA)
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
# By pair: labels of its unit, and Dice.
Scores = Mapping[tuple[Hashable, ...], tuple[tuple[Hashable, ...], float]]


def summary(cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row per variant × setting over all data sets of `read_results(run, "cells")`.

    Columns are `COLUMNS`, in this order. Within a setting rows are sorted by the difference to the
    baseline, the best first; the baseline stands at 0, and variants that share no pair with it come
    last. A cell that failed is counted in `failed`, and its pair is left out.
    """
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in records(cells):
        if row["probe"] == "accuracy":
            groups[tuple(row.get(name) for name in ("run_id", *SETTING, "variant"))].append(row)
    scores = {key: _scores(rows) for key, rows in groups.items()}
    found = []
    for key, rows in groups.items():
        baseline = next((row["baseline"] for row in rows if row["baseline"]), None)
        of_baseline = {} if baseline == key[-1] else scores.get((*key[:-1], baseline), {})
        named = dict(zip(("run_id", *SETTING, "variant"), key, strict=True))
        found.append(
            {
                **named,
                "baseline": baseline,
                "trivial": rows[0]["trivial"],
                **_figures(rows, scores[key], of_baseline),
            }
        )
    # In the order of appearance.
    settings = {key[:-1]: rank for rank, key in reversed(list(enumerate(groups)))}
    found.sort(
        key=lambda row: (settings[row["run_id"], *(row[name] for name in SETTING)], *_rank(row))
    )
    return typed_frame(found, COLUMNS)


# ---- from cells to figures


def _scores(rows: list[Row]) -> Scores:
    return {
        tuple(row.get(name) for name in _PAIR): (_unit(row), row["dice"])
        for row in rows
        if row["dice"] is not None
    }


def _unit(row: Row) -> tuple[Hashable, ...]:
    """Return what varies independently, from coarse to fine: the data, the fold, the seed."""
    return tuple(row.get(name) for name in _OF_DATA), row.get("fold"), row.get("seed")


def _figures(rows: list[Row], own: Scores, baseline: Scores) -> Row:
    figures: Row = {
        "tasks": len({labels[0] for labels, _ in own.values()}),
        "cells": len(own),
        "failed": sum(row["dice"] is None for row in rows),
        "status": worst_of(row["status"] for row in rows),
    }
    if own:
        figures |= mean_columns(_clustered(own))
    shared = {
        pair: (labels, dice - baseline[pair][1])
        for pair, (labels, dice) in own.items()
        if pair in baseline
    }
    if shared:
        figures |= difference_columns(_clustered(shared), trivial=rows[0]["trivial"])
    return figures


def _clustered(scores: Scores) -> list[tuple[Hashable, float]]:
    labels, values = zip(*scores.values(), strict=True)
    return list(zip(coarsest(labels), values, strict=True))


def _rank(row: Row) -> tuple[bool, float]:
    difference = 0.0 if row["variant"] == row["baseline"] else row.get("dice_difference")
    return difference is None, -(difference or 0.0)


# ---- from figures to text
