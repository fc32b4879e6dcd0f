"""Each variant's Dice over all data sets."""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Final

import pandas as pd

from unet_bench.analysis.summary import SETTING
from unet_bench.present.blocks import Block, Heading, Text
from unet_bench.present.document import Document, derived, table_of
from unet_bench.present.table import statuses
from unet_bench.store.columns import Column
from unet_bench.store.figures import Row, grouped
from unet_bench.store.schema import BY_NAME
from unet_bench.store.tables import records
from unet_bench.text_format import title

_COLUMNS: Final = (
    derived("tasks", "data sets"),
    derived("cells"),
    *(BY_NAME[name] for name in ("dice", "dice_sd", "dice_difference")),
    *(BY_NAME[name] for name in ("dice_pairs", "dice_pairs_needed")),
)
_LEGEND: Final = (
    "±: the longer side of the 95 % interval over data sets; of one data set over its folds, of "
    "one fold over its seeds. Student's t below ten of them, from ten on a cluster bootstrap "
    "(expanded percentiles). sd: of Dice over cells. Δ Dice: mean difference to the baseline over "
    "equal (data set, fold, seed); ≈: not separable, all variants of a table taken together "
    "(Dunnett; --no-correction: each by itself), or there is one unit and no interval. needed: "
    "pairs that would separate it, if difference and spread stayed as they are."
)


def summary_document(frame: pd.DataFrame, plugins: Iterable[Column] = ()) -> Document:
    """Return the frame of `summary` as a document, a table for each setting.

    The columns of `plugins` stand behind ours.
    """
    columns = (*_COLUMNS, *plugins)
    blocks: list[Block] = []
    for rows in grouped(records(frame), itemgetter("run_id", *SETTING)).values():
        blocks += [Heading(title(rows[0], SETTING)), table_of(rows, columns, problem=_failed)]
    runs = [f"run {name}" for name in frame["run_id"].dropna().unique()]
    blocks.append(Text(" · ".join([*runs, _LEGEND]), "quiet"))
    return Document("summary", tuple(blocks), frame)


def _failed(row: Row) -> str:
    bad = {probe: status for probe, status in statuses(row).items() if status != "ok"}
    words = [f"{probe} {status}" for probe, status in bad.items()]
    if row["failed"]:
        total = row["failed"] + row["cells"]
        words.insert(0, f"{row['failed']} of {total} cells without a figure: {row['status']}")
    return ", ".join(words)
