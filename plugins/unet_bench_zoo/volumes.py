"""Networks made for volumes: the 3-D U-Net, and pytorch-3dunet's, which are for images, too."""

from __future__ import annotations

from typing import Any, Final

from unet_bench.registry import Registrar

UNET_3D: Final = "Çiçek et al. 2016, arXiv 1606.06650"
RESIDUAL_3D: Final = "Lee et al. 2017, arXiv 1706.00120"
WOLNY: Final = "github.com/wolny/pytorch-3dunet"
NORM_FIRST: Final[dict[str, Any]] = {"norm": "group", "order": "norm-conv-act", "bias": False}


def register_volumes(registry: Registrar) -> None:
    """Register the 3-D U-Net of 2016, and pytorch-3dunet's for images and for volumes."""
    published = ("published",)
    registry.variant(
        "unet3d-paper",
        encoder_block="early-doubling",
        padding="valid",
        align="crop-center",
        up_policy="keep",
        depth=3,
        dims=3,
        summary="the 3-D U-Net of 2016: unpadded, batch norm, 132×132×116 in, 44×44×28 out",
        cite=UNET_3D,
        tags=published,
    )
    for dims in (2, 3):
        registry.variant(
            f"unet{dims}d",
            encoder_block="early-doubling",
            up="nearest",
            depth=3,
            dims=dims,
            **NORM_FIRST,
            summary=f"pytorch-3dunet's {dims}-D U-Net: group norm first, channels doubled before "
            "pooling",
            cite=f"{UNET_3D}; {WOLNY}",
            tags=published,
        )
        registry.variant(
            f"residual-unet{dims}d",
            encoder_block="residual-after-1x1",
            up="transpose-3x3-resized",
            up_policy="match",
            merge="add",
            dims=dims,
            **NORM_FIRST,
            summary=f"pytorch-3dunet's {dims}-D residual U-Net: group norm first, added skips",
            cite=f"{RESIDUAL_3D}; {WOLNY}",
            tags=published,
        )
