"""The results of a run: a table for each task and setting, the best first."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pandas as pd

from unet_bench.errors import unknown
from unet_bench.present.blocks import Block, Heading, Table, Text
from unet_bench.present.document import Document, table_of
from unet_bench.store.columns import Column
from unet_bench.store.figures import Row
from unet_bench.store.schema import (
    BY_NAME,
    CONDITIONS,
    HOW,
    RUNTIME,
    described,
    shown_columns,
)
from unet_bench.store.tables import records
from unet_bench.text_format import conditions, first_line, scored_size

_LEGEND: Final = "bold: best · ±: the longer side of the 95 % interval"
_VERDICTS: Final = "better, worse, ≈: than the baseline, all variants taken together"
PREDICTED_MEMORY: Final = (
    "memory: predicted, to the byte what tensors take; --probes memory measures it"
)
_TASK: Final = ("fit", "match", "recipe", "budget", "window", "pretrained", "evaluation")
_NUMBERS: Final[Mapping[str, str]] = {"threads": "threads", "batch_requested": "batch"}


def results_document(
    frame: pd.DataFrame,
    *,
    sort: str | None = None,
    columns: Sequence[str] | None = None,
    without: Sequence[str] = (),
    known: Mapping[str, Column] = BY_NAME,
) -> Document:
    """Return a frame of `read_results`, whose columns are `known`, as a document.

    Sorted by Dice and then latency, or by the column `sort`, the best first; then rows that are not
    ok, then trivial baselines. Of a race each network is shown at the last rung that it reached; in
    csv and JSON at every one. `columns` names what is shown instead of the usual: in csv and JSON
    that is everything. Raises UnknownName.
    """
    for name in (sort, *(columns or ())):
        if name is not None and name not in frame:
            command = "python -m unet_bench.store.documentation"
            raise unknown("column", name, map(str, frame), command)
    ordered = _ordered(frame, known, [sort] if sort else ["dice", "latency_ms"])
    if columns:
        asked = [name for name in columns if name != "variant"]
        shown = [_as_it_is(described(name, known)) for name in asked]
    else:
        shown = [column for column in shown_columns(known) if column.name not in without]
    has_verdict = any(column.verdict and frame[column.verdict].notna().any() for column in shown)
    caption = " · ".join([_caption(frame), _LEGEND, *([_VERDICTS] if has_verdict else [])])
    if memory_is_predicted(frame):
        caption += f" · {PREDICTED_MEMORY}"
    data = ordered[list(columns)] if columns else ordered
    sections = _sections(_at_last_rung(ordered), shown)
    return Document("show", (*sections, Text(caption, "quiet")), data)


def memory_is_predicted(frame: pd.DataFrame) -> bool:
    """Return whether the peak memory of any row was not measured."""
    return bool("memory_source" in frame and frame["memory_source"].eq("predicted").any())


def problem(row: Row) -> str:
    """Return what is not ok or not clean, and why: `speed oom: CUDA out of memory`."""
    why = first_line(row.get("error") or row.get("evidence") or "")
    return ": ".join(filter(None, (state(row), why)))


def state(row: Row) -> str:
    """Return the statuses that are not ok, and the quality if it is not clean; empty: all is well.

    Probes are named where not all have one status.
    """
    by_probe = statuses(row)
    is_one = len(set(by_probe.values())) == 1
    bad = {probe: status for probe, status in by_probe.items() if status != "ok"}
    words = [status if is_one else f"{probe} {status}" for probe, status in bad.items()]
    if row.get("quality") not in (None, "clean"):
        words.append(row["quality"])
    return ", ".join(dict.fromkeys(words))


def statuses(row: Row) -> dict[str, str]:
    """Return the status of each probe, plugins' included, that was asked for."""
    names = _status_names(tuple(row))
    return {name.removesuffix("_status"): row[name] for name in names if row[name] is not None}


@functools.lru_cache(maxsize=16)
def _status_names(names: tuple[str, ...]) -> list[str]:
    """Return those of a table's columns that hold statuses; a table has many rows."""
    return [name for name in names if name.endswith("_status")]


def failed(row: Row) -> bool:
    """Return whether any probe left no figures."""
    return any(status != "ok" for status in statuses(row).values())


def best_of(rows: Iterable[Row], column: Column) -> object:
    """Return the best figure among networks without failures; None where all are equal.

    None as well where neither end of the column is good, or a verdict says more than being best.
    """
    sound = (row for row in rows if not row["trivial"] and not failed(row))
    figures: set[Any] = {row.get(column.name) for row in sound} - {None}
    if not column.better or column.verdict or len(figures) < 2:
        return None
    return max(figures) if column.better == "high" else min(figures)


