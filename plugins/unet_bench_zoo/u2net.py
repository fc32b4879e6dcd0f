"""U²-Net (Qin et al. 2020, arXiv 2005.09007): a U whose every level is a residual U-block (RSU)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import ClassVar, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unet_bench.networks.contracts import Outputs
from unet_bench.networks.layers import he_init
from unet_bench.networks.unet import scaled

PUBLISHED_WIDTH: Final = 64
DILATED: Final = (1, 2, 4, 8)  # of RSU-4F, which keeps its maps' size
# levels of the U-blocks, finest first; below them come dilated ones
RSU_HEIGHTS: Final = (7, 6, 5, 4)
Widths = tuple[tuple[int, int], ...]  # (inside, out) of each level, finest first


class U2Net(nn.Module):
    """`(N C H W)` of any size to logits `(N classes H W)`.

    In training it returns Outputs with six side maps, weight 1 each. The main output is the fusion
    of the side maps, which are therefore all computed in evaluation, too. What is published ends in
    sigmoids; these are logits. Raises InvalidChoice for volumes.
    """

    ENCODER: ClassVar[Widths] = ((32, 64), (32, 128), (64, 256), (128, 512), (256, 512), (256, 512))
    DECODER: ClassVar[Widths] = ((16, 64), (32, 64), (64, 128), (128, 256), (256, 512))

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        dims: int = 2,
        image_size: Sequence[int] = (),
        base_width: int = PUBLISHED_WIDTH,
        width_scale: float = 1.0,
    ) -> None:
        super().__init__()
        scale = width_scale * base_width / PUBLISHED_WIDTH
        encoder, decoder = (
            [(scaled(a, scale), scaled(b, scale)) for a, b in w]
            for w in (self.ENCODER, self.DECODER)
        )
        self.encoder, self.decoder = nn.ModuleList(), nn.ModuleList()
        width = in_channels
        for level, (mid, out) in enumerate(encoder):
            self.encoder.append(residual_u_block(level, width, mid, out))
            width = out
        maps = [width]  # channels of the decoder's maps, finest first
        for level in reversed(range(len(decoder))):
            mid, out = decoder[level]
            self.decoder.append(residual_u_block(level, maps[0] + encoder[level][1], mid, out))
            maps.insert(0, out)
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.sides = nn.ModuleList(nn.Conv2d(width, classes, 3, padding=1) for width in maps)
        self.fuse = nn.Conv2d(len(maps) * classes, classes, 1)

    def forward(self, image: Tensor) -> Tensor | Outputs:
        skips = [self.encoder[0](image)]
        for block in self.encoder[1:]:
            skips.append(block(self.pool(skips[-1])))
        maps = [skips.pop()]
        for block in self.decoder:
            skip = skips.pop()
            maps.insert(0, block(torch.cat((resized(maps[0], skip), skip), 1)))
        # (N classes H W) each
        sides = [resized(side(x), image) for side, x in zip(self.sides, maps, strict=True)]
        fused: Tensor = self.fuse(torch.cat(sides, 1))
        return Outputs(fused, tuple((1.0, side) for side in sides)) if self.training else fused


class U2NetSmall(U2Net):
    """U²-Net†, the small one: as many channels at every level."""

    ENCODER: ClassVar[Widths] = ((16, 64),) * 6
    DECODER: ClassVar[Widths] = ((16, 64),) * 5


class ResidualUBlock(nn.Module):
    """RSU: `(N in H W)` to `(N out H W)`: a convolution, and a U over it that is added.

    `dilations` are those of the U's levels, the bottom last; `pooled` says whether all but the
    bottom halve the map.
    """

    def __init__(
        self, in_channels: int, mid: int, out: int, *, dilations: Sequence[int], pooled: bool
    ) -> None:
        super().__init__()
        self.entry = convolved(in_channels, out)
        widths = (out, *(mid for _ in dilations))
        self.down = nn.ModuleList(
            convolved(*w, d) for w, d in zip(itertools.pairwise(widths), dilations, strict=True)
        )
        ups = [(mid, d) for d in dilations[-2:0:-1]] + [(out, dilations[0])]
        self.up = nn.ModuleList(convolved(2 * mid, wanted, d) for wanted, d in ups)
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if pooled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        entry: Tensor = self.entry(x)
        skips = [self.down[0](entry)]
        for block in self.down[1:-1]:
            skips.append(block(self.pool(skips[-1])))
        x = self.down[-1](skips[-1])
        for block in self.up:
            skip = skips.pop()
            x = block(torch.cat((resized(x, skip), skip), 1))
        return x + entry


def residual_u_block(level: int, in_channels: int, mid: int, out: int) -> ResidualUBlock:
    """Return the RSU of a level.

    The coarser the level, the fewer levels of its own it has, and from the fifth on dilated ones.
    """
    if level >= len(RSU_HEIGHTS):
        return ResidualUBlock(in_channels, mid, out, dilations=DILATED, pooled=False)
    dilations = (1,) * (RSU_HEIGHTS[level] - 1) + (2,)
    return ResidualUBlock(in_channels, mid, out, dilations=dilations, pooled=True)


def convolved(in_channels: int, out_channels: int, dilation: int = 1) -> nn.Sequential:
    """Build a 3×3 convolution that keeps the size, batch norm and ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
    return nn.Sequential(
        he_init(conv, in_channels * 9), nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)
    )


def resized(x: Tensor, like: Tensor) -> Tensor:
    """Return a map interpolated bilinearly to the size of another."""
    return x if x.shape[2:] == like.shape[2:] else F.interpolate(x, like.shape[2:], mode="bilinear")
