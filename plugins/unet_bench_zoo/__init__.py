"""Published networks: as choices where they are made of slots, as architectures where they are not."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft
from unet_bench_zoo import encoders, networks
from unet_bench_zoo.convolutional import convolutional
from unet_bench_zoo.nested import nested
from unet_bench_zoo.nnunet import nnunet


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register published U-Nets and SegNet."""
    registry.variant(
        "unet-milesial",
        bias=False,
        align="pad",
        summary="the most copied PyTorch U-Net: batch norm, no bias, transposed convolutions",
        cite="github.com/milesial/Pytorch-UNet",
        tags=("published",),
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
        cite="github.com/milesial/Pytorch-UNet",
        tags=("published",),
    )
    registry.variant(
        "unet-ubench",
        up="nearest-conv",
        summary="the U-Net of U-Bench and many a comparison: nearest-neighbour and a convolution up",
        cite="github.com/LeeJunHyun/Image_Segmentation; U-Bench, arXiv 2510.07041",
        tags=("published", "one-axis"),
    )
    registry.variant(
        "unet-nested",
        up="bilinear-corners",
        base_width=32,
        summary="the U-Net beside UNet++ in its popular port: bilinear, half width, channels kept",
        cite="github.com/4uiiurz1/pytorch-nested-unet",
        tags=("published",),
    )
    registry.variant(
        "unet-zju",
        up="transpose-4x4",
        decoder_norm="none",
        head="conv-3x3",
        summary="UNet 3+'s baseline: 4×4 transposed convolutions, no norm in the decoder",
        cite="github.com/ZJUGiveLab/UNet-Version",
        tags=("published",),
    )
    nnunet(registry)
    networks.architectures(registry)
    encoders.encoders(registry)
    nested(registry)
    convolutional(registry)
