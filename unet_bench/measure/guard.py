"""Is the machine quiet? What others took of the processors while we measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUSY: Final = 0.10  # of all processors: above it a timing is called contaminated


@dataclass(frozen=True)
class Usage:
    """Processor seconds so far: of the whole machine (stolen ones included), and of this process."""

    machine: float
    own: float
    wall: float


def usage() -> Usage | None:
    """What has been used so far; `None` where the system does not tell."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    ticks = os.sysconf("SC_CLK_TCK")
    own = os.times()
    return Usage((user + nice + system + irq + softirq + steal) / ticks, own.user + own.system, time.perf_counter())


def foreign_share(before: Usage | None, after: Usage | None) -> float | None:
    """The share of all processors, 0 to 1, that others used between two readings."""
    if before is None or after is None or after.wall <= before.wall:
        return None
    foreign = (after.machine - before.machine) - (after.own - before.own)
    return max(0.0, foreign / (after.wall - before.wall) / (os.cpu_count() or 1))


def quality(share: float | None) -> str:
    """`contaminated` when others used more than a tenth of the machine, else `clean`."""
    return "contaminated" if share is not None and share > BUSY else "clean"
