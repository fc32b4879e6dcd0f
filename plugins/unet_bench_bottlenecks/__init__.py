"""What the coarsest map passes through."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar

ASPP = "Chen et al. 2017, arXiv 1706.05587"
DLINK = "Zhou et al. 2018, doi 10.1109/CVPRW.2018.00034"
TRANSFORMER = "Vaswani et al. 2017, arXiv 1706.03762; positions: Chu et al. 2021, arXiv 2102.10882"
NON_LOCAL = "Wang et al. 2018, arXiv 1711.07971"
CENTER = "github.com/qubvel-org/segmentation_models.pytorch"


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register bottleneck parts and a variant for each."""
    here = "unet_bench_bottlenecks.parts"
    registry.bottleneck(
        "aspp",
        f"{here}:Aspp",
        summary="1×1, three dilated 3×3 convs and the map's mean side by side",
        cite=ASPP,
        variant="unet-aspp",
        variant_summary="a pyramid of dilations below",
    )
    registry.bottleneck(
        "dilated",
        f"{here}:Dilated",
        summary="3×3 convs dilated 1, 2, 4, 8 in a row, all summed",
        cite=DLINK,
        variant="unet-dilated",
        variant_summary="a row of dilations below",
    )
    registry.bottleneck(
        "transformer",
        f"{here}:Transformer",
        summary="a transformer layer over all pixels",
        cite=TRANSFORMER,
        variant="unet-transformer",
        variant_summary="a transformer layer below",
    )
    registry.bottleneck(
        "non-local",
        f"{here}:NonLocal",
        summary="a weighted mean over all pixels, added",
        cite=NON_LOCAL,
        variant="unet-non-local",
        variant_summary="a non-local block below",
    )
    registry.bottleneck(
        "double-conv",
        "unet_bench_classic.parts:double_conv",
        summary="one more block of 3×3 convolutions",
        cite=CENTER,
        variant="unet-center",
        variant_summary="two more convolutions below",
    )
