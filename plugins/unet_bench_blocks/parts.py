"""Plain blocks, `(N in *S)` to `(N out *S')`: one widens in two steps, one has a norm and
activation of its own.
"""

from __future__ import annotations

from torch import nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import INSTANCE_NORM, convolution, convolutions, dropout, steps


def early_doubling(place: Place) -> nn.Module:
    """Build 3×3 convolutions in a row, the first to half of `out` channels.

    If more come in, the first keeps them, up to `out`, so that none is a bottleneck. Channels
    double before a pooling rather than behind it: Çiçek et al. 2016, 3D U-Net, arXiv 1606.06650,
    section 2. In a decoder, where more than `out` come in, it is the plain block.
    """
    between = min(place.out_channels, max(place.in_channels, place.out_channels // 2))
    return nn.Sequential(
        *convolutions(place.at(mid_channels=place.mid_channels or between)), dropout(place)
    )


def instance_prelu(place: Place) -> nn.Module:
    """Build `place.convs` times 3×3 convolution, instance norm without scales, PReLU.

    It maps `(N in *S)` to `(N out *S')`. MONAI's Convolution is this by default, and so is what its
    AttentionUnet merges with.
    """
    layers: list[nn.Module] = []
    for at in steps(place):
        norm = INSTANCE_NORM[place.dims](at.out_channels)
        layers += [
            convolution(at, at.in_channels, at.out_channels, stride=at.stride),
            norm,
            nn.PReLU(),
        ]
    return nn.Sequential(*layers, dropout(place))
