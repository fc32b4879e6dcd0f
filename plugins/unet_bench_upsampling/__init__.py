"""Ways to double a map: by interpolation, with or without a convolution, and by larger transposed kernels."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft

ODENA = "Odena et al. 2016, Deconvolution and Checkerboard Artifacts, doi 10.23915/distill.00003"


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register the up-sampling parts and a variant for each."""
    here = "unet_bench_upsampling.parts"
    registry.up("nearest-conv", f"{here}:nearest_conv", summary="nearest ×2, 3×3 conv, norm, act", cite=ODENA)
    registry.up("bilinear-conv", f"{here}:bilinear_conv", summary="bilinear ×2, 3×3 conv, norm, act", cite=ODENA)
    kept = ("up_policy",)  # an interpolation returns as many channels as it got
    registry.up("nearest", f"{here}:nearest", summary="nearest ×2 alone, channels kept", ignores=kept)
    registry.up("bilinear", f"{here}:bilinear", summary="bilinear ×2 alone, channels kept", ignores=kept)
    registry.up(
        "bilinear-corners",
        f"{here}:bilinear_corners",
        summary="bilinear ×2 alone, corner pixels aligned, channels kept",
        ignores=kept,
    )
    registry.up("transpose-4x4", f"{here}:transpose_4x4", summary="4×4 transposed convolution, stride 2")

    one = ("one-axis",)
    registry.variant("unet-bilinear-conv", up="bilinear-conv", summary="bilinear and a convolution", tags=one)
    registry.variant("unet-bilinear", up="bilinear", summary="bilinear without a convolution", tags=one)
