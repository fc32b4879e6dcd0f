"""Names, conditions and figures as text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from unet_bench.store.columns import Column
from unet_bench.store.schema import SIZE

EMPTY: Final = "–"
"""What stands where there is no figure."""
_UNSURE: Final[Mapping[str, str]] = {"not separable": "≈"}
_NUMBERS: Final[Mapping[str, str]] = {"threads": "threads", "batch_requested": "batch"}
_USUAL: Final[Mapping[str, str]] = {
    "evaluation": "tiled",
    "pretrained": "none",
    "algorithms": "fastest",
    "batch_norm": "kept",
    "quantize": "none",
}
_WORDED: Final[Mapping[str, str]] = {
    "width_scale": "width_scale ",
    "match": "matched ",
    "window": "windows ",
    "pretrained": "pretrained ",
    "batch_norm": "batch norm ",
}

# ---- names


def printable(text: str) -> str:
    """Return text on one line, without what steers a terminal or turns the text's direction."""
    words = " ".join(text.split())
    return "".join(c for c in words if unicodedata.category(c) not in ("Cc", "Cf"))


def one_line(name: str) -> str:
    """Return a name without line breaks and control characters, which a file may bring."""
    return printable(name)


DOUBT: Final = ": doubt: "
"""What a note says between the data set's name and why its files may be misread."""


def is_doubt(note: str) -> bool:
    """Return whether a run's note says that its data may be misread."""
    return DOUBT in note


def first_line(text: str) -> str:
    """Return the first line of a text, printable."""
    return printable(next(iter(text.strip().splitlines()), ""))


def escaped(text: str) -> str:
    """Return text for a markdown table: neither markup nor the end of a cell."""
    return re.sub(r"([\\|*`<$\[])", r"\\\1", printable(text))


def named(names: Sequence[str], most: int = 6) -> str:
    """Return the first names of a list by commas, and how many more there are."""
    shown = ", ".join(map(one_line, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def counted(number: int, word: str) -> str:
    """Return a number and its noun, such as `1 row` or `2 rows`."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def tally(counts: Mapping[str, int]) -> str:
    """Return counts by name, the largest first, such as `3 oom, 1 error`."""
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name}" for name, count in ordered)


# ---- conditions


def title(row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the row's values of these conditions as a heading."""
    batch = "batch_effective"
    apart = {*_NUMBERS, *SIZE, "dataset_hash", batch}
    words = conditions(row, [name for name in names if name not in apart])
    words += scored_size(row)
    for name, label in _NUMBERS.items():
        if name in names and row.get(name) is not None:
            words.append(f"{label} {row[name]}")
    if batch in names and row.get(batch) not in (None, row.get("batch_requested")):
        words.append(f"ran at batch {row[batch]}")
    return " · ".join(words)


def conditions(row: Mapping[Any, Any], names: Iterable[str]) -> list[str]:
    """Return the row's values of these conditions, but those that are empty or as usual."""
    found = {name: row.get(name) for name in names}
    told = {n: value for n, value in found.items() if value is not None and value != _USUAL.get(n)}
    return [f"{_WORDED.get(name, '')}{value}" for name, value in told.items()]


def scored_size(row: Mapping[Any, Any], word: str = "scored ") -> list[str]:
    """Return the row's scored pixels after a word, as 128×128 or 32×32×32; none without them."""
    sides = [str(row[name]) for name in SIZE if row.get(name) is not None]
    return [word + "×".join(sides)] if sides else []


# ---- figures


def figure(row: Mapping[str, Any], column: Column) -> str:
    """Return the row's figure as tables show it: with the longer side of its interval, if any."""
    value = row.get(column.name)
    if value is None:
        return EMPTY
    if isinstance(value, bool | str):
        return first_line(str(value))
    sign = "+" if column.verdict and value > 0 else ""
    words = [sign + number(value, column)]
    reach = [abs(row[end] - value) for end in column.interval or () if row.get(end) is not None]
    if any(reach):
        words.append(f"±{_not_finer(number(max(reach), column, digits=2), words[0])}")
    if verdict := row.get(column.verdict):
        words.append(_UNSURE.get(verdict, verdict))
    return " ".join(words)


def _not_finer(reach: str, value: str) -> str:
    """Return a reach with as many decimals as its value at most, if that leaves a digit of it."""
    places = len(value.partition(".")[2])
    coarse = f"{float(reach):.{places}f}"
    return coarse if float(coarse) and len(coarse) < len(reach) else reach


def number(value: float, column: Column, digits: int = 3) -> str:
    """Return a value of the column in the unit that is shown, with the decimals that it takes."""
    if isinstance(value, int) and column.factor == 1:
        return str(value)
    scaled = value * column.factor
    if column.decimals:
        return f"{scaled:.{column.decimals}f}"
    is_long = abs(scaled) >= 10 ** (digits - 1) or scaled == 0
    return f"{scaled:.0f}" if is_long else f"{scaled:#.{digits}g}"


def digits(value: float, beside: float | None = None) -> str:
    """Return three digits, whole from 100 on; more where it would read as `beside`, but differs."""
    return _unlike(value, beside, (f"{value:.0f}" if value >= 100 else f"{value:.3g}"), "g")


def decimals(value: float, beside: float | None = None) -> str:
    """Return three decimals; more where it would read as `beside`, but differs."""
    return _unlike(value, beside, f"{value:.3f}", "f")


def times(factor: float) -> str:
    """Return a factor such as 1.25×; with more digits where it would read as 1, but differs."""
    if factor >= 9.95:
        return f"{factor:.3g}×" if factor >= 100 else f"{factor:.1f}×"
    return f"{_unlike(factor, 1.0, f'{factor:.2f}', 'f')}×"


def _unlike(value: float, beside: float | None, usual: str, kind: str) -> str:
    texts = (usual, *(f"{value:.{n}{kind}}" for n in range(3, 9)))
    return next((text for text in texts if beside is None or float(text) != beside), usual)
