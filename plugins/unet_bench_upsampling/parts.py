"""Up-sampling by interpolation: `(N in *S)` to `(N out 2*S)`."""

from __future__ import annotations

import functools

from torch import nn

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import (
    AVG_POOL,
    LINEAR_MODE,
    conv_norm_act,
    convolution,
    keeping,
    padded,
)


def interpolation(
    place: Place, mode: str = "linear", align_corners: bool | None = None
) -> nn.Module:
    """Build an interpolation alone, which returns as many channels as it gets."""
    named = LINEAR_MODE[place.dims] if mode == "linear" else mode
    return keeping(
        nn.Upsample(scale_factor=2, mode=named, align_corners=align_corners), place.in_channels
    )


def interpolation_conv(place: Place, mode: str = "linear") -> nn.Module:
    """Build an interpolation, then a padded 3×3 convolution with norm and activation.

    The map's size is doubled exactly.
    """
    return nn.Sequential(
        interpolation(place, mode),
        *conv_norm_act(padded(place), place.in_channels, place.out_channels),
    )


def interpolation_1x1(place: Place, mode: str = "linear") -> nn.Module:
    """Build an interpolation, then a 1×1 convolution alone.

    It is as linear as the transposed convolution it stands for.
    """
    return nn.Sequential(interpolation(place, mode), biased_1x1(place))


def conv_1x1_bilinear(place: Place) -> nn.Module:
    """Build a 1×1 convolution, then interpolation, in SegResNet's order (Myronenko 2018).

    Weights that sum to one commute with a 1×1 convolution: this is `bilinear-1x1`, computed on
    fewer pixels.
    """
    return nn.Sequential(biased_1x1(place), interpolation(place))


def biased_1x1(place: Place) -> nn.Module:
    """Build a 1×1 convolution with a bias whatever the place says.

    No norm follows that would take the bias away.
    """
    return convolution(place.at(bias=True), place.in_channels, place.out_channels, 1)


def conv_1x1_bilinear_no_bias(place: Place) -> nn.Module:
    """Build a 1×1 convolution without bias, then interpolation.

    It maps `(N in *S)` to `(N out *2S)`, as in MONAI's SegResNet.
    """
    return nn.Sequential(
        convolution(place.at(bias=False), place.in_channels, place.out_channels, 1),
        interpolation(place),
    )


def nearest_blur(place: Place) -> nn.Module:
    """Build nearest ×2, then the binomial blur 1 4 6 4 1 along every axis.

    Zhang 2019 blurs so; channels are kept. With its three taps 1 2 1 it would be `bilinear`, to the
    digit. At the border the nearest pixels stand for those beyond it.
    """
    up = nn.Sequential(interpolation(place, "nearest"), *blur_3(place.dims), *blur_3(place.dims))
    return keeping(up, place.in_channels)


def blur_3(dims: int) -> tuple[nn.Module, nn.Module]:
    """Build the binomial blur 1 2 1 along every axis, as two means of two neighbours.

    The first moves the map half a pixel out, the second back.
    """
    average = AVG_POOL[dims]
    return average(2, stride=1, padding=1, count_include_pad=False), average(2, stride=1)


nearest = functools.partial(interpolation, mode="nearest")
bilinear = functools.partial(interpolation)
bilinear_corners = functools.partial(interpolation, align_corners=True)
nearest_conv = functools.partial(interpolation_conv, mode="nearest")
bilinear_conv = functools.partial(interpolation_conv)
bicubic_conv = functools.partial(interpolation_conv, mode="bicubic")
nearest_1x1 = functools.partial(interpolation_1x1, mode="nearest")
bilinear_1x1 = functools.partial(interpolation_1x1)
