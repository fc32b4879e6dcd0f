"""torchvision's classifiers as encoders."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.networks.choices import OF_PLAIN_ENCODER
from unet_bench.registry import Registrar


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the open family of encoders."""
    registry.encoder(
        "torchvision:*",
        "unet_bench_torchvision.encoder:family",
        summary="a torchvision backbone, the last map of every size; "
        "finer levels are up-sampled without a skip",
        cite="TorchVision 2016, github.com/pytorch/vision",
        ignores=OF_PLAIN_ENCODER,
        dims=(2,),
    )
