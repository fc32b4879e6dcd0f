"""Blocks.

Every block follows its place's axes: padding, norm, activation, their order, bias, dropout, and the
number of convolutions where it repeats one. What its paper chose on an axis is for a variant to
say: `unet-convnext` differs from `unet` in the block alone, and ConvNeXt's own are `norm=layer` and
`act=gelu`. Where a paper has two activations or orders beside each other, the place's are those of
its plain convolutions, and the others belong to the block, whose docstring names them.
"""

from __future__ import annotations

from typing import Final

from unet_bench import hookimpl
from unet_bench.registry import Registrar

RESIDUAL: Final = "He et al. 2015, arXiv 1512.03385"
PREACT: Final = "He et al. 2016, arXiv 1603.05027"
RESUNET: Final = "Zhang et al. 2017, arXiv 1711.10684; github.com/rishikksh20/ResUnet"
RESNET_D: Final = "He et al. 2018, arXiv 1812.01187; Isensee et al. 2024, arXiv 2404.09556"
RESIDUAL_3D: Final = "Lee et al. 2017, arXiv 1706.00120; github.com/wolny/pytorch-3dunet"
SEGRESNET: Final = "Myronenko 2018, arXiv 1810.11654"
R2UNET: Final = "Alom et al. 2018, arXiv 1802.06955"
UNET_3D: Final = "Çiçek et al. 2016, arXiv 1606.06650"
DENSE: Final = "Huang et al. 2016, arXiv 1608.06993"
MULTI_RES: Final = "Ibtehaz and Rahman 2020, arXiv 1902.04049"
SQUEEZE_EXCITE: Final = "Hu et al. 2017, arXiv 1709.01507"
CBAM: Final = "Woo et al. 2018, arXiv 1807.06521"
SEPARABLE: Final = "Chollet 2016, arXiv 1610.02357"
INVERTED: Final = "Sandler et al. 2018, arXiv 1801.04381"
GHOST: Final = "Han et al. 2019, arXiv 1911.11907"
CONVNEXT: Final = "Liu et al. 2022, arXiv 2201.03545"
CMUNEXT: Final = "Tang et al. 2023, arXiv 2308.01239"
MONAI: Final = "Cardoso et al. 2022, arXiv 2211.02701"

BLOCKS: Final = (  # name, or a family's member for its variant to have; factory, summary, source
    ("residual", "residual:Residual", "3×3 convolutions beside a 1×1 shortcut", RESIDUAL),
    (
        "preact-residual",
        "residual:preact_residual",
        "norm and activation first, nothing on the sum",
        PREACT,
    ),
    (
        "preact-residual-3x3",
        "residual:preact_residual_3x3",
        "pre-activated, with a normed 3×3 shortcut",
        RESUNET,
    ),
    ("residual-d", "residual:residual_d", "residual, a strided block's shortcut pools", RESNET_D),
    (
        "residual-after-1x1",
        "residual:residual_after_1x1",
        "1×1 convolution, then a residual block of it",
        RESIDUAL_3D,
    ),
    (
        "residual-after-3x3",
        "residual:residual_after_3x3",
        "3×3 convolution, then a residual block of it",
        SEGRESNET,
    ),
    (
        "recurrent:2",
        "residual:recurrent",
        "recurrent convolutions of so many steps, beside a 1×1 one",
        R2UNET,
    ),
    (
        "early-doubling",
        "parts:early_doubling",
        "3×3 convolutions, the first to half the channels",
        UNET_3D,
    ),
    ("dense", "dense:Dense", "each convolution sees all maps before it; then 1×1", DENSE),
    (
        "multi-res",
        "dense:MultiRes",
        "three chained 3×3 convolutions side by side, plus a 1×1 shortcut",
        MULTI_RES,
    ),
    (
        "se-double-conv",
        "attentive:se_double_conv",
        "3×3 convolutions, squeeze-and-excitation",
        SQUEEZE_EXCITE,
    ),
    (
        "cbam-double-conv",
        "attentive:cbam_double_conv",
        "3×3 convolutions, channel and spatial attention",
        CBAM,
    ),
    ("separable", "mobile:separable", "depthwise 3×3 and pointwise 1×1", SEPARABLE),
    (
        "inverted-residual",
        "mobile:inverted_residual",
        "1×1 to six times the channels, depthwise 3×3, 1×1",
        INVERTED,
    ),
    ("ghost", "mobile:ghost", "half of the channels by 1×1, half by depthwise 3×3 of those", GHOST),
    (
        "convnext",
        "large_kernel:ConvNeXt",
        "depthwise 7×7, 1×1 to four times the channels, 1×1",
        CONVNEXT,
    ),
    (
        "large-kernel:7",
        "large_kernel:large_kernel",
        "CMUNeXt's: depthwise k×k, two 1×1, then 3×3",
        CMUNEXT,
    ),
)
DECODER_BLOCKS: Final = (  # name, factory, summary, source
    (
        "grouped-fusion",
        "large_kernel:grouped_fusion",
        "CMUNeXt's: 3×3 in two groups, two 1×1",
        CMUNEXT,
    ),
    (
        "instance-prelu",
        "parts:instance_prelu",
        "3×3 convolutions with unscaled instance norm and PReLU always",
        MONAI,
    ),
)


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register blocks, a variant for each, and two combinations."""
    for name, factory, summary, cite in BLOCKS:
        family, colon, _ = name.partition(":")
        here = f"unet_bench_blocks.{factory}"
        variant = f"unet-{family.removesuffix('-double-conv')}"
        if not colon:
            registry.block(name, here, summary=summary, cite=cite, variant=variant)
            continue
        registry.block(f"{family}:*", here, summary=summary, cite=cite)
        registry.variant(
            variant, encoder_block=name, summary=summary, cite=cite, tags=("one-axis",)
        )
    for name, factory, summary, cite in DECODER_BLOCKS:
        registry.decoder_block(
            name,
            f"unet_bench_blocks.{factory}",
            summary=summary,
            cite=cite,
            variant=f"unet-{name}",
            variant_summary=f"in the decoder, {summary}",
        )
    registry.variant(
        "unet-light",
        encoder_block="separable",
        up="bilinear",
        base_width=32,
        summary="separable blocks, bilinear up-sampling, half the width",
        tags=("combination",),
    )
    registry.variant(
        "unet-modern",
        encoder_block="residual",
        down="in-block",
        norm="instance",
        act="leaky_relu",
        max_width=512,
        summary="residual blocks that stride, instance norm, leaky ReLU, at most 512 wide",
        tags=("combination",),
    )
