"""Published networks that differ from U-Net in what lies between encoder and decoder."""

from __future__ import annotations

from unet_bench.registry import Draft

ATTENTION = "Oktay et al. 2018, arXiv 1804.03999"
NESTED = "Zhou et al. 2018, arXiv 1807.10165"
FULL_SCALE = "Huang et al. 2020, arXiv 2004.08790"
LEE = "github.com/LeeJunHyun/Image_Segmentation"
ZJU = "github.com/ZJUGiveLab/UNet-Version"


def nested(registry: Draft) -> None:
    """Register Attention U-Net, UNet++ and UNet 3+ with their kin."""
    published = ("published",)
    registry.variant(
        "attention-unet",
        up="nearest-conv",
        skip="attention-up",
        summary="Attention U-Net as most comparisons run it: additive gates on the up-sampled map",
        cite=f"{ATTENTION}; {LEE}",
        tags=published,
    )
    registry.variant(
        "r2attention-unet",
        encoder_block="recurrent:2",
        up="nearest-conv",
        skip="attention-up",
        summary="attention gates and recurrent residual blocks of two steps",
        cite=f"{ATTENTION}; Alom et al. 2018, arXiv 1802.06955; {LEE}",
        tags=published,
    )
    registry.variant(
        "multiresunet",
        encoder_block="multi-res",
        base_width=32,
        decoder_widths=(32, 64, 128, 256),
        up_policy="match",
        skip="respath",
        head="conv-1x1-norm",
        summary="MultiRes blocks, residual paths as skips; transposed convolutions, 32 to 512 filters",
        cite="Ibtehaz and Rahman 2020, arXiv 1902.04049; github.com/nibtehaz/MultiResUNet",
        tags=published,
    )
    registry.variant(
        "unet++",
        topology="unet++",
        norm="none",
        base_width=32,
        aux_heads=3,
        summary="the 2018 network: nested skips, transposed convolutions, no norm, four heads",
        cite=NESTED,
        tags=published,
    )
    registry.variant(
        "unet++-nested",
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
        "unet++-monai",
        topology="unet++",
        encoder_widths=(32, 32, 64, 128, 256),
        up_policy="match",
        norm="instance",
        act="leaky_relu",
        leak=0.1,
        aux_heads=3,
        summary="MONAI's BasicUNetPlusPlus: 32 to 256 wide, instance norm, leaky ReLU",
        cite=f"{NESTED}; MONAI, arXiv 2211.02701",
        tags=published,
    )
    registry.variant(
        "resnet34-unet++",
        encoder="timm:resnet34",
        topology="unet++",
        up="nearest",
        bias=False,
        decoder_widths=(16, 32, 64, 128, 256),
        head="conv-3x3",
        summary="UNet++ on a ResNet-34, as segmentation-models-pytorch has it",
        cite=f"{NESTED}; github.com/qubvel-org/segmentation_models.pytorch",
        tags=published,
    )
    registry.variant(
        "unet3+",
        topology="unet3+",
        decoder_convs=1,
        head="conv-3x3",
        summary="the 2020 network: maps of all scales at every level, 320 channels wide",
        cite=f"{FULL_SCALE}; {ZJU}",
        tags=published,
    )
    registry.variant(
        "unet3+-deep",
        topology="unet3+",
        decoder_convs=1,
        head="conv-3x3",
        aux_heads=4,
        summary="UNet 3+ with a head on every decoder level while training",
        cite=f"{FULL_SCALE}; {ZJU}",
        tags=published,
    )
