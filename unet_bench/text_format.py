"""Names and figures in sentences."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from unet_bench.store.schema import SIZE


def one_line(name: str) -> str:
    """A name without the line breaks and control characters that a file from elsewhere may bring."""
    return printable(name)


def named(names: Sequence[str], most: int = 6) -> str:
    """The first names of a list by commas, and how many more there are."""
    shown = ", ".join(map(one_line, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def title(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """The row's values of these conditions, as a heading."""
    numbers = {"threads": "threads", "batch_requested": "batch"}
    batch = "batch_effective"
    words = conditions(
        row, [name for name in names if name not in (*numbers, *SIZE, "dataset_hash", batch)]
    )
    words += scored_size(row)
    words += [
        f"{label} {row[name]}" for name, label in numbers.items() if row.get(name) is not None
    ]
    if batch in names and row.get(batch) not in (None, row.get("batch_requested")):
        words.append(f"ran at batch {row[batch]}")
    return " · ".join(words)


def digits(value: float, beside: float | None = None) -> str:
    """Three digits, whole from 100 on; more where it would read as `beside`, from which it differs."""
    return _unlike(value, beside, (f"{value:.0f}" if value >= 100 else f"{value:.3g}"), "g")


def decimals(value: float, beside: float | None = None) -> str:
    """Three decimals; more where it would read as `beside`, from which it differs."""
    return _unlike(value, beside, f"{value:.3f}", "f")


def times(factor: float) -> str:
    """A factor, such as 1.25×; with more digits where it would read as 1, which it is not."""
    if factor >= 9.95:
        return f"{factor:.3g}×" if factor >= 100 else f"{factor:.1f}×"
    return f"{_unlike(factor, 1.0, f'{factor:.2f}', 'f')}×"


def _unlike(value: float, beside: float | None, usual: str, kind: str) -> str:
    texts = (usual, *(f"{value:.{n}{kind}}" for n in range(3, 9)))
    return next((text for text in texts if beside is None or float(text) != beside), usual)


_USUAL: Final[Mapping[str, str]] = {
    "evaluation": "tiled",
    "pretrained": "none",
    "algorithms": "fastest",
    "batch_norm": "kept",
}


_WORDED: Final[Mapping[str, str]] = {
    "match": "matched ",
    "pretrained": "pretrained ",
    "batch_norm": "batch norm ",
}


def scored_size(row: Mapping[Any, Any], word: str = "scored ") -> list[str]:
    """The row's scored pixels behind a word, as 128×128 or 32×32×32; nothing where it states none."""
    sides = [str(row[name]) for name in SIZE if row.get(name) is not None]
    return [word + "×".join(sides)] * bool(sides)


def conditions(row: Mapping[Any, Any], names: Iterable[str]) -> list[str]:
    """The row's values of these conditions, those left out that are empty or as they usually are."""
    found = ((name, row.get(name)) for name in names)
    return [
        f"{_WORDED.get(name, '')}{x}"
        for name, x in found
        if x is not None and x != _USUAL.get(name)
    ]


def printable(text: str) -> str:
    """Text on one line, without what would steer a terminal or turn the direction of what follows."""
    return "".join(c for c in " ".join(text.split()) if unicodedata.category(c) not in ("Cc", "Cf"))


def escaped(text: str) -> str:
    """Text as it stands in a markdown table: neither markup nor a cell's end."""
    return re.sub(r"([\\|*`<$\[])", r"\\\1", printable(text))
