"""Up-sampling parts: `(N in *S)` to `(N out 2*S)`."""

from __future__ import annotations

import functools

from torch import nn

from unet_bench.interfaces import Place
from unet_bench.layers import LINEAR_MODE, conv_norm_act, transposed_convolution


def interpolation(place: Place, linear: bool = True, align_corners: bool | None = None) -> nn.Module:
    """Interpolation alone: returns as many channels as it gets."""
    mode = LINEAR_MODE[place.dims] if linear else "nearest"
    up = nn.Upsample(scale_factor=2, mode=mode, align_corners=align_corners)
    up.out_channels = place.in_channels  # type: ignore[assignment]
    return up


def interpolation_conv(place: Place, linear: bool = True) -> nn.Module:
    """Interpolation, then a padded 3×3 convolution with norm and activation: the map's size is doubled exactly."""
    padded = place if place.padding != "valid" else place.at(padding="zeros")
    return nn.Sequential(interpolation(place, linear), *conv_norm_act(padded, place.in_channels, place.out_channels))


nearest = functools.partial(interpolation, linear=False)
bilinear = functools.partial(interpolation)
bilinear_corners = functools.partial(interpolation, align_corners=True)
nearest_conv = functools.partial(interpolation_conv, linear=False)
bilinear_conv = functools.partial(interpolation_conv)


def transpose_4x4(place: Place) -> nn.Module:
    """4×4 transposed convolution of stride 2 and padding 1: every output pixel sees 2×2 input pixels."""
    return transposed_convolution(place, place.in_channels, place.out_channels, 4, padding=1)
