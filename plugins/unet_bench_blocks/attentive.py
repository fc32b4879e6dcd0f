"""Blocks that weigh what they return: `(N in *S)` to `(N out *S')`."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import CONV, activation, convolutions, dropout, he_init

RATIO: Final = 16  # channels to one hidden unit, in both papers


def squeezed(place: Place, channels: int) -> nn.Sequential:
    """Build a network from `(N C)` to `(N C)` through a sixteenth as many units."""
    hidden = max(1, channels // RATIO)
    return nn.Sequential(
        nn.Linear(channels, hidden, bias=place.bias),
        activation(place),
        nn.Linear(hidden, channels, bias=place.bias),
    )


def spread(weights: Tensor, like: Tensor) -> Tensor:
    """Return weights `(N C)` between 0 and 1 for a map `(N C *S)`."""
    return weights.sigmoid().reshape(*weights.shape, *(1,) * (like.ndim - 2))


class SqueezeExcite(nn.Module):
    """Weighs channels by what their means are: `(N C *S)` to `(N C *S)`.

    Hu et al. 2017, arXiv 1709.01507, section 3; the place says whether its linear maps have a bias.
    """

    def __init__(self, place: Place, channels: int) -> None:
        super().__init__()
        self.excite = squeezed(place, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x * spread(self.excite(x.mean(dim=tuple(range(2, x.ndim)))), x)


class Cbam(nn.Module):
    """Weighs channels, then pixels, by means and maxima: `(N C *S)` to `(N C *S)`.

    Woo et al. 2018, arXiv 1807.06521, section 3. The 7×7 convolution that weighs pixels is
    zero-padded whatever the place says: every pixel has its weight.
    """

    def __init__(self, place: Place, channels: int) -> None:
        super().__init__()
        self.channels = squeezed(place, channels)
        conv = CONV[place.dims](2, 1, 7, padding=3, bias=False)
        self.pixels = he_init(conv, 2 * 7**place.dims)

    def forward(self, x: Tensor) -> Tensor:
        axes = tuple(range(2, x.ndim))
        x = x * spread(self.channels(x.mean(dim=axes)) + self.channels(x.amax(dim=axes)), x)
        seen = torch.cat([x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)], dim=1)
        out: Tensor = x * self.pixels(seen).sigmoid()
        return out


def se_double_conv(place: Place) -> nn.Module:
    """Build 3×3 convolutions in a row, their channels then weighed.

    What weighs has no norms, so it keeps its biases.
    """
    weigh = SqueezeExcite(place.at(bias=True), place.out_channels)
    return nn.Sequential(*convolutions(place), weigh, dropout(place))


def cbam_double_conv(place: Place) -> nn.Module:
    """Build 3×3 convolutions in a row, their channels and then their pixels weighed.

    Channels are weighed by maps with biases.
    """
    weigh = Cbam(place.at(bias=True), place.out_channels)
    return nn.Sequential(*convolutions(place), weigh, dropout(place))
