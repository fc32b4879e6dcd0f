"""Blocks with large depthwise kernels: `(N in *S)` to `(N out *S')`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidChoice
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import (
    activation,
    conv_norm_act,
    convolution,
    crop,
    dropout,
    normalisation,
)
from unet_bench_blocks.units import changes_shape, of_image

CONVNEXT_KERNEL: Final = {2: 7, 3: 3}
SCALE: Final = 1e-6  # of a ConvNeXt unit's deep path, to begin with


class ConvNeXt(nn.Module):
    """Depthwise 7×7, norm, 1×1 to four times the channels, activation, 1×1 back, scaled.

    The map itself is added. Liu et al. 2022, arXiv 2201.03545, sections 2.5 and 2.6; in volumes
    3×3×3, as MedNeXt begins with (Roy et al. 2023, arXiv 2303.09975). Where channels or stride
    change, a norm and a 1×1 or strided 2×2 convolution come first; for the image the norm follows,
    as in the paper's stem. One such unit whatever `place.convs`, and with its norm and activation
    where they are whatever `place.order`; the paper's are `norm=layer` and `act=gelu`.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        width, wide = place.out_channels, 4 * place.out_channels
        self.before = reshaping(place) if changes_shape(place) else nn.Identity()
        unnormed = place.at(bias=True)
        self.convs = nn.Sequential(
            convolution(place, width, width, CONVNEXT_KERNEL[place.dims], groups=width),
            normalisation(place, width),
            convolution(unnormed, width, wide, 1),
            activation(place),
            convolution(unnormed, wide, width, 1),
        )
        self.scale = nn.Parameter(torch.full((width,), SCALE))
        self.dropout = dropout(place)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        deep = self.convs(x)
        deep = deep * self.scale.reshape(-1, *(1,) * (x.ndim - 2))
        out: Tensor = self.dropout(deep + crop(x, deep.shape[2:]))
        return out


def reshaping(place: Place) -> nn.Sequential:
    """Build a norm and a convolution whose kernel is its stride.

    For the image the convolution comes first.
    """
    unpadded = place.at(padding="valid", bias=place.bias or not place.image)
    conv = convolution(
        unpadded, place.in_channels, place.out_channels, place.stride, stride=place.stride
    )
    if place.image:
        return nn.Sequential(conv, normalisation(place, place.out_channels))
    return nn.Sequential(normalisation(place, place.in_channels), conv)


class Mixing(nn.Module):
    """Depthwise k×k with the map itself added, then 1×1 to four times the channels and back.

    The number of channels stays. Each convolution is followed by GELU and then a norm, whatever
    `act` and `order`: the rest of CMUNeXt has ReLU.
    """

    def __init__(self, place: Place, channels: int, kernel: int) -> None:
        super().__init__()
        place = place.at(act="gelu", order="conv-act-norm")
        self.pixels = conv_norm_act(place, channels, channels, kernel, groups=channels)
        self.channels = nn.Sequential(
            conv_norm_act(place, channels, 4 * channels, 1),
            conv_norm_act(place, 4 * channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        deep = self.pixels(x)
        out: Tensor = self.channels(deep + crop(x, deep.shape[2:]))
        return out


def cmunext_block(place: Place, kernel: int, depth: int = 1) -> nn.Sequential:
    """Build `depth` mixings of the incoming channels, then a 3×3 convolution, which strides.

    It makes `out` channels. On the image a plain convolution to `out` channels comes first, as the
    paper's stem does: mixings of a grey image would be of one channel. Tang et al. 2023, CMUNeXt,
    arXiv 2308.01239, section 2.1.
    """
    if place.image:
        rest = place.at(in_channels=place.out_channels, stride=1, image=False)
        return nn.Sequential(of_image(place), *cmunext_block(rest, kernel, depth))
    mixings = [Mixing(place, place.in_channels, kernel) for _ in range(depth)]
    last = conv_norm_act(place, place.in_channels, place.out_channels, stride=place.stride)
    return nn.Sequential(*mixings, last, dropout(place))


def grouped_fusion(place: Place) -> nn.Module:
    """Build a 3×3 convolution in two groups, then 1×1 to four times `out` and 1×1 to `out`.

    The groups are the skip and the up-sampled map.

    CMUNeXt's decoder block (section 2.2), with its GELU before each norm. Raises InvalidChoice for
    an odd number of channels.
    """
    if place.in_channels % 2:
        raise InvalidChoice(
            f"decoder_block=grouped-fusion at level {place.level} is given {place.in_channels} "
            "channels, which are not "
            "two groups: use merge=concat with up_policy=match, so that skip and up-sampled map "
            "have as many"
        )
    at, width, wide = (
        place.at(act="gelu", order="conv-act-norm"),
        place.in_channels,
        4 * place.out_channels,
    )
    return nn.Sequential(
        conv_norm_act(at, width, width, groups=2, stride=place.stride),
        conv_norm_act(at, width, wide, 1),
        conv_norm_act(at, wide, place.out_channels, 1),
        dropout(place),
    )


def large_kernel(member: str) -> Callable[[Place], nn.Module]:
    """Build the factory of `large-kernel:7`, a CMUNeXt block with 7×7 pixels.

    Raises InvalidChoice.
    """
    kernel = odd_kernel(member, f"large-kernel:{member}")
    return lambda place: cmunext_block(place, kernel)


def odd_kernel(text: str, whole: str) -> int:
    """Return a kernel's side from text. Raises InvalidChoice, naming the `whole` choice."""
    if not (text.isdecimal() and int(text) % 2 and int(text) >= 3):
        raise InvalidChoice(
            f"{whole} is not valid: it takes an odd kernel side from 3 on, as in large-kernel:7"
        )
    return int(text)
