"""Is the machine quiet? What others took of it while we measured, and whether a GPU held back its clocks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import torch

    from unet_bench.measure.nvml import Gpu

BUSY: Final = 0.10  # of all processors: above it a timing is called contaminated
GLANCE_S: Final = 0.2  # the system counts processor time in ticks of 10 ms
PATIENCE_S: Final = 5.0  # how long a busy machine is waited for
HARMLESS: Final = frozenset({"applications_clocks", "sync_boost"})  # somebody's settings, not a lack of power or air


@dataclass(frozen=True)
class Reading:
    """Processor seconds so far, of the whole machine and of this process, and the state of the GPU."""

    wall: float
    busy: float  # of all processors, stolen seconds included
    stolen: float  # by the host of a virtual machine
    own: float
    held_back: frozenset[str] = frozenset()  # why the GPU lowers its clocks
    gpu_processes: int = 0


@dataclass(frozen=True)
class Verdict:
    """How good a measurement is, and by what one knows."""

    quality: str
    evidence: str = ""
    foreign_cpu_share: float | None = None
    steal_share: float | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of a row."""
        return {
            "quality": self.quality,
            "evidence": self.evidence or None,
            "foreign_cpu_share": self.foreign_cpu_share,
            "steal_share": self.steal_share,
        }

    @property
    def absolute(self) -> bool:
        """Whether absolute times may be believed."""
        return self.quality not in ("contaminated", "throttled")


@dataclass
class Watch:
    """Watches the machine from one reading to the next."""

    gpu: Gpu | None = None
    before: Reading | None = field(default=None, init=False)

    @classmethod
    def over(cls, device: torch.device) -> Watch:
        """A watch over the processors, and over `device` if it is a GPU that NVML knows."""
        from unet_bench.measure.nvml import open_gpu

        watch = cls(open_gpu(device) if device.type == "cuda" else None)
        watch.start()
        return watch

    def start(self) -> None:
        """Take the reading that `verdict` compares with."""
        self.before = self.read()

    def verdict(self) -> Verdict:
        """What happened since `start`."""
        return judge(self.before, self.read())

    def read(self) -> Reading | None:
        """The state now; `None` where the system does not tell."""
        try:
            fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        except OSError:
            return None
        user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
        tick, own = os.sysconf("SC_CLK_TCK"), os.times()
        return Reading(
            wall=time.perf_counter(),
            busy=(user + nice + system + irq + softirq + steal) / tick,
            stolen=steal / tick,
            own=own.user + own.system + own.children_user + own.children_system,
            held_back=self.gpu.throttle_reasons() if self.gpu else frozenset(),
            gpu_processes=len(self.gpu.processes()) if self.gpu else 0,
        )


def judge(before: Reading | None, after: Reading | None) -> Verdict:
    """`throttled`, `contaminated` or `clean`, between two readings."""
    if before is None or after is None or after.wall <= before.wall:
        return Verdict("clean")
    cores = os.cpu_count() or 1
    seconds = (after.wall - before.wall) * cores
    foreign = max(0.0, ((after.busy - before.busy) - (after.own - before.own)) / seconds)
    steal = max(0.0, (after.stolen - before.stolen) / seconds)
    # One process on the GPU is this one, which in a container goes by another pid there.
    others = max(before.gpu_processes, after.gpu_processes) - 1
    held_back = (before.held_back | after.held_back) - HARMLESS
    found = [
        ("throttled", bool(held_back), f"the GPU lowered its clocks: {', '.join(sorted(held_back))}"),
        ("contaminated", others > 0, f"{others} other process(es) on the GPU"),
        (
            "contaminated",
            foreign > BUSY,
            f"others used {foreign:.0%} of {cores} cores (the host {steal:.0%})",
        ),
    ]
    facts = [(quality, text) for quality, is_so, text in found if is_so]
    quality = facts[-1][0] if facts else "clean"  # contaminated is the graver
    return Verdict(quality, "; ".join(text for _, text in facts), foreign, steal)


def wait_until_quiet(
    watch: Watch, patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep
) -> float:
    """Wait while others use the machine, but no longer than `patience_s`; returns the seconds waited.

    What was seen since the watch began counts as the first glance, so that a quiet machine costs nothing.
    """
    waited = 0.0
    while not watch.verdict().absolute and waited < min(patience_s, PATIENCE_S):
        watch.start()
        sleep(GLANCE_S)
        waited += GLANCE_S
    return waited
