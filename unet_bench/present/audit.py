"""The audit of our own timing as text."""

from __future__ import annotations

import math
from collections.abc import Iterator

from unet_bench.analysis.audit import MARGIN, SHARE, Count, Detection, Report
from unet_bench.stats.intervals import Interval
from unet_bench.text_format import tally


def report_text(report: Report) -> str:
    """Return the audit as lines of text; the first is the sentence to quote."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield _repeatability(report)
    if report.workload:
        yield report.workload
    yield ""
    yield f"identical code, {report.pairs} pairs, each in a process of its own:"
    yield from _identical(report)
    yield ""
    yield "the same, one of the two slowed down on purpose:"
    yield from map(_detection, report.detections)
    if not report.detections:
        yield "  none"
    yield ""
    yield f"intervals that hold the true factor: {_share(report.coverage)}; meant to be 95 %"
    yield f"intervals as narrow as asked for in the time given: {_share(report.closed)}"
    if report.throughput:
        yield ""
        yield "throughput, of passes that are queued:"
        for line in _lines(report.throughput):
            yield f"  {line}".rstrip()


def _repeatability(report: Report) -> str:
    sure = f"{math.floor(100 * report.confidence)} % confidence that {100 * SHARE:g} % of pairs are"
    lost = sum(report.lost.values())
    losses = f"; {lost} of all were lost: {tally(report.lost)}" if report.lost else ""
    return (
        f"repeatable within {report.within():.1f} % "
        f"({sure}; {report.pairs} pairs of at most {report.budget_s:g} s{losses})"
    )


def _identical(report: Report) -> Iterator[str]:
    worst, usual = 100 * report.worst, 100 * report.usual
    yield f"  farthest from 1: {worst:.2f} %; 95th percentile: {usual:.2f} %"
    yield f"  median {_median(report.middle)}; above 1: {_share(report.above)}"
    yield f"  called different by the pair's own 95 % interval: {_share(report.false_alarms)}"
    alarms = report.alarms()
    called = f"{alarms.hits} of {alarms.of} comparisons"
    yield f"  called FASTER or SLOWER by `compare` at ±{100 * MARGIN:g} %: {called}"
    yield f"  all it said: {tally(report.verdicts) or 'nothing of a single pair'}"


def _median(ratio: Interval) -> str:
    """Return a ratio as a change in percent, with its interval if there is one."""
    median, low, high = (100 * (end - 1) for end in ratio)
    interval = "" if math.isnan(low) else f" (95 % interval {low:+.2f} to {high:+.2f})"
    return f"{median:+.2f} %{interval}"


def _detection(detection: Detection) -> str:
    return (
        f"  +{100 * detection.slowdown:g} %: found in {detection.found.hits} of "
        f"{detection.found.of}, interval holds it in {detection.covered.hits}, "
        f"median measured {100 * (detection.median_ratio - 1):+.2f} %"
    )


def _share(count: Count) -> str:
    share, low, high = (100 * part for part in count.share())
    return f"{count.hits} of {count.of} ({share:.0f} %, 95 % interval {low:.0f} to {high:.0f})"
