"""A measured network: its row of results.csv as a typed record, and its figures as compared.

Networks that may be compared have run, conditions and batch in common: they are peers. Between
peers latency is compared by the ratio to the baseline and Dice by the paired difference, where
there are any, since the error that both networks share cancels in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import log, nan
from typing import Any, Final, NamedTuple, TypeVar

from unet_bench.stats.intervals import Interval
from unet_bench.store.schema import BY_NAME, CONDITIONS, INTERVALS

PEERS: Final = ("run_id", *CONDITIONS, "batch_effective")
"""What rows must have in common for their figures to be compared as they are."""

_PAIRED: Final = INTERVALS["dice_difference"][0]  # is there where differences have intervals

Row = Mapping[str, Any]
AnyRow = TypeVar("AnyRow", bound=Row)
T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True)
class Network:
    """A variant under one set of conditions: a row of results.csv, its columns typed here."""

    row: Row

    @property
    def variant(self) -> str:
        """The variant's name."""
        return str(self.row["variant"])

    @property
    def baseline(self) -> str | None:
        """The name of the variant that ratios and differences are to."""
        return self.row.get("baseline")

    @property
    def is_trivial(self) -> bool:
        """Whether it needs no training."""
        return bool(self.row.get("trivial"))

    @property
    def quality(self) -> str | None:
        """How quiet the machine was when it was timed."""
        return self.row.get("quality")

    @property
    def seeds(self) -> int:
        """How many trainings its Dice is the mean of."""
        return self.row.get("seeds") or 1

    def succeeded(self, *probes: str) -> bool:
        """Return whether no cell of these probes failed: a mean over the others would flatter."""
        return all(self.row.get(f"{probe}_status") in ("ok", None) for probe in probes)

    def number(self, column: str) -> float | None:
        """Return a column's value, whether cells failed or not."""
        return self.row.get(column)

    def interval(self, column: str) -> Interval | None:
        """Return a column's figure with its interval, whether cells failed or not.

        What has no interval by its nature, such as a count, is exact.
        """
        value = self.number(column)
        if value is None:
            return None
        if column not in INTERVALS:
            return Interval(value, value, value)
        low, high = (self.number(end) for end in INTERVALS[column])
        return Interval(value, nan if low is None else low, nan if high is None else high)

    def figure(self, column: str) -> Interval | None:
        """Return a column's figure with its interval; None if a cell of its probe failed."""
        return self.interval(column) if self.succeeded(*BY_NAME[column].probes) else None


class Scaled(NamedTuple):
    """A figure on a scale on which less is better.

    `units` is the number of independent values it is the mean of, which says how heavy the tails
    of its error are; None: very many.
    """

    interval: Interval
    units: int | None = None


def peer_groups(rows: Iterable[AnyRow]) -> dict[tuple[Any, ...], list[AnyRow]]:
    """Return rows that may be compared by their values of `PEERS`, in the order of appearance.

    What failed before it ran states no batch: it counts as of the batch that was asked for.
    """

    def peers(row: Row) -> tuple[Any, ...]:
        batch = row.get("batch_effective")
        batch = row.get("batch_requested") if batch is None else batch
        return (*(row.get(name) for name in PEERS[:-1]), batch)

    return grouped(rows, peers)


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Return items by their keys, in the order in which both appear."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def unscaled(rows: Iterable[Row]) -> set[str]:
    """Return the variants that keep their own width where the baseline beside them is narrowed.

    These are backbones and other packages' networks: a `width_scale` does not move them, so that
    their size and time are those of a larger network. Networks matched in size are not among them.
    """
    rows = list(rows)
    of_baseline = {
        row.get("width_scale") for row in rows if row.get("variant") == row.get("baseline")
    } - {None, 1.0}
    return {
        row["variant"]
        for row in rows
        if of_baseline
        and row.get("width_scale") == 1.0
        and not row.get("trivial")
        and not row.get("match")
    }


@dataclass(frozen=True)
class Peers:
    """Networks that may be compared with one another."""

    networks: tuple[Network, ...]

    @cached_property
    def baseline(self) -> Network | None:
        """The baseline, if it is among them."""
        return next((one for one in self.networks if one.variant == one.baseline), None)

    @cached_property
    def _by_time(self) -> bool:
        """Whether latencies are compared as times.

        That takes a time of everybody who was timed, and a baseline without a ratio, which would
        join the two scales.
        """
        timed = [n for n in self.networks if n.figure("latency_ms") or n.figure("latency_ratio")]
        joined = self.baseline is not None and self.baseline.number("latency_ratio")
        return not joined and all(one.number("latency_ms") for one in timed)

    @cached_property
    def _in_pairs(self) -> bool:
        """Whether any difference in Dice to the baseline has an interval."""
        return any(one.number(_PAIRED) is not None for one in self.networks)

    def scaled(self, network: Network) -> dict[str, Scaled | None]:
        """Return minus Dice, log latency and peak memory; None where there is no figure."""
        memory = network.figure("peak_memory_mib")
        return {
            "dice": self.loss(network),
            "latency": self.latency(network),
            "peak_memory_mib": None if memory is None else Scaled(memory),
        }

    def latency(self, network: Network) -> Scaled | None:
        """Return the logarithm of a network's latency over the baseline's.

        A busy machine leaves absolute times empty, while the ratio of two networks that were timed
        side by side holds. Without a ratio it is that of the times; where no baseline joins the
        two scales, the logarithm of the network's own time.
        """
        time, ratio = network.figure("latency_ms"), network.figure("latency_ratio")
        if self._by_time:
            return _logarithm(network, time)
        baseline = self.baseline
        if ratio and ratio.value:
            is_baseline = baseline is not None and network.variant == baseline.variant
            return Scaled(Interval.exact(0.0)) if is_baseline else _logarithm(network, ratio)
        own = _logarithm(network, time)
        of_baseline = baseline.number("latency_ms") if baseline else None
        if not (own and baseline and of_baseline and baseline.number("latency_ratio")):
            return None
        return Scaled(own.interval.plus(-log(of_baseline)), own.units)

    def loss(self, network: Network) -> Scaled | None:
        """Return minus Dice: by the difference to the baseline where that has an interval."""
        dice, difference = network.figure("dice"), network.interval("dice_difference")
        of_baseline = self.baseline.number("dice") if self.baseline else None
        if dice is None:
            return None
        if self.baseline is not None and of_baseline is not None:
            if network.variant == self.baseline.variant and self._in_pairs:
                return Scaled(Interval.exact(-dice.value))
            if difference is not None and network.number(_PAIRED) is not None:
                pairs = int(network.number("dice_pairs") or 0)
                folds = pairs // network.seeds
                units = folds if folds > 1 else pairs
                return Scaled(difference.plus(of_baseline).negated(), max(units, 2))
        return Scaled(dice.negated(), network.seeds if network.seeds > 1 else None)


def _logarithm(network: Network, figure: Interval | None) -> Scaled | None:
    """Return the logarithm of a time or a ratio, of as many units as there were processes."""
    if figure is None or not figure.value:
        return None
    replicates = int(network.number("replicates") or 1)
    return Scaled(figure.log(), replicates if replicates > 1 else None)
