"""Batch norm folded into the convolution before it, for inference, in anybody's network."""

from __future__ import annotations

import copy
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from unet_bench.errors import Unsupported
from unet_bench.host.device import exact_fp32
from unet_bench.networks.contracts import main_output

FOLDABLE: Final = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
TOLERANCE: Final = 1e-4  # of the largest score, between a network before and after folding


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
