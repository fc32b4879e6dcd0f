"""Blocks that save multiplications by grouped convolutions: `(N in *S)` to `(N out *S')`."""

from __future__ import annotations

import itertools
from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidChoice
from unet_bench.interfaces import Place
from unet_bench.layers import conv_norm_act, convolution, crop, dropout
from unet_bench_blocks.units import changes_shape, unactivated, widths

EXPANSION: Final = 6  # MobileNetV2, section 3.3


def separable(place: Place) -> nn.Sequential:
    """`place.convs` times depthwise 3×3 then pointwise 1×1, each pair with one norm and activation."""
    layers: list[nn.Module] = []
    for i, (before, after) in enumerate(itertools.pairwise(widths(place))):
        stride = place.stride if i == 0 else 1
        layers.append(convolution(place.at(bias=False), before, before, stride=stride, groups=before))
        layers += conv_norm_act(place, before, after, 1)
    return nn.Sequential(*layers, dropout(place))


class InvertedResidual(nn.Module):
    """1×1 to six times the channels, depthwise 3×3, 1×1 back without activation; past it the map itself, if it fits.

    One such unit whatever `place.convs`; `blocks_per_level` gives more. Sandler et al. 2018, MobileNetV2,
    arXiv 1801.04381, section 3.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        wide = EXPANSION * place.in_channels
        self.convs = nn.Sequential(
            conv_norm_act(place, place.in_channels, wide, 1),
            conv_norm_act(place, wide, wide, stride=place.stride, groups=wide),
            unactivated(place, conv_norm_act(place, wide, place.out_channels, 1)),
        )
        self.passes = not changes_shape(place)
        self.dropout = dropout(place)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.convs(x)
        out: Tensor = self.dropout(deep + crop(x, deep.shape[2:]) if self.passes else deep)
        return out


class GhostModule(nn.Module):
    """Half of the channels by a 1×1 convolution, the other half by a depthwise 3×3 one of those.

    Han et al. 2019, GhostNet, arXiv 1911.11907, section 3.1. Raises InvalidChoice for an odd number of channels.
    """

    def __init__(self, place: Place, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if out_channels % 2:
            raise InvalidChoice(
                f"block ghost cannot return {out_channels} channels: half of them are made of the other half, so their "
                f"number must be even, such as {out_channels + 1}"
            )
        half = out_channels // 2
        self.primary = conv_norm_act(place, in_channels, half, 1)
        self.cheap = conv_norm_act(place, half, half, groups=half)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        ghosts = self.cheap(primary)
        return torch.cat([crop(primary, ghosts.shape[2:]), ghosts], dim=1)


def ghost(place: Place) -> nn.Sequential:
    """A ghost module in place of each convolution; a strided block begins with a depthwise 3×3 one that strides."""
    width = place.in_channels
    layers: list[nn.Module] = []
    if place.stride != 1:
        layers.append(unactivated(place, conv_norm_act(place, width, width, stride=place.stride, groups=width)))
    layers += [GhostModule(place, before, after) for before, after in itertools.pairwise(widths(place))]
    return nn.Sequential(*layers, dropout(place))
