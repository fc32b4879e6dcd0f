"""Convolution, normalisation and activation as the axes of a Place ask for them, for parts to build
from.
"""

from __future__ import annotations

import itertools
import math
from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.errors import InvalidChoice
from unet_bench.networks.choices import FIELDS, NORMS
from unet_bench.networks.contracts import Place

CONV: Final = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE: Final = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL: Final = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG_POOL: Final = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
BATCH_NORM: Final = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM: Final = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
LINEAR_MODE: Final = {2: "bilinear", 3: "trilinear"}


def padded(place: Place) -> Place:
    """Return the place for convolutions that keep a map's size.

    With `padding=valid` they are zero-padded.
    """
    return place if place.padding != "valid" else place.at(padding="zeros")


def convolution(
    place: Place,
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Module:
    """Build a convolution with the place's padding and bias, He-initialised.

    U-Net 2015, section 3: std √(2/N). With `padding=valid` the map shrinks by `dilation * (kernel -
    1)`; otherwise it keeps its size (stride 1, odd kernel). Where no norm follows that would take a
    bias away, give it `place.at(bias=True)`: `bias=false` is about those that are of no use.
    """
    valid = place.padding == "valid"
    conv = CONV[place.dims](
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        dilation=dilation,
        groups=groups,
        bias=place.bias,
        padding=0 if valid else dilation * (kernel // 2),
        padding_mode="zeros" if valid else place.padding,  # type: ignore[arg-type]
    )
    return he_init(conv, in_channels // groups * kernel**place.dims)


def transposed_convolution(
    place: Place, in_channels: int, out_channels: int, kernel: int = 2, *, padding: int = 0
) -> nn.Module:
    """Build a stride-2 transposed convolution, He-initialised over what reaches one output pixel.

    It has a bias whatever the place says: no norm follows that would take it away.
    """
    conv = CONV_TRANSPOSE[place.dims](in_channels, out_channels, kernel, stride=2, padding=padding)
    return he_init(conv, in_channels * kernel**place.dims // 2**place.dims)


def he_init(conv: nn.Module, incoming: int) -> nn.Module:
    """Give a module normal weights of std √(2/incoming) and zero bias.

    He 2015, as the U-Net paper asks.
    """
    assert isinstance(conv.weight, Tensor)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / incoming))
    if isinstance(conv.bias, Tensor):
        nn.init.zeros_(conv.bias)
    return conv


class ChannelNorm(nn.LayerNorm):
    """Layer norm of each pixel's channels, as ConvNeXt and transformers have it.

    Ba 2016, arXiv 1607.06450. `(N C *S)` to the same.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5) -> None:
        super().__init__(channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def normalisation(place: Place, channels: int) -> nn.Module:
    """Build the place's `norm` over `channels`.

    Group norm has the greatest number of groups that divides both `norm_groups` and `channels`. Of
    a single channel there is no layer norm: less its own mean, every pixel would be zero.
    """
    match place.norm:
        case "none":
            return nn.Identity()
        case "batch":
            return BATCH_NORM[place.dims](channels)
        case "instance":
            return INSTANCE_NORM[place.dims](channels, affine=True)
        case "group":
            return nn.GroupNorm(math.gcd(place.norm_groups, channels), channels)
        case "layer":
            return ChannelNorm(channels) if channels > 1 else nn.Identity()
    raise InvalidChoice(f"norm={place.norm} is not valid: it takes one of {', '.join(NORMS)}")


def activation(place: Place, *, inplace: bool = True) -> nn.Module:
    """Build the place's `act`.

    It is in place, where it can be, for a map that nobody else holds.
    """
    match place.act:
        case "relu":
            return nn.ReLU(inplace=inplace)
        case "leaky_relu":
            return nn.LeakyReLU(place.leak, inplace=inplace)
        case "prelu":
            return nn.PReLU()
        case "silu":
            return nn.SiLU(inplace=inplace)
        case "gelu":
            return nn.GELU()
    raise InvalidChoice(
        f"act={place.act} is not valid: it takes one of "
        f"{', '.join(FIELDS['act'].metadata['values'])}"
    )


def dropout(place: Place) -> nn.Module:
    """Build the place's dropout; nothing at all when it is 0.

    So state dicts stay alike.
    """
    return nn.Dropout(place.dropout) if place.dropout else nn.Identity()


def conv_norm_act(
    place: Place,
    in_channels: int,
    out_channels: int,
    kernel: int = 3,
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Sequential:
    """Build a convolution with the place's norm and activation, in the place's order.

    At a `place.image`, `norm-act-conv` is the convolution alone: a rectified image has lost its
    darker half. Later convolutions of a block are at `place.at(image=False)`.
    """
    conv = convolution(
        place, in_channels, out_channels, kernel, stride=stride, dilation=dilation, groups=groups
    )
    if place.image and place.order == "norm-act-conv":
        return nn.Sequential(conv)
    first, second, third = place.order.split("-")
    norm = normalisation(place, in_channels if first == "norm" else out_channels)
    # without a convolution or a norm before it, it would change the map it is given
    act = activation(place, inplace="conv" in (first, second) or not isinstance(norm, nn.Identity))
    layers = {"conv": conv, "norm": norm, "act": act}
    return nn.Sequential(layers[first], layers[second], layers[third])


def steps(place: Place) -> list[Place]:
    """Return the places of a block's `place.convs` convolutions.

    Only the first one strides, and meets the image.
    """
    between = [place.mid_channels or place.out_channels] * (place.convs - 1)
    widths = [place.in_channels, *between, place.out_channels]
    first, later = place.at(mid_channels=0), place.at(mid_channels=0, stride=1, image=False)
    return [
        (later if i else first).at(in_channels=before, out_channels=after)
        for i, (before, after) in enumerate(itertools.pairwise(widths))
    ]


def convolutions(place: Place) -> list[nn.Sequential]:
    """Build `place.convs` times a 3×3 convolution with norm and activation.

    The first one strides.
    """
    return [
        conv_norm_act(at, at.in_channels, at.out_channels, stride=at.stride) for at in steps(place)
    ]


def keeping(module: nn.Module, channels: int) -> nn.Module:
    """Return the module, stating that it returns `channels` channels.

    What its place asked for does not matter.
    """
    module.out_channels = channels  # type: ignore[assignment]
    return module


def crop(x: Tensor, size: torch.Size, low: tuple[int, ...] | None = None) -> Tensor:
    """Return a view of `(N C *S)` cut to spatial `size`.

    It starts at `low` pixels per dimension (default: centred).
    """
    for i, wanted in enumerate(size):
        spare = x.shape[2 + i] - wanted
        start = spare // 2 if low is None else min(low[i], spare)
        if spare > 0:
            x = x.narrow(2 + i, start, wanted)
    return x
