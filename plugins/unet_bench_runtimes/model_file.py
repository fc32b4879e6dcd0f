"""The network as one ONNX file, with numbers as they were trained or of 8 bits."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.measure.real_images import batches
from unet_bench.networks.as_onnx import CALIBRATION, quantized, require, to_onnx
from unet_bench.networks.contracts import main_output
from unet_bench.spec.cell import AS_TRAINED

INPUT: Final = "image"
OUTPUT: Final = "logits"


class Main(nn.Module):
    """A network without its auxiliary heads' outputs."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        return main_output(self.model(images))


def write_model(
    context: MeasurementContext, model: nn.Module, images: Tensor, folder: Path
) -> Path:
    """Write the network for this very batch, quantised as the setting asks; return the file.

    Raises NotInstalled, and Unsupported for a network that ONNX cannot hold.
    """
    require("onnx", "onnxscript")
    import onnx

    written = to_onnx(
        Main(model).eval(),
        images,
        called=context.cell.variant.name,
        names=(INPUT, OUTPUT),
        any_batch=False,
    )
    file = folder / "network.onnx"
    onnx.save_model(written, str(file))
    how = context.cell.setting.quantize
    if how == AS_TRAINED:
        return file
    seen = (batch.numpy() for batch in batches(context, "train", CALIBRATION))
    return quantized(file, how, seen)
