"""MONAI's networks, made of slots but for one; equal weights, equal outputs (`tests/parity`)."""

from __future__ import annotations

from typing import Any, Final

from unet_bench.registry import Registrar

MONAI: Final = "Cardoso et al. 2022, arXiv 2211.02701"
KERFOOT: Final = f"Kerfoot et al. 2019, doi 10.1007/978-3-030-12029-0_40; {MONAI}"
BASIC: Final[dict[str, Any]] = {
    "norm": "instance",
    "act": "leaky_relu",
    "leak": 0.1,
    "encoder_widths": (32, 32, 64, 128, 256),
    "up_policy": "match",
}


def register_monai(registry: Registrar) -> None:
    """Register UNet, DynUNet, BasicUNet, BasicUNetPlusPlus, AttentionUnet and SegResNet."""
    published = ("published",)
    registry.architecture(
        "unet-monai",
        "unet_bench_zoo.unet_monai:UNetMonai",
        summary="MONAI's UNet: strided convolutions, merges before it up-samples; instance norm, "
        "PReLU",
        cite=KERFOOT,
        base_width=16,
    )
    registry.variant(
        "unet-monai-spleen",
        architecture="unet-monai",
        args={"base_width": 16, "residual_units": 2, "norm": "batch"},
        summary="the same with residual units and batch norm, as in MONAI's tutorial on segmenting "
        "spleens",
        cite=KERFOOT,
        tags=published,
    )
    registry.variant(
        "dynunet",
        down="in-block",
        norm="instance",
        act="leaky_relu",
        up_policy="match",
        up="transpose-no-bias",
        bias=False,
        base_width=32,
        max_width=512,
        depth=5,
        summary="MONAI's nnU-Net of six levels: no biases, one head (DynUNet)",
        cite=MONAI,
        tags=published,
    )
    registry.variant(
        "basicunet",
        **BASIC,
        summary="MONAI's plain U-Net: max-pool, instance norm, leaky ReLU of slope 0.1 (BasicUNet)",
        cite=f"Falk et al. 2019, doi 10.1038/s41592-018-0261-2; {MONAI}",
        tags=published,
    )
    registry.variant(
        "unet++-monai",
        topology="unet++",
        **BASIC,
        aux_heads=3,
        summary="MONAI's UNet++: 32 to 256 wide, four heads, instance norm, leaky ReLU "
        "(BasicUNetPlusPlus)",
        cite=f"Zhou et al. 2018, arXiv 1807.10165; {MONAI}",
        tags=published,
    )
    registry.variant(
        "attention-unet-monai",
        down="in-block",
        up="transpose-3x3-norm",
        up_policy="match",
        skip="attention-up",
        decoder_block="instance-prelu",
        decoder_convs=1,
        base_width=16,
        summary="MONAI's attention U-Net: strided, gates on what 3×3 transposed convolutions "
        "return (AttentionUnet)",
        cite=f"Oktay et al. 2018, arXiv 1804.03999; {MONAI}",
        tags=published,
    )
    registry.variant(
        "segresnet",
        encoder_block="residual-after-3x3",
        order="norm-act-conv",
        norm="group",
        bias=False,
        down="in-block",
        blocks_per_level=(1, 2, 2, 4),
        up="1x1-bilinear-no-bias",
        up_policy="match",
        merge="add",
        head="norm-act-conv-1x1",
        base_width=8,
        depth=3,
        summary="pre-activated residual blocks, more of them the coarser; linear up-sampling, "
        "added skips (SegResNet)",
        cite=f"Myronenko 2018, arXiv 1810.11654; {MONAI}",
        tags=published,
    )
