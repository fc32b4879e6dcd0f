"""Networks of transformer layers: TransUNet, Swin-Unet, and a U-Net on SegFormer's encoder."""

from __future__ import annotations

from typing import Final

from unet_bench.networks.choices import OF_PLAIN_ENCODER
from unet_bench.registry import Registrar
from unet_bench_timm import SMP, SMP_DECODER

SEGFORMER: Final = "Xie et al. 2021, arXiv 2105.15203"


def register_transformers(registry: Registrar) -> None:
    """Register two architectures, SegFormer's encoder, and a U-Net on it."""
    registry.architecture(
        "transunet",
        "unet_bench_zoo.transunet:TransUNet",
        summary="ResNet-50, then ViT-B/16 on its coarsest map, then a decoder with three skips",
        dims=(2,),
        cite="Chen et al. 2021, arXiv 2102.04306",
        base_width=64,
    )
    registry.architecture(
        "swin-unet",
        "unet_bench_zoo.swin_unet:SwinUnet",
        summary="a U of Swin transformer blocks: windowed attention, patches merged and expanded",
        dims=(2,),
        cite="Cao et al. 2021, arXiv 2105.05537",
        base_width=96,
    )
    registry.encoder(
        "mit:*",
        "unet_bench_zoo.mix_transformer:family",
        summary="SegFormer's Mix Transformer, mit:b0 to mit:b5: maps at 1/4 to 1/32, no skips "
        "above",
        cite=SEGFORMER,
        ignores=OF_PLAIN_ENCODER,
        dims=(2,),
    )
    registry.variant(
        "mit-b0-unet",
        encoder="mit:b0",
        **SMP_DECODER,
        summary="SegFormer's smallest encoder, maps at 1/4 to 1/32, a light nearest-neighbour "
        "decoder",
        cite=f"{SEGFORMER}; {SMP}",
        tags=("encoder",),
    )
