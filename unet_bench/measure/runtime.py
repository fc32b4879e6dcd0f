"""How a network is run: eager, compiled, as a CUDA graph; batch norm folded or not. Built and
compiled timed apart.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unet_bench.context import AUTOCAST, MeasurementContext
from unet_bench.errors import Unsupported
from unet_bench.host.device import (
    exact_fp32,
    kind_of,
    memory_statistics,
    precisions,
    reset_peak,
    synchroniser,
)
from unet_bench.measure.probes import cannot_train
from unet_bench.networks.contracts import Outputs, main_output
from unet_bench.spec.cell import Setting

FOLDABLE: Final = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
TOLERANCE: Final = 1e-4  # of the largest score, between a network before and after folding


@dataclass(frozen=True)
class Runnable:
    """A network that is ready to be timed, and what making it ready took."""

    model: nn.Module
    call: Callable[[Tensor], Tensor | Outputs]
    images: Tensor
    build_s: float = 0.0
    compile_s: float | None = None
    compile_cache: str | None = None
    graph_breaks: int | None = None
    # allocated at the peak, while a graph was captured: replaying allocates nothing
    captured_bytes: int | None = None

    def infer(self) -> Tensor:
        """Return the logits of a forward pass of the batch."""
        return main_output(self.call(self.images))

    def columns(self) -> dict[str, Any]:
        """Return what it took to make the network ready, as columns."""
        names = ("build_s", "compile_s", "compile_cache", "graph_breaks")
        return {name: getattr(self, name) for name in names}


def prepare(context: MeasurementContext, *, training: bool = False) -> Runnable:
    """Return the cell's variant as the setting wants it run. Raises Unsupported."""
    setting = context.cell.setting
    refused = cannot_train(setting) if training else ""
    if reason := unsupported(setting, precisions(context.device)) or refused:
        raise Unsupported(reason)
    sync = synchroniser(context.device)
    started = time.perf_counter()
    model, images = context.network(training=training), context.images(training=training)
    if setting.batch_norm == "folded":
        fold_batch_norm(model, images[:1])
    if not training:
        cast_weights(model, setting.precision)
    sync()
    build_s = time.perf_counter() - started
    if setting.mode == "cudagraphs":
        return _captured(context, model, images, build_s)
    if setting.mode == "compile":
        return _compiled(context, model, images, build_s, training)
    return Runnable(model, model, images, build_s)


def unsupported(setting: Setting, native: Sequence[str] = ()) -> str:
    """Return why a combination of settings cannot be run anywhere; empty when it can.

    `native` are the precisions that the device computes in itself; none where that is not known.
    """
    device = kind_of(setting.device)
    if setting.precision == "tf32" and device != "cuda":
        return f"precision tf32 needs a CUDA device, and this runs on {setting.device}; use fp32"
    if native and setting.precision not in native:
        return (
            f"precision {setting.precision} is not native to this GPU, and would be emulated: "
            "NVIDIA's have bf16 and tf32 from compute capability 8.0 (Ampere) on; use fp32 or fp16"
        )
    if setting.mode == "cudagraphs" and device != "cuda":
        return (
            f"mode cudagraphs needs a CUDA device, and this runs on {setting.device}; "
            "use eager or compile"
        )
    if setting.mode == "compile" and device == "mps":
        return "mode compile is not measured on mps; use eager"
    return ""


def cast_weights(model: nn.Module, precision: str) -> None:
    """Hold the weights of a network for inference as autocast would cast them.

    Autocast itself would cast them at each pass: in inference mode it keeps no casts, and a pass of
    a small batch would be spent on casting. Outputs stay the same to the bit. Only weights of
    torch's own modules are cast: a subclass may compute something from its weights.
    """
    wanted = AUTOCAST.get(precision)
    if wanted is None:
        return
    for module in model.modules():
        if type(module) in (*FOLDABLE, nn.Linear, nn.PReLU):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(wanted)


# ---- torch.compile


def _compiled(
    context: MeasurementContext, model: nn.Module, images: Tensor, build_s: float, training: bool
) -> Runnable:
    from torch._dynamo.utils import counters

    call = torch.compile(model)
    sync = synchroniser(context.device)
    started = time.perf_counter()
    with torch.set_grad_enabled(training), context.precision():
        if training:
            # The backward graph is compiled when first needed.
            main_output(call(images)).float().mean().backward()
        else:
            with torch.inference_mode():
                call(images)
    sync()
    compile_s = time.perf_counter() - started
    model.zero_grad()
    hits, misses = (
        counters["inductor"][name] for name in ("fxgraph_cache_hit", "fxgraph_cache_miss")
    )
    return Runnable(
        model,
        call,
        images,
        build_s,
        compile_s,
        "warm" if hits and not misses else "cold",
        sum(counters["graph_break"].values()),
    )


