"""Any timm backbone with `features_only` as encoder: `encoder=timm:resnet34`."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft

TIMM = "Wightman, PyTorch Image Models, doi 10.5281/zenodo.4414861"


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register the open family of timm encoders, and three of them."""
    registry.encoder(
        "timm:*",
        "unet_bench_timm.encoder:family",
        summary="a timm backbone; where it has no full-resolution map the last up-sampling has no skip",
        cite=TIMM,
        ignores=(
            *("encoder_block", "down", "norm", "dropout"),
            *("base_width", "max_width", "depth", "width_scale"),
        ),
        dims=(2,),
    )
    for name, backbone in (
        ("resnet34-unet", "resnet34"),
        ("efficientnet-b0-unet", "efficientnet_b0"),
        ("mobilenetv3-unet", "mobilenetv3_large_100"),
    ):
        registry.variant(
            name,
            encoder=f"timm:{backbone}",
            up="nearest",
            bias=False,
            decoder_widths=(16, 32, 64, 128, 256),
            head="conv-3x3",
            summary=f"timm's {backbone} as encoder, a light nearest-neighbour decoder",
            cite=TIMM,
            tags=("timm",),
        )
