"""Published convolutional networks, most of them as choices, and the parts that only they have."""

from __future__ import annotations

from typing import Any, Final

from unet_bench.registry import Draft

R2UNET: Final = "Alom et al. 2018, arXiv 1802.06955; github.com/LeeJunHyun/Image_Segmentation"
RESUNET: Final = "Zhang et al. 2017, arXiv 1711.10684"
UNET_3D: Final = "Çiçek et al. 2016, arXiv 1606.06650"
WOLNY: Final = "github.com/wolny/pytorch-3dunet"
LEE: Final = "Lee et al. 2017, arXiv 1706.00120"
CMUNEXT: Final = "Tang et al. 2023, arXiv 2308.01239"
SEGRESNET: Final = "Myronenko 2018, arXiv 1810.11654; MONAI"


def convolutional(registry: Draft) -> None:
    """Register recurrent, residual, 3-D and large-kernel U-Nets."""
    published = ("published",)
    registry.variant(
        "r2unet",
        encoder_block="recurrent:2",
        up="nearest-conv",
        summary="U-Net of recurrent residual blocks, two steps",
        cite=R2UNET,
        tags=published,
    )
    pyramid: dict[str, Any] = {"down": "in-block", "depth": 3}
    registry.variant(
        "resunet",
        encoder_block="preact-residual",
        up="nearest",
        **pyramid,
        summary="pre-activated residual units that stride, 64 to 512 channels; 1×1 shortcuts",
        cite=RESUNET,
        tags=published,
    )
    registry.variant(
        "resunet-rishikksh20",
        encoder_block="preact-residual-3x3",
        up_policy="keep",
        **pyramid,
        summary="its popular port: 3×3 shortcuts, transposed convolutions",
        cite=f"{RESUNET}; github.com/rishikksh20/ResUnet",
        tags=published,
    )
    registry.architecture(
        "resunet++",
        "unet_bench_zoo.resunet_plus_plus:ResUNetPlusPlus",
        summary="ResUNet with squeeze-and-excitation, atrous pyramids and gates on the decoder's maps",
        cite="Jha et al. 2019, arXiv 1911.07067; github.com/rishikksh20/ResUnet",
        base_width=32,
    )
    _volumes(registry)
    registry.variant(
        "segresnet",
        encoder_block="residual-after-3x3",
        order="norm-act-conv",
        norm="group",
        bias=False,
        down="in-block",
        blocks_per_level=(1, 2, 2, 4),
        up="1x1-bilinear",
        up_policy="match",
        merge="add",
        head="norm-act-conv-1x1",
        base_width=8,
        depth=3,
        summary="pre-activated residual blocks, more of them the coarser; linear up-sampling, added skips",
        cite=SEGRESNET,
        tags=published,
    )
    _cmunext(registry)


def _volumes(registry: Draft) -> None:
    """The 3-D U-Net, and pytorch-3dunet's two networks, which are 2-D ones, too."""
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
        tags=("published",),
    )
    wolny: dict[str, Any] = {"norm": "group", "order": "norm-conv-act", "bias": False, "tags": ("published",)}
    for dims in (2, 3):
        registry.variant(
            f"unet{dims}d",
            encoder_block="early-doubling",
            up="nearest",
            depth=3,
            dims=dims,
            **wolny,
            summary=f"pytorch-3dunet's {dims}-D U-Net: group norm first, channels doubled before pooling",
            cite=f"{UNET_3D}; {WOLNY}",
        )
        registry.variant(
            f"residual-unet{dims}d",
            encoder_block="residual-after-1x1",
            up="transpose-3x3-resized",
            up_policy="match",
            merge="add",
            dims=dims,
            **wolny,
            summary=f"pytorch-3dunet's {dims}-D residual U-Net: group norm first, added skips",
            cite=f"{LEE}; {WOLNY}",
        )
    registry.up(
        "transpose-3x3-resized",
        "unet_bench_zoo.resized:ResizedTranspose",
        summary="3×3 transposed convolution, a pixel short, whose first pixel comes twice",
        cite=WOLNY,
    )


def _cmunext(registry: Draft) -> None:
    """CMUNeXt in its three sizes, and its encoder."""
    registry.encoder(
        "large-kernel:*",
        "unet_bench_zoo.cmunext:family",
        summary="stem and CMUNeXt blocks, with a kernel size per level",
        cite=CMUNEXT,
        ignores=("encoder_block",),
    )
    for name, widths, mixings, kernels in (
        ("cmunext", (16, 32, 128, 160, 256), (1, 1, 1, 3, 1), "3-3-7-7-7"),
        ("cmunext-s", (8, 16, 32, 64, 128), (1, 1, 1, 1, 1), "3-3-7-7-9"),
        ("cmunext-l", (32, 64, 128, 256, 512), (1, 1, 1, 6, 3), "3-3-7-7-7"),
    ):
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
