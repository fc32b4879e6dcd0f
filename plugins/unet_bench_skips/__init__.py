"""What happens between encoder and decoder: sizes brought together, skips left out or weighed, maps
added.
"""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar

ATTENTION = "Oktay et al. 2018, arXiv 1804.03999"
EXCITATION = "Roy et al. 2018, arXiv 1803.02579"
RESPATH = "Ibtehaz and Rahman 2020, arXiv 1902.04049"
TOP_SKIP = "Wilm et al. 2024, arXiv 2402.08276"


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register align, skip and merge parts and a variant for each."""
    here = "unet_bench_skips.parts"
    registry.align("pad", f"{here}:Pad", summary="the smaller map is zero-padded on all sides")
    registry.align(
        "resize", f"{here}:Resize", summary="the up-sampled map is interpolated to the skip's size"
    )
    registry.skip("none", f"{here}:Nothing", summary="no skip at all")
    registry.skip(
        "attention",
        "unet_bench_skips.gates:Attention",
        summary="additive gate by the decoder's map before its up-sampling",
        cite=ATTENTION,
    )
    registry.skip(
        "attention-up",
        "unet_bench_skips.gates:AttentionUp",
        summary="additive gate by the up-sampled map, with norms: the common port",
        cite=f"{ATTENTION}; github.com/LeeJunHyun/Image_Segmentation",
    )
    registry.skip(
        "scse",
        "unet_bench_skips.gates:ScSE",
        summary="weights by pixel and by channel, from the map itself",
        cite=EXCITATION,
    )
    registry.skip(
        "respath",
        "unet_bench_skips.respath:ResPath",
        summary="residual convolutions, the more the finer the level",
        cite=RESPATH,
    )
    registry.merge("add", f"{here}:Add", summary="element-wise sum; channels must agree")

    one = ("one-axis",)
    registry.variant(
        "unet-no-skip", skip="none", summary="an encoder-decoder without skips", tags=one
    )
    registry.variant(
        "unet-no-top-skip",
        skip_levels=(1, 2, 3),
        summary="no skip at full resolution",
        cite=TOP_SKIP,
        tags=one,
    )
    registry.variant(
        "unet-attention-gate", skip="attention", summary="attention gates", cite=ATTENTION, tags=one
    )
    registry.variant(
        "unet-attention-gate-up",
        skip="attention-up",
        summary="attention gates on the up-sampled map",
        cite=ATTENTION,
        tags=one,
    )
    registry.variant(
        "unet-scse-skip",
        skip="scse",
        summary="squeeze & excitation of skips",
        cite=EXCITATION,
        tags=one,
    )
    registry.variant(
        "unet-respath", skip="respath", summary="residual paths as skips", cite=RESPATH, tags=one
    )
    registry.variant(
        "unet-add", merge="add", summary="skips added instead of concatenated", tags=one
    )
    valid = ("align",)
    registry.variant(
        "unet-valid-pad",
        padding="valid",
        align="pad",
        summary="unpadded, maps padded to meet",
        tags=valid,
    )
    registry.variant(
        "unet-valid-resize",
        padding="valid",
        align="resize",
        summary="unpadded, maps resized to meet",
        tags=valid,
    )
