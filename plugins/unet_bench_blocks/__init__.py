"""Blocks."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft

RESIDUAL = "He et al. 2015, arXiv 1512.03385"
SEPARABLE = "Chollet 2016, arXiv 1610.02357"


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register blocks, a 3×3 head, and variants."""
    here = "unet_bench_blocks.parts"
    registry.block("residual", f"{here}:Residual", summary="3×3 convolutions beside a 1×1 shortcut", cite=RESIDUAL)
    registry.block("separable", f"{here}:separable", summary="depthwise 3×3 and pointwise 1×1", cite=SEPARABLE)
    registry.head("conv-3x3", f"{here}:conv_3x3", summary="padded 3×3 convolution to class scores")

    one = ("one-axis",)
    registry.variant("unet-residual", encoder_block="residual", summary="residual blocks", cite=RESIDUAL, tags=one)
    registry.variant(
        "unet-separable", encoder_block="separable", summary="depthwise-separable blocks", cite=SEPARABLE, tags=one
    )
    registry.variant(
        "unet-light",
        encoder_block="separable",
        up="bilinear",
        base_width=32,
        summary="separable blocks, bilinear up-sampling, half the width",
        tags=("combination",),
    )
    registry.variant(
        "unet-modern",
        encoder_block="residual",
        down="in-block",
        norm="instance",
        act="leaky_relu",
        max_width=512,
        summary="residual blocks that stride, instance norm, leaky ReLU, at most 512 wide",
        tags=("combination",),
    )
