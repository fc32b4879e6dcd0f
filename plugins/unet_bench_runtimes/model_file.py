"""The network as one ONNX file, with numbers as they were trained or of 8 bits."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.measure.real_images import batches
from unet_bench.networks.as_onnx import require, to_onnx
from unet_bench.networks.contracts import main_output
from unet_bench.spec.cell import AS_TRAINED

INPUT: Final = "image"
OUTPUT: Final = "logits"
CALIBRATION: Final = 16  # training images by which ranges of activations are found


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
    return file if how == AS_TRAINED else _quantised(context, file, how)


def _quantised(context: MeasurementContext, file: Path, how: str) -> Path:
    require("onnxruntime")
    from onnxruntime import quantization as ort

    prepared, made = file.with_name("prepared.onnx"), file.with_name("int8.onnx")
    with _quietly():
        ort.shape_inference.quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        if how == "dynamic-int8":
            ort.quantize_dynamic(str(prepared), str(made), per_channel=True)
        else:
            ort.quantize_static(
                str(prepared),
                str(made),
                _Calibration(batches(context, "train", CALIBRATION)),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                # Sums of 8 by 8 bits overflow in AVX2's 16: weights get 7.
                reduce_range=True,
            )
    return made


class _Calibration:
    """What the quantiser asks for batch after batch: `onnxruntime.quantization`'s data reader."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch by its input's name; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch.numpy()}

    def __iter__(self) -> Any:
        return iter(self.get_next, None)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the quantiser's advice to itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
