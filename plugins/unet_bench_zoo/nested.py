"""U-Nets within U-Nets: UNet++ (MONAI's is with its others, in `monai`), UNet 3+ and U²-Net."""

from __future__ import annotations

from typing import Any, Final

from unet_bench.registry import Registrar
from unet_bench_timm import SMP, SMP_DECODER

NESTED: Final = "Zhou et al. 2018, arXiv 1807.10165"
ZJU: Final = "github.com/ZJUGiveLab/UNet-Version"
FULL_SCALE: Final[dict[str, Any]] = {"topology": "unet3+", "decoder_convs": 1, "head": "conv-3x3"}
FULL_SCALE_CITE: Final = f"Huang et al. 2020, arXiv 2004.08790; {ZJU}"
U2NET: Final = "Qin et al. 2020, arXiv 2005.09007"


def register_nested(registry: Registrar) -> None:
    """Register UNet++ as published and as three others have it, UNet 3+, and U²-Net.

    U²-Net comes in two sizes.
    """
    published = ("published",)
    registry.variant(
        "unet++",
        topology="unet++",
        norm="none",
        base_width=32,
        aux_heads=3,
        summary="the 2018 network: nested skips, no norm, four heads (here weighted 1 to 1/8; "
        "evaluated by the first)",
        cite=NESTED,
        tags=published,
    )
    registry.variant(
        "unet++-4uiiurz1",
        topology="unet++",
        up="bilinear-corners",
        base_width=32,
        summary="UNet++ in its popular port: bilinear, channels kept, batch norm, one head",
        cite=f"{NESTED}; github.com/4uiiurz1/pytorch-nested-unet",
        tags=published,
    )
    registry.variant(
        "unet++-zju",
        topology="unet++",
        up="transpose-4x4",
        decoder_norm="none",
        aux_heads=3,
        average_heads=True,
        summary="UNet++ beside UNet 3+ in its authors' code: twice as wide, the mean of four heads",
        cite=f"{NESTED}; {ZJU}",
        tags=published,
    )
    registry.variant(
        "resnet34-unet++",
        encoder="timm:resnet34",
        topology="unet++",
        **SMP_DECODER,
        summary="UNet++ on a ResNet-34, as segmentation-models-pytorch has it",
        cite=f"{NESTED}; {SMP}",
        tags=published,
    )
    registry.variant(
        "unet3+",
        **FULL_SCALE,
        summary="the 2020 network: maps of all scales at every level, five times base_width wide "
        "(320)",
        cite=FULL_SCALE_CITE,
        tags=published,
    )
    registry.variant(
        "unet3+-deep",
        **FULL_SCALE,
        aux_heads=4,
        summary="UNet 3+ with a head on every decoder level while training",
        cite=FULL_SCALE_CITE,
        tags=published,
    )
    registry.architecture(
        "u2net",
        "unet_bench_zoo.u2net:U2Net",
        summary="a U of U's: every level is a small U-Net; six side outputs, fused",
        dims=(2,),
        cite=U2NET,
        base_width=64,
    )
    registry.architecture(
        "u2net-small",
        "unet_bench_zoo.u2net:U2NetSmall",
        summary="U²-Net with 64 channels at every level and 16 inside its U's",
        dims=(2,),
        cite=f"{U2NET} (U²-Net†)",
        base_width=64,
    )
