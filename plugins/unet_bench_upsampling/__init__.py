"""Ways to double a map: by interpolation, by larger transposed kernels, by shuffling channels, by
looking at it.
"""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar

ODENA = "Odena et al. 2016, Deconvolution and Checkerboard Artifacts, doi 10.23915/distill.00003"
SEGRESNET = "Myronenko 2018, arXiv 1810.11654"
SUBPIXEL = "Shi et al. 2016, arXiv 1609.05158; Aitken et al. 2017, arXiv 1707.02937"
BINOMIAL = "Zhang 2019, arXiv 1904.11486"
SMOOTHED = "Kinoshita and Kiya 2020, arXiv 2002.02117"
CARAFE = "Wang et al. 2019, arXiv 1905.02188"
DYSAMPLE = "Liu et al. 2023, arXiv 2308.15085"
MONAI = "Cardoso et al. 2022, arXiv 2211.02701"
WOLNY = "github.com/wolny/pytorch-3dunet"


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the up-sampling parts and a variant for each."""
    one = ("one-axis",)
    here = "unet_bench_upsampling.parts"
    registry.up(
        "nearest-conv",
        f"{here}:nearest_conv",
        summary="nearest ×2, 3×3 conv, norm, act",
        cite=ODENA,
    )
    registry.up(
        "bilinear-conv",
        f"{here}:bilinear_conv",
        summary="bilinear ×2, 3×3 conv, norm, act",
        cite=ODENA,
    )
    registry.up(
        "bicubic-conv",
        f"{here}:bicubic_conv",
        summary="bicubic ×2, 3×3 conv, norm, act",
        cite=ODENA,
        dims=(2,),
    )
    registry.variant(
        "unet-nearest-conv", up="nearest-conv", summary="nearest and a convolution", tags=one
    )
    registry.variant(
        "unet-bilinear-conv", up="bilinear-conv", summary="bilinear and a convolution", tags=one
    )
    registry.variant(
        "unet-bicubic-conv", up="bicubic-conv", summary="bicubic and a convolution", tags=one
    )
    registry.up(
        "nearest-1x1",
        f"{here}:nearest_1x1",
        summary="nearest ×2, then a 1×1 conv",
        variant="unet-nearest-1x1",
        variant_summary="nearest, then a 1×1 convolution",
    )
    registry.up(
        "bilinear-1x1",
        f"{here}:bilinear_1x1",
        summary="bilinear ×2, then a 1×1 conv",
        variant="unet-bilinear-1x1",
        variant_summary="bilinear, then a 1×1 convolution",
    )
    registry.variant(
        "unet-1x1-bilinear", up="1x1-bilinear", summary="a 1×1 convolution, then bilinear", tags=one
    )
    registry.up(
        "1x1-bilinear",
        f"{here}:conv_1x1_bilinear",
        summary="a 1×1 conv, then bilinear ×2: the same function as bilinear-1x1, a quarter of its "
        "MACs",
        cite=SEGRESNET,
    )
    registry.up(
        "1x1-bilinear-no-bias",
        f"{here}:conv_1x1_bilinear_no_bias",
        summary="a 1×1 conv without bias, then bilinear ×2",
        cite=SEGRESNET,
        variant="unet-1x1-bilinear-no-bias",
        variant_summary="a 1×1 convolution without bias, then bilinear",
    )
    kept = ("up_policy",)  # an interpolation returns as many channels as it got
    registry.up(
        "nearest",
        f"{here}:nearest",
        summary="nearest ×2 alone, channels kept",
        ignores=kept,
        variant="unet-nearest",
        variant_summary="nearest without a convolution",
    )
    registry.up(
        "bilinear",
        f"{here}:bilinear",
        summary="bilinear ×2 alone, channels kept",
        ignores=kept,
        variant="unet-bilinear",
        variant_summary="bilinear without a convolution",
    )
    registry.up(
        "bilinear-corners",
        f"{here}:bilinear_corners",
        summary="bilinear ×2 alone, corner pixels aligned, channels kept",
        ignores=kept,
        variant="unet-bilinear-corners",
        variant_summary="bilinear with corner pixels aligned",
    )
    registry.up(
        "nearest-blur",
        f"{here}:nearest_blur",
        summary="nearest ×2, then a 5×5 binomial blur, channels kept",
        cite=BINOMIAL,
        ignores=kept,
        variant="unet-nearest-blur",
        variant_summary="nearest, blurred",
    )
    transposed = "unet_bench_upsampling.transposed"
    registry.up(
        "transpose-no-bias",
        f"{transposed}:transpose_no_bias",
        summary="2×2 transposed convolution, stride 2, without bias",
        cite=MONAI,
        variant="unet-transpose-no-bias",
        variant_summary="transposed convolutions without bias",
    )
    registry.up(
        "transpose-3x3",
        f"{transposed}:transpose_3x3",
        summary="3×3 transposed convolution, stride 2",
        variant="unet-transpose-3x3",
        variant_summary="3×3 transposed convolutions",
    )
    registry.up(
        "transpose-3x3-norm",
        f"{transposed}:transpose_3x3_norm",
        summary="3×3 transposed convolution, stride 2, norm, act",
        cite=MONAI,
        variant="unet-transpose-3x3-norm",
        variant_summary="3×3 transposed convolutions with norm and activation",
    )
    registry.up(
        "transpose-3x3-resized",
        f"{transposed}:ResizedTranspose",
        summary="3×3 transposed convolution, a pixel short, whose first pixel comes twice",
        cite=WOLNY,
        variant="unet-transpose-3x3-resized",
        variant_summary="3×3 transposed convolutions, resized by a pixel",
    )
    registry.up(
        "transpose-4x4",
        f"{transposed}:transpose_4x4",
        summary="4×4 transposed convolution, stride 2",
        variant="unet-transpose-4x4",
        variant_summary="4×4 transposed convolutions",
    )
    registry.up(
        "transpose-blur",
        f"{transposed}:transpose_blur",
        summary="2×2 transposed convolution, stride 2, then a 3×3 binomial blur",
        cite=SMOOTHED,
        variant="unet-transpose-blur",
        variant_summary="transposed convolutions, blurred",
    )
    registry.up(
        "pixel-shuffle",
        "unet_bench_upsampling.shuffle:PixelShuffle",
        summary="3×3 conv to 2×2 times the channels, shuffled into pixels; begins as nearest "
        "(ICNR)",
        cite=SUBPIXEL,
        variant="unet-pixel-shuffle",
        variant_summary="sub-pixel convolutions",
    )
    registry.up(
        "carafe",
        "unet_bench_upsampling.dynamic:carafe",
        summary="1×1 conv, then each pixel a mean of its 5×5 neighbours by weights predicted from "
        "the map",
        cite=CARAFE,
        dims=(2,),
        variant="unet-carafe",
        variant_summary="content-aware reassembly",
    )
    registry.up(
        "dysample",
        "unet_bench_upsampling.dynamic:dysample",
        summary="1×1 conv, then bilinear sampling at points predicted from the map",
        cite=DYSAMPLE,
        dims=(2,),
        variant="unet-dysample",
        variant_summary="learned sampling points",
    )
