"""Down-sampling parts: `(N in *S)` to `(N out *S/2)`."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import AVG_POOL, MAX_POOL, conv_norm_act, keeping, padded

CONVOLVE: Final = {2: F.conv2d, 3: F.conv3d}


def strided_conv(place: Place) -> nn.Module:
    """Build a 3×3 convolution of stride 2, padded so that an even size is halved exactly."""
    return conv_norm_act(padded(place), place.in_channels, place.out_channels, stride=2)


def in_block(place: Place) -> nn.Module:
    """Build nothing, and tell the encoder that the next block is to stride."""
    passing = keeping(nn.Identity(), place.in_channels)
    passing.block_stride = 2  # type: ignore[assignment]
    return passing


def avg_pool(place: Place) -> nn.Module:
    """Build a 2×2 average-pool: channels stay; an odd last row or column is dropped."""
    return keeping(AVG_POOL[place.dims](2), place.in_channels)


def blur_pool(place: Place) -> nn.Module:
    """Build an anti-aliased max-pool (Zhang 2019, section 3.2).

    It is a 2×2 max-pool of stride 1, blur 1 2 1, every second pixel kept. The blur is made of means
    of two neighbours, the last of which strides; so pixels lie where those of `max-pool` do, and an
    odd last row is dropped alike. At the border the nearest pixel stands for the one beyond it,
    where Zhang mirrors the pooled map: that does for 2 pixels, too.
    """
    average = AVG_POOL[place.dims]
    means = (MAX_POOL[place.dims](2, stride=1, padding=1), average(2, stride=1), average(2))
    return keeping(nn.Sequential(*means), place.in_channels)


def space_to_depth(place: Place) -> nn.Module:
    """Build 2×2 pixels into channels, which a 1×1 convolution mixes; norm, activation.

    Sunkara and Luo 2022. The two steps are one: a 2×2 convolution of stride 2 without padding. An
    odd last row or column is dropped.
    """
    return conv_norm_act(
        place.at(padding="valid"), place.in_channels, place.out_channels, 2, stride=2
    )


class Haar(nn.Module):
    """The sub-bands of one level of Haar wavelets, mixed by a 1×1 convolution.

    Norm and activation follow (Xu et al. 2023). `(N C *S)` to `2^dims` sub-bands per channel, to
    `(N out *S/2)`; an odd last row or column is dropped. What comes out is that of `space-to-depth`
    in another orthonormal basis: in exact arithmetic both learn alike under plain gradient descent,
    though not under Adam.
    """

    filters: Tensor

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.channels = place.in_channels
        self.convolve = CONVOLVE[place.dims]
        self.register_buffer(
            "filters", haar_filters(place.in_channels, place.dims), persistent=False
        )
        self.mix = conv_norm_act(place, place.in_channels * 2**place.dims, place.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        mixed: Tensor = self.mix(self.bands(x))
        return mixed

    def bands(self, x: Tensor) -> Tensor:
        """Return the sub-bands `(N C·2^dims *S/2)`, each channel's average first."""
        return self.convolve(x, self.filters, stride=2, groups=self.channels)


def haar_filters(channels: int, dims: int) -> Tensor:
    """Return `(channels·2^dims, 1, 2, …)`: per channel the average and the details, orthonormal.

    The details' sign is free. It alternates from channel to channel, so that a uniform mixture of
    all bands looks at the middle of its pixels: of one channel's bands alone, only the first pixel
    would be left.
    """
    along = torch.tensor([[1.0, 1.0], [1.0, -1.0]]) * math.sqrt(0.5)
    bands = torch.stack(
        [functools.reduce(outer, kernel) for kernel in itertools.product(along, repeat=dims)]
    )
    opposite = torch.cat([bands[:1], -bands[1:]])
    return torch.cat([opposite if channel % 2 else bands for channel in range(channels)]).unsqueeze(
        1
    )


def outer(kernel: Tensor, along: Tensor) -> Tensor:
    """Return a kernel with one more axis, along which it goes as `along`."""
    return kernel.unsqueeze(-1) * along
