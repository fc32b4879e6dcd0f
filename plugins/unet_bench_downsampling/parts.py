"""Down-sampling parts: `(N in *S)` to `(N out *S/2)`."""

from __future__ import annotations

from torch import nn

from unet_bench.interfaces import Place
from unet_bench.layers import conv_norm_act


def strided_conv(place: Place) -> nn.Module:
    """3×3 convolution of stride 2, padded so that an even size is halved exactly."""
    padded = place if place.padding != "valid" else place.at(padding="zeros")
    return conv_norm_act(padded, place.in_channels, place.out_channels, stride=2)


def in_block(place: Place) -> nn.Module:
    """Nothing here: tells the encoder that the next block is to stride."""
    passing = nn.Identity()
    passing.out_channels = place.in_channels  # type: ignore[assignment]
    passing.block_stride = 2  # type: ignore[assignment]
    return passing
