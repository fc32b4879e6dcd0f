"""The audit of our own timing, by identical code and code made slower by a known share.

trials ─▶ repeatability, false alarms, detection, coverage ─▶ JSON
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
from unet_bench.text_format import tally

MARGIN: Final = 0.02  # of `compare`, as shipped
SHARE: Final = 0.95  # of pairs, that repeatability speaks of
ALARMS: Final = ("FASTER", "SLOWER")


@dataclass(frozen=True)
class Trial:
    """One timed pair, measured in a process of its own.

    `ratio` is the time of a workload over that of the same workload; `low` and `high` are the ends
    of its interval.
    """

    slowdown: float  # injected into the first, relatively; 0 in an A/A pair
    ratio: float
    low: float
    high: float
    closed: bool = True  # whether timing ended because the interval was narrow enough

    @property
    def deviation(self) -> float:
        """The relative distance of the ratio from the truth, in either direction."""
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
        """Return how many of several answers are yes."""
        listed = list(answers)
        return cls(sum(listed), len(listed))

    def share(self) -> Interval:
        """Return the share with Wilson's interval, for independent trials; `of` must not be 0."""
        p, n, z2 = self.hits / self.of, self.of, Z_975**2
        centre = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = Z_975 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return Interval(p, max(0.0, centre - half), min(1.0, centre + half))

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        share, low, high = self.share()
        return {"hits": self.hits, "of": self.of, "share": share, "ci_low": low, "ci_high": high}


@dataclass(frozen=True)
class Detection:
    """How often one injected slow-down was noticed.

    `found` counts the pairs that were called different, `covered` those whose interval holds the
    true factor.
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
    # Median of the A/A ratios: off 1 where one place in a pair is favoured.
    middle: Interval
    above: Count  # A/A ratios above 1; about half, if none is
    false_alarms: Count
    verdicts: Mapping[str, int]  # of `compare`, on every two A/A pairs
    detections: tuple[Detection, ...]
    coverage: Count  # A/A pairs and injected ones
    closed: Count
    # The same of passes that are queued, where these are timed apart.
    throughput: Report | None = None

    def within(self) -> float:
        """Return X of "repeatable within X %", rounded up, so that the sentence holds."""
        return math.ceil(1000 * self.worst - 1e-9) / 10

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
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
        """Return how often `compare` said faster or slower, over every two A/A pairs.

        The comparisons share pairs and so depend on each other: no interval holds for the share.
        """
        return Count(
            sum(self.verdicts.get(name, 0) for name in ALARMS), sum(self.verdicts.values())
        )


def audit(
    trials: Sequence[Trial],
    *,
    budget_s: float,
    workload: str = "",
    lost: Mapping[str, int] | None = None,
) -> Report:
    """Return what the trials show of the timing.

    Each trial had at most `budget_s` seconds. `lost` counts, by cause, the pairs that gave no
    ratio. Raises UnetBenchError without a single A/A pair.
    """
    same = [trial for trial in trials if not trial.slowdown]
    if not same:
        causes = f" ({tally(lost)})" if lost else ""
        raise UnetBenchError(
            f"no pair of identical code gave a ratio{causes}: give it more time, or a quieter "
            "machine"
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
    """Return how sure it is that at least `share` of all pairs lie within the farthest of these.

    By Wilks' rule: 59 pairs give 95 % confidence for a share of 95 %.
    """
    return 1 - share**pairs


def compared(a: Trial, b: Trial, margin: float = MARGIN) -> str:
    """Return what `compare` says of two runs with these ratios, `a` before and `b` after."""
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
    """Return the trials in a self-test's rows, and by cause how many cells gave no trial.

    A cell gives a trial if it is `ok` and its ratio has an interval. Trials of `throughput_ratio`
    are turned into ratios of the time an image takes.
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
