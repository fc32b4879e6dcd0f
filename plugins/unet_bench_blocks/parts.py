"""A plain block `(N in *S)` to `(N out *S')` that widens in two steps, and two heads."""

from __future__ import annotations

from torch import nn

from unet_bench.interfaces import Place
from unet_bench.layers import CONV, activation, dropout, normalisation
from unet_bench_blocks.units import convolutions


def early_doubling(place: Place) -> nn.Module:
    """3×3 convolutions in a row, the first to half of `out` channels if no more come in, so that none is a bottleneck.

    Channels double before a pooling rather than behind it: Çiçek et al. 2016, 3D U-Net, arXiv 1606.06650, section 2.
    In a decoder, where more than `out` come in, it is the plain block.
    """
    between = min(place.out_channels, max(place.in_channels, place.out_channels // 2))
    return nn.Sequential(*convolutions(place.at(mid_channels=place.mid_channels or between)), dropout(place))


def conv_3x3(place: Place) -> nn.Module:
    """A zero-padded 3×3 convolution with bias."""
    return CONV[place.dims](place.in_channels, place.out_channels, 3, padding=1)


def conv_1x1_norm(place: Place) -> nn.Sequential:
    """A 1×1 convolution with bias and a norm of the class scores (Ibtehaz and Rahman 2020, arXiv 1902.04049)."""
    return nn.Sequential(
        CONV[place.dims](place.in_channels, place.out_channels, 1), normalisation(place, place.out_channels)
    )


def norm_act_conv_1x1(place: Place) -> nn.Module:
    """Norm, activation, and a 1×1 convolution with bias: the end of a pre-activated network."""
    return nn.Sequential(
        normalisation(place, place.in_channels),
        activation(place, inplace=place.norm != "none"),
        CONV[place.dims](place.in_channels, place.out_channels, 1),
    )
