"""A network as an ONNX file, by torch's exporter."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from unet_bench.errors import NotInstalled, Unsupported
from unet_bench.limits import one_line

OPSET: Final = 18


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
