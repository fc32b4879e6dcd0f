"""Blocks that put maps side by side: `(N in *S)` to `(N out *S')`.

Unpadded, all are cut to the smallest's middle.
"""

from __future__ import annotations

import itertools
from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import (
    AVG_POOL,
    activation,
    conv_norm_act,
    crop,
    dropout,
    normalisation,
)
from unet_bench_blocks.units import unactivated

SHARES: Final = (0.167, 0.333, 0.5)
"""What each of MultiRes' convolutions has of the block's width: a sixth, a third, a half."""
ALPHA: Final = 1.67
"""That width, in filters of the U-Net's level."""


class Dense(nn.Module):
    """3×3 convolutions, each of the block's input and all maps before it; then 1×1 to `out`.

    There are `place.convs` of 3×3. A convolution adds `mid_channels` maps, or half of `out`. Huang
    et al. 2016, arXiv 1608.06993, section 3; a strided block begins with a mean of 2×2 pixels, as
    its transitions do.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        growth = place.mid_channels or max(1, place.out_channels // 2)
        seen = [place.in_channels + i * growth for i in range(place.convs + 1)]
        self.down = (
            AVG_POOL[place.dims](place.stride, ceil_mode=True)
            if place.stride != 1
            else nn.Identity()
        )
        later = place.at(image=False)
        self.convs = nn.ModuleList(
            conv_norm_act(later if i else place, seen[i], growth) for i in range(place.convs)
        )
        self.transition = nn.Sequential(
            conv_norm_act(later, seen[-1], place.out_channels, 1), dropout(place)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        for conv in self.convs:
            new = conv(x)
            x = torch.cat([crop(x, new.shape[2:]), new], dim=1)
        out: Tensor = self.transition(x)
        return out


class MultiRes(nn.Module):
    """Three chained 3×3 convolutions side by side, plus a 1×1 shortcut.

    So it sees 3×3, 5×5 and 7×7 pixels. Of `place.out_channels` filters it makes 1.67 times as many
    channels, a sixth, a third and a half of them by each convolution, rounded down as the authors'
    code does; `out_channels` states the sum. It has three convolutions whatever the place says.
    Ibtehaz and Rahman 2020, MultiResUNet, arXiv 1902.04049, section 3.1.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        widths = [max(1, int(place.out_channels * ALPHA * share)) for share in SHARES]
        self.out_channels = sum(widths)
        first, later = (
            conv_norm_act(place, place.in_channels, widths[0], stride=place.stride),
            place.at(image=False),
        )
        chained = (
            conv_norm_act(later, before, after) for before, after in itertools.pairwise(widths)
        )
        self.convs = nn.ModuleList([first, *chained])
        shortcut = conv_norm_act(
            place, place.in_channels, self.out_channels, 1, stride=place.stride
        )
        self.shortcut = unactivated(place, shortcut)
        self.norm = normalisation(place, self.out_channels)
        self.after = nn.Sequential(
            normalisation(place, self.out_channels), activation(place), dropout(place)
        )

    def forward(self, x: Tensor) -> Tensor:
        maps, deep = [], x
        for conv in self.convs:
            deep = conv(deep)
            maps.append(deep)
        size = deep.shape[2:]
        joined = self.norm(torch.cat([crop(each, size) for each in maps], dim=1))
        out: Tensor = self.after(joined + crop(self.shortcut(x), size))
        return out