def setting_title(row: Row) -> list[str]:
    """Return the conditions that the row shares with those it may be compared with."""
    known = {name: value for name, value in row.items() if value is not None}
    words = [str(known.get("task") or ""), *conditions(known, _TASK), *scored_size(known)]
    words += conditions(known, HOW)
    words += [f"{label} {known[name]}" for name, label in _NUMBERS.items() if name in known]
    return [word for word in words if word]


# ---- below


def _as_it_is(column: Column) -> Column:
    """Return a column that was asked for by name: under this name, in the unit that is stored."""
    return replace(column, heading=column.name, factor=1.0, decimals=0, verdict="")


def _ordered(frame: pd.DataFrame, known: Mapping[str, Column], keys: Sequence[str]) -> pd.DataFrame:
    ascending = [described(name, known).better != "high" for name in keys]
    is_failed = [failed(row) for row in records(frame)]
    marked = frame.assign(_failed=is_failed).sort_values(
        ["trivial", "_failed", *keys], ascending=[True, True, *ascending], kind="stable"
    )
    return marked.drop(columns="_failed")


def _sections(frame: pd.DataFrame, columns: Sequence[Column]) -> Iterator[Block]:
    """Yield title and table of each group, in the order in which the runs were given."""
    several = frame["run_id"].nunique(dropna=False) > 1
    alike = ["run_id", *(name for name in CONDITIONS if name not in RUNTIME)]
    groups = [part for _, part in frame.groupby(alike, dropna=False, sort=False)]
    for part in sorted(groups, key=lambda part: part.index.min()):
        rows = records(part)
        # One network by several runtimes is one table: which is faster is what it is for.
        several_ways = [name for name in RUNTIME if part[name].nunique() > 1]
        title = setting_title({**rows[0], **dict.fromkeys(several_ways)})
        yield Heading(" · ".join([*title, *(_origin(part) if several else ())]))
        shown = [column for column in columns if _is_measured(rows, column)]
        yield _table(rows, [*(described(name) for name in several_ways), *shown])


def _at_last_rung(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a race, of each network that at the last rung that it reached.

    A rung from which all went on has no rows left: what needs no training is shown with the others.
    """
    of_race = ["run_id", *(name for name in CONDITIONS if name != "budget"), "variant"]
    last = frame.groupby(of_race, dropna=False)["rung"].transform("max")
    left = frame[~((frame["rung"] < last) & ~frame["trivial"]).fillna(False)]
    is_alone = left.groupby(["run_id", *CONDITIONS], dropna=False)["trivial"].transform("all")
    return left[~(left["rung"].notna() & is_alone)]


def _is_measured(rows: Sequence[Row], column: Column) -> bool:
    """Return whether there is something to show: of a difference its interval, from two pairs."""
    needed = column.interval[0] if column.verdict and column.interval else column.name
    return any(row.get(needed) is not None for row in rows)


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    best = {column.name: best_of(rows, column) for column in columns}

    def is_best(row: Row, column: Column) -> bool:
        value = row.get(column.name)
        return value is not None and value == best[column.name] and not row["trivial"]

    return table_of(rows, columns, is_best=is_best, problem=problem)


def _origin(rows: pd.DataFrame) -> list[str]:
    """Return which of several runs the rows are of, and in which environment."""
    return _stated(rows, {"run": "run_id", "on": "device_name", "environment": "env_id"})


def _caption(frame: pd.DataFrame) -> str:
    """Return what all sections have in common, and how many rows are not ok."""
    words = _stated(frame, {"run": "run_id", "on": "device_name", "preset": "preset"})
    is_baseline = (frame["variant"] == frame["baseline"]).fillna(False)
    unmatched = frame[frame["match"].isna() | is_baseline]
    scales = sorted({*unmatched["width_scale"].dropna()} - {1})
    if scales:
        words.append(f"width_scale {', '.join(f'{scale:g}' for scale in scales)}")
    environments = _values(frame["env_id"])
    if len(environments) > 1:
        listed = ", ".join(environments)
        words.append(f"{len(environments)} environments ({listed}): compare figures of one")
    bad = sum(failed(row) for row in records(frame))
    return " · ".join((*words, f"{bad} of {len(frame)} rows not ok"))


def _stated(rows: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """Return the values of columns, each behind its word; nothing of what is empty."""
    texts = {word: ", ".join(_values(rows[name])) for word, name in names.items()}
    return [f"{word} {text}" for word, text in texts.items() if text]


def _values(column: Any) -> list[str]:
    """Return a column's values; a row that was measured in several places names them all."""
    texts = [str(value).split(", ") for value in column.dropna().unique()]
    return list(dict.fromkeys(part for parts in texts for part in parts))
