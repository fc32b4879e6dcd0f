"""The one hook. A complete plugin, which `unet-bench run --variants unet-sharp` measures:

```python
# sharp.py, installed with the entry point  [project.entry-points.unet_bench]  sharp = "sharp"
from unet_bench import hookimpl


def sub_pixel(place):
    "Shi et al. 2016: a convolution to four times the channels, rearranged to twice the size."
    from torch import nn  # here, so that listing plugins stays quick

    from unet_bench.networks.layers import convolution

    padded = place.at(padding="zeros")
    conv = convolution(padded, place.in_channels, 4 * place.out_channels)
    return nn.Sequential(conv, nn.PixelShuffle(2))


@hookimpl
def unet_bench_register(registry):
    registry.up(
        "sub-pixel",
        "sharp:sub_pixel",
        summary="sub-pixel convolution",
        dims=(2,),
        variant="unet-sharp",
    )
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from unet_bench.registry import Registrar

hookspec = pluggy.HookspecMarker("unet_bench")
hookimpl = pluggy.HookimplMarker("unet_bench")


@hookspec
def unet_bench_register(registry: Registrar) -> None:
    """Register what the plugin provides. Import nothing heavy here."""
