"""A trained network as one file: from an image's values to probabilities of scored pixels.

values ─▶ less the mean, by the deviation ─▶ network ─▶ scored pixels ─▶ softmax

All of that is in the file, so that whoever runs it has tiles to lay and nothing else to get wrong.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from unet_bench.errors import Unsupported
from unet_bench.networks.as_onnx import quietly, reason, require, to_onnx
from unet_bench.networks.contracts import main_output
from unet_bench.train.trained import Network
from unet_bench.train.windows import scored

INPUT: Final = "image"
OUTPUT: Final = "probabilities"
METADATA: Final = "unet_bench"  # the key in a file's own metadata
ONNX: Final = "model.onnx"


@dataclass(frozen=True)
class Format:
    """What a network is written as."""

    file: str
    runs_with: str  # a package, by its name on an index
    is_onnx: bool = True  # made of an ONNX file


FORMATS: Final[Mapping[str, Format]] = {
    "onnx": Format(ONNX, "onnxruntime"),
    "openvino": Format("model.xml", "openvino"),
    "torch-export": Format("model.pt2", "torch", is_onnx=False),
}


class Deployed(nn.Module):
    """Values `(N C *input)` of images to probabilities `(N K *scored)`."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.model = network.model
        self.input_window, self.size = network.input_window, network.task.scored
        along = (1, -1, *(1,) * network.task.dims)
        for name, values in (("mean", network.mean), ("std", network.std)):
            self.register_buffer(name, torch.as_tensor(values, dtype=torch.float32).reshape(along))

    def forward(self, values: Tensor) -> Tensor:
        logits = main_output(self.model((values - self.mean) / self.std))
        return scored(logits, self.input_window, self.size).softmax(1)


def write_onnx(network: Network, file: Path) -> bool:
    """Write a network as ONNX; return whether it takes any number of images at once.

    It takes one where the network's own arithmetic counts images. Raises NotInstalled, Unsupported.
    """
    deployed, names = Deployed(network).eval(), (INPUT, OUTPUT)
    model = to_onnx(
        deployed, examples(network, 2), called=network.variant, names=names, any_batch=True
    )
    any_batch = bool(model.graph.input[0].type.tensor_type.shape.dim[0].dim_param)
    if not any_batch:
        model = to_onnx(
            deployed, examples(network, 1), called=network.variant, names=names, any_batch=False
        )
    import onnx

    onnx.save_model(model, str(file))
    return any_batch


def write_openvino(onnx_file: Path, file: Path, about: Mapping[str, Any]) -> None:
    """Write an ONNX file's network as OpenVINO keeps it, with `about` in its metadata.

    Raises NotInstalled, and Unsupported for what OpenVINO cannot read.
    """
    require("openvino")
    import openvino

    try:
        model = openvino.convert_model(onnx_file)
    except Exception as error:  # it raises what its readers raise
        raise Unsupported(f"OpenVINO cannot read the network: {reason(error)}") from error
    model.set_rt_info(json.dumps(about), METADATA)
    openvino.save_model(model, file, compress_to_fp16=False)


def write_program(network: Network, file: Path) -> bool:
    """Write a network as a program of `torch.export`; return as `write_onnx`.

    Raises Unsupported for a network that it cannot follow.
    """
    deployed, any_batch = Deployed(network).eval(), True
    dynamic = ({0: torch.export.Dim("batch", min=1)},)
    with quietly():
        try:
            program = torch.export.export(
                deployed, (examples(network, 2),), dynamic_shapes=dynamic, strict=False
            )
        except Exception:  # it counts images, or cannot be followed at all
            any_batch = False
            try:
                program = torch.export.export(deployed, (examples(network, 1),), strict=False)
            except Exception as error:
                raise Unsupported(
                    f"{network.variant} cannot be followed by torch.export: {reason(error)}"
                ) from error
        torch.export.save(program, file)
    return any_batch


def state(file: Path, about: Mapping[str, Any]) -> None:
    """Write `about` into the metadata of an ONNX file."""
    import onnx

    model = onnx.load(str(file))
    onnx.helper.set_model_props(model, {METADATA: json.dumps(about)})
    onnx.save_model(model, str(file))


def examples(network: Network, count: int) -> Tensor:
    """Return random values about those of the training images, `(count C *input)`."""
    shape = (count, network.task.in_channels, *network.input_window.input)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    wrapped = Deployed(network)
    return noise * wrapped.std + wrapped.mean
