"""What one can afford, and whether a network's figures stay within it.

rows that may be compared ─▶ a network's figures, latency estimated at need ─▶ over, within, or not to be told
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import exp, hypot, inf, isfinite, log
from typing import Any, Final, NamedTuple

from unet_bench.analysis.front import Row
from unet_bench.errors import InvalidSuite
from unet_bench.store.figures import is_good
from unet_bench.store.schema import INTERVALS


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits; None: no limit. Raises InvalidSuite for one that is not above 0, or a Dice beyond 1."""

    max_latency_ms: float | None = None
    max_memory_mib: float | None = None
    max_train_memory_mib: float | None = None
    max_params_m: float | None = None
    max_gmacs: float | None = None
    min_dice: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not (isfinite(value) and value > 0):
                raise InvalidSuite(
                    f"{_option(field.name)} {value:g}: a limit is a number above 0; leave it out for none"
                )
        if self.min_dice is not None and self.min_dice > 1:
            raise InvalidSuite(
                f"--min-dice {self.min_dice:g}: Dice lies between 0 and 1, such as 0.85"
            )

    def asked(self) -> Iterator[tuple[Limit, float]]:
        """The limits that are set, each with its value."""
        for limit in LIMITS:
            if (value := getattr(self, limit.name)) is not None:
                yield limit, value

    def text(self) -> str:
        """As it stands on the command line."""
        return " ".join(f"{_option(limit.name)} {value:g}" for limit, value in self.asked())


@dataclass(frozen=True)
class Limit:
    """A field of `Budget`: what it limits, the column and the probe that measures it."""

    name: str
    label: str
    column: str
    probe: str
    factor: float = 1.0  # from the column's unit to the limit's
    at_least: bool = False


LATENCY: Final = Limit("max_latency_ms", "latency", "latency_ms", "speed")
LIMITS: Final = (
    LATENCY,
    Limit("max_memory_mib", "memory", "peak_memory_mib", "memory"),
    Limit("max_train_memory_mib", "training memory", "train_peak_memory_mib", "memory"),
    Limit("max_params_m", "parameters", "params", "cost", 1e-6),
    Limit("max_gmacs", "MACs", "macs", "cost", 1e-9),
    Limit("min_dice", "Dice", "dice", "accuracy", at_least=True),
)


class Figure(NamedTuple):
    """A figure in the limit's unit, the ends of its 95 % interval (itself where it is exact), and
    whether it is estimated.
    """

    value: float
    low: float
    high: float
    estimated: bool = False


@dataclass(frozen=True)
class Fit:
    """How a network stands to a budget: by label how many times over it (of Dice, below it), where
    the limit lies within the figure's interval, and what nobody measured.
    """

    over: Mapping[str, float]
    short: float  # Dice that is lacking
    unsure: tuple[str, ...]
    unknown: tuple[Limit, ...]

    @property
    def fits(self) -> bool:
        """Whether it is within, as far as its figures say."""
        return not self.over and not self.unknown

    @property
    def most(self) -> float:
        """How many times over the budget where it is worst; 1 where it is within."""
        return max(self.over.values(), default=1.0)


def fit(row: Row, baseline: Row | None, budget: Budget) -> Fit:
    """How the row's figures stand to the budget. An interval that straddles a limit makes it
    unsure.
    """
    over, short, unsure, unknown = {}, 0.0, [], []
    for limit, most in budget.asked():
        found = figure(row, baseline, limit)
        if found is None:
            unknown.append(limit)
            continue
        if found.low < most < found.high:
            unsure.append(limit.label)
        times = (
            (most / found.value if found.value > 0 else inf)
            if limit.at_least
            else found.value / most
        )
        if times > 1:
            over[limit.label] = times
            short = most - found.value if limit.at_least else short
    return Fit(over, short, tuple(unsure), tuple(unknown))


def figure(row: Row, baseline: Row | None, limit: Limit) -> Figure | None:
    """The row's figure that a limit is about; None where there is none, or a cell of its probe
    failed.
    """
    if not is_good(row, limit.probe):
        return None
    value = row.get(limit.column)
    if value is None:
        return _estimated_latency(row, baseline) if limit.column == "latency_ms" else None
    low, high = (row.get(end) for end in INTERVALS.get(limit.column, ("", "")))
    return Figure(*((value if x is None else x) * limit.factor for x in (value, low, high)))


def _estimated_latency(row: Row, baseline: Row | None) -> Figure | None:
    """From the ratio to the baseline and the baseline's own time, where that was measured on a
    quiet machine.

    The errors of both, on the logarithm, are joined as if they were independent.
    """
    ratio, own = row.get("latency_ratio"), None if baseline is None else baseline.get("latency_ms")
    if baseline is None or not ratio or not own or baseline.get("quality") not in ("clean", None):
        return None
    value = ratio * own
    down, up = (
        hypot(_reach(row, "latency_ratio", end), _reach(baseline, "latency_ms", end))
        for end in (0, 1)
    )
    return Figure(value, value * exp(-down), value * exp(up), True)


def _reach(row: Row, name: str, end: int) -> float:
    """How far an end of the interval is from the figure, on the logarithm; 0 without one."""
    at: Any = row.get(INTERVALS[name][end])
    return abs(log(at / row[name])) if at and at > 0 else 0.0


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
