"""U-Nets whose skips are gated; MONAI's is with its others, in `monai`."""

from __future__ import annotations

from typing import Final

from unet_bench.registry import Registrar

OKTAY: Final = "Oktay et al. 2018, arXiv 1804.03999"
LEE: Final = "github.com/LeeJunHyun/Image_Segmentation"


def register_attention(registry: Registrar) -> None:
    """Register Attention U-Net, and the same with recurrent blocks."""
    registry.variant(
        "attention-unet",
        up="nearest-conv",
        skip="attention-up",
        summary="Attention U-Net as most comparisons run it: additive gates on the up-sampled map",
        cite=f"{OKTAY}; {LEE}",
        tags=("published",),
    )
    registry.variant(
        "r2attention-unet",
        encoder_block="recurrent:2",
        up="nearest-conv",
        skip="attention-up",
        summary="attention gates and recurrent residual blocks of two steps",
        cite=f"{OKTAY}; Alom et al. 2018, arXiv 1802.06955; {LEE}",
        tags=("published",),
    )
