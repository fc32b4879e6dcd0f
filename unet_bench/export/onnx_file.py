"""A trained network as one ONNX file: from an image's values to probabilities of scored pixels.

values ─▶ less the mean, by the deviation ─▶ network ─▶ scored pixels ─▶ softmax

All of that is in the file, so that whoever runs it has tiles to lay and nothing else to get wrong.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from unet_bench.networks.as_onnx import require, to_onnx
from unet_bench.networks.contracts import main_output
from unet_bench.train.trained import Network
from unet_bench.train.windows import scored

INPUT: Final = "image"
OUTPUT: Final = "probabilities"
MOST_APART: Final = 1e-3  # in a probability


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


def write_onnx(network: Network, file: Path, about: dict[str, Any]) -> None:
    """Write a network, with `about` in the file's metadata; there, `batch` becomes what it takes.

    That is any number, or 1 where the network's own arithmetic counts images. Raises NotInstalled,
    Unsupported.
    """
    deployed, names = Deployed(network).eval(), (INPUT, OUTPUT)
    model = to_onnx(
        deployed, examples(network, 2), called=network.variant, names=names, any_batch=True
    )
    about["batch"] = "any"
    if not model.graph.input[0].type.tensor_type.shape.dim[0].dim_param:
        model = to_onnx(
            deployed, examples(network, 1), called=network.variant, names=names, any_batch=False
        )
        about["batch"] = 1
    import onnx

    onnx.helper.set_model_props(model, {"unet_bench": json.dumps(about)})
    onnx.save_model(model, str(file))


def state(file: Path, about: dict[str, Any]) -> None:
    """Write `about` into a file's metadata."""
    import onnx

    model = onnx.load(str(file))
    onnx.helper.set_model_props(model, {"unet_bench": json.dumps(about)})
    onnx.save_model(model, str(file))


def class_agreement(network: Network, file: Path, images: Sequence[np.ndarray]) -> float:
    """Return the share of pixels that are of the same class by the file and by the network."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    deployed, shares = Deployed(network).eval(), []
    for values in images:
        (found,) = session.run(None, {INPUT: values})
        with torch.no_grad():
            expected = deployed(torch.from_numpy(values)).numpy()
        shares.append(float((found.argmax(1) == expected.argmax(1)).mean()))
    return fmean(shares)


def difference(network: Network, file: Path, batch: int) -> float:
    """Return how far the file's probabilities are from the network's, at most.

    They are of so many random images. Raises NotInstalled without ONNX Runtime.
    """
    require("onnxruntime")
    import onnxruntime

    values = examples(network, batch)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {INPUT: values.numpy()})
    with torch.no_grad():
        expected: Any = Deployed(network).eval()(values).numpy()
    return float(np.abs(found - expected).max())


def examples(network: Network, count: int) -> Tensor:
    """Return random values about those of the training images, `(count C *input)`."""
    shape = (count, network.task.in_channels, *network.input_window.input)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    wrapped = Deployed(network)
    return noise * wrapped.std + wrapped.mean
