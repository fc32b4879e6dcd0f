"""The plain networks that others are compared with: U-Nets of much-used code, and SegNet."""

from __future__ import annotations

from typing import Final

from unet_bench.registry import Registrar

MILESIAL: Final = "github.com/milesial/Pytorch-UNet"


def register_baselines(registry: Registrar) -> None:
    """Register the U-Nets of four repositories, each named after its own, and SegNet."""
    published = ("published",)
    registry.variant(
        "unet-milesial",
        bias=False,
        align="pad",
        summary="the most copied PyTorch U-Net: batch norm, no bias, transposed convolutions",
        cite=MILESIAL,
        tags=published,
    )
    registry.variant(
        "unet-milesial-bilinear",
        bias=False,
        align="pad",
        up="bilinear-corners",
        max_width=512,
        decoder_widths=(64, 64, 128, 256),
        decoder_mid="half-in",
        summary="the same with bilinear up-sampling and a narrower bottom",
        cite=MILESIAL,
        tags=published,
    )
    registry.variant(
        "unet-ubench",
        up="nearest-conv",
        summary="the U-Net of U-Bench and many a comparison, which is `unet-nearest-conv`",
        cite="github.com/LeeJunHyun/Image_Segmentation; U-Bench, arXiv 2510.07041",
        tags=published,
    )
    registry.variant(
        "unet-4uiiurz1",
        up="bilinear-corners",
        base_width=32,
        summary="the U-Net beside UNet++ in its popular port: bilinear, half width, channels kept",
        cite="github.com/4uiiurz1/pytorch-nested-unet",
        tags=published,
    )
    registry.variant(
        "unet-zju",
        up="transpose-4x4",
        decoder_norm="none",
        head="conv-3x3",
        summary="UNet 3+'s baseline: 4×4 transposed convolutions, no norm in the decoder",
        cite="github.com/ZJUGiveLab/UNet-Version",
        tags=published,
    )
    registry.architecture(
        "segnet",
        "unet_bench_zoo.segnet:SegNet",
        summary="encoder-decoder that un-pools by the encoder's max-pool indices instead of skips",
        dims=(2,),
        cite="Badrinarayanan et al. 2015, arXiv 1511.00561",
        base_width=64,
    )
