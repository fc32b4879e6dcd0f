"""Blocks, and strided ways down that belong to them."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft

RESIDUAL = "He et al. 2015, arXiv 1512.03385"
SEPARABLE = "Chollet 2016, arXiv 1610.02357"
STRIDED = "Springenberg et al. 2014, arXiv 1412.6806"
NNUNET = "Isensee et al. 2021, doi 10.1038/s41592-020-01008-z"


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register blocks, strided down-sampling, a 3×3 head, and variants."""
    here = "unet_bench_blocks.parts"
    registry.block("residual", f"{here}:Residual", summary="3×3 convolutions beside a 1×1 shortcut", cite=RESIDUAL)
    registry.block("separable", f"{here}:separable", summary="depthwise 3×3 and pointwise 1×1", cite=SEPARABLE)
    registry.down(
        "strided-conv", f"{here}:strided_conv", summary="3×3 convolution of stride 2, norm, act", cite=STRIDED
    )
    registry.down("in-block", f"{here}:in_block", summary="the next block's first convolution strides", cite=NNUNET)
    registry.head("conv-3x3", f"{here}:conv_3x3", summary="padded 3×3 convolution to class scores")

    one = ("one-axis",)
    registry.variant("unet-residual", encoder_block="residual", summary="residual blocks", cite=RESIDUAL, tags=one)
    registry.variant(
        "unet-separable", encoder_block="separable", summary="depthwise-separable blocks", cite=SEPARABLE, tags=one
    )
    registry.variant("unet-strided", down="strided-conv", summary="strided convolutions down", cite=STRIDED, tags=one)
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
