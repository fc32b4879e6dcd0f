"""Is the machine quiet? What others took of it while we measured, and whether a GPU lowered its
clocks.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from unet_bench.host.nvml import Gpu

BUSY: Final = 0.10  # of all processors: above it a timing on them is called contaminated
# A GPU's timing needs one processor that launches its work: others' work matters once cores run
# short.
BUSY_BESIDE_GPU: Final = 0.50
GPU_BUSY: Final = 0.05  # of a GPU's time, taken by others' kernels
# Of psutil's names, which differ between systems; guests' time is in the user's already.
AT_WORK: Final = frozenset(
    {"user", "nice", "system", "irq", "softirq", "steal", "interrupt", "dpc"}
)
GLANCE_S: Final = 0.2  # the system counts processor time in ticks of 10 ms
PATIENCE_S: Final = 5.0  # how long a busy machine is waited for
SAMPLE_S: Final = 0.5  # between two samples of a GPU's clock, power and temperature
# somebody's settings, not a lack of power or air
HARMLESS: Final = frozenset({"applications_clocks", "sync_boost"})


@dataclass(frozen=True)
class Reading:
    """Processor seconds so far, of the machine and of this process, and the state of the GPU."""

    wall: float
    busy: float  # of all processors, stolen seconds included
    stolen: float  # by the host of a virtual machine
    own: float
    # why the GPU lowers its clocks, now or since the last reading
    held_back: frozenset[str] = frozenset()
    # part of the GPU's time that others' kernels took since the last reading
    foreign_gpu: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """How good a measurement is, and by what one knows."""

    quality: str
    evidence: str = ""
    foreign_cpu_share: float | None = None
    steal_share: float | None = None
    foreign_gpu_share: float | None = None
    gpu_clock_mhz: float | None = None  # mean over the samples, as the next two
    gpu_power_w: float | None = None
    gpu_temperature_c: float | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of a row."""
        return {**asdict(self), "evidence": self.evidence or None}

    @property
    def absolute(self) -> bool:
        """Whether absolute times may be believed, as the device ran.

        It may have run at its power limit.
        """
        return self.quality != "contaminated"


@dataclass
class Watch:
    """Watches the machine from one reading to the next."""

    gpu: Gpu | None = None
    accelerated: bool = False  # what is timed runs on an accelerator, be it watched or not
    before: Reading | None = field(default=None, init=False)
    # time of the last reading, by the system's clock
    _since_s: float = field(default_factory=time.time, init=False)
    _sampled_s: float = field(default=0.0, init=False)
    _samples: list[tuple[float | None, ...]] = field(default_factory=list, init=False)
    _held_back: set[str] = field(default_factory=set, init=False)
    # share of the GPU at rest, where the driver does not tell processes apart
    _at_rest: float | None = field(default=None, init=False)

    @classmethod
    def over(cls, device: torch.device) -> Watch:
        """Return a watch over the processors, and over `device` if it is a GPU that NVML knows."""
        from unet_bench.host.device import is_accelerator
        from unet_bench.host.nvml import open_gpu

        watch = cls(open_gpu(device) if device.type == "cuda" else None, is_accelerator(device))
        if watch.gpu and watch.gpu.utilisation_by_process(time.time()) is None:
            watch._at_rest = watch.gpu.share_at_rest()
        watch.start()
        return watch

    def start(self) -> None:
        """Take the reading that `verdict` compares with."""
        self._sampled_s = 0.0
        self._samples.clear()
        self._held_back.clear()
        self.before = self.read()

    def sample(self) -> None:
        """Read the GPU's clock, power, temperature and reasons for low clocks.

        Nothing is read if the last reading was only a moment ago. To be called between timed
        blocks.
        """
        if self.gpu is None or time.monotonic() - self._sampled_s < SAMPLE_S:
            return
        self._sampled_s = time.monotonic()
        self._samples.append(
            (self.gpu.sm_clock_mhz(), self.gpu.power_w(), self.gpu.temperature_c())
        )
        self._held_back |= self.gpu.throttle_reasons()

    def verdict(self) -> Verdict:
        """Return what happened since `start`."""
        found = judge(self.before, self.read(), accelerated=self.accelerated)
        if not self.accelerated:
            return found
        if self.gpu is None:
            blind = "the GPU was not watched: NVML does not know it"
            evidence = "; ".join(filter(None, (found.evidence, blind)))
            return replace(
                found,
                quality="unwatched" if found.quality == "clean" else found.quality,
                evidence=evidence,
            )
        clocks, powers, temperatures = (
            zip(*self._samples, strict=True) if self._samples else ((), (), ())
        )
        return replace(
            found,
            gpu_clock_mhz=_mean(clocks),
            gpu_power_w=_mean(powers),
            gpu_temperature_c=_mean(temperatures),
        )

    def read(self) -> Reading | None:
        """Return the state now; `None` where the system does not tell."""
        import psutil

        try:
            spent = psutil.cpu_times()._asdict()
        except OSError:
            return None
        own = os.times()
        return Reading(
            wall=time.perf_counter(),
            busy=sum(seconds for kind, seconds in spent.items() if kind in AT_WORK),
            stolen=spent.get("steal", 0.0),
            own=own.user + own.system + own.children_user + own.children_system,
            held_back=self.gpu.throttle_reasons() | self._held_back if self.gpu else frozenset(),
            foreign_gpu=self._foreign_gpu(),
        )

    def _foreign_gpu(self) -> float:
        since, self._since_s = self._since_s, time.time()
        if self.gpu is None:
            return 0.0
        share = self.gpu.foreign_share(since)
        return share if share is not None else self._at_rest or 0.0


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def judge(before: Reading | None, after: Reading | None, *, accelerated: bool = False) -> Verdict:
    """Return `throttled`, `contaminated` or `clean`, from two readings.

    `accelerated` says that the processors only launch work.
    """
    if before is None or after is None or after.wall <= before.wall:
        return Verdict("clean")
    cores = os.cpu_count() or 1
    seconds = (after.wall - before.wall) * cores
    foreign = max(0.0, ((after.busy - before.busy) - (after.own - before.own)) / seconds)
    steal = max(0.0, (after.stolen - before.stolen) / seconds)
    held_back = (before.held_back | after.held_back) - HARMLESS
    found = [
        (
            "throttled",
            bool(held_back),
            f"the GPU lowered its clocks: {', '.join(sorted(held_back))}",
        ),
        (
            "contaminated",
            after.foreign_gpu > GPU_BUSY,
            f"others used {after.foreign_gpu:.0%} of the GPU's time",
        ),
        (
            "contaminated",
            foreign > (BUSY_BESIDE_GPU if accelerated else BUSY),
            f"others used {foreign:.0%} of {cores} cores (the host {steal:.0%})",
        ),
    ]
    facts = [(quality, text) for quality, is_so, text in found if is_so]
    quality = facts[-1][0] if facts else "clean"  # contaminated is the graver
    evidence = "; ".join(text for _, text in facts)
    return Verdict(quality, evidence, foreign, steal, after.foreign_gpu if accelerated else None)


def wait_until_quiet(
    watch: Watch, patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep
) -> float:
    """Wait while others use the machine, at most `patience_s`; return the seconds waited.

    What was seen since the watch began counts as the first glance, so that a quiet machine costs
    nothing.
    """
    waited = 0.0
    while not watch.verdict().absolute and waited < min(patience_s, PATIENCE_S):
        watch.start()
        sleep(GLANCE_S)
        waited += GLANCE_S
    return waited
