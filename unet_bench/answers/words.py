"""Names and figures in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unet_bench.results.columns import SIZE
from unet_bench.results.show import conditions, scored_size


def one_line(name: str) -> str:
    """A name without the line breaks that a file from elsewhere may bring."""
    return " ".join(name.split())


def named(names: Sequence[str], most: int = 6) -> str:
    """The first names of a list by commas, and how many more there are."""
    shown = ", ".join(map(one_line, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def title(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The row's values of these conditions, as a heading."""
    numbers = {"threads": "threads", "batch_requested": "batch"}
    words = conditions(row, [name for name in names if name not in (*numbers, *SIZE, "dataset_hash")])
    words += scored_size(row)
    return " · ".join(words + [f"{label} {row[name]}" for name, label in numbers.items() if row.get(name) is not None])


def digits(value: float) -> str:
    """Three digits; whole from 100 on."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def times(factor: float) -> str:
    """A factor, such as 1.25×."""
    return f"{factor:.3g}×" if factor >= 100 else f"{factor:.1f}×" if factor >= 9.95 else f"{factor:.2f}×"
