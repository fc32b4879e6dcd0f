"""Each engine: a file of the network in, a call from images to logits out.

They get as many threads as torch gets, and answer one request at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.measure.ready import Call, Ready
from unet_bench_runtimes.model_file import INPUT, OUTPUT, write_model

Load = Callable[[Path], Call]


def onnxruntime(context: MeasurementContext, model: nn.Module, images: Tensor) -> Ready:
    """Return the network in a session of ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = context.cell.setting.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors

    def load(file: Path) -> Call:
        session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

        def call(batch: Tensor) -> Tensor:
            (logits,) = session.run([OUTPUT], {INPUT: batch.numpy()})
            return torch.from_numpy(logits)

        return call

    return _ready(context, model, images, load, version("onnxruntime"))


def openvino(context: MeasurementContext, model: nn.Module, images: Tensor) -> Ready:
    """Return the network as OpenVINO compiles it for one request at a time."""
    import openvino as ov

    core = ov.Core()
    how = {
        "INFERENCE_NUM_THREADS": context.cell.setting.threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # it would take bf16 by itself where a processor has it
    }

    def load(file: Path) -> Call:
        request = core.compile_model(core.read_model(file), "CPU", how).create_infer_request()

        def call(batch: Tensor) -> Tensor:
            # Shared: the logits lie where the next call writes.
            found = request.infer([batch.numpy()], share_inputs=True, share_outputs=True)
            return torch.from_numpy(found[0])

        return call

    return _ready(context, model, images, load, version("openvino"))


def _ready(
    context: MeasurementContext, model: nn.Module, images: Tensor, load: Load, engine: str
) -> Ready:
    with tempfile.TemporaryDirectory() as folder:
        file = write_model(context, model, images, Path(folder))
        told = {"file_mib": file.stat().st_size / 2**20, "runtime_version": engine}
        return Ready(load(file), told)
