"""Published networks: as choices where they are made of slots, as architectures where they are not.

A file a family or origin registers its networks. What a network has of its own lies beside, in a
module of its name.
"""

from __future__ import annotations

from unet_bench import hookimpl
from unet_bench.registry import Registrar
from unet_bench_zoo.attention import register_attention
from unet_bench_zoo.baselines import register_baselines
from unet_bench_zoo.lightweight import register_lightweight
from unet_bench_zoo.monai import register_monai
from unet_bench_zoo.nested import register_nested
from unet_bench_zoo.nnunet import register_nnunet
from unet_bench_zoo.residual import register_residual
from unet_bench_zoo.transformers import register_transformers
from unet_bench_zoo.volumes import register_volumes


@hookimpl
def unet_bench_register(registry: Registrar) -> None:
    """Register the networks, family by family."""
    register_baselines(registry)
    register_attention(registry)
    register_residual(registry)
    register_nested(registry)
    register_lightweight(registry)
    register_transformers(registry)
    register_volumes(registry)
    register_nnunet(registry)
    register_monai(registry)
