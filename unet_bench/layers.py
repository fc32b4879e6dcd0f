"""Convolution, normalisation and activation as the axes of a Place ask for them, for parts to build from."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn

from unet_bench.choices import FIELDS, NORMS
from unet_bench.errors import InvalidChoice
from unet_bench.interfaces import Place

CONV: Final = {2: nn.Conv2d, 3: nn.Conv3d}
CONV_TRANSPOSE: Final = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOL: Final = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG_POOL: Final = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
BATCH_NORM: Final = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM: Final = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
LINEAR_MODE: Final = {2: "bilinear", 3: "trilinear"}


def convolution(
    place: Place, in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1, groups: int = 1
) -> nn.Module:
    """A convolution with the place's padding and bias, He-initialised (U-Net 2015, section 3: std √(2/N)).

    With `padding=valid` the map shrinks by `kernel - 1`; otherwise it keeps its size (stride 1, odd kernel).
    """
    valid = place.padding == "valid"
    conv = CONV[place.dims](
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        groups=groups,
        bias=place.bias,
        padding=0 if valid else kernel // 2,
        padding_mode="zeros" if valid else place.padding,  # type: ignore[arg-type]
    )
    return he_init(conv, in_channels // groups * kernel**place.dims)


def transposed_convolution(
    place: Place, in_channels: int, out_channels: int, kernel: int = 2, *, padding: int = 0
) -> nn.Module:
    """A stride-2 transposed convolution, He-initialised over what reaches one output pixel.

    It has a bias whatever the place says: no norm follows that would take it away.
    """
    conv = CONV_TRANSPOSE[place.dims](in_channels, out_channels, kernel, stride=2, padding=padding)
    return he_init(conv, in_channels * kernel**place.dims // 2**place.dims)


def he_init(conv: nn.Module, incoming: int) -> nn.Module:
    """Normal weights of std √(2/incoming), zero bias (He 2015, as the U-Net paper asks)."""
    assert isinstance(conv.weight, Tensor)
    nn.init.normal_(conv.weight, std=math.sqrt(2 / incoming))
    if isinstance(conv.bias, Tensor):
        nn.init.zeros_(conv.bias)
    return conv


class ChannelNorm(nn.Module):
    """Layer norm (Ba 2016, arXiv 1607.06450) of each pixel's channels, as ConvNeXt and transformers have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        return out


def normalisation(place: Place, channels: int) -> nn.Module:
    """The place's `norm` over `channels`; groups of group norm: what divides both."""
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
            return ChannelNorm(channels)
    raise InvalidChoice(f"norm={place.norm} is not valid: it takes one of {', '.join(NORMS)}")


def activation(place: Place, *, inplace: bool = True) -> nn.Module:
    """The place's `act`; in place, where it can be, for a map that nobody else holds."""
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
    raise InvalidChoice(f"act={place.act} is not valid: it takes one of {', '.join(FIELDS['act'].metadata['values'])}")


def dropout(place: Place) -> nn.Module:
    """The place's dropout; nothing at all when it is 0, so that state dicts stay alike."""
    return nn.Dropout(place.dropout) if place.dropout else nn.Identity()


def conv_norm_act(
    place: Place, in_channels: int, out_channels: int, kernel: int = 3, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution with the place's norm and activation, in the place's order."""
    first, second, third = place.order.split("-")
    normed = in_channels if first == "norm" else out_channels
    made = {
        "conv": convolution(place, in_channels, out_channels, kernel, stride=stride, groups=groups),
        "norm": normalisation(place, normed),
        # without a convolution or a norm before it, it would change the map it is given
        "act": activation(place, inplace="conv" in (first, second) or place.norm != "none"),
    }
    return nn.Sequential(made[first], made[second], made[third])


def crop(x: Tensor, size: torch.Size, low: tuple[int, ...] | None = None) -> Tensor:
    """A view of `(N C *S)` cut to spatial `size`, starting at `low` pixels per dimension (default: centred)."""
    for i, wanted in enumerate(size):
        spare = x.shape[2 + i] - wanted
        start = spare // 2 if low is None else min(low[i], spare)
        if spare > 0:
            x = x.narrow(2 + i, start, wanted)
    return x
