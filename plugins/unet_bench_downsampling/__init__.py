"""Ways to halve a map."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar

STRIDED = "Springenberg et al. 2014, arXiv 1412.6806"
NNUNET = "Isensee et al. 2021, doi 10.1038/s41592-020-01008-z"
BLUR = "Zhang 2019, arXiv 1904.11486"
DEPTH = "Sunkara and Luo 2022, arXiv 2208.03641"
HAAR = "Xu et al. 2023, doi 10.1016/j.patcog.2023.109819"


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register down-sampling parts and a variant for each."""
    here = "unet_bench_downsampling.parts"
    registry.down(
        "strided-conv",
        f"{here}:strided_conv",
        summary="3×3 convolution of stride 2, norm, act",
        cite=STRIDED,
        variant="unet-strided",
        variant_summary="strided convolutions down",
    )
    registry.down(
        "in-block",
        f"{here}:in_block",
        summary="the next block's first convolution strides",
        cite=NNUNET,
        variant="unet-in-block",
        variant_summary="blocks that stride",
    )
    registry.down(
        "avg-pool",
        f"{here}:avg_pool",
        summary="2×2 average-pool",
        variant="unet-avg-pool",
        variant_summary="average-pooling",
    )
    registry.down(
        "blur-pool",
        f"{here}:blur_pool",
        summary="dense 2×2 max-pool, 3×3 binomial blur, halved",
        cite=BLUR,
        variant="unet-blur-pool",
        variant_summary="max-pooling without aliasing",
    )
    registry.down(
        "space-to-depth",
        f"{here}:space_to_depth",
        summary="pixels to channels, 1×1 conv, norm, act",
        cite=DEPTH,
        variant="unet-space-to-depth",
        variant_summary="pixels to channels, mixed",
    )
    registry.down(
        "haar",
        f"{here}:Haar",
        summary="Haar wavelets' sub-bands, 1×1 conv, norm, act",
        cite=HAAR,
        variant="unet-haar",
        variant_summary="Haar wavelets' sub-bands, mixed",
    )
