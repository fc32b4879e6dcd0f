"""U-Nets of residual and of recurrent blocks."""

from __future__ import annotations

from typing import Any, Final

from unet_bench.registry import Registrar

RESUNET: Final = "Zhang et al. 2017, arXiv 1711.10684"
PORT: Final = "github.com/rishikksh20/ResUnet"
STRIDED: Final[dict[str, Any]] = {"down": "in-block", "depth": 3}


def register_residual(registry: Registrar) -> None:
    """Register ResUNet, its port, ResUNet++, MultiResUNet and R2U-Net."""
    published = ("published",)
    registry.variant(
        "resunet",
        encoder_block="preact-residual",
        up="nearest",
        **STRIDED,
        summary="pre-activated residual units that stride, 64 to 512 channels; 1×1 shortcuts",
        cite=RESUNET,
        tags=published,
    )
    registry.variant(
        "resunet-rishikksh20",
        encoder_block="preact-residual-3x3",
        up_policy="keep",
        **STRIDED,
        summary="its popular port: 3×3 shortcuts, transposed convolutions",
        cite=f"{RESUNET}; {PORT}",
        tags=published,
    )
    registry.architecture(
        "resunet++",
        "unet_bench_zoo.resunet_plus_plus:ResUNetPlusPlus",
        summary="ResUNet with squeeze-and-excitation, atrous pyramids and gates on the decoder's "
        "maps",
        cite=f"Jha et al. 2019, arXiv 1911.07067; {PORT}",
        base_width=32,
    )
    registry.variant(
        "multiresunet",
        encoder_block="multi-res",
        base_width=32,
        decoder_widths=(32, 64, 128, 256),
        up_policy="match",
        skip="respath",
        head="conv-1x1-norm",
        summary="MultiRes blocks, residual paths as skips; transposed convolutions, 32 to 512 "
        "filters",
        cite="Ibtehaz and Rahman 2020, arXiv 1902.04049; github.com/nibtehaz/MultiResUNet",
        tags=published,
    )
    registry.variant(
        "r2unet",
        encoder_block="recurrent:2",
        up="nearest-conv",
        summary="U-Net of recurrent residual blocks, two steps",
        cite="Alom et al. 2018, arXiv 1802.06955; github.com/LeeJunHyun/Image_Segmentation",
        tags=published,
    )
