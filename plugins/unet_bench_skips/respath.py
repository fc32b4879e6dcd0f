"""The skip of MultiResUNet."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.decoder import last_use
from unet_bench.networks.layers import activation, conv_norm_act, convolution, normalisation, padded


class ResPath(nn.Module):
    """Residual convolutions on a skip.

    There is one at the coarsest level that has a skip, and one more at each finer level. Ibtehaz
    and Rahman 2020, arXiv 1902.04049, section 3.2: the encoder's maps are less processed than those
    they are merged with. `(N C *S)` to `(N C' *S)`, as many channels as the up-sampled map has, but
    no more than came in.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        wanted = min(place.in_channels, place.up_channels or place.in_channels)
        length = max(1, place.depth - place.level)
        widths = [place.in_channels, *[wanted] * length]
        self.units = nn.ModuleList(Unit(place, a, b) for a, b in pairwise(widths))
        self.out_channels = wanted

    def forward(self, skip: Tensor, gate: Tensor) -> Tensor:
        for unit in self.units:
            skip = unit(skip)
        return skip


class Unit(nn.Module):
    """`norm(act(conv(x) + shortcut(x)))`, as in the authors' Keras code.

    The shortcut is a 1×1 convolution.
    """

    def __init__(self, place: Place, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv_norm_act(padded(place), in_channels, out_channels)  # a skip keeps its size
        self.shortcut = nn.Sequential(
            convolution(place, in_channels, out_channels, 1), normalisation(place, out_channels)
        )
        self.end = nn.Sequential(activation(place), normalisation(place, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        return last_use(self.end, [self.conv(x) + self.shortcut(x)])
