"""What the device can do at best: the ceilings of the roofline (Williams et al. 2009), measured,
not looked up.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

import torch

from unet_bench.context import AUTOCAST
from unet_bench.host.device import synchroniser
from unet_bench.host.files import atomic_write
from unet_bench.limits import read_json

SIDE: Final = {"cpu": 1024, "cuda": 8192}  # of the matrices; large enough to fill the device
COPIED: Final = {"cpu": 2**24, "cuda": 2**28}  # floats; more than any cache holds
TRIES: Final = 4
MEASURED: Final = 3  # cells of a run that measure it; what others use of the machine lowers it


@dataclass(frozen=True)
class Ceiling:
    """The most a device does in a second."""

    flop_s: float  # of a large matrix product
    byte_s: float  # read and written, by a large copy

    def attainable(self, flop_per_byte: float) -> float:
        """Return the FLOP/s at best for work of that arithmetic intensity."""
        return min(self.flop_s, flop_per_byte * self.byte_s)


def ceiling_of_run(device: torch.device, precision: str, notes: Path | None) -> Ceiling:
    """Return the best of what the first cells of a run measured, this one perhaps among them.

    `notes` is the file in which they leave it for one another; without it this cell measures.
    """
    found: list[Ceiling] = []
    if notes is not None:
        with suppress(OSError, ValueError, TypeError):  # none so far, or it is damaged
            found = [Ceiling(*map(float, pair)) for pair in read_json(notes)]
            found = [one for one in found if 0 < one.flop_s < inf and 0 < one.byte_s < inf]
    if len(found) < MEASURED:
        found.append(ceiling(device, precision))
        if notes is not None:
            with suppress(OSError), atomic_write(notes) as draft:
                pairs = [[one.flop_s, one.byte_s] for one in found]
                draft.write_text(json.dumps(pairs), encoding="utf-8")
    return Ceiling(max(one.flop_s for one in found), max(one.byte_s for one in found))


def ceiling(device: torch.device, precision: str) -> Ceiling:
    """Measure a large matrix product in `precision` and a large copy.

    Each is the best of a few, which takes about 0.2 s on a CPU.
    """
    side, floats = SIDE.get(device.type, 4096), COPIED.get(device.type, 2**26)
    left = torch.randn(side, side, device=device, dtype=AUTOCAST.get(precision, torch.float32))
    source = torch.zeros(floats, device=device)
    target = torch.empty_like(source)
    sync = synchroniser(device)

    def best(work: Callable[[], object]) -> float:
        seconds = []
        for _ in range(TRIES):
            sync()
            start = time.perf_counter()
            work()
            sync()
            seconds.append(time.perf_counter() - start)
        return min(seconds)

    with torch.inference_mode():
        product, copy = best(lambda: left @ left), best(lambda: target.copy_(source))
    return Ceiling(flop_s=2 * side**3 / product, byte_s=2 * 4 * floats / copy)
