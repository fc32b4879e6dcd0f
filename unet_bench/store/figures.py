"""A row's figures with their errors, as they are compared: by paired differences and ratios where
there are any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log, nan
from typing import Any, NamedTuple

from unet_bench.store.schema import INTERVALS

Row = Mapping[str, Any]


class Figure(NamedTuple):
    """A figure on a scale on which less is better, and how far its 95 % interval reaches to either
    side.

    `units` is how many independent values it is the mean of, which says how heavy the tails are;
    None: very many.
    """

    value: float
    down: float = 0.0
    up: float = 0.0
    units: int | None = None


def baseline_of(rows: Iterable[Row]) -> Row | None:
    """The baseline's row among rows that may be compared; None where it is not there."""
    return next((row for row in rows if row["variant"] == row.get("baseline")), None)


def is_good(row: Row, *probes: str) -> bool:
    """Whether none of these probes' cells failed: a mean over those that did not would flatter."""
    return all(row.get(f"{probe}_status") in ("ok", None) for probe in probes)


def by_time(rows: Iterable[Row], baseline: Row | None) -> bool:
    """Whether latencies of rows that may be compared are compared as times: the baseline has no
    ratio, which would join the two scales, and everybody who was timed has a time.
    """
    timed = [
        row
        for row in rows
        if is_good(row, "speed") and (row.get("latency_ms") or row.get("latency_ratio"))
    ]
    joined = baseline is not None and baseline.get("latency_ratio")
    return not joined and all(row.get("latency_ms") for row in timed)


def relative_latency(row: Row, baseline: Row | None, as_time: bool = False) -> Figure | None:
    """The logarithm of a row's latency over the baseline's, from the two timed side by side where
    they were.

    A busy machine leaves absolute times empty, and the part of an error that both share cancels in
    the ratio. Where there is none, it is that of the absolute times. `as_time`, as `by_time` says:
    the logarithm of the row's own time.
    """
    if not is_good(row, "speed"):
        return None
    if as_time:
        return _logarithm(row, "latency_ms") if row.get("latency_ms") else None
    if baseline is not None and row["variant"] == baseline["variant"] and row.get("latency_ratio"):
        return Figure(0.0)  # by definition
    if row.get("latency_ratio"):
        return _logarithm(row, "latency_ratio")
    if baseline is None or not (
        baseline.get("latency_ratio") and baseline.get("latency_ms") and row.get("latency_ms")
    ):
        return None
    own = _logarithm(row, "latency_ms")
    return own._replace(value=own.value - log(baseline["latency_ms"]))


def figures_of(networks: Sequence[Row]) -> dict[str, dict[str, Figure | None]]:
    """What each network is on the three scales of the front: minus Dice, log latency, peak memory;
    None: no figure.
    """
    baseline = baseline_of(networks)
    as_time = by_time(networks, baseline)
    paired = any(row.get(INTERVALS["dice_difference"][0]) is not None for row in networks)
    return {
        row["variant"]: {
            "dice": _loss(row, baseline, paired),
            "latency": relative_latency(row, baseline, as_time),
            "peak_memory_mib": _memory(row),
        }
        for row in networks
    }


def _loss(row: Row, baseline: Row | None, paired: bool) -> Figure | None:
    """Minus Dice: by the difference to the baseline where it has an interval, since images and
    seeds are shared.
    """
    if row.get("dice") is None or not is_good(row, "accuracy"):
        return None
    if baseline is not None and baseline.get("dice") is not None:
        if row["variant"] == baseline["variant"] and paired:
            return Figure(-row["dice"])
        if row.get(INTERVALS["dice_difference"][0]) is not None:
            pairs, seeds = row.get("dice_pairs") or 0, row.get("seeds") or 1
            folds = pairs // seeds
            units = folds if folds > 1 else pairs
            down, up = _reach(row, "dice_difference")
            return Figure(-baseline["dice"] - row["dice_difference"], up, down, max(units, 2))
    down, up = _reach(row, "dice")
    seeds = row.get("seeds") or 1
    return Figure(-row["dice"], up, down, seeds if seeds > 1 else None)


def _memory(row: Row) -> Figure | None:
    memory = row.get("peak_memory_mib")
    return None if memory is None or not is_good(row, "memory") else Figure(memory)


def _logarithm(row: Row, name: str) -> Figure:
    value, (low, high) = row[name], (row.get(end) for end in INTERVALS[name])
    replicates = row.get("replicates") or 1
    units = replicates if replicates > 1 else None
    if low is None or high is None or low <= 0:
        return Figure(log(value), nan, nan)
    return Figure(log(value), max(log(value / low), 0.0), max(log(high / value), 0.0), units)


def _reach(row: Row, name: str) -> tuple[float, float]:
    """How far a figure's interval reaches below and above it; NaN without one."""
    low, high = (row.get(end) for end in INTERVALS[name])
    return (
        (nan, nan)
        if low is None or high is None
        else (max(row[name] - low, 0.0), max(high - row[name], 0.0))
    )
