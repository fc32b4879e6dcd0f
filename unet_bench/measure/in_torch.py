"""What runs networks within torch: as they are, compiled, as one CUDA graph."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.host.device import memory_statistics, reset_peak, synchroniser
from unet_bench.measure.ready import Ready
from unet_bench.networks.contracts import main_output


def eager(context: MeasurementContext, model: nn.Module, images: Tensor) -> Ready:
    """Return the network as it is."""
    return Ready(model)


def compiled(context: MeasurementContext, model: nn.Module, images: Tensor) -> Ready:
    """Return the network compiled for the images, with its backward graph where it trains."""
    from torch._dynamo.utils import counters

    call = torch.compile(model)
    with torch.set_grad_enabled(model.training), context.precision():
        if model.training:
            # The backward graph is compiled when first needed.
            main_output(call(images)).float().mean().backward()
        else:
            with torch.inference_mode():
                call(images)
    model.zero_grad()
    hits, misses = (
        counters["inductor"][name] for name in ("fxgraph_cache_hit", "fxgraph_cache_miss")
    )
    told: dict[str, Any] = {
        "compile_cache": "warm" if hits and not misses else "cold",
        "graph_breaks": sum(counters["graph_break"].values()),
    }
    return Ready(call, told)


def graphs_compiled() -> int:
    """Return how many graphs torch.compile has made in this process.

    Its module takes a second to import, so it is not imported only for this.
    """
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo else 0


def captured(context: MeasurementContext, model: nn.Module, images: Tensor) -> Ready:
    """Capture the whole forward pass as one graph, which is replayed on the same memory.

    See torch.cuda.graphs.
    """
    side = torch.cuda.Stream(context.device)
    side.wait_stream(torch.cuda.current_stream(context.device))
    with torch.inference_mode(), context.precision(cache=False):
        # Capturing wants cuDNN's search and the allocator's pools done.
        with torch.cuda.stream(side):
            for _ in range(3):
                model(images)
        torch.cuda.current_stream(context.device).wait_stream(side)
        synchroniser(context.device)()
        reset_peak(context.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            output = main_output(model(images))
    synchroniser(context.device)()
    peak = memory_statistics(context.device).get("allocated_bytes.all.peak")

    def replay(batch: Tensor) -> Tensor:
        if batch is not images:
            images.copy_(batch)
        graph.replay()
        return output

    return Ready(replay, captured_bytes=peak)
