"""What a setting does to a network's output: against fp32, eager, contiguous, batch norm kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from unet_bench.context import MeasurementContext
from unet_bench.errors import NonFinite
from unet_bench.host.device import exact_fp32
from unet_bench.measure.ready import prepare
from unet_bench.spec.cell import Setting

PLAIN: Final[dict[str, Any]] = {
    "precision": "fp32",
    "memory_format": "contiguous",
    "runtime": Setting.runtime,
    "quantize": Setting.quantize,
    "batch_norm": "kept",
}


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Return how far the setting's logits are from the plain ones, weights and input being equal.

    Raises Unsupported where the setting cannot be run, NonFinite for an output that is no number.
    """
    cell = context.cell
    plain = replace(context, cell=replace(cell, setting=replace(cell.setting, **PLAIN)))
    with exact_fp32():
        expected = logits(plain)
    found = logits(context)
    if not bool(torch.isfinite(found).all()):
        raise NonFinite("the output of a forward pass on random input is not finite")
    return compared(found, expected)


def logits(context: MeasurementContext) -> Tensor:
    """Return the logits of a pass as the context's setting runs it, in fp32."""
    run = prepare(context)
    with torch.inference_mode(), context.precision():
        return run.infer().float().clone()


def compared(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Return the largest difference of two outputs `(N C *S)`, and where their classes agree.

    The difference is relative to the largest expected score; the other is a share of pixels.
    """
    largest = expected.abs().max().clamp_min(1e-12)
    agree = found.argmax(1) == expected.argmax(1)
    return {
        "output_difference": float((found - expected).abs().max() / largest),
        "class_agreement": float(agree.float().mean()),
    }
