"""UNeXt (Valanarasu and Patel 2022, arXiv 2203.04967): a U-Net of few channels, its two coarsest
levels of MLPs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unet_bench.networks.layers import ChannelNorm, he_init
from unet_bench.networks.unet import scaled
from unet_bench_zoo.limits import require_multiples

CONV_LEVELS: Final = (1, 2, 8)  # widths in base widths
TOKEN_LEVELS: Final = (10, 16)
SHIFTS: Final = (-2, -1, 0, 1, 2)
STEP: Final = 32


class UNeXt(nn.Module):
    """`(N C H W)`, sides multiples of 32, to logits `(N classes H W)`.

    Raises InvalidChoice for volumes, InvalidSize for other sides.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        dims: int = 2,
        image_size: Sequence[int] = (),
        base_width: int = 16,
        width_scale: float = 1.0,
    ) -> None:
        super().__init__()
        fine, middle = (scaled(base_width * factor, width_scale) for factor in CONV_LEVELS[:-1])
        coarse, *tokens = (
            shiftable(base_width * f, width_scale) for f in (CONV_LEVELS[-1], *TOKEN_LEVELS)
        )
        self.convs = nn.ModuleList(
            nn.Sequential(
                convolution(a, b), nn.BatchNorm2d(b), nn.MaxPool2d(2), nn.ReLU(inplace=True)
            )
            for a, b in ((in_channels, fine), (fine, middle), (middle, coarse))
        )
        self.tokens = nn.ModuleList(
            nn.Sequential(
                convolution(a, b, stride=2), ChannelNorm(b), ShiftedMLP(b), ChannelNorm(b)
            )
            for a, b in ((coarse, tokens[0]), (tokens[0], tokens[1]))
        )
        widths = (tokens[1], tokens[0], coarse, middle, fine)
        self.ups = nn.ModuleList(Up(a, b) for a, b in itertools.pairwise(widths))
        self.mixers = nn.ModuleList(
            nn.Sequential(ShiftedMLP(w), ChannelNorm(w)) for w in widths[1:3]
        )
        self.mixers.extend((nn.Identity(), nn.Identity()))
        self.last = Up(fine, fine, norm=False)
        self.head = nn.Conv2d(fine, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        require_multiples("unext", STEP, x.shape[2:])
        maps = []
        for level in (*self.convs, *self.tokens):
            x = level(x)  # (N C_l H/2^l W/2^l), from l = 1 on
            maps.append(x)
        x = maps.pop()
        for up, mixer in zip(self.ups, self.mixers, strict=True):
            x = mixer(maps.pop() + up(x))
        logits: Tensor = self.head(self.last(x))
        return logits


class ShiftedMLP(nn.Module):
    """Two linear maps of each pixel's channels, added to the input (section 2.2).

    It maps `(N C H W)` to the same. Before the first, fifths of the channels are shifted by -2…2
    pixels along the height, before the second along the width. Zeros move in at the border: that is
    what is left of the published roll of a map padded by two pixels. A 3×3 depth-wise convolution
    between the two tells positions apart. Linear maps are written as 1×1 convolutions.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first, self.second = linear(channels), linear(channels)
        self.depthwise = he_init(nn.Conv2d(channels, channels, 3, padding=1, groups=channels), 9)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(shifted(self.norm(x), 2))
        hidden = self.act(self.depthwise(hidden))
        mixed: Tensor = self.second(shifted(hidden, 3))
        return x + mixed


class Up(nn.Module):
    """3×3 convolution, batch norm, bilinear ×2, ReLU: `(N in H W)` to `(N out 2H 2W)`."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool = True) -> None:
        super().__init__()
        self.conv = convolution(in_channels, out_channels)
        self.norm = nn.BatchNorm2d(out_channels) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(F.interpolate(self.norm(self.conv(x)), scale_factor=2, mode="bilinear"))


def shifted(x: Tensor, dim: int) -> Tensor:
    """Return `(N C H W)` with groups of its channels moved along `dim` by each of SHIFTS.

    Zeros move in.
    """
    reach, length = max(SHIFTS), x.shape[dim]
    wide = F.pad(x, (0, 0, reach, reach) if dim == 2 else (reach, reach))
    groups = zip(wide.chunk(len(SHIFTS), 1), SHIFTS, strict=False)
    return torch.cat([group.narrow(dim, reach - shift, length) for group, shift in groups], 1)


def convolution(in_channels: int, out_channels: int, *, stride: int = 1) -> nn.Module:
    """Build a 3×3 convolution."""
    return he_init(nn.Conv2d(in_channels, out_channels, 3, stride, padding=1), in_channels * 9)


def linear(channels: int) -> nn.Conv2d:
    """Return a linear map of each pixel's channels, with a transformer's small weights.

    So it starts as next to none.
    """
    conv = nn.Conv2d(channels, channels, 1)
    nn.init.trunc_normal_(conv.weight, std=0.02)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def shiftable(width: int, scale: float) -> int:
    """Return a width times `scale`, kept a multiple of 20.

    So all shifts get as many channels.
    """
    return width if scale == 1 else max(20, 20 * round(width * scale / 20))
