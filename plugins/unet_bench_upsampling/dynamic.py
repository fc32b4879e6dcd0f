"""Up-sampling that looks at the map to decide how.

A 1×1 convolution changes the channels before: that is cheap.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.errors import InvalidChoice
from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import convolution, padded
from unet_bench_upsampling.parts import biased_1x1

COMPRESSED: Final = 64  # channels from which CARAFE foretells its kernels
REACH: Final = 5  # side of those kernels
GROUPS: Final = 4  # of channels that DySample samples at points of their own
# Of an input pixel: what an offset of 1 moves a point by, so that neighbours' points stay apart.
SCOPE: Final = 0.25


def carafe(place: Place) -> nn.Module:
    """Build `Carafe` on as many channels as are wanted.

    As every channel gets the same weights, these commute with the 1×1 convolution: it is no other
    function than the convolution afterwards, beyond the border's bias.
    """
    return nn.Sequential(change_of_channels(place), Carafe(place, place.out_channels))


def dysample(place: Place) -> nn.Module:
    """Build `DySample` on as many channels as are wanted.

    Raises InvalidChoice for a number that its groups do not divide.
    """
    if place.out_channels % GROUPS:
        nearest = max(GROUPS, GROUPS * round(place.out_channels / GROUPS))
        raise InvalidChoice(
            f"up=dysample at level {place.level} is to return {place.out_channels} channels: their "
            "number must be a "
            f"multiple of {GROUPS}, such as {nearest}; choose base_width or decoder_widths "
            "accordingly"
        )
    return nn.Sequential(change_of_channels(place), DySample(place.out_channels))


def change_of_channels(place: Place) -> nn.Module:
    """Build a 1×1 convolution, or nothing where the channels stay."""
    if place.in_channels == place.out_channels:
        return nn.Identity()
    return biased_1x1(place)


class Carafe(nn.Module):
    """Content-aware reassembly `(N C H W)` to `(N C 2H 2W)`.

    Every output pixel is a mean of the 5×5 pixels around the one it lies in, by weights that two
    convolutions predict from the map (Wang et al. 2019, section 3). 64·C + 64 + 57,700 parameters,
    as published; the weights begin nearly uniform. The neighbours are gathered for a matrix
    product, which takes 25 times the map's memory where the authors' CUDA kernel takes none.
    """

    def __init__(self, place: Place, channels: int) -> None:
        super().__init__()
        place = padded(place).at(bias=True)  # no norms follow
        self.compress = convolution(place, channels, COMPRESSED, 1)
        self.foretell = convolution(place, COMPRESSED, 4 * REACH**2)
        nn.init.normal_(self.foretell.weight, std=0.001)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        logits = self.foretell(self.compress(x)).unflatten(1, (REACH**2, 4))
        weights = logits.softmax(1).to(x.dtype).unflatten(1, (REACH, REACH))  # N 5 5 4 H W
        around = F.pad(x, [REACH // 2] * 4).unfold(2, REACH, 1).unfold(3, REACH, 1)  # N C H W 5 5
        phases = torch.einsum("nchwij,nijphw->ncphw", around, weights)
        return F.pixel_shuffle(phases.flatten(1, 2), 2)


class DySample(nn.Module):
    """Sampling `(N C H W)` to `(N C 2H 2W)`, bilinearly, at learned points.

    A 1×1 convolution moves them off the regular ones. Liu et al. 2023, style `lp` with static
    scope: 4 groups of channels with points of their own, each moved by a quarter pixel times the
    convolution's output; 32·(C + 1) parameters. Without offsets it is `bilinear`. Points are
    computed in float32 at least: a bfloat16 could not tell pixels apart.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.offset = nn.Conv2d(channels, 2 * GROUPS * 4, 1)
        nn.init.normal_(self.offset.weight, std=0.001)
        nn.init.zeros_(self.offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        n, c, *size = x.shape
        precise = torch.promote_types(x.dtype, torch.float32)
        offsets = (
            F.pixel_shuffle(self.offset(x), 2)
            .to(precise)
            .reshape(n * GROUPS, 2, 2 * size[0], 2 * size[1])
        )
        # Y, x: where each output pixel looks, from -1 at the low border to 1 at the high one.
        axes = []
        for i, side in enumerate(size):
            regular = (torch.arange(2 * side, device=x.device, dtype=precise) + 0.5) / side - 1
            axes.append(regular.unsqueeze(1 - i) + offsets[:, i] * (SCOPE * 2 / side))
        groups = x.to(precise).reshape(n * GROUPS, c // GROUPS, *size)
        points = torch.stack(axes[::-1], dim=-1)  # grid_sample wants x first
        sampled = F.grid_sample(groups, points, padding_mode="border", align_corners=False)
        return sampled.reshape(n, c, 2 * size[0], 2 * size[1]).to(x.dtype)
