"""What a run's timings of identical code, and of code made slower by a known share, say of the
timing itself.

trials ─▶ repeatability, false alarms, detection, coverage ─▶ text or JSON
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

from unet_bench.analysis.compare import verdict
from unet_bench.errors import UnetBenchError
from unet_bench.stats.intervals import Z_975, Interval, median_interval
from unet_bench.store.log import Row, latest
from unet_bench.store.schema import INTERVALS

MARGIN: Final = 0.02  # of `compare`, as shipped
SHARE: Final = 0.95  # of pairs, that repeatability speaks of
ALARMS: Final = ("FASTER", "SLOWER")


@dataclass(frozen=True)
class Trial:
    """One pair in a process of its own: the time of a workload over that of the same workload, with
    its interval.
    """

    slowdown: float  # injected into the first, relatively; 0 in an A/A pair
    ratio: float
    low: float
    high: float
    closed: bool = True  # whether timing ended because the interval was narrow enough

    @property
    def deviation(self) -> float:
        """How far the ratio is from the truth, relatively, either way."""
        return abs(self.ratio / (1 + self.slowdown) - 1)

    @property
    def differs(self) -> bool:
        """Whether the interval calls the two different."""
        return not self.low <= 1 <= self.high

    @property
    def covers(self) -> bool:
        """Whether the interval holds the true factor."""
        return self.low <= 1 + self.slowdown <= self.high


@dataclass(frozen=True)
class Count:
    """How many of how many."""

    hits: int
    of: int

    @classmethod
    def over(cls, answers: Iterable[bool]) -> Count:
        """Of several answers, those that are yes."""
        listed = list(answers)
        return cls(sum(listed), len(listed))

    def share(self) -> Interval:
        """Return the share with Wilson's interval, for independent trials; there must be some."""
        p, n, z2 = self.hits / self.of, self.of, Z_975**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_975 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return Interval(p, max(0.0, centre - half), min(1.0, centre + half))

    def __str__(self) -> str:
        share, low, high = self.share()
        return f"{self.hits} of {self.of} ({100 * share:.0f} %, 95 % interval {100 * low:.0f} to {100 * high:.0f})"

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        share, low, high = self.share()
        return {"hits": self.hits, "of": self.of, "share": share, "ci_low": low, "ci_high": high}


@dataclass(frozen=True)
class Detection:
    """What became of the pairs with one injected slow-down: called different, the true factor in
    the interval.
    """

    slowdown: float
    found: Count
    covered: Count
    median_ratio: float


@dataclass(frozen=True)
class Report:
    """The audit. Deviations are parts of 1: 0.02 is 2 %."""

    pairs: int  # A/A
    lost: Mapping[str, int]  # pairs of whatever kind that gave no ratio, by status or quality
    budget_s: float
    workload: str
    worst: float  # deviation of an A/A pair
    usual: float  # 95th percentile of the deviations
    confidence: float
    middle: Interval  # (median, low, high) of the A/A ratios: off 1 where one place in a pair is favoured
    above: Count  # A/A ratios above 1; about half, if none is
    false_alarms: Count
    verdicts: Mapping[str, int]  # of `compare`, on every two A/A pairs
    detections: tuple[Detection, ...]
    coverage: Count  # A/A pairs and injected ones
    closed: Count
    throughput: Report | None = (
        None  # the same of passes that are queued, where these are timed apart
    )

    def within(self) -> float:
        """X of "repeatable within X %", rounded up, so that the sentence holds."""
        return math.ceil(1000 * self.worst - 1e-9) / 10

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "repeatable_within_percent": self.within(),
            "confidence": self.confidence,
            "share_of_pairs": SHARE,
            "pairs": self.pairs,
            "lost": dict(self.lost),
            "budget_s": self.budget_s,
            "workload": self.workload,
            "worst_deviation": self.worst,
            "p95_deviation": self.usual,
            "median_ratio": self.middle[0],
            "median_ratio_ci": [None if math.isnan(end) else end for end in self.middle[1:]],
            "above_one": self.above.to_json(),
            "false_alarms": self.false_alarms.to_json(),
            "compare": {
                "margin": MARGIN,
                "verdicts": dict(self.verdicts),
                "alarms": self.alarms().hits,
            },
            "detection": [
                {
                    "slowdown": d.slowdown,
                    "found": d.found.to_json(),
                    "covered": d.covered.to_json(),
                    "median_ratio": d.median_ratio,
                }
                for d in self.detections
            ],
            "coverage": self.coverage.to_json(),
            "closed": self.closed.to_json(),
            "throughput": self.throughput.to_json() if self.throughput else None,
        }

    def alarms(self) -> Count:
        """What `compare` called faster or slower, of every two A/A pairs. These share pairs: no
        interval holds.
        """
        return Count(
            sum(self.verdicts.get(name, 0) for name in ALARMS), sum(self.verdicts.values())
        )

    def text(self) -> str:
        """Plain lines, the sentence to quote first."""
        alarms = self.alarms()
        lines = [
            f"repeatable within {self.within():.1f} % ({math.floor(100 * self.confidence)} % confidence that "
            f"{100 * SHARE:g} % of pairs are; {self.pairs} pairs of at most {self.budget_s:g} s"
            + (
                f"; {sum(self.lost.values())} of all were lost: {told(self.lost)})"
                if self.lost
                else ")"
            ),
            *filter(None, [self.workload]),
            "",
            f"identical code, {self.pairs} pairs, each in a process of its own:",
            f"  farthest from 1: {100 * self.worst:.2f} %; 95th percentile: {100 * self.usual:.2f} %",
            f"  median {100 * (self.middle[0] - 1):+.2f} %{_ends(self.middle)}; above 1: {self.above}",
            f"  called different by the pair's own 95 % interval: {self.false_alarms}",
            f"  called FASTER or SLOWER by `compare` at ±{100 * MARGIN:g} %: {alarms.hits} of {alarms.of} comparisons",
            f"  all it said: {told(self.verdicts) or 'nothing of a single pair'}",
            "",
            "the same, one of the two slowed down on purpose:",
            *(map(_line, self.detections) if self.detections else ["  none"]),
            "",
            f"intervals that hold the true factor: {self.coverage}; meant to be 95 %",
            f"intervals as narrow as asked for in the time given: {self.closed}",
        ]
        if self.throughput:
            lines += [
                "",
                "throughput, of passes that are queued:",
                *map(_indented, self.throughput.text().splitlines()),
            ]
        return "\n".join(lines) + "\n"


