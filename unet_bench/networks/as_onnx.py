"""A network as an ONNX file by torch's exporter; of eight bits by ONNX Runtime's tools."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unet_bench.errors import NotInstalled, Unsupported, first_line
from unet_bench.limits import one_line

OPSET: Final = 18
IN_FLOAT: Final = ("Softmax", "InstanceNormalization")
"""What is not quantised: a softmax has to tell 0.99 from 0.999, a norm divides small numbers."""
SCOPES: Final = "pkg.torch.onnx.name_scopes"
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
            raise Unsupported(f"{called} cannot be written as ONNX: {reason(error)}") from error
    assert program is not None
    return program.model_proto


def quantized(
    file: Path, how: str, batches: Iterator[np.ndarray], in_float: Collection[str] = ()
) -> Path:
    """Write a file's network with numbers of eight bits beside it, and return that file.

    `static-int8`: the ranges of activations are those on `batches` `(N C *S)`; `dynamic-int8`: they
    are found at each pass. Nodes whose names are `in_float` stay as they are. Raises NotInstalled.
    """
    require("onnx", "onnxruntime")
    import onnx
    from onnxruntime import quantization as ort
    from onnxruntime.quantization.registry import QDQRegistry

    prepared, made = file.with_name("prepared.onnx"), file.with_name("int8.onnx")
    with quietly():
        ort.shape_inference.quant_pre_process(str(file), str(prepared), skip_symbolic_shape=True)
        # A node that others were joined to has its first one's name, and a "/" behind it.
        nodes = onnx.load(str(prepared)).graph.node
        kept = [node.name for node in nodes if node.name.partition("/")[0] in in_float]
        if how == "dynamic-int8":
            ort.quantize_dynamic(str(prepared), str(made), per_channel=True, nodes_to_exclude=kept)
        else:
            ort.quantize_static(
                str(prepared),
                str(made),
                _Batches(str(prepared), batches),
                quant_format=ort.QuantFormat.QDQ,
                per_channel=True,
                # Sums of 8 by 8 bits overflow in AVX2's 16: weights get 7. It multiplies unsigned
                # by signed numbers: with signed activations OpenVINO is far off there.
                activation_type=ort.QuantType.QUInt8,
                reduce_range=True,
                op_types_to_quantize=[name for name in QDQRegistry if name not in IN_FLOAT],
                nodes_to_exclude=kept,
            )
    prepared.unlink()
    return made


def modules_of(file: Path) -> dict[str, list[str]]:
    """Return, for each node's name, the modules that it lies in, outermost first.

    They are as torch's exporter states them: `["", "model", "model.encoder"]`.
    """
    import onnx

    found = {}
    for node in onnx.load(str(file)).graph.node:
        stated = {entry.key: entry.value for entry in node.metadata_props}
        found[node.name] = list(ast.literal_eval(stated.get(SCOPES, "[]")))
    return found


def reason(error: BaseException) -> str:
    """Return what went wrong at first, in a line: exporters wrap it in advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(first_line(error))


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
        extra = "openvino" if "openvino" in lacking else "onnx"
        raise NotInstalled(f"{', '.join(lacking)} not installed: pip install 'unet-bench[{extra}]'")


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
