"""The 2015 paper's parts, and what the baseline and other plain U-Nets need besides: with these
alone, `unet` is built.

Ronneberger, Fischer, Brox: U-Net, MICCAI 2015, arXiv 1505.04597.
"""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar

PAPER = "Ronneberger et al. 2015, arXiv 1505.04597"
RESENC = "Isensee et al. 2024, arXiv 2404.09556"
MULTI_RES = "Ibtehaz and Rahman 2020, arXiv 1902.04049"


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the classic parts, the baseline, the paper's network, and single changes.

    There is a variant for each axis, stem and head.
    """
    here = "unet_bench_classic.parts"
    registry.encoder(
        "plain",
        f"{here}:PlainEncoder",
        summary="blocks with a down-sampling between them",
        cite=PAPER,
    )
    registry.block(
        "double-conv", f"{here}:double_conv", summary="3×3 convolutions in a row", cite=PAPER
    )
    registry.bottleneck(
        "plain", f"{here}:identity", summary="nothing beyond the encoder's last block", cite=PAPER
    )
    registry.down("max-pool", f"{here}:max_pool", summary="2×2 max-pool", cite=PAPER)
    registry.up("transpose", f"{here}:transpose", summary="2×2 transposed convolution", cite=PAPER)
    registry.align(
        "crop", f"{here}:Crop", summary="the larger map is cut so that positions keep aligned"
    )
    registry.align(
        "crop-center",
        f"{here}:CropCenter",
        summary="the larger map is cut to its middle",
        cite=PAPER,
    )
    registry.skip(
        "identity", f"{here}:identity_skip", summary="the encoder's map as it is", cite=PAPER
    )
    registry.merge("concat", f"{here}:Concat", summary="channels side by side", cite=PAPER)
    registry.topology("unet", f"{here}:UNetTopology", summary="one skip per level", cite=PAPER)
    registry.head(
        "conv-1x1",
        "unet_bench_classic.heads:conv_1x1",
        summary="1×1 convolution to class scores",
        cite=PAPER,
    )

    registry.variant(
        "unet", summary="padded, batch-normed U-Net: the baseline", cite=PAPER, tags=("baseline",)
    )
    registry.variant(
        "unet-paper",
        padding="valid",
        norm="none",
        align="crop-center",
        summary="the 2015 network to the digit: unpadded, no norm, 572² in, 388² out; its dropout "
        "is recipe `paper`'s",
        cite=PAPER,
        tags=("published",),
    )
    one = ("one-axis",)
    registry.variant("unet-same", norm="none", summary="padded, without norm", tags=one)
    registry.variant("unet-valid", padding="valid", summary="unpadded convolutions", tags=one)
    registry.variant("unet-reflect", padding="reflect", summary="mirrored padding", tags=one)
    registry.variant(
        "unet-replicate", padding="replicate", summary="padding by the border's pixels", tags=one
    )
    registry.variant(
        "unet-circular", padding="circular", summary="padding from the opposite border", tags=one
    )
    registry.variant("unet-instance", norm="instance", summary="instance norm", tags=one)
    registry.variant("unet-group", norm="group", summary="group norm, eight groups", tags=one)
    registry.variant(
        "unet-layer", norm="layer", summary="layer norm of each pixel's channels", tags=one
    )
    registry.variant(
        "unet-decoder-no-norm",
        decoder_norm="none",
        summary="batch norm in the encoder, none in the decoder",
        tags=one,
    )
    registry.variant("unet-leaky", act="leaky_relu", summary="leaky ReLU, slope 0.01", tags=one)
    registry.variant(
        "unet-prelu", act="prelu", summary="ReLU with a learned slope below zero", tags=one
    )
    registry.variant("unet-silu", act="silu", summary="SiLU", tags=one)
    registry.variant("unet-gelu", act="gelu", summary="GELU", tags=one)
    registry.variant(
        "unet-preact",
        order="norm-act-conv",
        summary="norm and activation before each convolution",
        tags=one,
    )
    registry.variant(
        "unet-norm-last", order="conv-act-norm", summary="norm after the activation", tags=one
    )
    registry.variant(
        "unet-keep", up_policy="keep", summary="up-sampling keeps its channels", tags=one
    )
    registry.variant("unet-narrow", base_width=32, summary="half the width", tags=one)
    registry.variant("unet-shallow", depth=3, summary="one level fewer", tags=one)
    registry.variant("unet-deep", depth=5, summary="one level more", tags=one)
    registry.variant(
        "unet-one-conv", convs_per_level=1, summary="one convolution per block", tags=one
    )
    registry.variant(
        "unet-three-convs", convs_per_level=3, summary="three convolutions per block", tags=one
    )
    registry.variant(
        "unet-light-decoder", decoder_convs=1, summary="one convolution per decoder block", tags=one
    )
    registry.variant(
        "unet-bottom-dropout",
        dropout=0.5,
        summary="dropout at the coarsest level",
        cite=PAPER,
        tags=one,
    )
    registry.encoder(
        "stem",
        f"{here}:Stem",
        summary="the plain encoder behind a 3×3 convolution, norm and act",
        cite=RESENC,
        variant="unet-stem",
        variant_summary="a convolution ahead",
    )
    heads = "unet_bench_classic.heads"
    registry.head(
        "conv-3x3",
        f"{heads}:conv_3x3",
        summary="padded 3×3 convolution to class scores",
        variant="unet-conv-3x3-head",
        variant_summary="a 3×3 convolution as head",
    )
    registry.head(
        "conv-1x1-norm",
        f"{heads}:conv_1x1_norm",
        summary="1×1 convolution, norm",
        cite=MULTI_RES,
        variant="unet-norm-head",
        variant_summary="class scores are normed",
    )
    registry.head(
        "norm-act-conv-1x1",
        f"{heads}:norm_act_conv_1x1",
        summary="norm, activation, 1×1 convolution",
        variant="unet-norm-act-head",
        variant_summary="a norm and an activation before the head",
    )
