"""Any timm backbone with `features_only` as encoder: `encoder=timm:resnet34`, and U-Nets on a few
of them.
"""

from __future__ import annotations

from typing import Any, Final

from unet_bench import hookimpl
from unet_bench.networks.choices import OF_PLAIN_ENCODER
from unet_bench.registry import Registrar

TIMM = "Wightman, PyTorch Image Models, doi 10.5281/zenodo.4414861"
SMP = "github.com/qubvel-org/segmentation_models.pytorch"
FROM_HALF = (  # variant, backbone, its family; maps at 1/2 to 1/32
    ("resnet18-unet", "resnet18", "He et al. 2015, arXiv 1512.03385"),
    ("resnet34-unet", "resnet34", "He et al. 2015, arXiv 1512.03385"),
    ("resnet50-unet", "resnet50", "He et al. 2015, arXiv 1512.03385"),
    ("se-resnet50-unet", "seresnet50", "Hu et al. 2017, arXiv 1709.01507"),
    ("densenet121-unet", "densenet121", "Huang et al. 2016, arXiv 1608.06993"),
    ("mobilenetv3-unet", "mobilenetv3_large_100", "Howard et al. 2019, arXiv 1905.02244"),
    ("efficientnet-b0-unet", "efficientnet_b0", "Tan & Le 2019, arXiv 1905.11946"),
)
FROM_QUARTER = (  # maps at 1/4 to 1/32
    ("convnext-tiny-unet", "convnext_tiny", "Liu et al. 2022, arXiv 2201.03545"),
    ("swin-tiny-unet", "swin_tiny_patch4_window7_224", "Liu et al. 2021, arXiv 2103.14030"),
    ("pvt-v2-b0-unet", "pvt_v2_b0", "Wang et al. 2021, arXiv 2106.13797"),
)
SMP_DECODER: Final[dict[str, Any]] = {  # of segmentation-models-pytorch's Unet and UnetPlusPlus
    "up": "nearest",
    "bias": False,
    "decoder_widths": (16, 32, 64, 128, 256),
    "head": "conv-3x3",
}


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the open family of timm encoders, and U-Nets with some of them.

    The U-Nets are as segmentation-models-pytorch makes them.
    """
    registry.encoder(
        "timm:*",
        "unet_bench_timm.encoder:family",
        summary="a timm backbone; levels finer than its first map are up-sampled without a skip",
        cite=TIMM,
        ignores=OF_PLAIN_ENCODER,
        dims=(2,),
    )
    for maps, backbones in (
        ("1/2 to 1/32", FROM_HALF),
        ("1/4 to 1/32, so two levels without a skip", FROM_QUARTER),
    ):
        for name, backbone, paper in backbones:
            registry.variant(
                name,
                encoder=f"timm:{backbone}",
                **SMP_DECODER,
                summary=f"timm's {backbone} (maps at {maps}) and a light nearest-neighbour decoder",
                cite=f"{paper}; {SMP}",
                tags=("timm", "encoder"),
            )
    registry.variant(
        "vgg16-unet",
        encoder="timm:vgg16_bn",
        bottleneck="double-conv",
        skip_levels=(1, 2, 3, 4),
        **SMP_DECODER,
        summary="timm's vgg16_bn (maps at 1/1 to 1/32, the first unused), a center block, the same "
        "light decoder",
        cite=f"Simonyan & Zisserman 2014, arXiv 1409.1556; {SMP}",
        tags=("timm", "encoder"),
    )
