"""What the coarsest map passes through."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register bottleneck parts and a variant for each."""
