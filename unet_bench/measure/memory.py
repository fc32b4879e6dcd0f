"""Peak memory of inference and of a training step, measured in passes of their own, and foreseen
without running.

The peak of live tensor bytes is the same on every machine, and on tensors without data: that is the
prediction.
"""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from unet_bench.context import AUTOCAST, MeasurementContext
from unet_bench.geometry.meta import Observer
from unet_bench.geometry.tracker import flat_tensors
from unet_bench.host.device import (
    empty_cache,
    is_accelerator,
    memory_statistics,
    reset_peak,
    synchroniser,
)
from unet_bench.measure.ready import Ready, Runnable, cast_weights, prepare
from unet_bench.measure.runtime import cannot_train
from unet_bench.train.step import TrainingStep

MIB: Final = 2**20
GRAIN: Final = 512  # bytes that torch's caching allocators round up to
# bytes that cuBLAS takes by torch's default on the largest GPUs; others take less
WORKSPACE: Final = 32 * MIB
Step = Callable[[], object]


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Return the measured peaks of a forward pass, and of a training step, in MiB.

    The columns of the training step begin with `train_`; it includes the optimiser's state.
    """
    measure = _on_accelerator if is_accelerator(context.device) else _on_cpu
    inference = measure(context, False)
    training = {} if cannot_train(context.cell.setting, context.runtime) else measure(context, True)
    measured = inference | {f"train_{name}": value for name, value in training.items()}
    return measured | {"memory_source": "measured"}


def predicted_bytes(context: MeasurementContext, training: bool) -> int:
    """Return the peak of live bytes that a pass of the cell will have.

    It is found on tensors without data. Eager execution, without the workspaces that convolution
    libraries take for themselves. On an accelerator every tensor is rounded up as the allocator
    does, and `WORKSPACE` is added.
    """
    if is_accelerator(context.device):
        return _predicted_live_bytes(context, training, GRAIN) + WORKSPACE
    return _predicted_live_bytes(context, training, 1)


def _predicted_live_bytes(context: MeasurementContext, training: bool, grain: int) -> int:
    # Torch casts automatically on real devices alone: act as if on one.
    if context.cell.setting.precision in AUTOCAST:
        from torch._subclasses.fake_tensor import FakeTensorMode

        # Some constructors look at their weights, which fake ones do not allow.
        blueprint = context.blueprint()
        with FakeTensorMode(allow_non_fake_inputs=True):
            model = blueprint.to_empty(device="cpu")
            return _foreseen_peak(replace(context, stand_in="cpu"), model, training, grain)
    with torch.device("meta"):
        return _foreseen_peak(
            replace(context, stand_in="meta"), context.blueprint(), training, grain
        )


def _foreseen_peak(
    context: MeasurementContext, model: nn.Module, training: bool, grain: int
) -> int:
    model.train(training)
    if not training:
        cast_weights(model, context.cell.setting.precision)
    run = Runnable(model, context.images(training=training), Ready(model))
    if training:
        return _training_peak(context, run, grain)
    return live_peak(*workload(context, run, training), grain)


def _training_peak(context: MeasurementContext, run: Runnable, grain: int) -> int:
    """Return what `live_peak` finds of a training step, by one forward and backward pass.

    In the second of two steps all is as in the first, and the optimiser's state is there besides.
    """
    target, take = context.target(), TrainingStep(context, run.model)
    of_one = state_of(take, nn.Parameter(torch.empty(2)))
    tracker = LiveBytes(grain)
    for tensor in (*run.model.parameters(), *run.model.buffers(), run.images, target):
        tracker.add(tensor)
    start = tracker.live
    with tracker:
        loss = take.forward(run.images, target)
        take.backward(loss)
        peak, before = tracker.peak, tracker.live
        for weight in (one for one in run.model.parameters() if one.grad is not None):
            take.optimiser.state[weight] = {
                name: torch.empty_like(weight) if like.ndim else like.clone()
                for name, like in of_one.items()
            }
        state = tracker.live - before
        tracker.peak = tracker.live
        take.update()
        del loss
        if tracker.live == start + state:
            return max(peak + state, tracker.peak)
        # It keeps more from step to step than the optimiser does.
        tracker.peak = tracker.live
        take(run.images, target)
    return tracker.peak


def state_of(take: TrainingStep, example: nn.Parameter) -> dict[str, Tensor]:
    """Return the state that the step's optimiser keeps for a weight, from its first step on."""
    example.grad = torch.empty_like(example)
    optimiser = take.optimiser_of([example])
    with torch.device("cpu"):  # where it counts its steps, which older versions of torch read
        optimiser.step()
    return dict(optimiser.state[example])


