"""nnU-Net's networks for images and for volumes: the same weights give the same outputs
(`tests/parity`).
"""

from __future__ import annotations

from typing import Any, Final

from unet_bench.registry import Registrar

NNUNET: Final = "Isensee et al. 2021, doi 10.1038/s41592-020-01008-z"
RESENC: Final = "Isensee et al. 2024, arXiv 2404.09556"
STRIDED: Final[dict[str, Any]] = {
    "down": "in-block",
    "norm": "instance",
    "act": "leaky_relu",
    "up_policy": "match",
}
FOR_IMAGES: Final[dict[str, Any]] = {"base_width": 32, "max_width": 512, "depth": 6, "aux_heads": 5}
FOR_VOLUMES: Final[dict[str, Any]] = {
    "base_width": 32,
    "max_width": 320,
    "depth": 5,
    "aux_heads": 4,
}
RESIDUAL: Final[dict[str, Any]] = {
    "encoder": "stem",
    "encoder_block": "residual-d",
    "decoder_block": "double-conv",
    "decoder_convs": 1,
}


def register_nnunet(registry: Registrar) -> None:
    """Register the plain networks and those with a residual encoder."""
    published = ("published",)
    registry.variant(
        "nnunet-plain",
        **STRIDED,
        **FOR_IMAGES,
        summary="nnU-Net for images: strided, instance norm, leaky ReLU, seven levels, a head at "
        "each (PlainConvUNet)",
        cite=NNUNET,
        tags=published,
    )
    registry.variant(
        "nnunet-plain-3d",
        **STRIDED,
        **FOR_VOLUMES,
        summary="nnU-Net as it is planned for volumes: six levels, at most 320 wide "
        "(PlainConvUNet)",
        cite=NNUNET,
        tags=published,
    )
    registry.variant(
        "nnunet-resenc",
        **STRIDED,
        **FOR_IMAGES,
        **RESIDUAL,
        blocks_per_level=(1, 3, 4, 6, 6, 6, 6),
        summary="nnU-Net's residual encoder for images, one convolution a level up "
        "(ResidualEncoderUNet)",
        cite=RESENC,
        tags=published,
    )
    registry.variant(
        "nnunet-resenc-3d",
        **STRIDED,
        **FOR_VOLUMES,
        **RESIDUAL,
        blocks_per_level=(1, 3, 4, 6, 6, 6),
        summary="nnU-Net's residual encoder as it is planned for volumes (ResidualEncoderUNet)",
        cite=RESENC,
        tags=published,
    )
