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
    registry.skip(
        "none",
        f"{here}:Nothing",
        summary="no skip at all",
        variant="unet-no-skip",
        variant_summary="an encoder-decoder without skips",
    )
    registry.variant(
        "unet-no-top-skip",
        skip_levels=(1, 2, 3),
        summary="no skip at full resolution",
        cite=TOP_SKIP,
        tags=("one-axis",),
    )
    registry.skip(
        "attention",
        "unet_bench_skips.gates:Attention",
        summary="additive gate by the decoder's map before its up-sampling",
        cite=ATTENTION,
        variant="unet-attention-gate",
        variant_summary="attention gates",
    )
    registry.skip(
        "attention-up",
        "unet_bench_skips.gates:AttentionUp",
        summary="additive gate by the up-sampled map, with norms: the common port",
        cite=f"{ATTENTION}; github.com/LeeJunHyun/Image_Segmentation",
    )
    registry.variant(
        "unet-attention-gate-up",
        skip="attention-up",
        summary="attention gates on the up-sampled map",
        cite=ATTENTION,
        tags=("one-axis",),
    )
    registry.skip(
        "scse",
        "unet_bench_skips.gates:ScSE",
        summary="weights by pixel and by channel, from the map itself",
        cite=EXCITATION,
        variant="unet-scse-skip",
        variant_summary="squeeze & excitation of skips",
    )
    registry.skip(
        "respath",
        "unet_bench_skips.respath:ResPath",
        summary="residual convolutions, the more the finer the level",
        cite=RESPATH,
        variant="unet-respath",
        variant_summary="residual paths as skips",
    )
    registry.merge(
        "add",
        f"{here}:Add",
        summary="element-wise sum; channels must agree",
        variant="unet-add",
        variant_summary="skips added instead of concatenated",
    )
    registry.variant(
        "unet-valid-pad",
        padding="valid",
        align="pad",
        summary="unpadded, maps padded to meet",
        tags=("align",),
    )
    registry.variant(
        "unet-valid-resize",
        padding="valid",
        align="resize",
        summary="unpadded, maps resized to meet",
        tags=("align",),
    )
