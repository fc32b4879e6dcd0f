"""A network as an ONNX file by torch's exporter; of eight bits by ONNX Runtime's tools."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unet_bench.errors import NotInstalled, Unsupported
from unet_bench.limits import one_line

OPSET: Final = 18
IN_FLOAT: Final = ("Softmax", "InstanceNormalization")
"""What is not quantised: a softmax has to tell 0.99 from 0.999, a norm divides small numbers."""
CALIBRATION: Final = 16  # training images by which ranges of activations are found


def to_onnx(
    module: nn.Module, example: Tensor, *, called: str, names: tuple[str, str], any_batch: bool
) -> Any:
    """Return a module of one input `(N C *S)` and one output as an ONNX model.

    `names` are those of input and output. `any_batch`: it takes any number of images, unless the
    network's own arithmetic counts them. Raises NotInstalled, and Unsupported for a module, told as
    it is `called`, that ONNX cannot hold.
    """
    require("onnx", "onnxscript")
    dynamic = ({0: torch.export.Dim("batch", min=1)},) if any_batch else None
    # Fused attention lays its result out in another way than what it is decomposed into.
    with quietly(), sdpa_kernel(SDPBackend.MATH):
        try:
            program = torch.onnx.export(
                module,
                (example,),
                input_names=[names[0]],
                output_names=[names[1]],
                dynamic_shapes=dynamic,
                opset_version=OPSET,
                dynamo=True,
            )
        except Exception as error:  # the exporter raises what its passes raise
            raise Unsupported(
                f"{called} cannot be written as ONNX: {one_line(str(error))}"
            ) from error
    assert program is not None
    return program.model_proto


def quantized(file: Path, how: str, batches: Iterator[np.ndarray]) -> Path:
    """Write a file's network with numbers of eight bits beside it, and return that file.

    `static-int8`: the ranges of activations are those on `batches` `(N C *S)`; `dynamic-int8`: they
    are found at each pass. Raises NotInstalled.
    """
    require("onnx", "onnxruntime")
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.registry import QDQRegistry

    prepared, made = file.with_name("prepared.onnx"), file.with_name("int8.onnx")
    with quietly():
        ort.shape_inference.quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        if how == "dynamic-int8":
            ort.quantize_dynamic(str(prepared), str(made), per_channel=True)
        else:
            ort.quantize_static(
                str(prepared),
                str(made),
                _Batches(str(prepared), batches),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                # Sums of 8 by 8 bits overflow in AVX2's 16: weights get 7.
                reduce_range=True,
                op_types_to_quantize=[name for name in QDQRegistry if name not in IN_FLOAT],
            )
    prepared.unlink()
    return made


class _Batches:
    """What the quantiser asks for batch after batch: `onnxruntime.quantization`'s data reader."""

    def __init__(self, file: str, batches: Iterator[np.ndarray]) -> None:
        import onnx

        self._name = onnx.load(file, load_external_data=False).graph.input[0].name
        self._batches = batches

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next batch by its input's name; None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {self._name: batch}

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        return iter(self.get_next, None)


def require(*packages: str) -> None:
    """Raise NotInstalled for packages that are not."""
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    if lacking:
        raise NotInstalled(f"{', '.join(lacking)} not installed: pip install 'unet-bench[onnx]'")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep the exporter's progress and advice to itself; its errors are raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
