"""Which maps reach which decoder level: nested and full-scale skips, heads on coarser levels."""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar

NESTED = "Zhou et al. 2018, arXiv 1807.10165"
FULL_SCALE = "Huang et al. 2020, arXiv 2004.08790"
SUPERVISED = "Lee et al. 2014, Deeply-Supervised Nets, arXiv 1409.5185"


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register topologies and a variant for each, and one with auxiliary heads."""
    one = ("one-axis",)
    registry.topology(
        "unet++",
        "unet_bench_topologies.nested:Nested",
        summary="dense blocks between encoder and decoder",
        cite=NESTED,
        variant="unet-nested-skips",
        variant_summary="nested dense skips",
    )
    registry.topology(
        "unet3+",
        "unet_bench_topologies.full_scale:FullScale",
        summary="every level takes all finer encoder maps and all coarser decoder maps",
        cite=FULL_SCALE,
        ignores=("up", "up_policy"),
        variant="unet-full-scale",
        variant_summary="full-scale skips",
    )
    registry.variant(
        "unet-deep-supervision",
        aux_heads=3,
        summary="a head on each of three coarser decoder maps while training",
        cite=SUPERVISED,
        tags=one,
    )
