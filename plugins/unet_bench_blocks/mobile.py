"""Blocks that save multiplications by grouped convolutions: `(N in *S)` to `(N out *S')`.

On the image each of them begins with a plain 3×3 convolution in place of its first unit.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidChoice
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import conv_norm_act, convolution, crop, dropout, steps
from unet_bench_blocks.units import changes_shape, of_image, unactivated

EXPANSION: Final = 6  # MobileNetV2, section 3.3


def separable(place: Place) -> nn.Sequential:
    """Build `place.convs` times depthwise 3×3 then pointwise 1×1.

    Each pair has one norm and activation. Chollet 2016, Xception, arXiv 1610.02357. Nothing stands
    between the two of a pair, whatever `order`.
    """
    return nn.Sequential(
        *(of_image(at) if at.image else separable_unit(at) for at in steps(place)), dropout(place)
    )


def separable_unit(place: Place) -> nn.Sequential:
    """Build a 1×1 convolution with its norm and activation, and a depthwise one.

    The depthwise one has no bias and comes right before the other.
    """
    width = place.in_channels
    unit = conv_norm_act(place, width, place.out_channels, 1)
    depthwise = convolution(place.at(bias=False), width, width, stride=place.stride, groups=width)
    return unit.insert(place.order.split("-").index("conv"), depthwise)


def inverted_residual(place: Place) -> nn.Sequential:
    """Build `place.convs` inverted residual units.

    The first changes channels or stride; the others have an identity as shortcut. Sandler et al.
    2018, MobileNetV2, arXiv 1801.04381, section 3. Inside a unit is six times what comes in: for a
    decoder's concatenated map of twice `out` channels that is twelve times `out`, wide beside
    MobileNetV2's own units.
    """
    units = (of_image(at) if at.image else InvertedResidual(at) for at in steps(place))
    return nn.Sequential(*units, dropout(place))


class InvertedResidual(nn.Module):
    """1×1 to six times the channels, depthwise 3×3, 1×1 without activation.

    The map itself is added, if it fits.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        wide = EXPANSION * place.in_channels
        self.convs = nn.Sequential(
            conv_norm_act(place, place.in_channels, wide, 1),
            conv_norm_act(place, wide, wide, stride=place.stride, groups=wide),
            unactivated(place, conv_norm_act(place, wide, place.out_channels, 1)),
        )
        self.passes = not changes_shape(place)

    def forward(self, x: Tensor) -> Tensor:
        deep: Tensor = self.convs(x)
        return deep + crop(x, deep.shape[2:]) if self.passes else deep


class GhostModule(nn.Module):
    """Half of the channels by a 1×1 convolution, the other half by a depthwise 3×3 one of those.

    Han et al. 2019, GhostNet, arXiv 1911.11907, section 3.1. Raises InvalidChoice for an odd number
    of channels.
    """

    def __init__(self, place: Place, in_channels: int, out_channels: int) -> None:
        super().__init__()
        if out_channels % 2:
            raise InvalidChoice(
                f"block ghost cannot return {out_channels} channels: half of them are made of the "
                "other half, so their "
                f"number must be even, such as {out_channels + 1}"
            )
        half = out_channels // 2
        self.primary = conv_norm_act(place, in_channels, half, 1)
        self.cheap = conv_norm_act(place, half, half, groups=half)

    def forward(self, x: Tensor) -> Tensor:
        primary = self.primary(x)
        ghosts = self.cheap(primary)
        return torch.cat([crop(primary, ghosts.shape[2:]), ghosts], dim=1)


def ghost(place: Place) -> nn.Sequential:
    """Build a ghost module in place of each convolution.

    A strided block begins with a depthwise 3×3 one that strides.
    """
    layers: list[nn.Module] = []
    for at in steps(place):
        if at.image:
            layers.append(of_image(at))
            continue
        width = at.in_channels
        if at.stride != 1:
            layers.append(
                unactivated(at, conv_norm_act(at, width, width, stride=at.stride, groups=width))
            )
        layers.append(GhostModule(at, width, at.out_channels))
    return nn.Sequential(*layers, dropout(place))
