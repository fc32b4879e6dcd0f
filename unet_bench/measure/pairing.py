"""The variant against the baseline, in one process, on a watched machine.

What the probes `speed` and `training` share.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from unet_bench.context import MeasurementContext
from unet_bench.errors import is_out_of_memory
from unet_bench.host.device import empty_cache, is_accelerator, synchroniser
from unet_bench.measure.clock import BLOCK_S, GPU_BLOCK_S, Step, Timing, percentile, time_pair
from unet_bench.measure.guard import Verdict, Watch
from unet_bench.measure.in_torch import graphs_compiled
from unet_bench.measure.ready import Runnable
from unet_bench.stats.intervals import Interval
from unet_bench.store.schema import worst_of

GPU_WARM_UP_S: Final = 1.0  # until its clocks have risen
# On a disturbed machine a ratio is kept if its interval is at most this wide, relatively.
WIDEST_KEPT: Final = 0.10
T = TypeVar("T")
UNKNOWN: Final = Interval(float("nan"))


@dataclass(frozen=True)
class Paired:
    """A timing, and what was seen of the machine meanwhile."""

    timing: Timing
    verdict: Verdict
    recompiled: int = 0  # graphs that were compiled in the timed part

    def ratio(self) -> Interval:
        """Return (ratio, low, high) of times.

        NaN where the machine was disturbed and the interval stayed wide.
        """
        believed = self.verdict.absolute or self.timing.width() <= WIDEST_KEPT
        return self.timing.ratio_interval() if believed else UNKNOWN

    def seconds(self) -> Interval:
        """Return (median, low, high) of a step in seconds; NaN where the machine was disturbed."""
        return self.timing.median() if self.verdict.absolute else UNKNOWN

    def percentile(self, share: float) -> float:
        """Return a percentile of single steps in seconds.

        NaN where the machine was disturbed, or steps were too few.
        """
        return percentile(self.timing.singles, share) if self.verdict.absolute else UNKNOWN[0]


def time_paired(
    context: MeasurementContext,
    candidate: Step,
    baseline: Step | None,
    watch: Watch,
    *,
    share: float = 1.0,
    singly: bool = True,
) -> Paired:
    """Time a step against the baseline's for a share of the protocol's budget.

    `singly`: wait for the device at each step.
    """
    on_gpu, budget_s = is_accelerator(context.device), share * context.cell.protocol.speed_s
    watch.start()
    graphs = graphs_compiled()
    timing = time_pair(
        candidate,
        baseline,
        budget_s=budget_s,
        interval=context.cell.protocol.interval,
        sync=synchroniser(context.device),
        block_s=GPU_BLOCK_S if on_gpu else BLOCK_S,
        least_warm_up_s=min(GPU_WARM_UP_S, budget_s / 2) if on_gpu else 0.0,
        singly=singly,
        between=watch.sample,
    )
    return Paired(timing, watch.verdict(), graphs_compiled() - graphs)


def try_baseline(context: MeasurementContext, make: Callable[[], T]) -> T | None:
    """Return what `make` makes and tries for the baseline.

    None where it does not fit into memory beside the variant.
    """
    try:
        return make()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    empty_cache(context.device)
    return None


def quality(timings: Sequence[Paired], baseline: Runnable | None) -> dict[str, Any]:
    """Return the columns that say how good one or two timings are, and by what evidence."""
    found = [(paired.verdict.quality, paired.verdict.evidence) for paired in timings]
    if baseline is None:
        found.append(("unpaired", "the baseline does not fit into memory beside it"))
    if graphs := sum(paired.recompiled for paired in timings):
        found.append(("recompiled", f"{graphs} graph(s) were compiled again while timing"))
    worst = max(
        (paired.verdict for paired in timings), key=lambda verdict: verdict.foreign_cpu_share or 0.0
    )
    evidence = "; ".join(dict.fromkeys(text for _, text in found if text))
    return worst.columns() | {
        "quality": worst_of(name for name, _ in found),
        "evidence": evidence or None,
    }


def interval_columns(
    name: str, suffix: str, interval: Interval, factor: float = 1.0
) -> dict[str, float]:
    """Return a figure and the ends of its interval under their columns' names."""
    mid, low, high = (factor * value for value in interval)
    return {f"{name}{suffix}": mid, f"{name}_ci_low{suffix}": low, f"{name}_ci_high{suffix}": high}


def save_samples(context: MeasurementContext, **timings: Timing) -> None:
    """Write every block's time, so that one can look into an interval that seems odd."""
    if context.samples is None:
        return
    raw: dict[str, Any] = {"unit": "s per step"}
    for name, timing in timings.items():
        raw[name] = {
            "own": timing.candidate,
            "baseline": timing.baseline,
            "own_steps": timing.singles,
            "steps_per_block": timing.steps_per_block,
        }
    context.samples.write_text(json.dumps(raw), encoding="utf-8")
