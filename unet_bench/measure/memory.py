"""Peak memory of inference and of a training step, in passes of their own.

On CUDA the allocator's peak; elsewhere the peak of live tensor bytes, which is deterministic.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unet_bench.interfaces import Outputs, main_output
from unet_bench.measure.bench import Bench

MIB = 2**20


def probe(bench: Bench) -> dict[str, Any]:
    """`peak_memory_mib` of a forward pass and `train_peak_memory_mib` of a training step with AdamW's state."""
    return {
        "peak_memory_mib": peak_bytes(bench, _inference) / MIB,
        "train_peak_memory_mib": peak_bytes(bench, _training) / MIB,
    }


def peak_bytes(bench: Bench, make_step: Callable[[Bench, nn.Module, Tensor], Callable[[], None]]) -> int:
    """The peak in bytes, weights and input included, of the second of two steps (the first makes the state)."""
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
    model, images = bench.network(training=make_step is _training), bench.images()
    step = make_step(bench, model, images)
    if bench.device.type == "cuda":
        step()
        torch.cuda.synchronize(bench.device)
        torch.cuda.reset_peak_memory_stats(bench.device)
        step()
        torch.cuda.synchronize(bench.device)
        return torch.cuda.max_memory_allocated(bench.device)
    tracker = LiveBytes()
    for tensor in (*model.parameters(), *model.buffers(), images):
        tracker.add(tensor)
    with tracker:
        step()
        tracker.peak = tracker.live
        step()
    return tracker.peak


def _inference(bench: Bench, model: nn.Module, images: Tensor) -> Callable[[], None]:
    def step() -> None:
        with torch.inference_mode(), bench.precision():
            model(images)

    return step


def _training(bench: Bench, model: nn.Module, images: Tensor) -> Callable[[], None]:
    parameters = list(model.parameters())
    optimiser = torch.optim.AdamW(parameters) if parameters else None

    def step() -> None:
        with bench.precision():
            output = model(images)
            loss = main_output(output).float().square().mean()
            for _, logits in output.aux if isinstance(output, Outputs) else ():
                loss = loss + logits.float().square().mean()
        loss.backward()
        if optimiser:
            optimiser.step()
            optimiser.zero_grad()

    return step


class LiveBytes(TorchDispatchMode):
    """Bytes of all storages alive at once, counted as operations make them and as they are freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive[key] = weakref.ref(storage, functools.partial(self._freed, key, size))
        self.live += size
        self.peak = max(self.peak, self.live)

    def _freed(self, key: int, size: int, _: object) -> None:
        del self._alive[key]
        self.live -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return result
