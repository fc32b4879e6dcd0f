"""Results in tidy (long) form: a row for each figure, where the usual table has a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pandas as pd

from unet_bench.store.columns import Column
from unet_bench.store.schema import CONDITIONS, ENDS

WHOSE: Final = ("run_id", "variant", "baseline", "trivial", *CONDITIONS)
FIGURE: Final[Mapping[str, str]] = {
    "metric": "string",
    "value": "Float64",
    "ci_low": "Float64",
    "ci_high": "Float64",
    "unit": "string",
    "better": "string",
}
NUMBERS: Final = ("Float64", "Int64")


def tidy(results: pd.DataFrame, known: Mapping[str, Column]) -> pd.DataFrame:
    """Return a row for each variant, its conditions, and each figure that was measured.

    `metric` is the column's name in the usual table, `value` is in `unit`; `ci_low` and `ci_high`
    are the ends of its 95 % interval, empty where it has none; `better` is `high`, `low` or empty.
    """
    whose = [name for name in WHOSE if name in results]
    parts = []
    for name in map(str, results.columns):
        column = known.get(name)
        if column is None or not column.probes or column.dtype not in NUMBERS or name in ENDS:
            continue
        there = results[results[name].notna()]
        low, high = column.interval or ("", "")
        figures = {
            "metric": name,
            "value": there[name],
            "ci_low": there.get(low),
            "ci_high": there.get(high),
            "unit": column.unit or None,
            "better": column.better or None,
        }
        part = there[whose].assign(**figures)
        if len(part):
            parts.append(part.astype(dict(FIGURE)))
    if not parts:
        return results[whose].head(0).assign(**dict.fromkeys(FIGURE)).astype(dict(FIGURE))
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
