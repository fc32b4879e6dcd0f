"""SegNet (Badrinarayanan, Kendall, Cipolla 2015, arXiv 1511.00561): VGG-16's convolutions, and
max-unpooling.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from torch import Tensor, nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import conv_norm_act
from unet_bench.networks.unet import scaled

# (width in base widths, convolutions), as in VGG-16
STAGES: Final = ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3))


class SegNet(nn.Module):
    """`(N C H W)` to logits `(N classes H W)`; sides should be multiples of 32.

    Raises InvalidChoice for volumes.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        classes: int,
        dims: int = 2,
        image_size: Sequence[int] = (),
        base_width: int = 64,
        width_scale: float = 1.0,
    ) -> None:
        super().__init__()
        base = scaled(base_width, width_scale)
        widths = [base * factor for factor, _ in STAGES]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        width = in_channels
        for wanted, (_, convs) in zip(widths, STAGES, strict=True):
            self.down.append(stage([width] + [wanted] * convs))
            width = wanted
        for i in reversed(range(1, len(STAGES))):
            self.up.append(stage([widths[i]] * STAGES[i][1] + [widths[i - 1]]))
        self.up.append(stage([base, base]))
        self.head = nn.Conv2d(base, classes, 3, padding=1)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[tuple[Tensor, tuple[int, ...]]] = []
        for block in self.down:
            x = block(x)
            size = tuple(x.shape)
            x, indices = self.pool(x)
            kept.append((indices, size))
        for block in self.up:
            indices, size = kept.pop()
            x = block(self.unpool(x, indices, output_size=size))
        logits: Tensor = self.head(x)
        return logits


def stage(widths: list[int]) -> nn.Sequential:
    """Build 3×3 convolutions with batch norm and ReLU through these widths."""
    place = Place(in_channels=widths[0], out_channels=widths[-1])
    return nn.Sequential(*(conv_norm_act(place, a, b) for a, b in itertools.pairwise(widths)))
