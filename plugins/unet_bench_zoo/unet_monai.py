"""MONAI's UNet (Kerfoot et al. 2019, doi 10.1007/978-3-030-12029-0_40): it merges first and
up-samples after.

No part does so: a level's skip joins the map that comes from below at the skip's own size, a
transposed convolution then both mixes and doubles, and the last one returns the scores. There is no
map at full resolution beside these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import BATCH_NORM, INSTANCE_NORM, convolution, crop
from unet_bench.networks.unet import scaled
from unet_bench_upsampling.transposed import transpose_3x3

NORMS: Final[Mapping[str, Mapping[int, type[nn.Module]]]] = {
    "instance": INSTANCE_NORM,
    "batch": BATCH_NORM,
}
"""Instance norm is without scales, as MONAI has it where nothing is said."""


class UNetMonai(nn.Module):
    """`(N C *S)` to logits `(N classes *S)`; sides should be multiples of `2 ** levels`.

    Others, which MONAI's refuses, are cut to the skip at the high side.

    Each of `levels` halves the map; the bottom, twice as wide as the last of them, does not.
    `residual_units` is how many convolutions a residual block has on the way down; 0: single
    convolutions, no shortcuts. `norm` is `instance` or `batch`.
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
        levels: int = 4,
        residual_units: int = 0,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        base, units = scaled(base_width, width_scale), residual_units
        widths = [in_channels, *(base << level for level in range(levels + 1))]
        place = Place(in_channels=in_channels, out_channels=base, dims=dims, norm=norm, act="prelu")
        self.downs = nn.ModuleList()
        for level in range(levels + 1):
            at = place.at(
                in_channels=widths[level],
                out_channels=widths[level + 1],
                stride=2 if level < levels else 1,
            )
            self.downs.append(Residual(at, units) if units else nn.Sequential(*conv_norm_prelu(at)))
        self.ups = nn.ModuleList()
        width = widths[-1]
        for level in reversed(range(levels)):
            wanted = widths[level] if level else classes
            at = place.at(in_channels=widths[level + 1] + width, out_channels=wanted)
            self.ups.append(up(at, residual=units > 0, last=level == 0))
            width = wanted

    def forward(self, x: Tensor) -> Tensor:
        skips, sizes = [], []
        for down in self.downs:
            sizes.append(x.shape[2:])
            x = down(x)  # (N C_l *S/2^(l+1)), the bottom's as large as the level's above
            skips.append(x)
        x = skips.pop()
        for up, size in zip(self.ups, reversed(sizes[:-1]), strict=True):
            x = crop(up(torch.cat([skips.pop(), x], dim=1)), size, (0,) * len(size))
        return x


class Residual(nn.Module):
    """`convs` times convolution, norm, PReLU, and a shortcut: `(N in *S)` to `(N out *S')`.

    Nothing follows the sum. The shortcut is 3×3 where the block strides, 1×1 where only channels
    change.
    """

    def __init__(self, place: Place, convs: int, *, bare: bool = False) -> None:
        super().__init__()
        layers = conv_norm_prelu(place)
        for _ in range(convs - 1):
            layers += conv_norm_prelu(place.at(in_channels=place.out_channels, stride=1))
        self.convs = nn.Sequential(*(layers[:-2] if bare else layers))
        self.shortcut: nn.Module = nn.Identity()
        if place.stride != 1 or place.in_channels != place.out_channels:
            kernel = 1 if place.stride == 1 else 3
            self.shortcut = convolution(
                place, place.in_channels, place.out_channels, kernel, stride=place.stride
            )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shortcut(x) + self.convs(x)
        return out


def conv_norm_prelu(place: Place) -> list[nn.Module]:
    """Build a 3×3 convolution with norm and PReLU."""
    conv = convolution(place, place.in_channels, place.out_channels, stride=place.stride)
    return [conv, *norm_prelu(place)]


def norm_prelu(place: Place) -> list[nn.Module]:
    """Build what follows each convolution."""
    return [NORMS[place.norm][place.dims](place.out_channels), nn.PReLU()]


def up(place: Place, *, residual: bool, last: bool) -> nn.Module:
    """Build a 3×3 transposed convolution with norm and PReLU, and a residual convolution.

    It maps `(N in *S)` to `(N out *2S)`. On the last level it returns scores: nothing follows its
    last convolution.
    """
    conv = transpose_3x3(place)
    if not residual:
        return conv if last else nn.Sequential(conv, *norm_prelu(place))
    block = Residual(place.at(in_channels=place.out_channels), 1, bare=last)
    return nn.Sequential(conv, *norm_prelu(place), block)
