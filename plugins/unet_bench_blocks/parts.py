"""Blocks `(N in *S)` to `(N out *S')`, and a wider head."""

from __future__ import annotations

from torch import Tensor, nn

from unet_bench.interfaces import Place
from unet_bench.layers import CONV, activation, conv_norm_act, convolution, crop, dropout, normalisation


class Residual(nn.Module):
    """`act(convs(x) + shortcut(x))`; the shortcut is 1×1 where channels or stride change, else the map itself."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        widths = [
            place.in_channels,
            *[place.mid_channels or place.out_channels] * (place.convs - 1),
            place.out_channels,
        ]
        layers: list[nn.Module] = []
        for i in range(place.convs):
            layers += conv_norm_act(place, widths[i], widths[i + 1], stride=place.stride if i == 0 else 1)
        self.convs = nn.Sequential(*layers[:-1])
        self.shortcut: nn.Module = nn.Identity()
        if place.stride != 1 or place.in_channels != place.out_channels:
            self.shortcut = nn.Sequential(
                convolution(place, place.in_channels, place.out_channels, 1, stride=place.stride),
                normalisation(place, place.out_channels),
            )
        self.act = nn.Sequential(activation(place), dropout(place))

    def forward(self, x: Tensor) -> Tensor:
        deep = self.convs(x)
        out: Tensor = self.act(deep + crop(self.shortcut(x), deep.shape[2:]))
        return out


def separable(place: Place) -> nn.Sequential:
    """`place.convs` times depthwise 3×3 then pointwise 1×1, each pair with one norm and activation."""
    layers: list[nn.Module] = []
    width = place.in_channels
    for i in range(place.convs):
        wanted = place.out_channels if i == place.convs - 1 else place.mid_channels or place.out_channels
        stride = place.stride if i == 0 else 1
        layers.append(convolution(place.at(bias=False), width, width, stride=stride, groups=width))
        layers += conv_norm_act(place, width, wanted, 1)
        width = wanted
    return nn.Sequential(*layers, dropout(place))


def conv_3x3(place: Place) -> nn.Module:
    """A zero-padded 3×3 convolution with bias."""
    return CONV[place.dims](place.in_channels, place.out_channels, 3, padding=1)
