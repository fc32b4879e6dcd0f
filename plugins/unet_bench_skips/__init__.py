"""What happens between encoder and decoder: sizes brought together, skips left out, maps added."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register align, skip and merge parts and a variant for each."""
    here = "unet_bench_skips.parts"
    registry.align("crop", f"{here}:Crop", summary="the larger map is cut so that positions keep aligned")
    registry.align("pad", f"{here}:Pad", summary="the smaller map is zero-padded on all sides")
    registry.align("resize", f"{here}:Resize", summary="the up-sampled map is interpolated to the skip's size")
    registry.skip("none", f"{here}:Nothing", summary="no skip at all", ignores=("align", "merge"))
    registry.merge("add", f"{here}:Add", summary="element-wise sum; channels must agree")

    one = ("one-axis",)
    registry.variant("unet-no-skip", skip="none", summary="an encoder-decoder without skips", tags=one)
    registry.variant("unet-add", merge="add", summary="skips added instead of concatenated", tags=one)
    valid = ("align",)
    registry.variant(
        "unet-valid-pad", padding="valid", align="pad", summary="unpadded, maps padded to meet", tags=valid
    )
    registry.variant(
        "unet-valid-resize", padding="valid", align="resize", summary="unpadded, maps resized to meet", tags=valid
    )