# ---- what runs


def workload(
    context: MeasurementContext, run: Runnable, training: bool
) -> tuple[list[Tensor], Step]:
    """Return the tensors that are there beforehand, and the step."""
    state = [*run.model.parameters(), *run.model.buffers(), run.images]
    if training:
        target, take = context.target(), TrainingStep(context, run.model, call=run.ready.call)
        return [*state, target], lambda: [take(run.images, target)].clear()

    def infer() -> None:
        with torch.inference_mode(), context.precision():
            run.infer()

    return state, infer


# ---- how it is measured


def _on_accelerator(context: MeasurementContext, training: bool) -> dict[str, float | None]:
    """Return what the allocator counted at its peak.

    Live bytes where the device's allocator keeps no count.
    """
    from unet_bench.host.nvml import open_gpu

    empty_cache(context.device)
    run = prepare(context, training=training)
    tensors, step = workload(context, run, training)
    sync = synchroniser(context.device)
    step()
    sync()
    reset_peak(context.device)
    step()
    sync()
    counted = memory_statistics(context.device)

    def peak(of: str) -> float | None:
        found = counted.get(f"{of}.all.peak")
        return None if found is None else found / MIB

    allocated = peak("allocated_bytes")
    if run.ready.captured_bytes is not None:
        allocated = max(allocated or 0.0, run.ready.captured_bytes / MIB)
    live = live_peak(tensors, step) / MIB if run.is_eager else None
    gpu = open_gpu(context.device) if context.device.type == "cuda" else None
    return {
        "peak_memory_mib": live if allocated is None else allocated,
        "requested_memory_mib": peak("requested_bytes"),
        "reserved_memory_mib": peak("reserved_bytes"),
        "process_memory_mib": gpu.process_memory_mib(os.getpid()) if gpu else None,
        "live_memory_mib": live,
    }


def _on_cpu(context: MeasurementContext, training: bool) -> dict[str, float | None]:
    """Return the peak of live bytes, and how much the process itself grew.

    The growth includes what libraries take beside tensors. What compiled code allocates cannot be
    watched; what compiling itself took is left out.
    """
    # Threads and libraries come with the first one.
    torch.conv2d(torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 3, 3))
    before, live = reset_peak_rss(), None
    run = prepare(context, training=training)
    tensors, step = workload(context, run, training)
    if run.is_eager:
        live = live_peak(tensors, step) / MIB
    else:
        state = sum(tensor.untyped_storage().nbytes() for tensor in tensors)
        compiled = reset_peak_rss()
        before = None if compiled is None else compiled - state
        step(), step()
    grown = None if before is None else (peak_rss() - before) / MIB
    return {"peak_memory_mib": live, "live_memory_mib": live, "rss_memory_mib": grown}


def live_peak(tensors: Iterable[Tensor], step: Step, grain: int = 1) -> int:
    """Return the peak of live tensor bytes in the second of two steps.

    The first step makes the state that stays. Where there is none, both are alike, and one is
    enough.
    """
    tracker = LiveBytes(grain)
    for tensor in tensors:
        tracker.add(tensor)
    start = tracker.live
    with tracker:
        step()
        if tracker.live != start:
            tracker.peak = tracker.live
            step()
    return tracker.peak


class LiveBytes(Observer):
    """Bytes of all storages alive at once, counted as operations make them and as they are freed.

    Storages count as multiples of `grain` bytes.
    """

    def __init__(self, grain: int = 1) -> None:
        super().__init__()
        self.live = 0
        self.peak = 0
        self._grain = grain
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, -(-storage.nbytes() // self._grain) * self._grain
        if key in self._alive:
            return
        self._alive[key] = weakref.ref(storage, functools.partial(self._freed, key, size))
        self.live += size
        self.peak = max(self.peak, self.live)

    def _freed(self, key: int, size: int, _: object) -> None:
        del self._alive[key]
        self.live -= size

    def saw(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Count the storages of what an operation returned."""
        for tensor in flat_tensors(result):
            self.add(tensor)


# ---- the process itself


def reset_peak_rss() -> int | None:
    """Give freed memory back, forget the process's peak, and return the bytes held now.

    Linux only.
    """
    if sys.platform != "linux":
        return None
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return peak_rss()


def peak_rss() -> int:
    """Return the most memory that this process held since `reset_peak_rss`, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0
