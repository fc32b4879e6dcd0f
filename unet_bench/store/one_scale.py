"""Times of networks that may be compared, on one scale.

A network's own time and its ratio to the baseline disagree where the machine was slower in its
minute than in another's. The ratio holds: both were timed in turns. So the baseline's time is
estimated from all cells that saw it, as (own time) / ratio, and each network's time is that of the
baseline times its ratio. What was measured in each cell stays in cells.csv.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from unet_bench.stats.intervals import Interval, mean_interval
from unet_bench.store.figures import grouped, peer_groups
from unet_bench.store.schema import INTERVALS

Row = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """A figure, its ratio to the baseline's, and what moves with it: as it does, or inversely."""

    figure: str
    ratio: str
    alike: tuple[str, ...] = ()
    inverse: tuple[str, ...] = ()
    ratios: tuple[str, ...] = ()  # others to the baseline, which are 1 of itself


SCALES: Final = (
    Scale(
        "latency_ms",
        "latency_ratio",
        alike=("latency_p95_ms", "latency_p99_ms"),
        ratios=("latency_ratio_per_mpx",),
    ),
    Scale("throughput_img_s", "throughput_ratio", alike=("throughput_mpx_s",)),
    Scale(
        "train_step_ms",
        "train_step_ratio",
        alike=(
            "train_forward_ms",
            "train_backward_ms",
            "train_update_ms",
            "train_split_excess_ms",
        ),
        inverse=("train_throughput_img_s",),
    ),
)
FEWEST_FOR_T: Final = 4


def on_one_scale(rows: Iterable[Row]) -> None:
    """Change the rows: times on one scale, and a baseline's ratios to itself exactly 1."""
    for peers in peer_groups(rows).values():
        alike = grouped(peers, lambda row: (row.get("baseline"), row.get("device_name")))
        for group in alike.values():
            for scale in SCALES:
                _bring(group, scale)


def _bring(rows: Sequence[Row], scale: Scale) -> None:
    paired = [row for row in rows if row.get(scale.figure) and row.get(scale.ratio)]
    same = _equal_to_baseline(rows)
    if len(paired) > 1:
        baseline = _baseline_in_log(paired, scale)
        for row in paired:
            ratio = _interval(row, scale.ratio)
            _move(row, scale, baseline, Interval.exact(1.0) if row["variant"] in same else ratio)
    for row in rows:
        if row["variant"] in same:
            _set_to_one(row, scale)


def _equal_to_baseline(rows: Iterable[Row]) -> set[str]:
    """Return the names of the baseline's network: variants of equal choices share one's cells."""
    measured = {row["variant"]: row.get("same_as") or row["variant"] for row in rows}
    of_baseline = {measured.get(row["baseline"]) for row in rows if row.get("baseline")}
    return {name for name, own in measured.items() if own in of_baseline}


def _baseline_in_log(rows: Sequence[Row], scale: Scale) -> Interval:
    """Return the logarithm of the baseline's figure, with the errors in and between the cells.

    Student's t of two or three cells would say next to nothing: their range stands in for it.
    """
    seen = [math.log(row[scale.figure] / row[scale.ratio]) for row in rows]
    within = [_interval(row, scale.figure).log().half for row in rows]
    known = [half for half in within if not math.isnan(half)]
    in_cells = math.hypot(*known) / len(known) if known else 0.0
    mean = mean_interval(seen)
    between = mean.half if len(seen) >= FEWEST_FOR_T else (max(seen) - min(seen)) / 2
    reach = math.hypot(in_cells, between)
    return Interval(mean.value, mean.value - reach, mean.value + reach)


def _move(row: Row, scale: Scale, baseline: Interval, ratio: Interval) -> None:
    """Set the row's figure to its ratio times the baseline's, of which the logarithm is given."""
    before, value = row[scale.figure], math.exp(baseline.value) * ratio.value
    if math.isclose(before, value, rel_tol=1e-9):  # no digits that only rounding makes
        value = before
    own = _interval(row, scale.figure) if math.isnan(ratio.half) else ratio
    row[scale.figure] = value
    if scale.figure in INTERVALS and not math.isnan(own.half):
        reach = zip(own.log().reach(), baseline.reach(), strict=True)
        down, up = (math.hypot(*sides) for sides in reach)
        low, high = INTERVALS[scale.figure]
        row[low], row[high] = value * math.exp(-down), value * math.exp(up)
    for names, factor in ((scale.alike, value / before), (scale.inverse, before / value)):
        for name in names:
            if row.get(name) is not None:
                row[name] *= factor


def _set_to_one(row: Row, scale: Scale) -> None:
    for name in (scale.ratio, *scale.ratios):
        if row.get(name) is not None:
            row[name] = 1.0
            row |= dict.fromkeys(INTERVALS.get(name, ()), 1.0)


def _interval(row: Row, name: str) -> Interval:
    ends = (row.get(end) for end in INTERVALS.get(name, ()))
    return Interval(row[name], *(math.nan if end is None else end for end in ends))
