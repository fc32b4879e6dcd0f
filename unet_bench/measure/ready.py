"""From a cell to a network that is ready to be timed, run as its setting wants it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from unet_bench.context import AUTOCAST, MeasurementContext
from unet_bench.errors import Unsupported
from unet_bench.host.device import precisions, synchroniser
from unet_bench.measure.folding import FOLDABLE, fold_batch_norm
from unet_bench.measure.runtime import refusal
from unet_bench.networks.contracts import Outputs, main_output

Call = Callable[[Tensor], Tensor | Outputs]


@dataclass(frozen=True)
class Ready:
    """What a runtime made of a network: its call, from images `(N C *S)` to logits."""

    call: Call
    told: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # columns
    # allocated at the peak, while a graph was captured: replaying allocates nothing
    captured_bytes: int | None = None


@dataclass(frozen=True)
class Runnable:
    """A network that is ready to be timed, and what making it ready took."""

    model: nn.Module
    images: Tensor
    ready: Ready
    build_s: float = 0.0
    ready_s: float = 0.0

    def infer(self) -> Tensor:
        """Return the logits of a forward pass of the batch."""
        return self.on(self.images)

    def on(self, images: Tensor) -> Tensor:
        """Return the logits of other images `(N C *S)` of the same shape."""
        return main_output(self.ready.call(images))

    @property
    def is_eager(self) -> bool:
        """Whether it is the network itself that is called, operator by operator."""
        return self.ready.call is self.model

    def columns(self) -> dict[str, Any]:
        """Return what it took to make the network ready, as columns."""
        seconds = {"build_s": self.build_s, "compile_s": None if self.is_eager else self.ready_s}
        return seconds | dict(self.ready.told)


def prepare(
    context: MeasurementContext, *, training: bool = False, model: nn.Module | None = None
) -> Runnable:
    """Return the cell's variant as the setting wants it run; `model` is it with its weights learnt.

    Its weights are changed where they are folded or cast. Raises Unsupported.
    """
    runtime = context.runtime
    native = precisions(context.device)
    if reason := refusal(context.cell.setting, runtime, native, training=training):
        raise Unsupported(reason)
    sync = synchroniser(context.device)
    started = time.perf_counter()
    model = context.network(training=training) if model is None else model
    images = context.images(training=training)
    if context.cell.setting.batch_norm == "folded":
        fold_batch_norm(model, images[:1])
    if not training:
        cast_weights(model, context.cell.setting.precision)
    sync()
    built = time.perf_counter()
    ready = context.registry.find("runtime", runtime.name).load()(context, model, images)
    sync()
    return Runnable(model, images, ready, built - started, time.perf_counter() - built)


def cast_weights(model: nn.Module, precision: str) -> None:
    """Hold the weights of a network for inference as autocast would cast them.

    Autocast itself would cast them at each pass: in inference mode it keeps no casts, and a pass of
    a small batch would be spent on casting. Outputs stay the same to the bit. Only weights of
    torch's own modules are cast: a subclass may compute something from its weights.
    """
    wanted = AUTOCAST.get(precision)
    if wanted is None:
        return
    for module in model.modules():
        if type(module) in (*FOLDABLE, nn.Linear, nn.PReLU):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(wanted)
