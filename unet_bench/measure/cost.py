"""Parameters, MACs and activations: exact, and the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unet_bench.interfaces import main_output
from unet_bench.measure.bench import Bench


def probe(bench: Bench) -> dict[str, Any]:
    """The cost of one image through the main path, counted on the meta device."""
    return cost(bench.blueprint(), bench.cell.task.in_channels, bench.cell.frame.input)


def cost(model: nn.Module, in_channels: int, size: Sequence[int]) -> dict[str, Any]:
    """`params` (all), and for one image of `size` pixels: `macs` (torch's FlopCounterMode ÷ 2: convolutions, linear
    maps and matrix products) and `activations` (elements that convolutions and linear maps put out).
    """
    outputs = 0

    def count(_: nn.Module, __: tuple[Tensor, ...], output: Any) -> None:
        nonlocal outputs
        outputs += output.numel() if isinstance(output, Tensor) else 0

    counted = (nn.Linear, nn.modules.conv._ConvNd)
    handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, counted)]
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        main_output(model(torch.empty((1, in_channels, *size), device="meta")))
    for handle in handles:
        handle.remove()
    params = sum(parameter.numel() for parameter in model.parameters())
    return {"params": params, "macs": counter.get_total_flops() // 2, "activations": outputs}