def graphs_compiled() -> int:
    """Return how many graphs torch.compile has made in this process.

    Its module takes a second to import, so it is not imported only for this.
    """
    dynamo = sys.modules.get("torch._dynamo.utils")
    return int(dynamo.counters["stats"]["unique_graphs"]) if dynamo else 0


# ---- CUDA graphs


def _captured(
    context: MeasurementContext, model: nn.Module, images: Tensor, build_s: float
) -> Runnable:
    """Capture the whole forward pass as one graph, which is replayed on the same input.

    See torch.cuda.graphs.
    """
    started = time.perf_counter()
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
    captured = memory_statistics(context.device).get("allocated_bytes.all.peak")

    def replay(_: Tensor) -> Tensor:
        graph.replay()
        return output

    return Runnable(
        model, replay, images, build_s, time.perf_counter() - started, captured_bytes=captured
    )


# ---- folding


def fold_batch_norm(model: nn.Module, example: Tensor) -> int:
    """Fold every batch norm behind a convolution into it, in place; return how many.

    A forward pass shows which convolution feeds which norm, so that it works for anybody's module;
    a network without any stays as it is. It is tried on a copy first. Raises Unsupported where the
    output changes by it.
    """
    trial = copy.deepcopy(model)
    for norm in trial.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            _randomise_statistics(norm)
    # TF32 alone changes scores by more than a right folding does
    with torch.inference_mode(), exact_fp32():
        before = main_output(trial(example)).float()
        _fold(trial, example)
        after = main_output(trial(example)).float()
    worst = float((after - before).abs().max() / before.abs().max().clamp_min(1e-12))
    if not worst <= TOLERANCE:
        raise Unsupported(
            f"batch_norm folded: the output changes by {worst:.1e} of its largest score; use kept"
        )
    return _fold(model, example)


def _randomise_statistics(norm: nn.modules.batchnorm._BatchNorm) -> None:
    """Give the norm random statistics, so that a wrong folding shows.

    A fresh norm hardly changes its input.
    """
    with torch.no_grad():
        for name, low, high in (
            ("running_mean", -0.3, 0.3),
            ("bias", -0.3, 0.3),
            ("running_var", 0.6, 1.6),
        ):
            if (tensor := getattr(norm, name)) is not None:
                tensor.uniform_(low, high)


def _fold(model: nn.Module, example: Tensor) -> int:
    pairs = _fed_by_convolutions(model, example)
    parents = {
        id(child): (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
    }
    for norm, conv in pairs:
        fused = fuse_conv_bn_eval(
            conv, norm, transpose=isinstance(conv, nn.modules.conv._ConvTransposeNd)
        )
        conv.weight, conv.bias = fused.weight, fused.bias
        parent, name = parents[id(norm)]
        # timm's batch norm has its activation inside
        inner_parts = [
            part
            for part in (getattr(norm, "drop", None), getattr(norm, "act", None))
            if part is not None
        ]
        setattr(parent, name, nn.Sequential(*inner_parts) if inner_parts else nn.Identity())
    return len(pairs)


def _fed_by_convolutions(model: nn.Module, example: Tensor) -> list[tuple[Any, Any]]:
    """Return each batch norm fed directly by a convolution, both used once."""
    # The tensors are held, so that no id is used again.
    producers: dict[int, tuple[nn.Module, Tensor]] = {}
    uses: dict[nn.Module, int] = {}
    pairs: list[tuple[Any, Any]] = []

    def conv_done(module: nn.Module, _: Any, output: Tensor) -> None:
        producers[id(output)] = module, output
        uses[module] = uses.get(module, 0) + 1

    def norm_begins(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        uses[module] = uses.get(module, 0) + 1
        source = producers.get(id(inputs[0]), (None,))[0]
        if type(source) in FOLDABLE:
            pairs.append((module, source))

    def changed_in_place(module: nn.Module, _: Any, output: Tensor) -> None:
        producers[id(output)] = module, output

    handles = []
    for module in model.modules():
        if getattr(module, "inplace", False):
            handles.append(module.register_forward_hook(changed_in_place))
        elif type(module) in FOLDABLE:  # a subclass may do more than convolve
            handles.append(module.register_forward_hook(conv_done))
        elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
            handles.append(module.register_forward_pre_hook(norm_begins))
    with torch.inference_mode():
        model(example)
    for handle in handles:
        handle.remove()
    return [(norm, conv) for norm, conv in pairs if uses[norm] == uses[conv] == 1]
