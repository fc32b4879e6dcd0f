"""Networks of other packages, as they are: segmentation-models-pytorch, MONAI, dynamic-network-architectures."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register other packages' networks and a variant for each."""
