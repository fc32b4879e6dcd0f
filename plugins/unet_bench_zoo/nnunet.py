"""nnU-Net's and MONAI's networks, of slots but for one: the same weights give the same outputs (`tests/parity`)."""

from __future__ import annotations

from typing import Any, Final

from unet_bench.registry import Draft

NNUNET: Final = "Isensee et al. 2021, doi 10.1038/s41592-020-01008-z"
RESENC: Final = "Isensee et al. 2024, arXiv 2404.09556"
MONAI: Final = "Cardoso et al. 2022, arXiv 2211.02701"
STRIDED: Final[dict[str, Any]] = {"down": "in-block", "norm": "instance", "act": "leaky_relu", "up_policy": "match"}
FOR_IMAGES: Final[dict[str, Any]] = {"base_width": 32, "max_width": 512, "depth": 6, "aux_heads": 5}
FOR_VOLUMES: Final[dict[str, Any]] = {"base_width": 32, "max_width": 320, "depth": 5, "aux_heads": 4}
RESIDUAL: Final[dict[str, Any]] = {
    "encoder": "stem",
    "encoder_block": "residual-d",
    "decoder_block": "double-conv",
    "decoder_convs": 1,
}


def nnunet(registry: Draft) -> None:
    """Register the parts that these networks have of their own, and a variant for each network."""
    here = "unet_bench_zoo.nnunet_parts"
    registry.encoder(
        "stem", f"{here}:Stem", summary="the plain encoder behind a 3×3 convolution, norm and act", cite=RESENC
    )
    registry.up("transpose-no-bias", f"{here}:transpose_no_bias", summary="2×2 transposed convolution without bias")
    registry.up(
        "transpose-3x3-norm",
        f"{here}:transpose_3x3_norm",
        summary="3×3 transposed convolution of stride 2, norm, act",
        cite=MONAI,
    )
    registry.decoder_block(
        "instance-prelu",
        f"{here}:instance_prelu",
        summary="3×3 convolutions, each with an instance norm without scales and a PReLU, whatever norm and act say",
        cite=MONAI,
    )
    registry.variant("unet-stem", encoder="stem", summary="a convolution ahead", cite=RESENC, tags=("one-axis",))
    registry.variant(
        "unet-transpose-no-bias",
        up="transpose-no-bias",
        summary="transposed convolutions without bias",
        tags=("one-axis",),
    )
    registry.variant(
        "unet-transpose-3x3-norm",
        up="transpose-3x3-norm",
        summary="3×3 transposed convolutions with norm and activation",
        tags=("one-axis",),
    )
    registry.variant(
        "unet-instance-prelu",
        decoder_block="instance-prelu",
        summary="instance norm without scales and PReLU in the decoder",
        tags=("one-axis",),
    )

    published = ("published",)
    registry.variant(
        "nnunet-plain",
        **STRIDED,
        **FOR_IMAGES,
        summary="nnU-Net for images: strided, instance norm, leaky ReLU, seven levels, a head at each (PlainConvUNet)",
        cite=NNUNET,
        tags=published,
    )
    registry.variant(
        "nnunet-plain-3d",
        **STRIDED,
        **FOR_VOLUMES,
        summary="nnU-Net as it is planned for volumes: six levels, at most 320 wide (PlainConvUNet)",
        cite=NNUNET,
        tags=published,
    )
    registry.variant(
        "nnunet-resenc",
        **STRIDED,
        **FOR_IMAGES,
        **RESIDUAL,
        blocks_per_level=(1, 3, 4, 6, 6, 6, 6),
        summary="nnU-Net's residual encoder for images, one convolution a level up (ResidualEncoderUNet)",
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
    registry.variant(
        "dynunet",
        **STRIDED,
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
        norm="instance",
        act="leaky_relu",
        leak=0.1,
        encoder_widths=(32, 32, 64, 128, 256),
        up_policy="match",
        summary="MONAI's plain U-Net: max-pool, instance norm, leaky ReLU of slope 0.1 (BasicUNet)",
        cite=f"Falk et al. 2019, doi 10.1038/s41592-018-0261-2; {MONAI}",
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
        summary="MONAI's attention U-Net: strided, gates on what 3×3 transposed convolutions return (AttentionUnet)",
        cite=f"Oktay et al. 2018, arXiv 1804.03999; {MONAI}",
        tags=published,
    )
    registry.architecture(
        "unet-monai",
        "unet_bench_zoo.unet_monai:UNetMonai",
        summary="MONAI's UNet: strided convolutions, merges before it up-samples; instance norm, PReLU",
        cite=f"Kerfoot et al. 2019, doi 10.1007/978-3-030-12029-0_40; {MONAI}",
        base_width=16,
    )
    registry.variant(
        "unet-monai-spleen",
        architecture="unet-monai",
        args={"base_width": 16, "residual_units": 2, "norm": "batch"},
        summary="the same with residual units and batch norm, as in MONAI's tutorial on segmenting spleens",
        cite=f"Kerfoot et al. 2019, doi 10.1007/978-3-030-12029-0_40; {MONAI}",
        tags=published,
    )
