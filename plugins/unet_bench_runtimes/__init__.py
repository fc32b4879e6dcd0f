"""Engines that run an exported network: ONNX Runtime and OpenVINO, on a CPU."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.measure.runtime import Runtime
from unet_bench.registry import Registrar

INT8 = ("none", "dynamic-int8", "static-int8")


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the runtimes `onnxruntime` and `openvino`."""
    registry.runtime(
        Runtime(
            "onnxruntime",
            "unet_bench_runtimes.engines:onnxruntime",
            summary="ONNX Runtime, given the network as ONNX",
            cite="https://onnxruntime.ai",
            needs=("onnxruntime", "pip install 'unet-bench[onnx]'"),
            devices=("cpu",),
            precisions=("fp32",),
            memory_formats=("contiguous",),
            quantize=INT8,
            ready_s=8.0,
        )
    )
    registry.runtime(
        Runtime(
            "openvino",
            "unet_bench_runtimes.engines:openvino",
            summary="OpenVINO, given the network as ONNX",
            cite="https://docs.openvino.ai",
            needs=("openvino", "pip install 'unet-bench[openvino]'"),
            devices=("cpu",),
            precisions=("fp32",),
            memory_formats=("contiguous",),
            quantize=INT8,
            ready_s=10.0,
        )
    )
