"""What several blocks are made of: the sum of a deep path and a shortcut, and a plain convolution
of the image.
"""

from __future__ import annotations

from torch import nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import activation, conv_norm_act, convolutions, dropout


def of_image(place: Place) -> nn.Sequential:
    """Build a plain 3×3 convolution with norm and activation, which strides.

    Blocks of depthwise convolutions begin with it on the image, as their papers' stems do, since a
    grey image is a single channel.
    """
    return conv_norm_act(place, place.in_channels, place.out_channels, stride=place.stride)


def unactivated(place: Place, unit: nn.Sequential) -> nn.Sequential:
    """Build what `conv_norm_act` made, less an activation that follows the convolution.

    One that precedes it stays.
    """
    if preactivated(place):
        return unit
    return nn.Sequential(
        *(part for name, part in zip(place.order.split("-"), unit, strict=True) if name != "act")
    )


def deep_path(place: Place) -> nn.Sequential:
    """Build `convolutions`, the last one without activation."""
    *path, last = convolutions(place)
    return nn.Sequential(*path, unactivated(place, last))


def after_sum(place: Place) -> nn.Sequential:
    """Build the activation that the deep path lacks, and the block's dropout."""
    return nn.Sequential(
        nn.Identity() if preactivated(place) else activation(place), dropout(place)
    )


def preactivated(place: Place) -> bool:
    """Return whether activations precede their convolutions.

    If so, a sum of paths is left as it is.
    """
    return place.order == "norm-act-conv"


def changes_shape(place: Place) -> bool:
    """Return whether a block returns other channels or another size than it is given.

    If so, no identity can pass it.
    """
    return place.stride != 1 or place.in_channels != place.out_channels
