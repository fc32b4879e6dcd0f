"""What one can afford, and whether a network's figures stay within it.

peers ─▶ a network's figures, latency estimated at need ─▶ over, within, or not known
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import exp, hypot, inf, isfinite
from typing import Final

from unet_bench.errors import InvalidSuite
from unet_bench.stats.intervals import Interval
from unet_bench.store.figures import Network
from unet_bench.store.schema import BY_NAME


@dataclass(frozen=True)
class Limit:
    """What a field of `Budget` limits: a column, in another unit."""

    name: str
    column: str

    @property
    def label(self) -> str:
        """The column's name in sentences."""
        return BY_NAME[self.column].label

    @property
    def factor(self) -> float:
        """What turns the column's unit into the limit's, which is the one shown."""
        return BY_NAME[self.column].factor

    @property
    def probe(self) -> str:
        """The probe that measures it."""
        return BY_NAME[self.column].probes[0]

    @property
    def option(self) -> str:
        """The limit as it is called on the command line."""
        return "--" + self.name.replace("_", "-")

    def exceeded(self, value: float, limit: float) -> float:
        """Return how many times over the limit a value is; at most 1 if it is within."""
        if BY_NAME[self.column].better == "low":
            return value / limit
        return limit / value if value > 0 else inf


LATENCY: Final = Limit("max_latency_ms", "latency_ms")
LIMITS: Final = (
    LATENCY,
    Limit("max_memory_mib", "peak_memory_mib"),
    Limit("max_train_memory_mib", "train_peak_memory_mib"),
    Limit("max_params_m", "params"),
    Limit("max_gmacs", "macs"),
    Limit("min_dice", "dice"),
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits; None: no limit. Raises InvalidSuite for one not above 0, or a Dice above 1."""

    max_latency_ms: float | None = None
    max_memory_mib: float | None = None
    max_train_memory_mib: float | None = None
    max_params_m: float | None = None
    max_gmacs: float | None = None
    min_dice: float | None = None

    def __post_init__(self) -> None:
        """Check every limit."""
        for limit, value in self.limits():
            if not (isfinite(value) and value > 0):
                raise InvalidSuite(
                    f"{limit.option} {value:g}: a limit is a number above 0; leave it out for none"
                )
        if self.min_dice is not None and self.min_dice > 1:
            raise InvalidSuite(
                f"--min-dice {self.min_dice:g}: Dice lies between 0 and 1, such as 0.85"
            )

    def limits(self) -> Iterator[tuple[Limit, float]]:
        """Yield the limits that are set, each with its value."""
        for limit in LIMITS:
            value = getattr(self, limit.name)
            if value is not None:
                yield limit, value

    def text(self) -> str:
        """Return the limits as they stand on the command line."""
        return " ".join(f"{limit.option} {value:g}" for limit, value in self.limits())


@dataclass(frozen=True)
class Fit:
    """How a network stands to a budget."""

    over: Mapping[Limit, float]  # how many times over the limit it is, or of Dice below it
    short: float  # the Dice that is lacking
    unsure: tuple[Limit, ...]  # limits that lie within the figure's interval
    unknown: tuple[Limit, ...]  # limits of what was not measured

    @property
    def fits(self) -> bool:
        """Whether all known figures are within the budget."""
        return not self.over and not self.unknown

    @property
    def most(self) -> float:
        """The largest factor by which a figure is over the budget; 1 if all are within."""
        return max(self.over.values(), default=1.0)


def fit(network: Network, baseline: Network | None, budget: Budget) -> Fit:
    """Return how a network compares with a budget."""
    over, short, unsure, unknown = {}, 0.0, [], []
    for limit, value in budget.limits():
        known = figure(network, baseline, limit)
        if known is None:
            unknown.append(limit)
            continue
        if known.low < value < known.high:
            unsure.append(limit)
        times = limit.exceeded(known.value, value)
        if times > 1:
            over[limit] = times
            short = value - known.value if limit.column == "dice" else short
    return Fit(over, short, tuple(unsure), tuple(unknown))


def figure(network: Network, baseline: Network | None, limit: Limit) -> Interval | None:
    """Return the figure that a limit is on, in its unit.

    None if it is unknown or a cell of its probe failed.
    """
    known = network.figure(limit.column)
    if known is None and limit is LATENCY:
        return _estimated_latency(network, baseline)
    return None if known is None else Interval(*(end * limit.factor for end in known))


def _estimated_latency(network: Network, baseline: Network | None) -> Interval | None:
    """Return the ratio to the baseline times the baseline's own time on a quiet machine.

    Their errors are joined on the logarithm as if they were independent; one that is not known
    counts as none.
    """
    ratio = network.figure("latency_ratio")
    time = baseline.interval("latency_ms") if baseline else None
    quiet = baseline is not None and baseline.quality in ("clean", None)
    if not (ratio and ratio.value and time and time.value and quiet):
        return None
    value = ratio.value * time.value
    reaches = ratio.log().reach(unknown=0.0), time.log().reach(unknown=0.0)
    down, up = (hypot(*sides) for sides in zip(*reaches, strict=True))
    return Interval(value, value * exp(-down), value * exp(up))
