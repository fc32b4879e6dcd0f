"""What a run states of its probes in run.json: its tables are read where their plugins are not.

The columns of our own probes are in the table of columns; a plugin's are here, with type, unit,
label and direction.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import isfinite
from typing import Any, Final

from unet_bench.store.columns import Column
from unet_bench.store.schema import BY_NAME

DTYPES: Final = ("Float64", "Int64", "string", "boolean")
BETTER: Final = ("", "high", "low")
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
MOST_DECIMALS: Final = 9
MOST_TEXT: Final = 200  # characters of a label or meaning
_TEXTS: Final = ("name", "dtype", "unit", "scaled", "meaning", "better", "label", "heading")
_NUMBERS: Final = ("factor", "decimals")
# Ours whose figures hold on every device, for runs made before runs stated it.
_HELD_ON_ANY_DEVICE: Final = frozenset({"cost", "accuracy"})


def columns_of(manifest: Mapping[str, Any]) -> dict[str, Column]:
    """Return the columns that a run's plugins measured, by name.

    Entries of the manifest that describe no column are left out.
    """
    found = (
        _column(stated, probe)
        for probe, about in _probes(manifest)
        for stated in about.get("columns") or ()
    )
    return {column.name: column for column in found if column is not None}


def known_columns(manifests: Iterable[Mapping[str, Any]]) -> dict[str, Column]:
    """Return every column that these runs may have: ours, then their plugins'."""
    known = dict(BY_NAME)
    for manifest in manifests:
        known |= columns_of(manifest)
    return known


def hold_on_any_device(manifest: Mapping[str, Any]) -> frozenset[str]:
    """Return the probes whose figures are the same on any device and at any setting."""
    if "probes" not in manifest:
        return _HELD_ON_ANY_DEVICE
    return frozenset(name for name, about in _probes(manifest) if about.get("any_device") is True)


def probes_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the probes that a run states."""
    return tuple(name for name, _ in _probes(manifest))


def to_manifest(columns: Iterable[Column]) -> list[dict[str, Any]]:
    """Return columns as run.json states them."""
    return [{name: getattr(column, name) for name in (*_TEXTS, *_NUMBERS)} for column in columns]


def fault_of_column(column: Column) -> str:
    """Return what is wrong with a plugin's column; empty if nothing is."""
    name = column.name
    if not NAME.fullmatch(name) or name.endswith("_status") or name in BY_NAME:
        return (
            f"column {name!r} is not valid: small letters, digits and '_', at most 64, "
            "none of the table's own names, not ending in _status"
        )
    if column.dtype not in DTYPES:
        return f"column {name}: dtype {column.dtype!r} is none of {', '.join(DTYPES)}"
    if column.better not in BETTER:
        return f"column {name}: better is {column.better!r}, not high, low or empty"
    for text in (column.unit, column.scaled, column.meaning, column.label, column.heading):
        if len(text) > MOST_TEXT or not text.isprintable():
            return f"column {name}: {text[:40]!r} is no line of at most {MOST_TEXT} characters"
    if not 0 <= column.decimals <= MOST_DECIMALS:
        return f"column {name}: decimals are {column.decimals}, not 0 to {MOST_DECIMALS}"
    if not (isfinite(column.factor) and column.factor > 0):
        return f"column {name}: factor is {column.factor}, not above 0"
    return ""


def _probes(manifest: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    stated = manifest.get("probes")
    for name, about in stated.items() if isinstance(stated, dict) else ():
        if isinstance(about, dict):
            yield name, about


def _column(stated: object, probe: str) -> Column | None:
    """Return the column that an entry of run.json describes; None if it describes none."""
    if not isinstance(stated, dict):
        return None
    texts = {name: stated.get(name, "") for name in _TEXTS}
    numbers = {name: stated[name] for name in _NUMBERS if name in stated}
    whole = isinstance(numbers.get("decimals", 0), int)
    if not whole or not all(isinstance(text, str) for text in texts.values()):
        return None
    if not all(isinstance(number, int | float) for number in numbers.values()):
        return None
    column = Column(**texts, **numbers, probes=(probe,))
    return None if fault_of_column(column) else column
