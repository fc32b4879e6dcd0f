"""ResUNet++ (Jha et al. 2019, arXiv 1911.07067) as in its popular port: its gates are on the
decoder's maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import (
    CONV,
    LINEAR_MODE,
    MAX_POOL,
    activation,
    conv_norm_act,
    crop,
    he_init,
    normalisation,
)
from unet_bench.networks.unet import scaled
from unet_bench_blocks.attentive import SqueezeExcite
from unet_bench_blocks.residual import preact_residual_3x3

DILATIONS: Final = (6, 12, 18)
LEVELS: Final = 4


class ResUNetPlusPlus(nn.Module):
    """`(N C *S)` to logits `(N classes *S)`; sides should be multiples of 8."""

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        dims: int = 2,
        image_size: Sequence[int] = (),
        base_width: int = 32,
        width_scale: float = 1.0,
    ) -> None:
        super().__init__()
        base = scaled(base_width, width_scale)
        widths = [base << level for level in range(LEVELS + 1)]
        place = Place(in_channels=in_channels, out_channels=base, dims=dims)
        self.encoder = nn.ModuleList([preact_residual_3x3(place.at(image=True))])
        for level in range(1, LEVELS):
            at = place.at(
                level=level, in_channels=widths[level - 1], out_channels=widths[level], stride=2
            )
            weighed = SqueezeExcite(place.at(bias=False), widths[level - 1])
            self.encoder.append(nn.Sequential(weighed, preact_residual_3x3(at)))
        self.bridge = AtrousPyramid(place, widths[LEVELS - 1], widths[LEVELS])
        self.gates, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level in reversed(range(LEVELS - 1)):
            skip, width = widths[level], widths[level + 2]
            at = place.at(
                role="decoder",
                level=level,
                in_channels=skip + width,
                out_channels=widths[level + 1],
            )
            self.gates.append(DecoderGate(place, skip, width))
            self.decoder.append(preact_residual_3x3(at))
        self.up = nn.Upsample(scale_factor=2, mode=LINEAR_MODE[dims])
        self.head = nn.Sequential(
            AtrousPyramid(place, widths[1], base), CONV[dims](base, classes, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps = []
        for block in self.encoder:
            x = block(x)  # (N C_l H/2^l W/2^l)
            maps.append(x)
        x = self.bridge(maps.pop())
        for gate, block in zip(self.gates, self.decoder, strict=True):
            skip = maps.pop()
            up = crop(self.up(gate(skip, x)), skip.shape[2:], (0,) * (x.ndim - 2))
            x = block(torch.cat([up, skip], dim=1))
        logits: Tensor = self.head(x)
        return logits


class AtrousPyramid(nn.Module):
    """3×3 convolutions of three dilations side by side, then 1×1 to `out` channels.

    Each has ReLU and then a norm. Chen et al. 2017, arXiv 1706.05587, section 3.3, without its 1×1
    and pooled branches. A map smaller than a dilation meets zeros alone on its outer taps.
    """

    def __init__(self, place: Place, in_channels: int, out_channels: int) -> None:
        super().__init__()
        conv = CONV[place.dims]
        taps = 3**place.dims
        self.branches = nn.ModuleList(
            nn.Sequential(
                he_init(
                    conv(in_channels, out_channels, 3, padding=dilation, dilation=dilation),
                    in_channels * taps,
                ),
                activation(place),
                normalisation(place, out_channels),
            )
            for dilation in DILATIONS
        )
        wide = len(DILATIONS) * out_channels
        self.fuse = he_init(conv(wide, out_channels, 1), wide)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fuse(torch.cat([branch(x) for branch in self.branches], dim=1))
        return out


class DecoderGate(nn.Module):
    """Weighs the decoder's map by what it and the finer encoder map are.

    It maps `(N S 2H 2W)` and `(N C H W)` to `(N C H W)`. One weight a pixel, without a bound: the
    port has no sigmoid. An odd last pixel is pooled alone, so that any size passes, as it does
    through the encoder's strided convolutions.
    """

    def __init__(self, place: Place, skip: int, width: int) -> None:
        super().__init__()
        place = place.at(order="norm-act-conv")
        self.skip = nn.Sequential(
            *conv_norm_act(place, skip, width), MAX_POOL[place.dims](2, ceil_mode=True)
        )
        self.coarse = conv_norm_act(place, width, width)
        self.weigh = conv_norm_act(place, width, 1, 1)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        out: Tensor = x * self.weigh(self.skip(skip) + self.coarse(x))
        return out
