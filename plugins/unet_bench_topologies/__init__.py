"""Which maps reach which decoder level: nested and full-scale skips."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Draft


@hookimpl
def unet_bench_register(registry: Draft) -> None:
    """Register topologies and a variant for each."""
