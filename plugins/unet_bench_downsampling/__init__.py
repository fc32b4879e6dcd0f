"""Ways to halve a map."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft

STRIDED = "Springenberg et al. 2014, arXiv 1412.6806"
NNUNET = "Isensee et al. 2021, doi 10.1038/s41592-020-01008-z"


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register down-sampling parts and a variant for each."""
    here = "unet_bench_downsampling.parts"
    registry.down(
        "strided-conv", f"{here}:strided_conv", summary="3×3 convolution of stride 2, norm, act", cite=STRIDED
    )
    registry.down("in-block", f"{here}:in_block", summary="the next block's first convolution strides", cite=NNUNET)

    one = ("one-axis",)
    registry.variant("unet-strided", down="strided-conv", summary="strided convolutions down", cite=STRIDED, tags=one)
