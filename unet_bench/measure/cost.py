"""Parameters, MACs, activations and arithmetic intensity: exact, and the same on every machine."""

from __future__ import annotations

import functools
import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.geometry.forward import trace
from unet_bench.geometry.meta import Observer
from unet_bench.geometry.stages import stages
from unet_bench.networks.contracts import main_output

COUNTED = (nn.Linear, nn.modules.conv._ConvNd)


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Return the cost of one image through the main path, and the network's shape to draw.

    The cost is counted on the meta device.
    """
    if context.samples is not None:
        context.samples.write_text(json.dumps({"stages": stages_of(context)}), encoding="utf-8")
    return cost(context.blueprint(), context.cell.task.in_channels, context.cell.input_window.input)


def stages_of(context: MeasurementContext) -> list[dict[str, Any]]:
    """Return the network's maps in the order in which they are made, as plain data.

    Empty for a module that does not state its maps.
    """
    try:
        model, channels = context.blueprint(), context.cell.task.in_channels
        found = stages(model, channels, trace(model, channels, context.cell.input_window.input))
    except Exception:
        # Somebody's module, in somebody's way: its figures are worth having without a drawing.
        traceback.print_exc()
        return []
    return [asdict(stage) for stage in found]


def cost(model: nn.Module, in_channels: int, size: Sequence[int]) -> dict[str, Any]:
    """Return parameters, and the operations and memory traffic of one image of `size` pixels.

    `params` are all parameters; `macs` are torch's FlopCounterMode ÷ 2 (convolutions, linear maps,
    matrix products, attention); `activations` are the elements that convolutions and linear maps
    put out; `flop_per_byte` is 2 × MACs over the bytes that these read and write if each tensor
    moves once, in fp32.
    """
    outputs = moved = 0

    def count(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal outputs, moved
        if isinstance(output, Tensor):
            outputs += output.numel()
            tensors = [*inputs, *module.parameters(recurse=False), output]
            moved += sum(tensor.numel() for tensor in tensors if isinstance(tensor, Tensor))

    handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, COUNTED)]
    device = next((p.device for p in model.parameters()), torch.device("meta"))
    model.eval()
    with taken_apart(), OperationCounter() as counter:
        main_output(model(torch.empty((1, in_channels, *size), device=device)))
    for handle in handles:
        handle.remove()
    macs = counter.total // 2
    return {
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "macs": macs,
        "activations": outputs,
        "flop_per_byte": 2 * macs / (4 * moved) if moved else 0.0,
    }


class OperationCounter(Observer):
    """Counts floating-point operations as torch's FlopCounterMode does, by its formulas.

    That one takes apart every operation that it has no formula for, which takes most of a forward
    pass. Outside of inference mode those with a formula come one by one as they are.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0
        self._formulas = formulas()

    def saw(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Count what an operation computes."""
        if (formula := self._formulas.get(func.overloadpacket)) is not None:
            self.total += formula(*args, **kwargs, out_val=result)


@functools.cache
def formulas() -> Mapping[Any, Callable[..., int]]:
    """Return what computes an operation's floating-point operations, by operation."""
    from torch.utils.flop_counter import flop_registry, sdpa_flop_count  # imports triton

    def attention(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query.shape, key.shape, value.shape))

    # Torch's counter does not know the fused attention of a CPU.
    of_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return {**flop_registry, of_cpu: attention}


@contextmanager
def taken_apart() -> Iterator[None]:
    """Have operations come one by one: convolutions, and attention instead of fused layers."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)
