"""What several blocks are made of: convolutions in a row, and the sum of a deep path and a shortcut."""

from __future__ import annotations

import itertools

from torch import nn

from unet_bench.interfaces import Place
from unet_bench.layers import activation, conv_norm_act, dropout


def widths(place: Place) -> list[int]:
    """Channels before, between and after a block's `place.convs` convolutions."""
    between = [place.mid_channels or place.out_channels] * (place.convs - 1)
    return [place.in_channels, *between, place.out_channels]


def convolutions(place: Place) -> list[nn.Sequential]:
    """`place.convs` times a 3×3 convolution with norm and activation; the first one strides."""
    return [
        conv_norm_act(place, before, after, stride=place.stride if i == 0 else 1)
        for i, (before, after) in enumerate(itertools.pairwise(widths(place)))
    ]


def unactivated(place: Place, unit: nn.Sequential) -> nn.Sequential:
    """What `conv_norm_act` made, less an activation that follows the convolution; one that precedes it stays."""
    if preactivated(place):
        return unit
    return nn.Sequential(*(part for name, part in zip(place.order.split("-"), unit, strict=True) if name != "act"))


def deep_path(place: Place) -> nn.Sequential:
    """As `convolutions`, the last one without activation; an image meets a convolution first, whatever the order."""
    *path, last = convolutions(place)
    path.append(unactivated(place, last))
    if preactivated(place) and on_image(place):
        path[0] = path[0][-1:]
    return nn.Sequential(*path)


def after_sum(place: Place) -> nn.Sequential:
    """The activation that the deep path lacks, and the block's dropout."""
    return nn.Sequential(nn.Identity() if preactivated(place) else activation(place), dropout(place))


def preactivated(place: Place) -> bool:
    """Whether activations precede their convolutions, so that a sum of paths is left as it is."""
    return place.order == "norm-act-conv"


def on_image(place: Place) -> bool:
    """Whether a block is the network's first: what it is given is the image."""
    return place.role == "encoder" and place.level == 0 and place.in_channels != place.out_channels


def changes_shape(place: Place) -> bool:
    """Whether a block returns other channels or another size than it is given, so that no identity can pass it."""
    return place.stride != 1 or place.in_channels != place.out_channels