def _indented(line: str) -> str:
    return f"  {line}".rstrip()


def _ends(interval: Interval) -> str:
    """The ends of a ratio's interval as words; none of few pairs."""
    _, low, high = interval
    return (
        ""
        if math.isnan(low)
        else f" (95 % interval {100 * (low - 1):+.2f} to {100 * (high - 1):+.2f})"
    )


def told(counts: Mapping[str, int]) -> str:
    """Counts as words, the most frequent first."""
    return ", ".join(
        f"{count} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1])
    )


def _line(found: Detection) -> str:
    return (
        f"  +{100 * found.slowdown:g} %: found in {found.found.hits} of {found.found.of}, "
        f"interval holds it in {found.covered.hits}, median measured {100 * (found.median_ratio - 1):+.2f} %"
    )


def audit(
    trials: Sequence[Trial],
    *,
    budget_s: float,
    workload: str = "",
    lost: Mapping[str, int] | None = None,
) -> Report:
    """What the trials show; each had at most `budget_s` seconds, and those `lost` gave no ratio.

    Raises UnetBenchError without a single A/A pair.
    """
    same = [trial for trial in trials if not trial.slowdown]
    if not same:
        causes = f" ({told(lost)})" if lost else ""
        raise UnetBenchError(
            f"no pair of identical code gave a ratio{causes}: give it more time, or a quieter machine"
        )
    deviations = sorted(trial.deviation for trial in same)
    return Report(
        pairs=len(same),
        lost=lost or {},
        budget_s=budget_s,
        workload=workload,
        worst=deviations[-1],
        usual=deviations[math.ceil(SHARE * len(same)) - 1],
        confidence=confidence(len(same)),
        middle=median_interval([trial.ratio for trial in same]),
        above=Count.over(trial.ratio > 1 for trial in same),
        false_alarms=Count.over(trial.differs for trial in same),
        verdicts=Counter(compared(a, b) for a, b in combinations(same, 2)),
        detections=tuple(
            _detection(slowdown, [trial for trial in trials if trial.slowdown == slowdown])
            for slowdown in sorted({trial.slowdown for trial in trials} - {0.0})
        ),
        coverage=Count.over(trial.covers for trial in trials),
        closed=Count.over(trial.closed for trial in trials),
    )


def confidence(pairs: int, share: float = SHARE) -> float:
    """That at least `share` of all pairs lie within the farthest of these (Wilks): 59 give 95 % for
    95 %.
    """
    return 1 - share**pairs


def compared(a: Trial, b: Trial, margin: float = MARGIN) -> str:
    """What `compare` says of two runs whose ratios these are, `a` before and `b` after."""
    before, after = (Interval(trial.ratio, trial.low, trial.high).log() for trial in (a, b))
    return verdict(*after.minus(before), math.log1p(margin))


def _detection(slowdown: float, trials: Sequence[Trial]) -> Detection:
    return Detection(
        slowdown,
        Count.over(trial.differs for trial in trials),
        Count.over(trial.covers for trial in trials),
        statistics.median(trial.ratio for trial in trials),
    )


def trials_of(
    rows: Iterable[Row], figure: str = "latency_ratio"
) -> tuple[list[Trial], Mapping[str, int]]:
    """The trials of a self-test's rows, and of the cells that have no ratio with an interval how
    many by cause.

    Of `throughput_ratio`, trials are of the time an image takes.
    """
    trials, lost = [], Counter[str]()
    for row in latest(rows).values():
        ratio, low, high = (row.get(name) for name in (figure, *INTERVALS[figure]))
        if figure == "throughput_ratio" and ratio and low and high:
            ratio, low, high = 1 / ratio, 1 / high, 1 / low
        if row["status"] == "ok" and ratio and low and high:
            trials.append(
                Trial(row.get("slowdown") or 0.0, ratio, low, high, row.get("stop_reason") == "ci")
            )
        else:
            lost[row["quality"] if row["status"] == "ok" else row["status"]] += 1
    return trials, lost
