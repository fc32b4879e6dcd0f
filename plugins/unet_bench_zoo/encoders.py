"""Encoders of published networks, and U-Nets on them."""

from __future__ import annotations

from unet_bench.registry import Draft

SEGFORMER = "Xie et al. 2021, arXiv 2105.15203"


def encoders(registry: Draft) -> None:
    """Register SegFormer's encoder and a U-Net on it."""
    registry.encoder(
        "mit:*",
        "unet_bench_zoo.mix_transformer:family",
        summary="SegFormer's Mix Transformer, mit:b0 to mit:b5: maps at 1/4 to 1/32, no skips above",
        cite=SEGFORMER,
        ignores=(
            *("encoder_block", "down", "norm", "dropout"),
            *("base_width", "max_width", "encoder_widths", "blocks_per_level", "depth", "width_scale"),
        ),
        dims=(2,),
    )
    registry.variant(
        "mit-b0-unet",
        encoder="mit:b0",
        up="nearest",
        bias=False,
        decoder_widths=(16, 32, 64, 128, 256),
        head="conv-3x3",
        summary="SegFormer's smallest encoder, maps at 1/4 to 1/32, a light nearest-neighbour decoder",
        cite=SEGFORMER,
        tags=("encoder",),
    )
