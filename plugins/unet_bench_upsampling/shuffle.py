"""Up-sampling by channels that become pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unet_bench.networks.contracts import Place
from unet_bench.networks.layers import convolution, padded


class PixelShuffle(nn.Module):
    """A 3×3 convolution to `2^dims · out` channels, then each group of them side by side.

    It returns `(N out 2*S)`. The sub-pixel convolution of Shi et al. 2016, with ICNR weights
    (Aitken et al. 2017): the channels of a group begin alike, so the network begins without a
    checkerboard, as nearest ×2 after a convolution. With a 1×1 convolution in its place this would
    be the 2×2 transposed convolution.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        group = 2**place.dims
        unnormed = padded(place).at(bias=True)
        self.conv = convolution(unnormed, place.in_channels, place.out_channels * group)
        with torch.no_grad():
            weight: Tensor = self.conv.weight  # type: ignore[assignment]
            weight.copy_(weight[::group].repeat_interleave(group, dim=0))

    def forward(self, x: Tensor) -> Tensor:
        return shuffled(self.conv(x))


def shuffled(x: Tensor) -> Tensor:
    """Return `(N C 2*S)` of `(N C·2^dims *S)`.

    The first half of a group's channels becomes the even rows, and so on.
    """
    size = x.shape[2:]
    if len(size) == 2:
        return F.pixel_shuffle(x, 2)
    dims = len(size)
    phases = x.unflatten(1, (-1, *[2] * dims))  # N C 2 2 2 D H W
    pairs = [axis for i in range(dims) for axis in (2 + dims + i, 2 + i)]
    pixels: Tensor = phases.permute(0, 1, *pairs).reshape(len(x), -1, *[2 * side for side in size])
    return pixels
