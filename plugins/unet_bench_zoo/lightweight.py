"""Networks made to be small and fast: UNeXt, and CMUNeXt in three sizes."""

from __future__ import annotations

from typing import Final

from unet_bench.registry import Registrar

CMUNEXT: Final = "Tang et al. 2023, arXiv 2308.01239"
SIZES: Final = (  # name, widths, how often each level mixes, its kernels; finest level first
    ("cmunext", (16, 32, 128, 160, 256), (1, 1, 1, 3, 1), "3-3-7-7-7"),
    ("cmunext-s", (8, 16, 32, 64, 128), (1, 1, 1, 1, 1), "3-3-7-7-9"),
    ("cmunext-l", (32, 64, 128, 256, 512), (1, 1, 1, 6, 3), "3-3-7-7-7"),
)


def register_lightweight(registry: Registrar) -> None:
    """Register UNeXt, CMUNeXt's encoder, and its three networks."""
    registry.architecture(
        "unext",
        "unet_bench_zoo.unext:UNeXt",
        summary="three levels of convolutions, two of shifted MLPs, additive skips; small and fast",
        dims=(2,),
        cite="Valanarasu and Patel 2022, arXiv 2203.04967",
        base_width=16,
    )
    registry.encoder(
        "large-kernel:*",
        "unet_bench_zoo.cmunext:family",
        summary="stem and CMUNeXt blocks, with a kernel size per level",
        cite=CMUNEXT,
        ignores=("encoder_block",),
    )
    for name, widths, mixings, kernels in SIZES:
        registry.variant(
            name,
            encoder=f"large-kernel:{kernels}",
            encoder_widths=widths,
            blocks_per_level=mixings,
            up="bilinear-conv",
            up_policy="match",
            decoder_block="grouped-fusion",
            summary="large depthwise kernels in the encoder, grouped fusion in the decoder",
            cite=f"{CMUNEXT}; github.com/FengheTan9/CMUNeXt",
            tags=("published",),
        )
