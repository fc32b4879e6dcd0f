"""Published networks that are not made of slots."""

from __future__ import annotations

from unet_bench.registry import Draft


def architectures(registry: Draft) -> None:
    """Register SegNet, U²-Net, UNeXt, TransUNet and Swin-Unet."""
    registry.architecture(
        "segnet",
        "unet_bench_zoo.segnet:SegNet",
        summary="encoder-decoder that un-pools by the encoder's max-pool indices instead of skips",
        cite="Badrinarayanan et al. 2015, arXiv 1511.00561",
        base_width=64,
    )
    registry.architecture(
        "u2net",
        "unet_bench_zoo.u2net:U2Net",
        summary="a U of U's: every level is a small U-Net; six side outputs, fused",
        cite="Qin et al. 2020, arXiv 2005.09007",
        base_width=64,
    )
    registry.architecture(
        "u2net-small",
        "unet_bench_zoo.u2net:U2NetSmall",
        summary="U²-Net with 64 channels at every level and 16 inside its U's",
        cite="Qin et al. 2020, arXiv 2005.09007 (U²-Net†)",
        base_width=64,
    )
    registry.architecture(
        "unext",
        "unet_bench_zoo.unext:UNeXt",
        summary="three levels of convolutions, two of shifted MLPs, additive skips; small and fast",
        cite="Valanarasu and Patel 2022, arXiv 2203.04967",
        base_width=16,
    )
    registry.architecture(
        "transunet",
        "unet_bench_zoo.transunet:TransUNet",
        summary="ResNet-50, then ViT-B/16 on its coarsest map, then a decoder with three skips",
        cite="Chen et al. 2021, arXiv 2102.04306",
        base_width=64,
    )
    registry.architecture(
        "swin-unet",
        "unet_bench_zoo.swin_unet:SwinUnet",
        summary="a U of Swin transformer blocks: windowed attention, patches merged and expanded",
        cite="Cao et al. 2021, arXiv 2105.05537",
        base_width=96,
    )
