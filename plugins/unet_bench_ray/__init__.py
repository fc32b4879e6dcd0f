"""An executor for Ray clusters, whose nodes need share no file system."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the executor `ray`."""
    registry.executor(
        "ray",
        "unet_bench_ray.executor:RayExecutor",
        summary="a Ray cluster, without a shared file system",
        needs=("ray", "pip install 'unet-bench[ray]'"),
    )
