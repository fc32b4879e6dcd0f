"""What the tables of a run mean: statuses, qualities, conditions, and look-ups in `columns.py`.

`python -m unet_bench.store.documentation > results/README.md` writes it down for readers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from unet_bench.errors import StoreError
from unet_bench.store.columns import COLUMNS, OUR_PROBE_NAMES, Column

SCHEMA_VERSION: Final = 2
MOST_WHOLE: Final = 2**63  # what a whole number stays below

TABLES: Final[Mapping[str, str]] = {
    "cells": "one row per cell: its last attempt",
    "results": "one row per variant × task × setting: every probe's figures side by side",
    "classes": "one row per class of every accuracy cell",
}

# Both from mild to grave: several cells have the last of theirs in this order.
STATUSES: Final[Mapping[str, str]] = {
    "ok": "there are figures",
    "skipped": "left out on purpose",
    "unsupported": "the variant cannot run on this task or setting, by its nature",
    "oom": "memory ran out",
    "timeout": "took longer than it was allowed to",
    "killed": "the worker was ended from outside",
    "nonfinite": "a loss or an output became NaN or infinite",
    "error": "anything else that went wrong; `error` and `log` say what",
}
QUALITIES: Final[Mapping[str, str]] = {
    "clean": "nothing disturbed the measurement",
    "unwatched": "whether others used the GPU is not known: NVML does not see it",
    "recompiled": "the model was compiled again inside the timed part",
    "unpaired": "timed without the baseline, which did not fit into memory: there is no ratio",
    "throttled": (
        "the device lowered its clocks for lack of power or heat: times are of that lower speed"
    ),
    "contaminated": (
        "other work ran on the machine: absolute times are left empty, "
        "a ratio is kept if its interval is at most 10 % wide"
    ),
    "mixed": "replicates ran on different devices: their figures are not averaged",
}
GRAVITY: Final[Mapping[str, int]] = {
    name: rank for names in (STATUSES, QUALITIES) for rank, name in enumerate(names)
}

# What the column `race` says of a network after a rung, or begins with.
WENT_ON: Final = "went on"  # it was chosen for the next rung
BEHIND: Final = "stopped: clearly behind"
NO_TIME: Final = "stopped: no time left"
FAILED: Final = "stopped: failed"
FINISHED: Final = "finished"  # the last rung
PER_CLASS: Final = "per_class"
"""Where the accuracy probe leaves the rows of classes.csv in its own row."""
ENVIRONMENT_COLUMNS: Final = ("device_name", "env_id", "torch", "commit")
"""What tells machines and their software apart."""
SIZE: Final = ("scored_depth", "scored_height", "scored_width")
"""The scored size; images have no depth."""
RUNTIME: Final = ("runtime", "quantize")
"""What a network is run by, and with which numbers."""
HOW: Final = ("device", "precision", "memory_format", *RUNTIME, "batch_norm", "algorithms")
"""How networks are run."""
CONDITIONS: Final = (
    *("task", "dataset_hash", *SIZE, "fit", "match", "recipe", "budget", "window"),
    *("evaluation", "pretrained", *HOW),
    *("threads", "batch_requested"),
)
"""What two rows must share to be compared: the task at one scored size, and how it was run."""

BY_NAME: Final[Mapping[str, Column]] = {column.name: column for column in COLUMNS}
INTERVALS: Final[Mapping[str, tuple[str, str]]] = {
    column.name: column.interval for column in COLUMNS if column.interval
}
ENDS: Final = frozenset(end for ends in INTERVALS.values() for end in ends)
"""The columns that hold an end of another column's interval."""
SHOWN: Final = tuple(sorted((c for c in COLUMNS if c.place), key=lambda column: column.place))
"""The columns that tables show from the start, in their order."""
PROBE_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    probe: tuple(column.name for column in COLUMNS if probe in column.probes)
    for probe in OUR_PROBE_NAMES
}
NOT_MEASURED: Final = frozenset(c.name for c in COLUMNS if not c.probes) - {"quality", "evidence"}


def columns(table: str) -> tuple[Column, ...]:
    """Return the columns of the table `cells`, `results` or `classes`, in order.

    Raises StoreError for any other table.
    """
    if table not in TABLES:
        raise StoreError(f"unknown table {table!r}: it is one of {', '.join(TABLES)}")
    return tuple(column for column in COLUMNS if table in column.tables)


def described(name: str, known: Mapping[str, Column] = BY_NAME) -> Column:
    """Return the description of a column; one that nobody describes has only its name."""
    return known.get(name) or Column(name, "Float64", "a plugin's")


def shown_columns(known: Mapping[str, Column] = BY_NAME) -> tuple[Column, ...]:
    """Return the columns that tables show from the start: ours, then plugins'."""
    return (*SHOWN, *(column for name, column in known.items() if name not in BY_NAME))


def worst_of(names: Iterable[str | None]) -> str | None:
    """Return the worst of several statuses or qualities; an unknown one is worse than all."""
    return max(filter(None, names), key=gravity, default=None)


def gravity(name: str) -> int:
    """Return how bad a status or quality is among its kind; an unknown one is worse than all."""
    return GRAVITY.get(name, len(GRAVITY))


# ---- what a column takes

# Of most values the type says all: a run that goes on looks at millions of them.
_TYPES: Final = {"string": str, "Float64": float, "boolean": bool, "Int64": type(None)}
_SURE: Final[Mapping[str, tuple[type, ...]]] = {
    column.name: (_TYPES[column.dtype], type(None))
    for column in COLUMNS
    if not (column.is_ratio or column.place or column.name in ("status", "quality"))
}
_NAMED: Final[Mapping[str, Mapping[str, str]]] = {"status": STATUSES, "quality": QUALITIES}


def fault(row: Mapping[str, Any], known: Mapping[str, Column] = BY_NAME) -> str:
    """Return what is wrong with the first value that its column does not take; else empty."""
    for name, value in row.items():
        if type(value) in _SURE.get(name, ()):
            continue
        if isinstance(value, int) and abs(value) >= MOST_WHOLE:
            return f"{name} has more than 64 bits"
        if name == PER_CLASS and not _are_records(value):
            return f"{name} is no list of records: {ascii(value)[:60]}"
        if name in known and value is not None and not _takes(known[name], value):
            return f"{name} does not take {ascii(value)[:60]}"
    return ""


def _are_records(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, list | tuple) and all(isinstance(record, dict) for record in value)


def _takes(column: Column, value: object) -> bool:
    if column.name in _NAMED:
        return isinstance(value, str) and value in _NAMED[column.name]
    if column.dtype == "boolean" or isinstance(value, bool):
        return column.dtype == "boolean" and isinstance(value, bool)
    if column.dtype == "string":
        return isinstance(value, int | float | str)
    if not isinstance(value, int | float) or not _is_possible(column, value):
        return False
    return column.dtype == "Float64" or float(value).is_integer()


def _is_possible(column: Column, value: float) -> bool:
    """Return whether a cell can have come to such a figure, of those that are compared."""
    if column.is_ratio:
        return not value <= 0
    if column.place and "cells" in column.tables:
        least, most = (-1 if column.signed else 0), (1 if column.by_difference else math.inf)
        return not (value < least or value > most)
    return True
