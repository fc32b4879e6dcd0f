"""Residual blocks `(N in *S)` to `(N out *S')`: convolutions beside a shortcut.

The last convolution's activation comes after the sum. Where activations precede convolutions
(`order=norm-act-conv`) none does, and the shortcut is neither normed nor activated: He et al. 2016,
arXiv 1603.05027. Unpadded, the shortcut is cut to the middle that the convolutions kept.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from unet_bench.errors import InvalidChoice
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import (
    AVG_POOL,
    conv_norm_act,
    convolution,
    crop,
    dropout,
    normalisation,
)
from unet_bench_blocks.units import after_sum, changes_shape, deep_path, preactivated


class Residual(nn.Module):
    """`act(convs(x) + shortcut(x))` (He et al. 2015, arXiv 1512.03385, section 3).

    Its own shortcut is 1×1 where channels or stride change, else the map itself.
    """

    def __init__(self, place: Place, shortcut: Callable[[Place], nn.Module] | None = None) -> None:
        super().__init__()
        self.convs = deep_path(place)
        self.shortcut = (shortcut or shortcut_1x1)(place) if changes_shape(place) else nn.Identity()
        self.act = after_sum(place)

    def forward(self, x: Tensor) -> Tensor:
        deep = self.convs(x)
        # The sum lies where its first term does.
        out: Tensor = self.act(crop(self.shortcut(x), deep.shape[2:]) + deep)
        return out


def shortcut_1x1(place: Place) -> nn.Module:
    """Build a 1×1 convolution that strides, with a norm unless the block is pre-activated."""
    conv = convolution(place, place.in_channels, place.out_channels, 1, stride=place.stride)
    return (
        conv
        if preactivated(place)
        else nn.Sequential(conv, normalisation(place, place.out_channels))
    )


def shortcut_3x3(place: Place) -> nn.Module:
    """Build a 3×3 convolution that strides, and a norm; of the image, the convolution alone."""
    conv = convolution(place, place.in_channels, place.out_channels, stride=place.stride)
    return conv if place.image else nn.Sequential(conv, normalisation(place, place.out_channels))


def pooled_shortcut(place: Place) -> nn.Module:
    """Build the mean of 2×2 pixels, then a 1×1 convolution without bias.

    The mean is there where the block strides, the convolution where channels change.
    """
    shortcut = nn.Sequential()
    if place.stride != 1:  # an odd last pixel is kept, as a padded convolution keeps it
        shortcut.append(AVG_POOL[place.dims](place.stride, ceil_mode=True))
    if place.in_channels != place.out_channels:
        shortcut.append(convolution(place.at(bias=False), place.in_channels, place.out_channels, 1))
        shortcut.append(normalisation(place, place.out_channels))
    return shortcut


def preact_residual(place: Place) -> nn.Module:
    """Build a block with norm and activation before each convolution, nothing on the sum (He et al.
    2016, arXiv 1603.05027, figure 4e).

    The network's first block begins with its convolution: an image is not rectified.
    """
    return Residual(place.at(order="norm-act-conv"))


def preact_residual_3x3(place: Place) -> nn.Module:
    """Build `preact_residual` with a normed 3×3 convolution as shortcut.

    Popular ports of ResUNet, and ResUNet++, have it.
    """
    return Residual(place.at(order="norm-act-conv"), shortcut_3x3)


def residual_d(place: Place) -> nn.Module:
    """Build ResNet-D's basic block, as nnU-Net's residual encoders have it.

    A strided block's shortcut sees every pixel. He et al. 2018, Bag of Tricks, arXiv 1812.01187,
    figure 2c; Isensee et al. 2024, arXiv 2404.09556.
    """
    return Residual(place, pooled_shortcut)


def residual_after_1x1(place: Place) -> nn.Module:
    """Build a 1×1 convolution, then a residual block of what it returns.

    The convolution is there where channels or stride change; so the block's shortcut is an
    identity. Lee et al. 2017, arXiv 1706.00120, as pytorch-3dunet builds it: no norm follows the
    1×1 convolution, so it has a bias whatever the place says.
    """
    return after_convolution(place, place.at(bias=True), 1)


def residual_after_3x3(place: Place) -> nn.Module:
    """Build a 3×3 convolution, then a residual block of what it returns.

    The convolution is there where channels or stride change; so the block's shortcut is an
    identity. Myronenko 2018, arXiv 1810.11654, section 2.1: SegResNet's, with
    `order=norm-act-conv`. In an order where no norm follows it, the first convolution has a bias
    whatever the place says.
    """
    return after_convolution(
        place, place.at(bias=place.bias or not place.order.startswith("norm")), 3
    )


def after_convolution(place: Place, first: Place, kernel: int) -> nn.Module:
    """Build a convolution at the place `first`, then a residual block that keeps the shape.

    The convolution is there if the whole block changes a map's shape.
    """
    if not changes_shape(place):
        return Residual(place)
    conv = convolution(first, place.in_channels, place.out_channels, kernel, stride=place.stride)
    return nn.Sequential(
        conv, Residual(place.at(in_channels=place.out_channels, stride=1, image=False))
    )


class Recurrent(nn.Module):
    """R2U-Net's block: a 1×1 convolution, then an identity beside recurrent convolutions.

    The 1×1 convolution makes `out` channels; `place.convs` recurrent ones follow. A recurrent
    convolution is run on its input, then `steps` times on the sum of its input and what it last
    returned, with the same weights: parameters do not depend on `steps`. The 1×1 convolution, which
    no norm follows, has a bias whatever the place says. Alom et al. 2018, arXiv 1802.06955, section
    III. Raises InvalidChoice for unpadded convolutions.
    """

    def __init__(self, place: Place, steps: int) -> None:
        super().__init__()
        if place.padding == "valid":
            raise InvalidChoice(
                f"recurrent:{steps} with padding=valid: what a recurrent convolution returns is "
                "added to its input, "
                "so it must keep the map's size; use padding=zeros or reflect"
            )
        self.steps = steps
        width = place.out_channels
        self.first = convolution(
            place.at(bias=True), place.in_channels, width, 1, stride=place.stride
        )
        later = place.at(image=False)
        self.convs = nn.ModuleList(conv_norm_act(later, width, width) for _ in range(place.convs))
        self.dropout = dropout(place)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        deep = x
        for conv in self.convs:
            given = deep
            deep = conv(given)
            for _ in range(self.steps):
                deep = conv(given + deep)
        out: Tensor = self.dropout(x + deep)
        return out


def recurrent(member: str) -> Callable[[Place], nn.Module]:
    """Build the factory of `recurrent:2`, two recurrent steps. Raises InvalidChoice."""
    if not (member.isdecimal() and int(member) >= 1):
        raise InvalidChoice(
            f"recurrent:{member} is not valid: it takes a number of steps, 1 or more: recurrent:2"
        )
    return lambda place: Recurrent(place, int(member))
